from keras_influence.reporting.mislabeled import Mislabeled, find_mislabeled
from keras_influence.reporting.report import report

__all__ = ["Mislabeled", "find_mislabeled", "report"]
