"""Second derivatives that TensorFlow lacks, or takes for 0."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from keras_influence.shared_setting import SharedSetting


@contextlib.contextmanager
def with_second_derivatives() -> Iterator[None]:
    """Lets functions of TensorFlow be differentiated twice.

    Within the context `tf.nn.moments`, and with it every normalisation, and
    bilinear `tf.image.resize` compute what they do by operations whose second
    derivatives are right.
    """
    with _MOMENTS, _RESIZE:
        yield


def _moments(x, axes, shift=None, keepdims=False, name=None):
    """Without TensorFlow's `stop_gradient` around the mean.

    The derivative that it stops is 0, and the second is not.
    """
    del shift, name
    half = x.dtype in (tf.float16, tf.bfloat16)
    values = tf.cast(x, tf.float32) if half else x
    mean = tf.reduce_mean(values, axes, keepdims=True)
    squares = tf.math.squared_difference(values, mean)
    variance = tf.reduce_mean(squares, axes, keepdims=keepdims)
    if not keepdims:
        mean = tf.reshape(mean, tf.shape(variance))
        mean.set_shape(variance.shape)
    return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)


def _resize(images, size, method="bilinear", *args, **kwargs):
    """Bilinear resizing as two matrix products.

    TensorFlow takes the gradient of its own for not differentiable.
    """
    images = tf.convert_to_tensor(images)
    if method != "bilinear" or args or any(kwargs.values()):
        return _tf_resize(images, size, method, *args, **kwargs)
    if len(images.shape) != 4:
        return _tf_resize(images, size, method)
    shape = tf.shape(images)
    rows, columns = (_weights(shape[i], size[i - 1]) for i in (1, 2))
    images = tf.cast(images, tf.float32)
    resized = tf.einsum("mh,bhwc,kw->bmkc", rows, images, columns)
    lengths = (tf.get_static_value(size[i]) for i in (0, 1))
    resized.set_shape([images.shape[0], *lengths, images.shape[3]])
    return resized


def _weights(length, resized):
    """The matrix `(resized, length)` that resizes along one axis."""
    unit = tf.eye(length)[None, :, :, None]
    return _tf_resize(unit, (resized, length))[0, :, :, 0]


_tf_resize = tf.image.resize
_MOMENTS = SharedSetting(
    lambda: tf.nn.moments,
    lambda function: setattr(tf.nn, "moments", function),
    _moments,
)
_RESIZE = SharedSetting(
    lambda: tf.image.resize,
    lambda function: setattr(tf.image, "resize", function),
    _resize,
)


def _of_resizing(resize: Callable) -> Callable:
    """The gradient of resizing is linear, and resizing its transpose."""

    def gradient(op: Any, upstream: tf.Tensor) -> tuple:
        resized = resize(
            images=upstream,
            size=tf.shape(op.inputs[0])[1:3],
            align_corners=op.get_attr("align_corners"),
            half_pixel_centers=op.get_attr("half_pixel_centers"),
        )
        return tf.cast(resized, op.inputs[0].dtype), None

    return gradient


def _of_softsign(op: Any, upstream: tf.Tensor) -> tuple:
    """Of `gradients / (1 + |features|)²`."""
    gradients, features = op.inputs
    size = 1 + tf.abs(features)
    slope = -2 * tf.sign(features) * gradients / size**3
    return upstream / size**2, upstream * slope


def _register(op, gradient):
    # A later TensorFlow may have one of its own.
    with contextlib.suppress(KeyError):
        tf.RegisterGradient(op)(gradient)


_register("ResizeBicubicGrad", _of_resizing(tf.raw_ops.ResizeBicubic))
_register(
    "ResizeNearestNeighborGrad", _of_resizing(tf.raw_ops.ResizeNearestNeighbor)
)
_register("SoftsignGrad", _of_softsign)
