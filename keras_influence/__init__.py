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
from keras_influence.influence.post_hoc import influence_scores
from keras_influence.models.influence_model import InfluenceModel

__all__ = [
    "Influence",
    "InfluenceModel",
    "augmentation",
    "callbacks",
    "data",
    "influence_scores",
    "layers",
    "losses",
    "optimizers",
    "solvers",
]
