"""Views of images and texts, drawn anew for every batch from a seed."""

import tensorflow as tf

from applications.image_views import ct_augment, rand_augment, weak_augment
from applications.text_views import back_translation, original, tfidf
from keras_influence.augmentation.cutout import cutout

__all__ = [
    "back_translation",
    "ct_augment",
    "original",
    "rand_augment",
    "shift",
    "shift_noise_cutout",
    "tfidf",
    "weak_augment",
]


def shift(pixels: int = 1):
    """Moves every image by up to `pixels` in each direction.

    Args:
        pixels: int, the largest shift. Defaults to `1`.

    Returns:
        A function of a batch of images and a seed.
    """

    def view(images, seed):
        count, height, width = images.shape[:3]
        margins = [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]
        padded = tf.pad(images, margins)
        offset = tf.random.stateless_uniform(
            (count, 2), seed, maxval=2 * pixels + 1, dtype=tf.int32
        )
        rows = offset[:, :1] + tf.range(height)
        columns = offset[:, 1:] + tf.range(width)
        padded = tf.gather(padded, rows, axis=1, batch_dims=1)
        return tf.gather(padded, columns, axis=2, batch_dims=1)

    return view


def shift_noise_cutout(pixels: int = 1, noise: float = 0.2, size: int = 3):
    """Moves every image, adds noise and blanks one square.

    Args:
        pixels: int, the largest shift. Defaults to `1`.
        noise: float, standard deviation of the noise. Defaults to `0.2`.
        size: int, side of the blank square in pixels. Defaults to `3`.

    Returns:
        A function of a batch of images and a seed.
    """
    move = shift(pixels)

    def view(images, seed):
        seeds = tf.random.split(seed, 3)
        images = move(images, seeds[0])
        images += tf.random.stateless_normal(
            tf.shape(images), seeds[1], stddev=noise
        )
        return _cut_inside(images, size, seeds[2])

    return view


def _cut_inside(images, size, seed):
    """Blanks a square at a random place of each image, never cut off."""
    lengths = tf.cast(images.shape[1:3], "float32")
    corner = tf.random.stateless_uniform((images.shape[0], 2), seed)
    corner = tf.floor(corner * (lengths - size + 1))
    return cutout(images, size, (corner + size // 2 + 0.5) / lengths, 0)
