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
from keras_influence.weighting import Examples, Weighting, WeightNetwork

__version__ = "0.2.0"

__all__ = [
    "Examples",
    "Influence",
    "InfluenceModel",
    "Unrolled",
    "WeightNetwork",
    "Weighting",
    "augmentation",
    "callbacks",
    "data",
    "group_influence",
    "influence_scores",
    "layers",
    "losses",
    "optimizers",
    "preset",
    "self_influence",
    "solvers",
    "top_k",
]
