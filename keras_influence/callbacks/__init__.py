from keras_influence.callbacks.weight_history import WeightHistory
from keras_influence.callbacks.weight_report import WeightReport

__all__ = ["WeightHistory", "WeightReport"]
