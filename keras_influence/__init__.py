from keras_influence import data, layers, losses, optimizers, solvers
from keras_influence.influence.influence import Influence
from keras_influence.influence.post_hoc import influence_scores
from keras_influence.models.influence_model import InfluenceModel

__all__ = [
    "Influence",
    "InfluenceModel",
    "data",
    "influence_scores",
    "layers",
    "losses",
    "optimizers",
    "solvers",
]
