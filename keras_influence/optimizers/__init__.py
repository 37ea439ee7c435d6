from keras_influence.optimizers.m_adam import MAdam
from keras_influence.optimizers.row_optimizer import RowOptimizer

__all__ = ["MAdam", "RowOptimizer"]
