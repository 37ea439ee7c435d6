from keras_influence.losses.fixmatch import FixMatch
from keras_influence.losses.flexmatch import FlexMatch
from keras_influence.losses.freematch import FreeMatch
from keras_influence.losses.given_labels import GivenLabels
from keras_influence.losses.loss_state import LossState
from keras_influence.losses.mean_teacher import MeanTeacher
from keras_influence.losses.pseudo_label import PseudoLabel
from keras_influence.losses.softmatch import SoftMatch
from keras_influence.losses.uda import UDA
from keras_influence.losses.unlabeled_loss import UnlabeledLoss
from keras_influence.losses.vat import VAT

__all__ = [
    "UDA",
    "VAT",
    "FixMatch",
    "FlexMatch",
    "FreeMatch",
    "GivenLabels",
    "LossState",
    "MeanTeacher",
    "PseudoLabel",
    "SoftMatch",
    "UnlabeledLoss",
]
