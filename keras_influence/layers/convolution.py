import keras
import tensorflow as tf
from keras import ops

from keras_influence.layers.affine import Affine
from keras_influence.layers.recording_layer import full_precision


class _Convolution(Affine):
    def apply_kernel(self, features, kernel):
        return self.convolution_op(features, kernel)

    def linear(self, features, kernel, bias=None):
        if bias is not None and self.data_format == "channels_first":
            bias = ops.reshape(bias, (-1, 1, 1))
        return super().linear(features, kernel, bias)

    @full_precision
    def per_example_gradients(self, features, gradients):
        """A dense layer's on patches: `vectorized_map` would loop here."""
        if self.data_format == "channels_first":
            features = ops.moveaxis(features, 1, -1)
            gradients = ops.moveaxis(gradients, 1, -1)
        patches = self._patches(features)
        gradients = ops.reshape(
            gradients,
            (*ops.shape(patches)[:2], self.groups, -1),
        )
        kernels = ops.einsum("ntkgc,ntgf->nkcgf", patches, gradients)
        found = [ops.reshape(kernels, (-1, *self.kernel.shape))]
        if self.bias is not None:
            biases = ops.sum(gradients, axis=1)
            found.append(ops.reshape(biases, (-1, *self.bias.shape)))
        return found

    def _patches(self, images):
        """`(batch, positions, kernel positions, groups, channels)`."""
        # `ops.image.extract_patches` multiplies by an identity matrix.
        patches = tf.image.extract_patches(
            images,
            sizes=(1, *self.kernel_size, 1),
            strides=(1, *self.strides, 1),
            rates=(1, *self.dilation_rate, 1),
            padding=self.padding.upper(),
        )
        size, height, width, _ = ops.shape(patches)
        channels = images.shape[-1] // self.groups
        return ops.reshape(
            patches, (size, height * width, -1, self.groups, channels)
        )


@keras.saving.register_keras_serializable(package="keras_influence")
class Conv2D(_Convolution, keras.layers.Conv2D):
    """`keras.layers.Conv2D` that records; takes the same arguments.

    Example:

    >>> Conv2D(3, 2, strides=2)(np.ones((2, 8, 8, 5), "float32")).shape
    TensorShape([2, 4, 4, 3])

    Reference: appendix B, "Convolutional Layer".
    """


@keras.saving.register_keras_serializable(package="keras_influence")
class DepthwiseConv2D(_Convolution, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` that records; takes the same arguments.

    Example:

    >>> DepthwiseConv2D(2, strides=2)(np.ones((2, 8, 8, 5), "float32")).shape
    TensorShape([2, 4, 4, 5])

    Reference: appendix B, "Convolutional Layer".
    """

    @property
    def groups(self):
        """Every channel is a group of its own."""
        return self.kernel.shape[-2]

    def convolution_op(self, inputs, kernel):
        """The depthwise convolution without bias and activation."""
        return ops.depthwise_conv(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
            data_format=self.data_format,
        )
