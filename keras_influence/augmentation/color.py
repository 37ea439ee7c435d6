"""Color operations on batches of images, in Pillow's arithmetic."""

import tensorflow as tf
from keras import ops

# ITU-R 601 luma in 16-bit fixed point, as Pillow's convert("L").
_LUMA = (19595.0, 38470.0, 7471.0)


def blend(start: tf.Tensor, end: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Goes from `start` (amount 0) to `end` (amount 1) and beyond.

    Args:
        start: uint8 tensor of shape `(n, h, w, c)`.
        end: uint8 tensor of the same shape.
        amount: float, or float tensor of shape `(n,)`.

    Returns:
        uint8 tensor of the same shape.

    Reference: `PIL.Image.blend`.
    """
    amount = ops.reshape(ops.cast(amount, "float32"), (-1, 1, 1, 1))
    start, end = ops.cast(start, "float32"), ops.cast(end, "float32")
    return _levels(start + amount * (end - start))


def gray(images: tf.Tensor) -> tf.Tensor:
    """Luma of every pixel, `(n, h, w, 1)`; gray images are their own.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`, 1 or 3 channels.
    """
    channels = images.shape[-1]
    if channels == 1:
        return images
    if channels != 3:
        raise ValueError(
            "Color operations need images of 1 or 3 channels. Received images "
            f"of shape {tuple(images.shape)}: convert them to RGB."
        )
    luma = ops.sum(ops.cast(images, "float32") * _LUMA, -1, keepdims=True)
    return _levels((luma + 32768.0) / 65536.0)


def brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Black (factor 0), the images (1), or brighter: `ImageEnhance`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        factor: float tensor of shape `(n,)`.

    Example:
    >>> images = np.full((1, 1, 1, 3), 100, "uint8")
    >>> brightness(images, [1.5]).numpy().ravel()
    array([150, 150, 150], dtype=uint8)
    """
    return blend(ops.zeros_like(images), images, factor)


def color(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Gray (factor 0), the images (1), or more saturated: `ImageEnhance`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        factor: float tensor of shape `(n,)`.
    """
    return blend(gray(images), images, factor)


def contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Mean luma (factor 0), the images (1), or more contrast: `ImageEnhance`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        factor: float tensor of shape `(n,)`.
    """
    luma = ops.cast(gray(images), "float32")
    mean = ops.mean(luma, axis=(1, 2, 3), keepdims=True)
    return blend(_levels(mean + 0.5), images, factor)


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches every channel to the range 0..255: `ImageOps`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
    """
    low = ops.min(images, axis=(1, 2), keepdims=True, initial=255)
    high = ops.max(images, axis=(1, 2), keepdims=True, initial=0)
    constant = high <= low
    # In Pillow's precision and order, as a level hangs on the last digit.
    low = ops.where(constant, 0.0, ops.cast(low, "float64"))
    high = ops.where(constant, 255.0, ops.cast(high, "float64"))
    scale = 255.0 / (high - low)
    return _levels(ops.cast(images, "float64") * scale - low * scale)


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Makes every channel's histogram as flat as it gets: `ImageOps`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
    """
    shape = ops.shape(images)
    channels = ops.reshape(
        ops.cast(ops.transpose(images, (0, 3, 1, 2)), "int32"),
        (shape[0] * shape[3], shape[1] * shape[2]),
    )
    table = _equalizing_table(channels)
    channels = tf.gather(table, channels, batch_dims=1)
    channels = ops.reshape(channels, (shape[0], shape[3], shape[1], shape[2]))
    return ops.transpose(channels, (0, 2, 3, 1))


def _equalizing_table(channels):
    """New value of each of the 256 old ones, a row per channel."""
    counts = tf.math.bincount(channels, minlength=256, maxlength=256, axis=-1)
    below = ops.cumsum(counts, axis=-1) - counts
    # The brightest value in use takes no part in the step between values.
    brightest = ops.max(channels, axis=-1, keepdims=True, initial=0)
    step = tf.gather(below, brightest, batch_dims=1) // 255
    table = (below + step // 2) // ops.maximum(step, 1)
    table = ops.where(step > 0, table, ops.arange(256, dtype="int32"))
    return ops.cast(ops.minimum(table, 255), "uint8")


def invert(images: tf.Tensor) -> tf.Tensor:
    """Negatives: `ImageOps`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
    """
    return 255 - images


def posterize(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keeps the highest `bits` of every value: `ImageOps`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        bits: int tensor of shape `(n,)`, values 0 to 8.
    """
    dropped = ops.cast(8 - ops.convert_to_tensor(bits), "int32")
    mask = ops.left_shift(255, ops.reshape(dropped, (-1, 1, 1, 1)))
    return ops.cast(ops.cast(images, "int32") & mask, "uint8")


def solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Inverts every value at or above `threshold`: `ImageOps`.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        threshold: int tensor of shape `(n,)`, values 0 to 256.
    """
    threshold = ops.reshape(ops.cast(threshold, "int32"), (-1, 1, 1, 1))
    bright = ops.cast(images, "int32") >= threshold
    return images ^ (255 * ops.cast(bright, "uint8"))


def _levels(values):
    """Pillow truncates to whole gray levels."""
    return ops.cast(ops.clip(values, 0.0, 255.0), "uint8")
