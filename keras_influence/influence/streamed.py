"""Objectives over data sets that do not fit in memory."""

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.solvers import Operator


class Streamed:
    """A sum of objectives, one for each batch of a data set.

    Args:
        objective: function from a batch to its share of the `Objective`.
        batches: iterable that gives the same batches every time.
        compiled: boolean, whether the work on a batch, then of a
            `tf.data.Dataset`, runs as a `tf.function`. Defaults to `False`.
    """

    def __init__(
        self, objective: Callable, batches: Iterable, compiled: bool = False
    ):
        self.objective = objective
        self.batches = batches
        self.compiled = compiled
        self.parts = sum(1 for _ in batches)

    def on_batch(self, function: Callable) -> Callable:
        """`function(objective, *tensors)` as one of `(batch, *tensors)`."""
        compiled = []

        def on_batch(batch, *tensors):
            return function(self.objective(batch), *tensors)

        def run(batch, *tensors):
            if not compiled:
                # One trace serves the last, smaller batch too.
                specs = [tf.TensorSpec(t.shape, t.dtype) for t in tensors]
                signature = [self.batches.element_spec, *specs]
                traced = tf.function(on_batch, signature, autograph=False)
                compiled.append(traced.get_concrete_function())
            return compiled[0](batch, *tensors)

        return run if self.compiled else on_batch

    def map(self, function: Callable, *tensors):
        """A generator of `function(objective, *tensors)` of every batch."""
        run = self.on_batch(function)
        return (run(batch, *tensors) for batch in self.batches)

    def gradient(self):
        """`∇L(θ)` as a vector."""
        return sum(self.map(lambda objective: objective.gradient()))

    def directional_derivatives(self, vector) -> list:
        """`⟨∇l_n(θ), v⟩` of every example, in the order of the data."""
        parts = self.map(lambda o, v: o.directional_derivatives(v), vector)
        return [ops.concatenate(term) for term in zip(*parts, strict=True)]


class StreamedOperator(Operator):
    """The sum of the curvatures of a `Streamed` objective's batches.

    Args:
        streamed: the `Streamed` objective.
        operator: function from an `Objective` to its `Operator`.
    """

    def __init__(self, streamed: Streamed, operator: Callable):
        self.streamed = streamed
        self.operator = operator
        first = next(iter(streamed.batches))
        self._first = operator(streamed.objective(first))
        super().__init__(self._first.size, self._first.dtype)
        self._matvec = streamed.on_batch(lambda o, v: operator(o).matvec(v))

    # `tf.map_fn` would convert the loops over batches and the numbers.
    @tf.autograph.experimental.do_not_convert
    def matvec(self, vector):
        """One pass over the data."""
        return sum(self._matvec(b, vector) for b in self.streamed.batches)

    def as_matrix(self):
        """One pass over the data."""
        return sum(self.streamed.map(lambda o: self.operator(o).as_matrix()))

    @tf.autograph.experimental.do_not_convert
    def sample(self, number):
        """The curvature of one batch, drawn at random, for the whole."""
        return _BatchOperator(self, int(number))

    def preconditioner(self, damping):
        """The first batch's, as if all were like it."""
        parts = self.streamed.parts
        precondition = self._first.preconditioner(damping / parts)
        if precondition is None:
            return None
        return lambda residual: precondition(residual) / parts


class _BatchOperator(Operator):
    """One batch of a `StreamedOperator` in the place of all of them."""

    def __init__(self, whole, number):
        super().__init__(whole.size, whole.dtype)
        self.whole = whole
        batches, parts = whole.streamed.batches, whole.streamed.parts
        place = np.random.default_rng(number).integers(parts)
        self.batch = next(itertools.islice(iter(batches), place, None))

    def matvec(self, vector):
        """One batch instead of a pass over the data."""
        parts = self.whole.streamed.parts
        return parts * self.whole._matvec(self.batch, vector)
