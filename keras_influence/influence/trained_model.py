"""A trained model and its training data."""

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.data.checks import check_label_form
from keras_influence.data.repeats import check_repeats
from keras_influence.influence import outer as outers
from keras_influence.influence.added_losses import warn_of_added_losses
from keras_influence.influence.batches import CHUNK, Batches
from keras_influence.influence.compiled_scores import (
    count,
    head_scores,
    mean_objective,
)
from keras_influence.influence.head import (
    symbolic_inputs,
    trace_head,
    trace_outputs,
)
from keras_influence.influence.influence import Influence
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import LastLayerScope
from keras_influence.influence.streamed import StreamedObjective
from keras_influence.influence.unrolled import Unrolled
from keras_influence.keras_private import loss_weights
from keras_influence.solvers import Reason, Solution

# From so many steps on, `verbose="auto"` shows a progress bar.
LONG = 100


class Examples(NamedTuple):
    """Data that was read.

    Args:
        batches: list or `tf.data.Dataset` of batches `(x, y)` of what the
            scope takes.
        labels: list with the `y` of every batch, as arrays.
    """

    batches: Any
    labels: list

    def count(self, loss: Callable) -> float:
        """How many examples the mean of a loss is over."""
        return sum(float(count(loss, y)) for y in self.labels)


class TrainedModel:
    """What the scores after training have in common.

    Args:
        model: as of `influence_scores`.
        train: as of `influence_scores`.
        loss: as of `influence_scores`.
        influence: as of `influence_scores`.
        batch_size: as of `influence_scores`.
        verbose: as of `influence_scores`.
    """

    def __init__(
        self,
        model: keras.Model,
        train: tuple | tf.data.Dataset,
        loss: keras.losses.Loss | Callable | str | None,
        influence: Influence | Unrolled | None,
        batch_size: int,
        verbose: int | str,
    ):
        if verbose not in ("auto", 0, 1):
            raise ValueError(
                "Argument `verbose` must be 'auto', 0 or 1. "
                f"Received: verbose={verbose!r}"
            )
        self.loss = PerExampleLoss(loss_of(model, loss))
        self.influence: Any = influence or Influence()
        if not isinstance(self.influence, (Influence, Unrolled)):
            raise ValueError(
                "Argument `influence` must be a `keras_influence.Influence`, "
                "such as `Influence.preset(name)`, or an `Unrolled`. Received: "
                f"influence={influence!r}"
            )
        self.outer_loss = self.influence.outer_loss(self.loss)
        self.batch_size = batch_size
        self.verbose = verbose
        if not isinstance(model, keras.Model):
            raise ValueError(
                "Argument `model` must be a `keras.Model`. Received: "
                f"model={model!r}"
            )
        self._inputs = symbolic_inputs(model) if model.built else None
        batches = Batches("train", train, batch_size, self._inputs)
        if isinstance(train, tf.data.Dataset):
            check_repeats("train", train)
        self._labels = batches.labels
        self.head: Any = None
        run = None
        if self.influence.parameters == "last_layer":
            self.head, run = trace_head(model, batches.spec)
            self._classes, adds = self.head.classes, self.head.adds_losses
        else:
            self._classes, adds = trace_outputs(model, batches.spec)
        warn_of_added_losses(self.influence, adds)
        self.scope: Any = self.influence.scope(model, self.head)
        if not self.scope.is_deep:
            self._network, self._traced = model, (batches.spec, run)
            # What enters the head is computed: it is all that is left to run.
            self.scope = LastLayerScope(self.head, tf.convert_to_tensor)
        self._gradients: dict = {}
        self.train = self._read(batches)

    def read(self, name: str, data: Any) -> Examples:
        """Validation data as the scope takes them."""
        batches = Batches(name, data, self.batch_size, self._inputs)
        check_label_form(name, batches.labels, self._labels)
        examples = self._read(batches)
        for y in examples.labels:
            outers.check_labels(self.influence.outer, name, y, self._classes)
        return examples

    def _read(self, batches):
        if self.scope.is_deep:
            labels = [y.numpy() for _, y in batches]
            for y in labels:
                self.loss.check_labels(batches.name, y, self._classes)
            return Examples(batches.dataset(), labels)
        spec, run = self._traced
        if batches.spec != spec:
            _, run = trace_head(self._network, batches.spec)
        steps = self.progress(batches, batches.count)
        features = batches.features(run, self.head, self.loss, steps)
        return Examples(features, [y for _, y in features])

    def progress(self, steps: Any, count: int) -> Iterator:
        """An iterator of the same steps, with a progress bar if it is long.

        Args:
            steps: iterable.
            count: integer, how many they are; below 0 where unknown.
        """
        shown = self.verbose == 1 or not 0 <= count < LONG
        if not self.verbose or not shown:
            yield from steps
            return
        bar = keras.utils.Progbar(
            count if count > 0 else None, unit_name="batch"
        )
        for step in steps:
            yield step
            bar.add(1)

    def _objective(self, examples, loss, penalty):
        """The mean loss of examples, and so much of the regularisers."""
        batches, parts = examples.batches, len(examples.labels)
        size = examples.count(loss)

        def objective(batch):
            return mean_objective(
                self.scope, batch, loss, size, penalty / parts
            )

        if parts == 1 and isinstance(batches, list):
            return objective(batches[0])
        return StreamedObjective(objective, batches, parts)

    def scores(self, validation: Examples) -> np.ndarray:
        """`influence_scores`, for a validation set that was read."""
        parts = len(self.train.labels), len(validation.labels)
        if not self.scope.is_deep and parts == (1, 1):
            scores, solution = head_scores(
                *(self.head, self.influence, self.loss),
                *(self.train.batches[0], validation.batches[0]),
            )
        else:
            outer = self._objective(validation, self.outer_loss, 0.0)
            scores, solution = self.influence.scores(self._inner, outer)
        self._check(solution)
        return self.of_the_mean(scores[0])

    def of_the_mean(self, derivatives: Any) -> np.ndarray:
        """Derivatives in the weights of a mean from those in a sum's."""
        derivatives = ops.convert_to_numpy(derivatives)
        return derivatives / self.train.count(self.loss)

    def blocks(self, examples: Examples) -> Iterator:
        """Examples in batches with few enough gradients to keep."""
        batches = examples.batches
        rows = min(max(CHUNK // self._inner.size, 1), self.batch_size)
        if isinstance(batches, tf.data.Dataset):
            return iter(batches.rebatch(rows))
        blocks = [
            (features[i : i + rows], labels[i : i + rows])
            for features, labels in batches
            for i in range(0, len(labels), rows)
        ]
        return self.progress(blocks, len(blocks))

    def solutions(self, batch: tuple) -> tf.Tensor:
        """`v` of the loss of every example by itself, `(n, size)`.

        Args:
            batch: tuple `(x, y)`, one of `blocks`.
        """
        vectors = self.gradients(batch, self.outer_loss)
        solution = self._solve_all(vectors)
        for parts in zip(*solution, strict=True):
            self._check(Solution(*parts))
        return solution.vector

    def gradients(self, batch: tuple, loss: Callable) -> tf.Tensor:
        """The gradient of every example's loss, written out: `(n, size)`."""

        def gradients(batch):
            return tf.map_fn(gradient, batch, fn_output_signature=dtype)

        def gradient(row):
            row = keras.tree.map_structure(lambda leaf: leaf[None], row)
            return mean_objective(self.scope, row, loss, 1, 0.0).gradient()

        dtype = self._inner.dtype
        if loss not in self._gradients:
            self._gradients[loss] = tf.function(
                gradients, autograph=False, reduce_retracing=True
            )
        batch = keras.tree.map_structure(tf.convert_to_tensor, batch)
        return self._gradients[loss](batch)

    def scores_by(self, vector: tf.Tensor) -> np.ndarray:
        """`-⟨∇l_n, v⟩ / n` of every training example."""
        (derivatives,) = self._derivatives(vector)
        return self.of_the_mean(-derivatives)

    @functools.cached_property
    def _inner(self):
        return self._objective(self.train, self.loss, 1.0)

    @functools.cached_property
    def _derivatives(self):
        return self._compiled(self._inner.directional_derivatives)

    @functools.cached_property
    def _solve_all(self):
        return self._compiled(
            functools.partial(self.influence.solve_all, self._inner)
        )

    def _compiled(self, function):
        # What is streamed has compiled parts.
        if isinstance(self._inner, StreamedObjective):
            return function
        return tf.function(function, autograph=False)

    def _check(self, solution):
        if not bool(solution.valid):
            raise ValueError(
                "Argument `influence` found no solution: "
                f"{Reason(int(solution.reason)).text}. Received: "
                f"influence={self.influence!r}, relative residual "
                f"{float(solution.residual):.3g} after "
                f"{int(solution.products)} products"
            )
        if int(solution.reason) == Reason.TOLERANCE_NOT_REACHED.value:
            warnings.warn(
                "The scores are of a solve that has not converged: its "
                f"relative residual is {float(solution.residual):.3g} after "
                f"{int(solution.products)} products. More `iterations`, or a "
                "higher damping, bring it down.",
                stacklevel=4,
            )


def loss_of(
    model: keras.Model, loss: keras.losses.Loss | Callable | str | None
) -> Any:
    """The loss, or that which the model was compiled with.

    Raises:
        ValueError: if there is none, or the model weights it.
    """
    weights = None if loss else loss_weights(model)
    if weights is not None:
        raise ValueError(
            "A loss that the model was compiled with counts by 1, beside its "
            "regularisers, not by `loss_weights`: pass `loss`, scaled itself. "
            f"Received: a model with loss_weights={weights!r}"
        )
    loss = loss or getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            "Argument `loss` is needed, because the model is not compiled. "
            "Received: loss=None"
        )
    return loss
