from keras_influence.reporting.report import report

__all__ = ["report"]
