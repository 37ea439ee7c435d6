"""Cutout: a square of one color, anywhere, also over the border."""

import keras
import tensorflow as tf
from keras import ops

from keras_influence.augmentation.image import ImageAugmentation
from keras_influence.data.checks import check_integer


def cutout(images: tf.Tensor, size, position: tf.Tensor, fill) -> tf.Tensor:
    """Fills a square in every image, clipped at the border.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        size: int, or int32 tensor of shape `(n,)`, in pixels.
        position: float tensor of shape `(n, 2)` in `[0, 1)`: the center, in
            shares of height and width.
        fill: number, or sequence of one per channel.

    Returns:
        Tensor of the shape and dtype of `images`.

    Example:
    >>> cutout(np.ones((1, 1, 4, 1)), 2, [[0.0, 0.5]], 0).numpy().ravel()
    array([1., 0., 0., 1.])
    """
    images = ops.convert_to_tensor(images)
    inside = square(images, size, position)
    return ops.where(inside, ops.cast(fill, images.dtype), images)


def square(images: tf.Tensor, size, position: tf.Tensor) -> tf.Tensor:
    """Which pixels `cutout` fills: bool tensor of shape `(n, h, w, 1)`."""
    h, w = ops.shape(images)[1:3]
    size = ops.reshape(ops.cast(size, "int32"), (-1, 1))
    position = ops.convert_to_tensor(position)
    rows = _within(h, size, position[:, :1])[:, :, None]
    columns = _within(w, size, position[:, 1:])[:, None, :]
    return (rows & columns)[..., None]


def fill_values(fill, images: tf.Tensor) -> tf.Tensor:
    """`fill` as a float32 tensor of one value per channel of the images."""
    channels = images.shape[-1]
    fill = ops.cast(fill, "float32")
    if tuple(fill.shape) not in ((), (1,), (channels,)):
        raise ValueError(
            f"`fill` must be a number or one per channel ({channels} here). "
            f"Received: {fill.shape[0]} values."
        )
    return ops.broadcast_to(fill, (channels,))


def _within(length, size, center):
    """Whether each of `length` places lies in the box, `(n, length)`."""
    center = ops.cast(center * ops.cast(length, center.dtype), "int32")
    place = ops.arange(length, dtype="int32")
    start = center - size // 2
    return (place >= start) & (place < start + size)


@keras.saving.register_keras_serializable(package="keras_influence")
class Cutout(ImageAugmentation):
    """Fills a square at a random place, one draw an image.

    The center is uniform over the image and the square is clipped at the
    border; `keras.layers.RandomErasing` keeps its box inside.

    Args:
        size: int, side of the square in pixels. Defaults to `16`.
        fill: number or sequence of one per channel, in the units of the
            images. Defaults to `0`, the mean of normalised images.
        seed: int, where draws without a seed start. Defaults to `None`.

    Example:
    >>> images = np.ones((8, 32, 32, 3), "float32")
    >>> Cutout(16)(images).shape
    TensorShape([8, 32, 32, 3])

    Reference: [DeVries and Taylor, 2017](https://arxiv.org/abs/1708.04552).
    """

    def __init__(self, size: int = 16, fill=0, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        check_integer("size", size, 0)
        self.size = size
        self.fill = fill

    def augment(self, images, seed):
        """Cuts one square out of every image."""
        position = tf.random.stateless_uniform((ops.shape(images)[0], 2), seed)
        fill = fill_values(self.fill, images)
        return cutout(images, self.size, position, fill)

    def get_config(self):
        """The arguments of this layer."""
        return {**super().get_config(), "size": self.size, "fill": self.fill}
