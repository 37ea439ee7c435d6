"""Learn, inside `model.fit`, how much every unlabelled example should count."""

from keras_influence import (
    augmentation,
    callbacks,
    data,
    layers,
    losses,
    optimizers,
    solvers,
)
from keras_influence.influence.influence import Influence
from keras_influence.influence.post_hoc import (
    group_influence,
    influence_scores,
    self_influence,
    top_k,
)
from keras_influence.influence.unrolled import Unrolled
from keras_influence.models.influence_model import InfluenceModel
from keras_influence.models.presets import preset
from keras_influence.reporting import Mislabeled, find_mislabeled, report
from keras_influence.weighting import Examples, Weighting, WeightNetwork

__version__ = "0.2.0"

__all__ = [
    "Examples",
    "Influence",
    "InfluenceModel",
    "Mislabeled",
    "Unrolled",
    "WeightNetwork",
    "Weighting",
    "augmentation",
    "callbacks",
    "data",
    "find_mislabeled",
    "group_influence",
    "influence_scores",
    "layers",
    "losses",
    "optimizers",
    "preset",
    "report",
    "self_influence",
    "solvers",
    "top_k",
]
