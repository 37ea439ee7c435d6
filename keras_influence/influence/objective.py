"""The objectives of Eq. 6 on one batch, as functions of the scope."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from keras_influence.influence.curvature import CURVATURES
from keras_influence.solvers import Operator


@dataclasses.dataclass
class Term:
    """One sum of an objective: `Σ_n weights_n · loss(outputs)_n`.

    Args:
        loss: function from head outputs of shape `(n, views, units)` to the
            examples' losses, shape `(n,)`; example `n` depends on row `n`.
        weights: tensor of shape `(n,)`.
        softmax: whether the loss is the softmax cross-entropy of one view
            against fixed targets, whose Hessian is known in closed form; or,
            for a sum of such, a tuple with the factor of every view. Defaults
            to `False`.
    """

    loss: Callable
    weights: tf.Tensor
    softmax: bool | tuple = False

    @classmethod
    def of_labels(cls, loss: Callable, labels, weights) -> "Term":
        """The term of labelled examples, each seen in one view.

        Args:
            loss: function from labels and logits to one value an example; its
                attribute `softmax`, if it has one, is the term's.
            labels: tensor with `n` rows.
            weights: tensor of shape `(n,)`.
        """
        softmax = getattr(loss, "softmax", False)
        return cls(lambda z: loss(labels, ops.squeeze(z, 1)), weights, softmax)


class Objective:
    """`L(θ) = Σ_terms Σ_n w_n l_n(θ) + R(θ)` as a function of `θ` in scope.

    Vectors of the scope's parameters are flat tensors of shape `(size,)`, in
    the order of `parameters`.

    Args:
        parameters: list of float tensors, `θ` in scope.
        outputs: function from a list like `parameters` to a list with one
            tensor of head outputs, `(n, views, units)`, for every term.
        terms: list of `Term`s.
        regularization: function from a list like `parameters` to a scalar, or
            `None`. Defaults to `None`.
    """

    def __init__(self, parameters, outputs, terms, regularization=None):
        self.parameters = list(parameters)
        self.dtype = dtype = self.parameters[0].dtype.name
        self.outputs = outputs
        self.terms = [
            dataclasses.replace(t, weights=ops.cast(t.weights, dtype))
            for t in terms
        ]
        self.regularization = regularization
        self.shapes = [tuple(p.shape) for p in self.parameters]
        self.sizes = [p.shape.num_elements() for p in self.parameters]
        self.size = sum(self.sizes)

    def losses(self, parameters: list) -> list:
        """Every term's per-example losses, shape `(n,)`, without weights."""
        return [
            term.loss(outputs)
            for term, outputs in zip(
                self.terms, self.outputs(parameters), strict=True
            )
        ]

    def __call__(self, parameters: list):
        """The objective's value."""
        value = sum(
            ops.sum(term.weights * losses)
            for term, losses in zip(
                self.terms, self.losses(parameters), strict=True
            )
        )
        return value + self.penalty(parameters)

    def penalty(self, parameters: list):
        """The regularisers' value."""
        if self.regularization is None:
            return ops.zeros((), self.dtype)
        return self.regularization(parameters)

    def at_scale(self) -> tuple["Objective", Any]:
        """A multiple of this objective to differentiate, and the factor.

        1 where nothing is lost in rounding.
        """
        return self, 1.0

    def gradient(self):
        """`∇L(θ)` as a vector."""
        scaled, scale = self.at_scale()
        gradient = derivatives.gradient(scaled, self.parameters)
        return self.flatten(gradient) / scale

    def directional_derivatives(self, vector) -> list:
        """`⟨∇l_n(θ), v⟩` of every example, one tensor `(n,)` for every term."""
        return derivatives.jvp(
            self.losses, self.parameters, self.unflatten(vector)
        )

    def curvature(self, name: str) -> Operator:
        """`H` of Eq. 6 as an operator.

        Args:
            name: `"hessian"`, `"gauss_newton"` or `"outer_product"`.
        """
        return CURVATURES[name](self)

    def one_batch(self) -> "Objective":
        """This objective, or the first batch's of a streamed one."""
        return self

    def sums(self, function: Callable, *tensors) -> list:
        """The sums over batches of a function's list of results.

        Args:
            function: function from an `Objective`, the place of its first
                example among all, and `tensors` to a list of tensors.
            *tensors: tensors that it takes.
        """
        return function(self, 0, *tensors)

    def low_rank(self):
        """`Σ_n w_n g_n g_nᵀ` as a `LowRank` product, or `None`."""
        return None

    def sample(self, number):
        """An unbiased estimate on a random half of the examples.

        Args:
            number: integer; another one draws another half.
        """
        sampled = copy.copy(self)
        sampled.terms = [
            dataclasses.replace(term, weights=term.weights * 2 * keep)
            for term, keep in zip(self.terms, self._halves(number), strict=True)
        ]
        return sampled

    def _halves(self, number):
        for place, term in enumerate(self.terms):
            seed = ops.stack([ops.cast(number, "int32"), place])
            drawn = tf.random.stateless_uniform(tf.shape(term.weights), seed)
            yield ops.cast(drawn < 0.5, term.weights.dtype)

    def flatten(self, tensors: list):
        """A list of tensors like `parameters` to a vector."""
        return ops.concatenate([ops.reshape(t, (-1,)) for t in tensors])

    def unflatten(self, vector) -> list:
        """A vector to a list of tensors like `parameters`."""
        return [
            ops.reshape(part, shape)
            for part, shape in zip(
                tf.split(vector, self.sizes), self.shapes, strict=True
            )
        ]
