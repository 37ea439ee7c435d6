"""Networks that map inputs to logits; their last layer is Dense."""

from collections.abc import Sequence

import keras

from applications.bert import bert
from applications.wide_resnet import wide_resnet

__all__ = [
    "bag_of_words",
    "bert",
    "convolutional",
    "linear",
    "mlp",
    "small_convolutional",
    "wide_resnet",
]


def linear(input_shape: tuple, classes: int) -> keras.Model:
    """Logistic regression on the flattened inputs.

    Args:
        input_shape: tuple of int, the shape of one input.
        classes: int, the number of logits.
    """
    return _network(input_shape, [keras.layers.Flatten()], classes)


def mlp(
    input_shape: tuple,
    classes: int,
    units: Sequence[int] = (64,),
    dropout: float = 0.0,
) -> keras.Model:
    """Fully connected hidden layers of `units` on the flattened inputs.

    Args:
        input_shape: tuple of int, the shape of one input.
        classes: int, the number of logits.
        units: sequence of int, the widths. Defaults to `(64,)`.
        dropout: float in [0, 1), the rate before the head. Defaults to `0.0`.
    """
    layers = [keras.layers.Flatten()]
    layers += [keras.layers.Dense(n, activation="relu") for n in units]
    return _network(
        input_shape, [*layers, keras.layers.Dropout(dropout)], classes
    )


def convolutional(
    input_shape: tuple,
    classes: int,
    filters: Sequence[int] = (16, 32),
    dropout: float = 0.0,
) -> keras.Model:
    """3 x 3 convolutions, each followed by 2 x 2 pooling.

    Args:
        input_shape: tuple of int, `(height, width, channels)`.
        classes: int, the number of logits.
        filters: sequence of int, one a convolution. Defaults to `(16, 32)`.
        dropout: float in [0, 1), the rate before the head. Defaults to `0.0`.
    """
    layers = []
    for n in filters:
        layers += [
            keras.layers.Conv2D(n, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(dropout),
    ]
    return _network(input_shape, layers, classes)


def small_convolutional(
    input_shape: tuple, classes: int, width: int = 16, dropout: float = 0.3
) -> keras.Model:
    """Convolutions of images with values to 255, as deep as these are large.

    Args:
        input_shape: tuple of int, `(height, width, channels)`.
        classes: int, the number of logits.
        width: int, filters of the first convolution; they double with each.
            Defaults to `16`.
        dropout: float in [0, 1), the rate before the head. Defaults to `0.3`.
    """
    layers, side = (
        [keras.layers.Rescaling(1 / 127.5, offset=-1)],
        input_shape[0],
    )
    while side > 6:
        layers += [
            keras.layers.Conv2D(width, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
        width, side = min(2 * width, 128), side // 2
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dropout(dropout),
    ]
    return _network(input_shape, layers, classes)


def bag_of_words(
    input_shape: tuple, classes: int, units: int = 32, dropout: float = 0.5
) -> keras.Model:
    """One hidden layer on counts of words, whatever a text's length.

    Args:
        input_shape: tuple of int, the number of words.
        classes: int, the number of logits.
        units: int, the width. Defaults to `32`.
        dropout: float in [0, 1), the rate of both layers. Defaults to `0.5`.
    """
    layers = [
        keras.layers.UnitNormalization(),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(units, activation="relu"),
        keras.layers.Dropout(dropout),
    ]
    return _network(input_shape, layers, classes)


def _network(input_shape, layers, classes):
    inputs = keras.Input(input_shape)
    return keras.Sequential([inputs, *layers, keras.layers.Dense(classes)])
