"""Neighbourhood operations on batches of images, in Pillow's arithmetic."""

import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.augmentation.color import blend

_SMOOTH = np.ones((3, 3), "float32")
_SMOOTH[1, 1] = 5.0
_BLUR = np.ones((5, 5), "float32")
_BLUR[1:4, 1:4] = 0.0


def smooth(images: tf.Tensor) -> tf.Tensor:
    """Pillow's `ImageFilter.SMOOTH`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.

    Example:
    >>> images = np.zeros((1, 3, 3, 1), "uint8")
    >>> images[0, 1, 1] = 130
    >>> int(smooth(images)[0, 1, 1, 0])
    50
    """
    return _filter(images, _SMOOTH)


def blur(images: tf.Tensor) -> tf.Tensor:
    """Pillow's `ImageFilter.BLUR`: the mean of the ring two pixels away.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
    """
    return _filter(images, _BLUR)


def sharpness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Smooth (factor 0), the images (1), or sharper: `ImageEnhance`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        factor: float tensor of shape `(n,)`.
    """
    return blend(smooth(images), images, factor)


def _filter(images, kernel):
    images = ops.convert_to_tensor(images)
    size, channels = len(kernel), images.shape[-1]
    kernel = np.repeat(kernel[:, :, None, None] / kernel.sum(), channels, 2)
    filtered = ops.depthwise_conv(
        ops.cast(images, "float32"), kernel, padding="same"
    )
    filtered = ops.cast(ops.floor(filtered + 0.5), "uint8")
    # Pillow leaves alone the pixels whose neighbourhood is incomplete.
    rows, columns = (
        _complete(ops.shape(images)[axis], size // 2) for axis in (1, 2)
    )
    return ops.where(rows[:, None, None] & columns[:, None], filtered, images)


def _complete(length, radius):
    place = ops.arange(length)
    return (place >= radius) & (place < length - radius)
