from keras_influence.losses.fixmatch import FixMatch
from keras_influence.losses.given_labels import GivenLabels
from keras_influence.losses.pseudo_label import PseudoLabel
from keras_influence.losses.uda import UDA
from keras_influence.losses.unlabeled_loss import UnlabeledLoss

__all__ = ["UDA", "FixMatch", "GivenLabels", "PseudoLabel", "UnlabeledLoss"]
