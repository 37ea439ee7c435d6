import keras
from keras import ops

from keras_influence.layers.recording_layer import (
    RecordingLayer,
    full_precision,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class Embedding(RecordingLayer, keras.layers.Embedding):
    """`keras.layers.Embedding` that records; takes the same arguments.

    Example:

    >>> Embedding(10, 3)(np.array([[1, 2], [3, 4]])).shape
    TensorShape([2, 2, 3])

    Reference: section 3.2 of "Not All Unlabeled Data are Equal".
    """

    @property
    def parameters(self):
        """The embeddings, frozen or not."""
        return [self.embeddings]

    def features(self, inputs):
        """The tokens as integers."""
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        wide = dtype in ("int32", "int64")
        return inputs if wide else ops.cast(inputs, "int32")

    def linear(self, features, embeddings):
        """The rows of the embeddings that the tokens name."""
        return ops.take(embeddings, features, axis=0)

    def readout(self, outputs):
        """The compute dtype."""
        return ops.cast(outputs, self.compute_dtype)

    @full_precision
    def per_example_gradients(self, features, gradients):
        """Output gradients, added up at their tokens."""
        tokens, rows = self._sequences(features, gradients)
        size = ops.shape(tokens)[0]
        offsets = self.input_dim * ops.arange(size, dtype=tokens.dtype)
        summed = ops.segment_sum(
            ops.reshape(rows, (-1, self.output_dim)),
            ops.reshape(tokens + offsets[:, None], (-1,)),
            num_segments=size * self.input_dim,
        )
        return [ops.reshape(summed, (-1, self.input_dim, self.output_dim))]

    @full_precision
    def gram(self, features, gradients, other_features, other_gradients):
        """`Σ_ts [token_t = token'_s] ⟨δ_t, δ'_s⟩`: no table is built."""
        tokens, rows = self._sequences(features, gradients)
        others, columns = self._sequences(other_features, other_gradients)
        same = ops.equal(tokens[:, None, :, None], others[None, :, None, :])
        products = ops.einsum("ntd,msd->nmts", rows, columns)
        return ops.sum(products * ops.cast(same, products.dtype), axis=(2, 3))

    def _sequences(self, features, gradients):
        """Tokens as `(batch, time)`, gradients as `(batch, time, dim)`."""
        size = ops.shape(features)[0]
        tokens = ops.reshape(features, (size, -1))
        return tokens, ops.reshape(gradients, (size, -1, self.output_dim))
