import keras
from keras import ops

from keras_influence.layers.recording_layer import (
    RecordingLayer,
    full_precision,
    is_recording,
    record,
)


class _Normalization(RecordingLayer):
    """`gamma * features + beta`, where the features are what was normalised.

    The stock layer computes the outputs in one go, so the features are
    computed beside it, and only while recording.
    """

    @property
    def parameters(self):
        """Those of `gamma` and `beta` that the layer has, frozen or not."""
        return [p for p in (self.gamma, self.beta) if p is not None]

    def features(self, inputs, **kwargs):
        """The stock outputs for `gamma = 1` and `beta = 0`."""
        values = [] if self.gamma is None else [(self.gamma, 1.0)]
        values += [] if self.beta is None else [(self.beta, 0.0)]
        plain = [(p, ops.full(p.shape, v, p.dtype)) for p, v in values]
        # The scope drops the update of the moving statistics.
        with keras.StatelessScope(plain):
            return self._stock_call(inputs, **kwargs)

    def linear(self, features, *parameters):
        """What `gamma` and `beta` multiply, summed."""
        shape = self._broadcast_shape(features)
        return sum(
            factor * ops.reshape(p, shape)
            for factor, p in zip(
                self._factors(features), parameters, strict=True
            )
        )

    def call(self, inputs, **kwargs):
        """The stock layer; keeps features and outputs while recording."""
        features = self.features(inputs, **kwargs) if is_recording() else None
        outputs = self._stock_call(inputs, **kwargs)
        record(self, features, outputs)
        return outputs

    @full_precision
    def per_example_gradients(self, features, gradients):
        """Output gradients times what `gamma` and `beta` multiply."""
        shape = self._broadcast_shape(features)
        axes = [i for i, size in enumerate(shape) if i and size == 1]
        return [
            ops.reshape(ops.sum(gradients * factor, axes), (-1, *p.shape))
            for factor, p in zip(
                self._factors(features), self.parameters, strict=True
            )
        ]

    def _stock_call(self, inputs, **kwargs):
        return super(RecordingLayer, self).call(inputs, **kwargs)

    def _factors(self, features):
        factors = [] if self.gamma is None else [features]
        return factors + (
            [] if self.beta is None else [ops.ones_like(features)]
        )

    def _broadcast_shape(self, features):
        shape = [1] * len(features.shape)
        for axis in self.axis if isinstance(self.axis, list) else [self.axis]:
            shape[axis] = features.shape[axis]
        return shape


@keras.saving.register_keras_serializable(package="keras_influence")
class BatchNormalization(_Normalization, keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` that records; the same arguments.

    In inference mode an example's gradient is that of its own loss. In
    training mode batch statistics couple the examples and no loss is one
    example's own: with `δ_n` the gradient of the whole batch's loss at the
    outputs of example `n`, its gradient is that example's share
    `(Σ δ_n x̂_n, Σ δ_n)` of the batch's gradient for `(gamma, beta)`. The
    shares sum to it.

    Example:

    >>> BatchNormalization()(np.ones((2, 8, 8, 5), "float32")).shape
    TensorShape([2, 8, 8, 5])

    Reference: appendix B, "Batch-norm Layer".
    """

    def call(self, inputs, training=None, mask=None):
        """As the stock layer."""
        return super().call(inputs, training=training, mask=mask)


@keras.saving.register_keras_serializable(package="keras_influence")
class LayerNormalization(_Normalization, keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization` that records; the same arguments.

    Example:

    >>> LayerNormalization()(np.ones((2, 4, 5), "float32")).shape
    TensorShape([2, 4, 5])

    Reference: appendix B, "Batch-norm Layer".
    """
