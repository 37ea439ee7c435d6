"""Objectives over data sets that do not fit in memory."""

from collections.abc import Callable, Iterable

import tensorflow as tf
from keras import ops

from keras_influence.solvers import Operator


class Streamed:
    """A sum of objectives, one for each batch of a data set.

    Args:
        objective: function from a batch and a boolean, whether it is the
            first, to the batch's `Objective`.
        batches: iterable that gives the same batches every time.
        compiled: boolean, whether the work on a batch runs as a
            `tf.function`. Defaults to `False`.
    """

    def __init__(
        self, objective: Callable, batches: Iterable, compiled: bool = False
    ):
        self.objective = objective
        self.batches = batches
        self.compiled = compiled

    def map(self, function: Callable) -> Callable:
        """`function(objective, *args)` of every batch, one after the other.

        Returns:
            A function from `args` to a generator.
        """

        def on_batch(batch, first, *args):
            return function(self.objective(batch, first), *args)

        if self.compiled:
            on_batch = tf.function(on_batch, reduce_retracing=True)

        def run(*args):
            for i, batch in enumerate(self.batches):
                yield on_batch(batch, i == 0, *args)

        return run

    def gradient(self):
        """`∇L(θ)` as a vector."""
        return sum(self.map(lambda objective: objective.gradient())())

    def directional_derivatives(self, vector) -> list:
        """`⟨∇l_n(θ), v⟩` of every example, in the order of the data."""
        derivatives = self.map(lambda o, v: o.directional_derivatives(v))
        parts = zip(*derivatives(vector), strict=True)
        return [ops.concatenate(list(part)) for part in parts]


class StreamedOperator(Operator):
    """The sum of the curvatures of a `Streamed` objective's batches.

    Args:
        streamed: the `Streamed` objective.
        operator: function from an `Objective` to its `Operator`.
    """

    def __init__(self, streamed: Streamed, operator: Callable):
        self._first = operator(streamed.objective(*_first(streamed)))
        super().__init__(self._first.size, self._first.dtype)
        self._matvec = streamed.map(lambda o, v: operator(o).matvec(v))
        self._dense = streamed.map(lambda o: operator(o).to_dense())
        self._parts = sum(1 for _ in streamed.batches)

    def matvec(self, vector):
        """One pass over the data."""
        return sum(self._matvec(vector))

    def to_dense(self):
        """One pass over the data."""
        return sum(self._dense())

    def preconditioner(self, damping):
        """The first batch's, as if all were like it."""
        parts = self._parts
        precondition = self._first.preconditioner(damping / parts)
        if precondition is None:
            return None
        return lambda residual: precondition(residual) / parts


def _first(streamed):
    return next(iter(streamed.batches)), True
