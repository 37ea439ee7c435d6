"""Wide residual networks in the variants of UDA and of FixMatch."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from keras_influence import layers


@dataclasses.dataclass(frozen=True)
class Variant:
    """What differs between the two published networks.

    Args:
        negative_slope: float, the leaky ReLU's slope; 0 is a ReLU.
        momentum: float, of the batch normalisation's statistics.
        epsilon: float, added to the batch normalisation's variances.
        use_bias: boolean, whether convolutions have biases.
        head: the initializer of the last layer's kernel.
        activate_first: boolean, whether the first block's shortcut takes the
            activated input instead of the raw one.
        decay_all: boolean, whether weight decay covers all variables instead
            of the kernels alone.
        weight_decay: float. Defaults to `0.0`.
    """

    negative_slope: float
    momentum: float
    epsilon: float
    use_bias: bool
    head: keras.initializers.Initializer
    activate_first: bool
    decay_all: bool
    weight_decay: float = 0.0

    def regularizers(self, names):
        """Arguments of a layer whose variables are called `names`."""
        if not self.weight_decay:
            return {}
        decayed = [n for n in names if self.decay_all or n == "kernel"]
        decay = keras.regularizers.L2(self.weight_decay / 2)
        return {f"{name}_regularizer": decay for name in decayed}


VARIANTS = {
    "uda": Variant(
        negative_slope=0.0,
        momentum=0.9,
        epsilon=1e-5,
        use_bias=False,
        head=keras.initializers.VarianceScaling(1 / 3, "fan_out", "uniform"),
        activate_first=False,
        decay_all=True,
    ),
    "fixmatch": Variant(
        negative_slope=0.1,
        momentum=0.999,
        epsilon=1e-3,
        use_bias=True,
        head=keras.initializers.GlorotNormal(),
        activate_first=True,
        decay_all=False,
    ),
}


def wide_resnet(
    input_shape=(32, 32, 3),
    classes: int = 10,
    depth: int = 28,
    width: int = 2,
    variant: str = "fixmatch",
    weight_decay: float = 0.0,
    momentum: float | None = None,
    mean: float | Sequence[float] = 0.0,
    deviation: float | Sequence[float] = 1.0,
) -> keras.Model:
    """A wide residual network of recording layers that gives logits.

    Under a policy of mixed precision the input and the logits stay float32.

    Args:
        input_shape: tuple `(height, width, channels)`. Defaults to
            `(32, 32, 3)`.
        classes: integer. Defaults to `10`.
        depth: integer, `4 + 6·n` for `n` blocks a group. Defaults to `28`.
        width: integer, the factor of the filters 16, 32 and 64. Defaults to
            `2`.
        variant: `"uda"` or `"fixmatch"`. Defaults to `"fixmatch"`.
        weight_decay: float c of the losses `c/2 · ‖v‖²`, over the variables
            that the variant decays. Defaults to `0.0`.
        momentum: float, of the batch normalisation's statistics. Defaults to
            `None`: the variant's.
        mean: float or sequence of one a channel, subtracted from the inputs.
            Defaults to `0.0`.
        deviation: float or sequence of one a channel, by which the inputs are
            divided then. Defaults to `1.0`.

    Returns:
        A functional `keras.Model`.

    Raises:
        ValueError: if `depth` is not `4 + 6·n`, or the variant is unknown.

    Reference: Zagoruyko and Komodakis, "Wide Residual Networks", 2016.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(
            "Argument `depth` must be 4 + 6·n for n >= 1 blocks a group. "
            f"Received: depth={depth}"
        )
    if variant not in VARIANTS:
        raise ValueError(
            f"Argument `variant` must be one of {list(VARIANTS)}. "
            f"Received: variant={variant!r}"
        )
    v = dataclasses.replace(VARIANTS[variant], weight_decay=weight_decay)
    if momentum is not None:
        v = dataclasses.replace(v, momentum=momentum)
    inputs = keras.Input(input_shape)
    scale = 1 / np.array(deviation)
    x = keras.layers.Rescaling(
        scale.tolist(), (-scale * mean).tolist(), dtype="float32"
    )(inputs)
    x = _convolution(v, 16, 3)(x)
    for group, filters in enumerate((16, 32, 64)):
        for block in range((depth - 4) // 6):
            stride = 2 if group > 0 and block == 0 else 1
            first = group == 0 and block == 0
            x = _block(v, x, filters * width, stride, first)
    x = _activation(v)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = layers.Dense(
        classes,
        kernel_initializer=v.head,
        name="logits",
        dtype="float32",
        **v.regularizers(["kernel", "bias"]),
    )
    return keras.Model(
        inputs, logits(x), name=f"wide_resnet_{depth}_{width}_{variant}"
    )


def _block(v, x, filters, stride, first):
    """A pre-activation block; its first in a group changes the shape."""
    activated = _activation(v)(x)
    y = _convolution(v, filters, 3, stride)(activated)
    y = _convolution(v, filters, 3)(_activation(v)(y))
    if x.shape[-1] != filters or stride > 1:
        source = activated if first and v.activate_first else x
        x = _convolution(v, filters, 1, stride)(source)
    return keras.layers.Add()([x, y])


def _activation(v):
    def apply(x):
        normalize = layers.BatchNormalization(
            momentum=v.momentum,
            epsilon=v.epsilon,
            **v.regularizers(["beta", "gamma"]),
        )
        return keras.layers.LeakyReLU(v.negative_slope)(normalize(x))

    return apply


def _convolution(v, filters, size, stride=1):
    # N(0, sqrt(2 / (k² · out))): He's initialisation of the outgoing fan.
    deviation = (2 / (size * size * filters)) ** 0.5
    return layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding="same",
        use_bias=v.use_bias,
        kernel_initializer=keras.initializers.RandomNormal(stddev=deviation),
        **v.regularizers(["kernel", "bias"] if v.use_bias else ["kernel"]),
    )
