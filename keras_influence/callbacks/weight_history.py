import keras
import numpy as np
from keras import ops

from keras_influence.data.checks import check_integer
from keras_influence.keras_private import batches_seen

QUARTILES = (0.25, 0.5, 0.75)
# Quartiles of more weights are those of as many of them.
SAMPLE = 1_000_000


class WeightHistory(keras.callbacks.Callback):
    """Keeps how the example weights develop while a model trains.

    A snapshot holds the quantiles of all the weights and the weights of a
    fixed sample of examples, so its size does not depend on how much
    unlabelled data there is. One is taken before the first step, every
    `every` steps, and after the last step.

    Args:
        every: int, number of training steps, a batch each, between two
            snapshots. Defaults to `100`.
        examples: int, how many examples to follow one by one, drawn at random
            once; or a sequence of their ids. Defaults to `1000`.
        seed: int, seed of that draw. Defaults to `0`.

    Attributes:
        ids: int64 array of shape `(examples,)`, the examples followed.
        steps: list of the snapshots' training steps.
        weights: list of float arrays of shape `(examples,)`, one a snapshot.
        quantiles: list of float arrays of shape `(5,)`, one a snapshot:
            minimum, lower quartile, median, upper quartile and maximum of all
            the weights; of more than a million, the quartiles of a fixed
            sample of a million.

    Example:
    >>> import keras_influence as ki
    >>> x = np.random.normal(size=(40, 4)).astype("float32")
    >>> y = (x[:, 0] > 0).astype("int32")
    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> model = ki.InfluenceModel(network, num_unlabeled=24)
    >>> model.compile(
    ...     optimizer="sgd",
    ...     loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     unlabeled_loss=ki.losses.PseudoLabel(confidence=0.6),
    ...     validation_set=(x[8:16], y[8:16]),
    ...     inner_steps=1,
    ... )
    >>> train = ki.data.semi_supervised((x[:8], y[:8]), x[16:], batch_size=8)
    >>> history = WeightHistory(every=2, examples=[0, 5])
    >>> _ = model.fit(train, steps_per_epoch=5, verbose=0, callbacks=[history])
    >>> history.steps
    [0, 2, 4, 5]
    >>> history.weights[0]
    array([1., 1.], dtype=float32)
    """

    def __init__(self, every: int = 100, examples=1000, seed: int = 0):
        super().__init__()
        check_integer("every", every, 1)
        self.every = every
        self.examples = _followed(examples)
        self.seed = seed

    def on_train_begin(self, logs=None):
        """Takes the first snapshot."""
        num_examples = weight_values(self.model).shape[0]
        self.ids = _sample(self.examples, num_examples, self.seed)
        random = np.random.default_rng(self.seed)
        self._of_quartiles = (
            None
            if num_examples <= SAMPLE
            else random.integers(num_examples, size=SAMPLE)
        )
        self.steps, self.weights, self.quantiles = [], [], []
        self._step = self._batches_seen()
        self._take(self._step)

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the step at which the epoch's batch numbers start."""
        # What was restored since, or more if steps overflowed.
        self._epoch_start = max(self._step, self._batches_seen())

    def on_train_batch_end(self, batch, logs=None):
        """Takes a snapshot if the last one is `every` steps ago."""
        self._step = self._epoch_start + batch + 1
        if self._step // self.every > self.steps[-1] // self.every:
            self._take(self._step)

    def on_train_end(self, logs=None):
        """Takes the last snapshot."""
        if self._step > self.steps[-1]:
            self._take(self._step)

    def _batches_seen(self):
        model = self.model
        assert model is not None  # Keras sets it before it trains.
        # A model of your own may have an optimizer that is not Keras'.
        if not isinstance(model.optimizer, keras.optimizers.Optimizer):
            return int(model.optimizer.iterations)
        return batches_seen(model.optimizer)

    def _take(self, step):
        values = weight_values(self.model)
        if self._of_quartiles is None:
            # Ten times as fast as the operations of TensorFlow below.
            values = ops.convert_to_numpy(values)
            followed, drawn = values[self.ids], values
            ends = values.min(), values.max()
        else:
            followed, drawn = (
                ops.convert_to_numpy(ops.take(values, ids, axis=0))
                for ids in (self.ids, self._of_quartiles)
            )
            ends = float(ops.min(values)), float(ops.max(values))
        quartiles = np.quantile(drawn, QUARTILES)
        self.steps.append(step)
        self.weights.append(followed)
        self.quantiles.append(np.array([ends[0], *quartiles, ends[1]]))


def weight_values(model):
    """The model's example weights where they are, an error if it has none."""
    weighting = getattr(model, "weighting", None)
    if weighting is not None:
        return weighting.values
    if not hasattr(model, "example_weights"):
        raise ValueError(
            "This callback needs a model with example weights, such as "
            f"`keras_influence.InfluenceModel`. Received: model={model}."
        )
    return model.example_weights


def example_weights(model) -> np.ndarray:
    """A copy of the model's example weights, an error if it has none."""
    return ops.convert_to_numpy(weight_values(model))


def _followed(examples):
    """How many examples to follow, or an array of their ids."""
    if np.ndim(examples) == 0:
        check_integer("examples", examples, 0)
        return int(examples)
    ids = np.asarray(examples)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            "`examples` must be a number of examples, or a sequence of their "
            f"ids. Received: examples={examples}."
        )
    return ids.astype("int64")


def _sample(examples, num_examples, seed):
    if isinstance(examples, int):
        # Without an array of all ids.
        drawn = np.random.default_rng(seed).choice(
            num_examples,
            min(examples, num_examples),
            replace=False,
            shuffle=False,
        )
        return np.sort(drawn)
    if len(examples) and not 0 <= min(examples) <= max(examples) < num_examples:
        raise ValueError(
            f"`examples` must be ids from 0 to {num_examples - 1}. "
            f"Received: examples={examples}."
        )
    return examples
