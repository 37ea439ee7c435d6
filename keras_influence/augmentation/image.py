"""What every image augmentation layer shares."""

import keras
import tensorflow as tf
from keras import ops

from keras_influence.augmentation.seeded import SeededLayer


class ImageAugmentation(SeededLayer):
    """Base class of layers that augment a batch, each image on its own.

    Subclass it and write `augment(images, seed)`, a pure function.

    Args:
        seed: int, where the draws start that are made without a seed of their
            own. Defaults to `None`, a random start that
            `keras.utils.set_random_seed` fixes.
    """

    def augment(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Augments `(n, h, w, c)` images, drawing from `seed` only."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement `augment(images, seed)`."
        )

    def call(self, images, seed=None, training=True):
        """Augments a batch.

        Args:
            images: tensor of shape `(n, h, w, c)`.
            seed: int32 tensor of shape `(2,)`. With it the result is a pure
                function of `images` and `seed`, though XLA draws otherwise
                than TensorFlow. Defaults to `None`: every call draws anew.
            training: bool; `False` returns the images as they are. Defaults
                to `True`.

        Returns:
            Tensor of the shape and dtype of `images`.
        """
        if not training:
            return images
        if len(images.shape) != 4 or images.shape[-1] is None:
            raise ValueError(
                f"`{type(self).__name__}` expects a batch of images of shape "
                "(n, height, width, channels) whose number of channels is "
                f"known. Received images of shape {images.shape}. Put `map` "
                "after `batch`."
            )
        return self.augment(images, self.next_seed(seed))

    def compute_output_shape(self, input_shape):
        """The shape of the images."""
        return input_shape


def check_value_range(value_range) -> tuple:
    """`value_range` as a tuple; raises unless it is `(low, high)`."""
    if len(value_range) != 2 or not value_range[0] < value_range[1]:
        raise ValueError(
            "`value_range` must be (low, high), the values of black and "
            f"white. Received: value_range={value_range}"
        )
    return tuple(value_range)


def assert_scale(images: tf.Tensor, value_range: tuple) -> tf.Tensor:
    """The images themselves, unless they are fractions where levels should be.

    Gray levels from 0 to 1 would be two levels out of 256.

    Args:
        images: tensor of images.
        value_range: pair of numbers, the values of black and white.

    Raises:
        tf.errors.InvalidArgumentError: if all of a batch is at most 1, some of
            it between 0 and 1, and white is far above.
    """
    images = ops.convert_to_tensor(images)
    low, high = value_range
    if images.dtype.is_integer or high - low < 16:
        return images
    fractions = ops.any((images > 0) & (images < 1))
    check = tf.raw_ops.Assert(
        condition=~(fractions & ops.all(images <= 1)),
        data=[
            f"Images must have values of `value_range`, {low} to {high}. "
            "Received: a batch of numbers up to",
            ops.max(images),
            "with fractions. For images from 0 to 1 set value_range=(0, 1).",
        ],
    )
    with tf.control_dependencies([check]):
        return tf.identity(images)


def quantize(images: tf.Tensor, value_range: tuple) -> tf.Tensor:
    """Images as uint8 gray levels, rounded.

    Args:
        images: float tensor within `value_range`, or integers in 0..255; what
            is outside becomes black or white.
        value_range: pair of numbers, the values of black and white.

    Raises:
        ValueError: integer images whose range is not `(0, 255)`.
    """
    images = ops.convert_to_tensor(images)
    low, high = value_range
    if images.dtype.is_integer:
        if (low, high) != (0, 255):
            raise ValueError(
                f"Images of dtype {images.dtype.name} are gray levels 0 to "
                f"255. Received: value_range={value_range}. Use (0, 255), or "
                "scale the images first."
            )
        if images.dtype != tf.uint8:
            images = ops.clip(images, 0, 255)
        return ops.cast(images, "uint8")
    levels = (ops.cast(images, "float32") - low) * (255.0 / (high - low))
    return ops.cast(ops.clip(ops.round(levels), 0.0, 255.0), "uint8")


def dequantize(levels: tf.Tensor, value_range: tuple, dtype) -> tf.Tensor:
    """The inverse of `quantize`.

    Args:
        levels: uint8 tensor.
        value_range: pair of numbers, the values of black and white.
        dtype: of the result.
    """
    dtype = keras.backend.standardize_dtype(dtype)
    if keras.backend.is_int_dtype(dtype):
        return ops.cast(levels, dtype)
    low, high = value_range
    values = ops.cast(levels, "float32") * ((high - low) / 255.0) + low
    return ops.cast(values, dtype)
