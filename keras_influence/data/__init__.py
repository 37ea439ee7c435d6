from keras_influence.data.semi_supervised import semi_supervised
from keras_influence.data.split import Split, split

__all__ = ["Split", "semi_supervised", "split"]
