"""Objectives of any trainable variables of a network."""

import copy
import dataclasses

import keras
import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from keras_influence.influence.forward_pass import ForwardPass
from keras_influence.influence.low_rank import LowRank
from keras_influence.influence.objective import Objective
from keras_influence.influence.recorded_gradients import (
    RecordedGradients,
    output_gradients,
    scope_records,
)
from keras_influence.layers import Recording


class NetworkObjective(Objective):
    """An `Objective` of any trainable variables of a network.

    Per-example derivatives come from recorded features and output gradients
    where every layer in scope is a recording one, else from forward mode.
    Where examples are coupled, as by batch normalisation in training mode, the
    former hold the batch statistics fixed and the latter do not.

    Args:
        network: a `StatelessNetwork`.
        x: nest of tensors, the inputs of all examples and views.
        terms: list of `Term`s.
        stack: function from a tensor with one row a row of `x` to a list with
            one tensor `(n, views, ...)` a term.
        regularization: function from a list of the parameters to a scalar,
            or `None`. Defaults to `None`.
        forward_pass: the `ForwardPass` of training on `x`, to save one of its
            own, or `None`. Defaults to `None`.
    """

    def __init__(
        self,
        network,
        x,
        terms,
        stack,
        regularization=None,
        forward_pass=None,
    ):
        super().__init__(
            network.parameters,
            lambda parameters: stack(network(parameters, x)),
            terms,
            regularization,
        )
        self.variables = network.variables
        self.state = network.state
        self.is_half = network.is_half
        self.stack = stack
        self.rows = ops.shape(keras.tree.flatten(x)[0])[0]
        self.forward_pass = forward_pass

    def at_scale(self):
        """With weights of 1 in sum where a layer computes in float16.

        Those of a mean over a large data set are as small as float16 gets.
        """
        if not self.is_half:
            return self, 1.0
        total = sum(ops.sum(ops.abs(term.weights)) for term in self.terms)
        # Powers of two round nothing.
        power = ops.round(ops.log2(ops.where(total > 0, total, 1.0)))
        scale = ops.power(2.0, -power)
        scaled = copy.copy(self)
        scaled.terms = [
            dataclasses.replace(term, weights=scale * term.weights)
            for term in self.terms
        ]
        penalty = self.regularization
        if penalty is not None:
            scaled.regularization = lambda values: scale * penalty(values)
        return scaled, scale

    def directional_derivatives(self, vector) -> list:
        """`⟨∇l_n(θ), v⟩`, recorded where possible, else in forward mode."""
        run = self._run()
        records = scope_records(self.variables, run.recording, self.rows)
        if records is None:
            return super().directional_derivatives(vector)
        derivatives = []
        for i, losses in enumerate(run.losses):
            rows = self._recorded(run, losses, records)
            rows = rows.dot(self.unflatten(vector))
            derivatives.append(ops.sum(self.stack(rows)[i], 1))
        return derivatives

    def low_rank(self) -> LowRank | None:
        """`Σ_n w_n g_n g_nᵀ` from recorded gradients, or `None`.

        `None` where a layer in scope does not record.
        """
        run = self._run()
        records = scope_records(self.variables, run.recording, self.rows)
        if records is None:
            return None
        gradients = self._recorded(run, run.losses, records)
        weights = ops.concatenate([term.weights for term in self.terms])
        root = ops.sqrt(weights)

        def project(tensors):
            return root * self._to_examples(gradients.dot(tensors))

        zeros = [ops.zeros_like(p) for p in self.parameters]
        gram = self._to_examples(gradients.gram())
        gram = self._to_examples(ops.transpose(gram))
        return LowRank(
            root[:, None] * gram * root,
            lambda vector: project(self.unflatten(vector)),
            # The transpose of a linear map is its gradient anywhere.
            lambda r: self.flatten(derivatives.vjp(project, zeros, r)),
        )

    def _recorded(self, run, losses, records):
        deltas = output_gradients(run.tape, losses, records)
        return RecordedGradients(self.variables, records, deltas)

    def _to_examples(self, rows):
        """Sums the views: `(rows, ...)` to `(examples, ...)`."""
        return ops.concatenate([ops.sum(t, 1) for t in self.stack(rows)])

    def _run(self):
        if self.forward_pass is not None:
            return self.forward_pass
        with tf.GradientTape(persistent=True) as tape, Recording() as recording:
            tape.watch(self.parameters)
            losses = self.losses(self.parameters)
        return ForwardPass(recording, tape, losses, self.state)
