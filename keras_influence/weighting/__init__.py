from keras_influence.weighting.example_weights import ExampleWeights
from keras_influence.weighting.mean_budget import MeanBudget
from keras_influence.weighting.predicted_weights import PredictedWeights
from keras_influence.weighting.signals import Examples
from keras_influence.weighting.weight_network import WeightNetwork
from keras_influence.weighting.weighting import Weighting

__all__ = [
    "ExampleWeights",
    "Examples",
    "MeanBudget",
    "PredictedWeights",
    "WeightNetwork",
    "Weighting",
]
