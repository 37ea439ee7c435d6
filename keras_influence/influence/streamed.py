"""Objectives over data sets that do not fit in memory."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.objective import Objective
from keras_influence.solvers import Operator


class StreamedObjective(Objective):
    """A sum of objectives, one for each batch of a data set.

    Args:
        objective: function from a batch to its share of the `Objective`.
        batches: list of batches `(x, y)`, or a `tf.data.Dataset` that gives
            the same ones every time. The work on a batch of a data set runs
            as a `tf.function`.
        parts: integer, the number of batches.
    """

    def __init__(
        self,
        objective: Callable[..., Objective],
        batches: Sequence | tf.data.Dataset,
        parts: int,
    ):
        self.objective = objective
        self.batches = batches
        self.parts = parts
        first = self.one_batch()
        super().__init__(
            first.parameters, first.outputs, first.terms, first.regularization
        )

    def one_batch(self) -> Objective:
        """The first batch's."""
        return self.objective(next(iter(self.batches)))

    def batch(self, place: int) -> Any:
        """The batch with this number."""
        if isinstance(self.batches, tf.data.Dataset):
            return next(iter(self.batches.skip(place)))
        return self.batches[place]

    def on_batch(self, function: Callable) -> Callable:
        """`function(objective, *tensors)` as one of `(batch, *tensors)`."""

        def on_batch(batch, *tensors):
            return function(self.objective(batch), *tensors)

        compiled = []

        def run(batch, *tensors):
            if not compiled:
                # One trace serves the last, smaller batch too.
                specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
                signature = [self._spec, *specs]
                traced = tf.function(on_batch, signature, autograph=False)
                compiled.append(traced.get_concrete_function())
            batch = keras.tree.map_structure(tf.convert_to_tensor, batch)
            return compiled[0](batch, *tensors)

        return run

    @property
    def _spec(self):
        if isinstance(self.batches, tf.data.Dataset):
            return self.batches.element_spec
        return keras.tree.map_structure(
            lambda rows: tf.TensorSpec((None, *rows.shape[1:]), rows.dtype),
            self.batches[0],
        )

    def map(self, function: Callable, *tensors: tf.Tensor) -> Iterator:
        """A generator of `function(objective, *tensors)` of every batch."""
        run = self.on_batch(function)
        return (run(batch, *tensors) for batch in self.batches)

    def sums(self, function: Callable, *tensors: tf.Tensor) -> list:
        """The sums over batches of a function's list of results."""
        run = self.on_batch(function)
        total, first = [], 0
        for batch in self.batches:
            part = run(batch, tf.constant(first), *tensors)
            if not total:
                total = part
            else:
                total = [t + p for t, p in zip(total, part, strict=True)]
            first += batch[1].shape[0]
        return total

    def gradient(self):
        """`∇L(θ)` as a vector."""
        return sum(self.map(lambda objective: objective.gradient()))

    @functools.cached_property
    def _derivatives(self):
        return self.on_batch(lambda o, v: o.directional_derivatives(v))

    def directional_derivatives(self, vector: tf.Tensor) -> list:
        """`⟨∇l_n(θ), v⟩` of every example, in the order of the data."""
        parts = (self._derivatives(batch, vector) for batch in self.batches)
        return [ops.concatenate(term) for term in zip(*parts, strict=True)]

    def curvature(self, name: str) -> "StreamedOperator":
        """The sum of the batches' curvatures."""
        return StreamedOperator(self, name)


class StreamedOperator(Operator):
    """The sum of the curvatures of a streamed objective's batches.

    Args:
        streamed: the `StreamedObjective`.
        curvature: string, as of `Objective.curvature`.
    """

    def __init__(self, streamed: StreamedObjective, curvature: str):
        super().__init__(streamed.size, streamed.dtype)
        self.streamed = streamed
        self.curvature = curvature
        self._matvec = streamed.on_batch(
            lambda o, v: o.curvature(curvature).matvec(v)
        )

    # `tf.map_fn` would convert the loops over batches and the numbers.
    @tf.autograph.experimental.do_not_convert
    def matvec(self, vector):
        """One pass over the data."""
        return sum(self._matvec(b, vector) for b in self.streamed.batches)

    def as_matrix(self):
        """One pass over the data."""
        name = self.curvature
        return sum(self.streamed.map(lambda o: o.curvature(name).as_matrix()))

    @tf.autograph.experimental.do_not_convert
    def sample(self, number: int | tf.Tensor) -> "_BatchOperator":
        """The curvature of one batch, drawn at random, for the whole."""
        return _BatchOperator(self, int(number))

    def preconditioner(self, damping: tf.Tensor) -> Callable | None:
        """The first batch's, as if all were like it."""
        parts = self.streamed.parts
        first = self.streamed.one_batch().curvature(self.curvature)
        precondition = first.preconditioner(damping / parts)
        if precondition is None:
            return None
        return lambda residual: precondition(residual) / parts


class _BatchOperator(Operator):
    """One batch of a `StreamedOperator` in the place of all of them."""

    def __init__(self, whole: StreamedOperator, number: int):
        super().__init__(whole.size, whole.dtype)
        self.whole = whole
        place = np.random.default_rng(number).integers(whole.streamed.parts)
        self.batch = whole.streamed.batch(int(place))

    def matvec(self, vector):
        """One batch instead of a pass over the data."""
        parts = self.whole.streamed.parts
        return parts * self.whole._matvec(self.batch, vector)
