from keras_influence.optimizers.evidence import Evidence
from keras_influence.optimizers.m_adam import MAdam
from keras_influence.optimizers.row_optimizer import RowOptimizer

__all__ = ["Evidence", "MAdam", "RowOptimizer"]
