import keras
import tensorflow as tf
from keras import ops

from keras_influence.augmentation import color, filters, geometry
from keras_influence.augmentation.cutout import cutout, fill_values, square
from keras_influence.augmentation.image import (
    ImageAugmentation,
    assert_scale,
    check_value_range,
    dequantize,
    quantize,
)
from keras_influence.augmentation.switch import switch
from keras_influence.data.checks import check_integer


@keras.saving.register_keras_serializable(package="keras_influence")
class RandAugment(ImageAugmentation):
    """RandAugment as UDA and FixMatch use it, one draw an image.

    Every image gets `num_ops` operations, drawn with replacement. Each is
    applied with probability 1/2, at a magnitude M drawn from 1..9, geometric
    ones in a random direction. A square of `cutout` pixels is cut out last.
    What the image does not cover any more, and the squares, become `fill`.

    |operation|at magnitude M|
    |---|---|
    |rotate|±3 M degrees|
    |shear_x, shear_y|±0.03 M|
    |translate_x, translate_y|±M pixels|
    |posterize|to 4 - int(0.4 M) bits|
    |solarize|from 256 - int(25.6 M)|
    |brightness, color, contrast, sharpness|0.1 + 0.18 M|
    |cutout (UDA only)|2 M pixels|
    |autocontrast, equalize, identity (FixMatch only), invert (UDA only)||

    UDA mirrors and shifts *after* RandAugment, FixMatch before: chain this
    layer with `WeakAugment` accordingly.

    Args:
        num_ops: int, operations drawn for an image. Defaults to `2`.
        variant: `"uda"` or `"fixmatch"`, the set of operations. Defaults to
            `"uda"`.
        cutout: int, side in pixels of the last square; 0 for none. Defaults to
            `16`.
        fill: number or sequence of one per channel, in the units of the
            images: the value that is 0 after normalisation. UDA fills with the
            mean of the data set. Defaults to `None`, the middle of
            `value_range`, as FixMatch does.
        value_range: pair of numbers, the values of black and white. Float
            images are rounded to 256 levels between them; integer images need
            `(0, 255)`. Defaults to `(0, 255)`.
        seed: int, where draws without a seed start. Defaults to `None`.

    Example:
    >>> strong = RandAugment(variant="fixmatch", value_range=(-1, 1))
    >>> images = np.random.uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
    >>> strong(images).shape
    TensorShape([8, 32, 32, 3])

    Reference: section 3.2 of [UDA](https://arxiv.org/abs/1904.12848) and
    section 2.3 of [FixMatch](https://arxiv.org/abs/2001.07685).
    """

    def __init__(
        self,
        num_ops: int = 2,
        variant: str = "uda",
        cutout: int = 16,
        fill=None,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        if variant not in _VARIANTS:
            raise ValueError(
                f"`variant` must be one of {sorted(_VARIANTS)}. "
                f"Received: variant={variant!r}"
            )
        check_integer("num_ops", num_ops, 0)
        check_integer("cutout", cutout, 0)
        self.num_ops = num_ops
        self.variant = variant
        self.cutout = cutout
        self.fill = fill
        self.value_range = check_value_range(value_range)
        # XLA knows no partitions of unknown size.
        self.supports_jit = False

    def augment(self, images, seed):
        """Applies `num_ops` operations to every image, then cuts out."""
        fill = sum(self.value_range) / 2 if self.fill is None else self.fill
        fill = fill_values(fill, images)
        hole = ops.append(quantize(fill, self.value_range), 0)
        images = assert_scale(images, self.value_range)
        pixels = _opaque(quantize(images, self.value_range))
        shape = (self.num_ops + 1, ops.shape(images)[0], 6)
        draws = tf.random.stateless_uniform(shape, seed)
        for step in range(self.num_ops):
            pixels = self._apply_one(pixels, hole, draws[step])
        images = dequantize(_rgb(pixels), self.value_range, images.dtype)
        cut = square(pixels, self.cutout, draws[-1, :, :2])
        hidden = cut | (pixels[:, :, :, -1:] == 0)
        return ops.where(hidden, ops.cast(fill, images.dtype), images)

    def _apply_one(self, pixels, hole, draw):
        """Applies one operation to half of the images, each its own."""
        choice, skipped, magnitude, sign = ops.unstack(draw[:, :4], axis=1)
        operations = _operations(hole)
        names = [*_VARIANTS[self.variant], "identity"]
        choice = ops.cast(choice * (len(names) - 1), "int32")
        choice = ops.where(skipped < 0.5, len(names) - 1, choice)
        magnitude = 1 + ops.cast(magnitude * 9, "int32")
        magnitude = ops.where(sign < 0.5, -magnitude, magnitude)
        branches = [operations[name] for name in names]
        return switch(choice, branches, pixels, magnitude, draw[:, 4:])

    def get_config(self):
        """The arguments of this layer."""
        return {
            **super().get_config(),
            "num_ops": self.num_ops,
            "variant": self.variant,
            "cutout": self.cutout,
            "fill": self.fill,
            "value_range": self.value_range,
        }


def _operations(hole):
    """Every operation on pixels with an alpha channel, by name.

    The originals work on RGBA images: alpha is 0 where the image does not
    reach and in cut squares. Operations without alpha make such pixels opaque.

    Each takes pixels, a signed magnitude M and a position in `[0, 1)`.
    """
    return {
        "autocontrast": lambda x, m, _: _opaque(color.autocontrast(_rgb(x))),
        "brightness": _enhance(color.brightness),
        "color": _enhance(color.color),
        "contrast": _enhance(color.contrast),
        "cutout": lambda x, m, at: cutout(x, 2 * ops.abs(m), at, hole),
        "equalize": lambda x, m, _: _opaque(color.equalize(_rgb(x))),
        "identity": lambda x, m, _: x,
        "invert": lambda x, m, _: _opaque(color.invert(_rgb(x))),
        "posterize": lambda x, m, _: _opaque(
            color.posterize(_rgb(x), 4 - 4 * ops.abs(m) // 10)
        ),
        "rotate": lambda x, m, _: geometry.rotate(x, 3 * m),
        "sharpness": _enhance(filters.sharpness),
        "shear_x": lambda x, m, _: geometry.shear_x(x, _tenths(m, 0.3)),
        "shear_y": lambda x, m, _: geometry.shear_y(x, _tenths(m, 0.3)),
        "solarize": lambda x, m, _: _opaque(
            color.solarize(_rgb(x), 256 - 256 * ops.abs(m) // 10)
        ),
        "translate_x": lambda x, m, _: geometry.translate_x(x, m),
        "translate_y": lambda x, m, _: geometry.translate_y(x, m),
    }


_VARIANTS = {
    "uda": (
        *("invert", "cutout", "sharpness", "autocontrast", "posterize"),
        *("shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
        *("equalize", "contrast", "color", "solarize", "brightness"),
    ),
    "fixmatch": (
        *("identity", "sharpness", "autocontrast", "posterize", "shear_x"),
        *("shear_y", "translate_x", "translate_y", "rotate", "equalize"),
        *("contrast", "color", "solarize", "brightness"),
    ),
}


def _rgb(pixels):
    return pixels[..., :-1]


def _opaque(images):
    alpha = ops.full_like(images[..., :1], 255)
    return ops.concatenate([images, alpha], axis=-1)


def _enhance(operation):
    """An enhancer with Pillow's factor 0.1 + 0.18 M; it keeps alpha."""

    def enhanced(pixels, magnitude, _):
        factor = 0.1 + _tenths(ops.abs(magnitude), 1.8)
        images = operation(_rgb(pixels), factor)
        return ops.concatenate([images, pixels[..., -1:]], axis=-1)

    return enhanced


def _tenths(magnitude, largest):
    return ops.cast(magnitude, "float64") * largest / 10
