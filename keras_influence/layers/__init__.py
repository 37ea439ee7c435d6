from keras_influence.layers.binary_logits import BinaryLogits
from keras_influence.layers.clone import recording_clone
from keras_influence.layers.convolution import Conv2D, DepthwiseConv2D
from keras_influence.layers.dense import Dense
from keras_influence.layers.einsum_dense import EinsumDense
from keras_influence.layers.embedding import Embedding
from keras_influence.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
)
from keras_influence.layers.recording_layer import (
    Recording,
    RecordingLayer,
    full_precision,
    tapped,
)

# Its name up to version 0.1.
recording = recording_clone

__all__ = [
    "BatchNormalization",
    "BinaryLogits",
    "Conv2D",
    "Dense",
    "DepthwiseConv2D",
    "EinsumDense",
    "Embedding",
    "LayerNormalization",
    "Recording",
    "RecordingLayer",
    "full_precision",
    "recording",
    "recording_clone",
    "tapped",
]
