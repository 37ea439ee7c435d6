import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.augmentation.seeded import SeededLayer


@keras.saving.register_keras_serializable(package="keras_influence")
class TfIdfReplacement(SeededLayer):
    """Replaces the tokens of a text that say little about it by others.

    `adapt` learns the inverse document frequency of every token,
    `idf(w) = ln(N / df(w))`, and how much it says in all,
    `S(w) = Σ over documents of tf·idf`. Token `i` of a document of `L` tokens,
    with `s_i = tf_i·idf_i`, is then replaced with the probability

        P_i = token_prob · L · (max s - s_i) / Σ_j (max s - s_j)

    but at most 1, so that `token_prob` is the share of tokens that are
    replaced. The replacement is drawn in proportion to `max S - S(w)` from the
    tokens that `adapt` has seen. Every token is drawn for on its own.

    Special tokens and padding are never replaced, drawn or counted. A document
    whose tokens all say equally much stays as it is.

    Args:
        vocabulary_size: integer, the number of token ids.
        special_ids: sequence of integers, tokens that are no words, such as a
            tokenizer's `special_token_ids`. Defaults to `()`.
        token_prob: float in [0, 1], the expected share of replaced tokens.
            Defaults to `0.7`.
        seed: int, where draws without a seed start. Defaults to `None`.

    Call arguments:
        inputs: dict with `"token_ids"`, integers of shape `(n, length)`, and
            `"padding_mask"`, true at tokens, of the same shape; whatever else
            it holds is handed on.
        seed: int32 tensor of shape `(2,)`. With it the result is a pure
            function of `inputs` and `seed`. Defaults to `None`: every call
            draws anew.
        training: bool; `False` returns the inputs as they are. Defaults to
            `True`.

    Example:
    >>> token_ids = np.array([[101, 5, 6, 7, 102, 0], [101, 5, 8, 5, 9, 102]])
    >>> texts = {"token_ids": token_ids, "padding_mask": token_ids != 0}
    >>> strong = TfIdfReplacement(110, special_ids=(0, 101, 102))
    >>> strong.adapt(texts)
    >>> strong.replacement_probabilities(texts)[0].numpy()
    array([0., 1., 0., 0., 0., 0.], dtype=float32)
    >>> strong(texts, seed=(1, 2))["token_ids"].shape
    TensorShape([2, 6])

    The statistics are saved with the layer:

    >>> keras.saving.save_model(strong, "strong.keras")  # doctest: +SKIP

    Reference: Xie et al. (2020), "Unsupervised Data Augmentation for
    Consistency Training", section 2.2 and appendix.
    """

    def __init__(
        self,
        vocabulary_size: int,
        special_ids=(),
        token_prob: float = 0.7,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        if not 0 <= token_prob <= 1:
            raise ValueError(
                "`token_prob` must be in [0, 1]. "
                f"Received: token_prob={token_prob}"
            )
        self.vocabulary_size = vocabulary_size
        self.special_ids = sorted(int(i) for i in special_ids)
        self.token_prob = token_prob
        # `tf.data` runs on the CPU and can only reach variables there.
        with tf.device("CPU:0"):
            self.idf = self._statistic("idf")
            self.cumulative = self._statistic("cumulative")
        self.built = True

    def _statistic(self, name):
        return self.add_weight(
            shape=(self.vocabulary_size,),
            initializer="zeros",
            dtype="float32",
            autocast=False,
            trainable=False,
            name=name,
        )

    def adapt(self, inputs: dict):
        """Learns the statistics from all documents of a data set.

        Args:
            inputs: dict as for a call, of arrays in memory.

        Raises:
            ValueError: if there is no word, or a token outside the vocabulary.
        """
        token_ids, words = (np.asarray(x) for x in self._words(inputs))
        if not words.any():
            raise ValueError(
                "`adapt` needs a document with a token that is neither special "
                f"nor padding. Received: token_ids of shape {token_ids.shape}, "
                f"with special_ids={self.special_ids}"
            )
        size = self.vocabulary_size
        rows, tokens = np.nonzero(words)[0], token_ids[words]
        if tokens.min() < 0 or tokens.max() >= size:
            raise ValueError(
                f"Token ids must be in [0, {size}), as vocabulary_size={size}. "
                f"Received: ids from {tokens.min()} to {tokens.max()}"
            )
        pairs, counts = np.unique(rows * size + tokens, return_counts=True)
        rows, tokens = np.divmod(pairs, size)
        documents = np.bincount(tokens, minlength=size)
        idf = np.log(len(words) / np.maximum(documents, 1))
        tf_idf = counts / words.sum(axis=1)[rows] * idf[tokens]
        total = np.bincount(tokens, tf_idf, size)
        chance = np.where(documents > 0, total.max() - total, 0.0)
        if not chance.any():
            chance = (documents > 0).astype("float64")
        self.idf.assign(idf)
        self.cumulative.assign(np.cumsum(chance) / np.sum(chance))

    def replacement_probabilities(self, inputs: dict) -> tf.Tensor:
        """The probability with which each token is replaced.

        Args:
            inputs: dict as for a call.

        Returns:
            float32 tensor of shape `(n, length)`.
        """
        token_ids, words = self._words(inputs)
        words = ops.cast(words, "float32")
        same = ops.cast(token_ids[:, :, None] == token_ids[:, None], "float32")
        counts = ops.sum(same * words[:, None], axis=-1)
        length = ops.sum(words, axis=-1, keepdims=True)
        scores = counts * ops.take(self.idf, token_ids) * words
        missing = (ops.max(scores, axis=-1, keepdims=True) - scores) * words
        total = ops.sum(missing, axis=-1, keepdims=True)
        share = missing / ops.where(total > 0, total, 1.0)
        return ops.minimum(self.token_prob * length * share, 1.0)

    def call(self, inputs, seed=None, training=True):
        """Replaces tokens, or returns the inputs if not `training`."""
        if not training:
            return inputs
        self._check_adapted()
        token_ids = inputs["token_ids"]
        draws = tf.random.stateless_uniform(
            (2, *ops.shape(token_ids)), self.next_seed(seed)
        )
        chance, choice = tf.unstack(draws)
        drawn = ops.searchsorted(
            self.cumulative, ops.reshape(choice, (-1,)), side="right"
        )
        drawn = ops.cast(
            ops.reshape(drawn, ops.shape(token_ids)), token_ids.dtype
        )
        replaced = chance < self.replacement_probabilities(inputs)
        return {**inputs, "token_ids": ops.where(replaced, drawn, token_ids)}

    def compute_output_spec(self, inputs, seed=None, training=True):
        """The shapes and dtypes of the inputs."""
        return keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype), inputs
        )

    def get_config(self):
        """The arguments of this layer."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "special_ids": self.special_ids,
            "token_prob": self.token_prob,
        }

    def _words(self, inputs):
        """The tokens, and where they are neither special nor padding."""
        token_ids = ops.convert_to_tensor(inputs["token_ids"])
        words = ops.cast(inputs["padding_mask"], "bool")
        special = ops.convert_to_tensor(self.special_ids, token_ids.dtype)
        special = ops.any(token_ids[..., None] == special, axis=-1)
        return token_ids, ops.logical_and(words, ops.logical_not(special))

    def _check_adapted(self):
        with tf.init_scope():
            if float(self.cumulative[-1]) == 0:
                raise ValueError(
                    f"`{type(self).__name__}` has no statistics yet. Call "
                    "`adapt` on the token ids of the data set, or load a saved "
                    "layer, before you use it."
                )
