"""`W_n`, the curvature of a loss at the outputs of the head."""

import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from keras_influence.influence.objective import Term


def output_hessian(term: Term, outputs):
    """The operator `W_n` of a term at its head outputs.

    Args:
        term: the `Term`.
        outputs: tensor `(n, views, units)`.

    Returns:
        A `SoftmaxHessian` or an `OutputHessian`.
    """
    if term.softmax:
        return SoftmaxHessian(outputs, softmax_factors(term.softmax))
    return OutputHessian(term, outputs)


class OutputHessian:
    """`W_n = ∂²l_n/∂z²` of any twice-differentiable loss, by differentiation.

    Args:
        term: the `Term` whose loss it is.
        outputs: tensor `(n, views, units)`, where to differentiate.
    """

    def __init__(self, term, outputs):
        self.outputs = outputs
        # Recorded once: a product is then the way back through the gradient
        # alone, which halves the operations of a solver's loop.
        with tf.GradientTape(
            persistent=True, watch_accessed_variables=False
        ) as self.tape:
            self.tape.watch(outputs)
            self.gradient = derivatives.gradient(total_loss(term), [outputs])[0]

    def matvec(self, y):
        """`W_n y_n` for `y` of shape `(n, views, units)`."""
        return self.tape.gradient(
            self.gradient,
            self.outputs,
            output_gradients=y,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )

    def dense(self):
        """`W_n` as a tensor `(n, views, units, views, units)`."""
        _, views, units = self.outputs.shape
        # Not `batch_jacobian`: vectorised, `roll` over axis -1 goes wrong.
        columns = tf.map_fn(
            lambda unit: self.matvec(ops.zeros_like(self.outputs) + unit),
            ops.reshape(
                ops.eye(views * units, dtype=self.outputs.dtype),
                (-1, views, units),
            ),
        )
        shape = (views, units, *ops.shape(self.outputs))
        return ops.transpose(ops.reshape(columns, shape), (2, 3, 4, 0, 1))

    def weighted_sum(self, weights):
        """`Σ_n w_n Σ_views W_n`, the blocks within a view: `(units, units)`."""
        _, views, units = self.outputs.shape

        def row(unit):
            total = ops.zeros_like(unit)
            for view in range(views):
                place = ops.one_hot(view, views, dtype=unit.dtype)[:, None]
                y = ops.zeros_like(self.outputs) + place * unit
                product = ops.take(self.matvec(y), view, axis=1)
                total += ops.sum(weights[:, None] * product, 0)
            return total

        return tf.map_fn(row, ops.eye(units, dtype=weights.dtype))


class SoftmaxHessian:
    """`W_n` of a sum of softmax cross-entropies, one a view.

    A view's block is its factor times `diag(p_n) - p_n p_nᵀ`.

    Args:
        outputs: tensor `(n, views, units)`, the logits.
        shares: tuple with the factor of every view. Defaults to `(1.0,)`.
    """

    def __init__(self, outputs, shares=(1.0,)):
        self.p, self.likeliest = probabilities(outputs)
        shares = ops.convert_to_tensor(shares, self.p.dtype)
        self.scaled = ops.expand_dims(shares, 1) * self.p

    def matvec(self, y):
        """`W_n y_n` for `y` of shape `(n, views, units)`."""
        return softmax_product(self.p, self.scaled, self.likeliest, y)

    def dense(self):
        """`W_n` as a tensor `(n, views, units, views, units)`."""
        p, scaled = self.p, self.scaled
        blocks = tf.linalg.set_diag(
            -scaled[..., None] * p[..., None, :], scaled * self._rest()
        )
        views = tf.eye(p.shape[1], dtype=p.dtype)
        return blocks[:, :, :, None] * views[None, :, None, :, None]

    def weighted_sum(self, weights):
        """`Σ_n w_n Σ_views W_n`, shape `(units, units)`."""
        weighted = weights[:, None, None] * self.scaled
        return tf.linalg.set_diag(
            -tf.einsum("nvc,nve->ce", weighted, self.p),
            ops.sum(weighted * self._rest(), (0, 1)),
        )

    def _rest(self):
        """`1 - p`, of the likeliest class as the sum of the others."""
        is_likeliest = ops.one_hot(
            self.likeliest[..., 0], self.p.shape[-1], dtype=self.p.dtype
        )
        others = self.p * (1 - is_likeliest)
        return ops.where(
            is_likeliest > 0, ops.sum(others, -1, keepdims=True), 1 - self.p
        )


class OutputOuterProduct:
    """`W_n = δ_n δ_nᵀ`, which makes `H` the sum of `g_n g_nᵀ`.

    Args:
        gradients: tensor `(n, views, units)`, the `δ_n`.
    """

    def __init__(self, gradients):
        self.delta = gradients

    def matvec(self, y):
        """`δ_n ⟨δ_n, y_n⟩` for `y` of shape `(n, views, units)`."""
        return self.delta * ops.sum(self.delta * y, (1, 2), keepdims=True)

    def dense(self):
        """`δ_n δ_nᵀ` as a tensor `(n, views, units, views, units)`."""
        return self.delta[..., None, None] * self.delta[:, None, None]

    def weighted_sum(self, weights):
        """`Σ_n w_n Σ_views δ_n δ_nᵀ`, shape `(units, units)`."""
        return tf.einsum("n,nvc,nve->ce", weights, self.delta, self.delta)


def softmax_factors(softmax: bool | tuple) -> tuple:
    """The factor of every view, from `Term.softmax` where it is not `False`."""
    return softmax if isinstance(softmax, tuple) else (1.0,)


def probabilities(outputs):
    """Those of the classes, and the likeliest class, `(..., 1)`."""
    # Sooner than `softmax`, which oneDNN prepares anew for every batch, and
    # than `ops.argmax`, which looks for negative zeros.
    likeliest = ops.expand_dims(tf.argmax(outputs, -1), -1)
    return ops.exp(ops.log_softmax(outputs)), likeliest


def softmax_product(p, scaled, likeliest, y):
    """`s (diag(p) - p pᵀ) y`, exact for sure predictions too.

    A constant added to `y` changes nothing, but for what rounding leaves of
    `1 - p` where `p` is almost 1.

    Args:
        p: tensor `(..., units)`.
        scaled: tensor like `p`, the multiple `s p`.
        likeliest: integer tensor `(..., 1)`, the class with the largest `p`.
        y: tensor like `p`.
    """
    y = y - tf.gather(y, likeliest, axis=-1, batch_dims=len(y.shape) - 1)
    product = scaled * y
    return product - p * ops.sum(product, -1, keepdims=True)


def total_loss(term):
    """The sum of a term's losses as a function of a list of its outputs."""
    return lambda outputs: ops.sum(term.loss(outputs[0]))
