"""Geometric operations on batches of images, in Pillow's arithmetic."""

import math

import tensorflow as tf
from keras import ops

from keras_influence.augmentation.switch import switch


def pixels_at(
    images: tf.Tensor, rows: tf.Tensor, columns: tf.Tensor
) -> tf.Tensor:
    """Builds images whose pixel `(y, x)` is `images[rows, columns]` there.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        rows: int32 tensor that broadcasts to `(n, h, w)`, in `[0, h)`.
        columns: int32 tensor that broadcasts to `(n, h, w)`, in `[0, w)`.

    Returns:
        Tensor of shape `(n, h, w, c)`.
    """
    n, h, w, c = ops.shape(images)
    flat = ops.reshape(images, (n, h * w, c))
    index = ops.reshape(rows * w + columns, (n, h * w))
    return ops.reshape(tf.gather(flat, index, batch_dims=1), (n, h, w, c))


def affine(images: tf.Tensor, matrix: tf.Tensor) -> tf.Tensor:
    """Maps every output pixel to its nearest input pixel; black outside.

    Coordinates are computed in 16-bit fixed point, as in Pillow, so that ties
    between two pixels fall the same way.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        matrix: float64 tensor of shape `(n, 6)`, rows `(a, b, c, d, e, f)`:
            the output pixel `(x, y)` shows the input at
            `(a x + b y + c, d x + e y + f)`.

    Returns:
        Tensor of shape `(n, h, w, c)`.

    Reference: `PIL.Image.transform` with `AFFINE` and `NEAREST`.
    """
    h, w = ops.shape(images)[1:3]
    matrix = matrix[:, :, None, None]
    columns = _coordinate(matrix[:, :3], h, w)
    rows = _coordinate(matrix[:, 3:], h, w)
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    moved = pixels_at(
        images, ops.clip(rows, 0, h - 1), ops.clip(columns, 0, w - 1)
    )
    return moved * ops.cast(inside[..., None], moved.dtype)


def rotate(images: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Rotates counter-clockwise around the center: `Image.rotate`.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        degrees: tensor of shape `(n,)`.
    """
    h, w = (ops.cast(size, "float64") / 2 for size in ops.shape(images)[1:3])
    angle = -ops.cast(degrees, "float64") * (math.pi / 180)
    cos, sin = ops.cos(angle), ops.sin(angle)
    matrix = [
        *(cos, sin, w - cos * w - sin * h),
        *(-sin, cos, h + sin * w - cos * h),
    ]
    return affine(images, ops.stack(matrix, axis=1))


def shear_x(images: tf.Tensor, shear: tf.Tensor) -> tf.Tensor:
    """Moves every row sideways by `shear` times its height.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        shear: tensor of shape `(n,)`.
    """
    return _moved(images, 1, shear)


def shear_y(images: tf.Tensor, shear: tf.Tensor) -> tf.Tensor:
    """Moves every column up or down by `shear` times its distance.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        shear: tensor of shape `(n,)`.
    """
    return _moved(images, 3, shear)


def translate_x(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Moves images to the left by `pixels`, to the right if negative.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        pixels: tensor of shape `(n,)`.

    Example:
    >>> images = np.arange(1, 4, dtype="uint8").reshape((1, 1, 3, 1))
    >>> translate_x(images, [1]).numpy().ravel()
    array([2, 3, 0], dtype=uint8)
    """
    return _moved(images, 2, pixels)


def translate_y(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Moves images up by `pixels`, down if negative.

    Args:
        images: tensor of shape `(n, h, w, c)`.
        pixels: tensor of shape `(n,)`.
    """
    return _moved(images, 5, pixels)


def rescale(
    images: tf.Tensor, margin: tf.Tensor, method: tf.Tensor
) -> tf.Tensor:
    """Crops a margin off every side and resizes to the original size.

    Args:
        images: uint8 tensor of shape `(n, h, w, c)`.
        margin: float tensor of shape `(n,)`, in shares of the size; below 0.5.
        method: int32 tensor of shape `(n,)`, one of Pillow's filters: 0
            Lanczos, 1 bicubic, 2 bilinear, 3 box, 4 Hamming, 5 nearest.

    Returns:
        uint8 tensor of shape `(n, h, w, c)`.

    Reference: `PIL.Image.crop`, then `PIL.Image.resize`.
    """
    h, w = ops.shape(images)[1:3]
    rows = _resampling(h, margin, method)
    columns = _resampling(w, margin, method)
    images = ops.cast(images, "float64")
    images = _rounded(ops.einsum("nij,nyjc->nyic", columns, images))
    images = _rounded(ops.einsum("nij,njxc->nixc", rows, images))
    return ops.cast(images, "uint8")


def _coordinate(row, h, w):
    """`a x + b y + c` at pixel centers, rounded down to whole pixels."""
    a, b, c = (
        ops.cast(ops.floor(v * 65536 + 0.5), "int32")
        for v in (row[:, 0], row[:, 1], row[:, 2] + (row[:, 0] + row[:, 1]) / 2)
    )
    x, y = ops.arange(w, dtype="int32"), ops.arange(h, dtype="int32")
    return ops.right_shift(a * x + b * y[:, None] + c, 16)


def _moved(images, entry, value):
    """`affine` with the identity but for one entry of the matrix."""
    value = ops.cast(value, "float64")
    matrix = [ops.full_like(value, v) for v in (1, 0, 0, 0, 1, 0)]
    matrix[entry] = value
    return affine(images, ops.stack(matrix, axis=1))


def _rounded(values):
    return ops.clip(ops.floor(values + 0.5), 0.0, 255.0)


def _resampling(size, margin, method):
    """Weights of input pixels (last axis) in output pixels, `(n, s, s)`."""
    margin = ops.cast(margin, "float64")[:, None]
    length, pixels = (
        ops.cast(size, "float64"),
        ops.arange(size, dtype="float64"),
    )
    low, high = ops.round(margin * length), ops.round((1 - margin) * length)
    scale = (high - low) / length
    centers = (pixels + 0.5) * scale
    # Pillow steps through the nearest pixels: ties fall by its rounding error.
    steps = ops.where(pixels == 0, scale * 0.5, scale)
    nearest = ops.equal(method, _NEAREST)[:, None]
    centers = ops.where(nearest, ops.cumsum(steps, axis=1), centers)
    place = (pixels - low)[:, None, :]
    weights = switch(method, _KERNELS, place + 0.5 - centers[:, :, None])
    inside = (place >= 0) & (place < (high - low)[..., None])
    weights = ops.where(inside, weights, ops.zeros_like(weights))
    weights = weights / ops.sum(weights, axis=-1, keepdims=True)
    # Pillow's fixed point, so that half levels round the same way.
    return ops.round(weights * 2**22) / 2**22


def _lanczos(x):
    return ops.where(ops.abs(x) < 3.0, ops.sinc(x) * ops.sinc(x / 3.0), 0.0)


def _bicubic(x):
    x = ops.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = ((x - 5.0) * x + 8.0) * x * -0.5 + 2.0
    return ops.where(x < 1.0, near, ops.where(x < 2.0, far, 0.0))


def _bilinear(x):
    return ops.maximum(1.0 - ops.abs(x), 0.0)


def _box(x):
    return ops.cast((x > -0.5) & (x <= 0.5), x.dtype)


def _hamming(x):
    window = 0.54 + 0.46 * ops.cos(math.pi * x)
    return ops.where(ops.abs(x) < 1.0, ops.sinc(x) * window, 0.0)


# Enlarging, the box filter picks the nearest pixel.
_KERNELS = (_lanczos, _bicubic, _bilinear, _box, _hamming, _box)
_NEAREST = 5
