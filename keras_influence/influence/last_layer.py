"""The closed form of the last layer (design idea 1).

With features `a_n`, head outputs `z_n = a_n V` and `W_n = ∂²l_n/∂z²`, the
Hessian of a linear head is `H = Σ_n w_n W_n ⊗ a_n a_nᵀ`, so that

    H V = Aᵀ [w_n W_n (a_n V)]

needs two thin matrix products and no matrix of the size of `H`. The parameters
are the rows of `V`: the kernel and, where there is one, the bias, whose feature
is 1. Examples seen through several views have one feature row a view.
"""

import functools

import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from keras_influence.influence.low_rank import LowRank
from keras_influence.influence.objective import Objective, Term
from keras_influence.solvers import Operator
from keras_influence.solvers.operator import eigh


class LastLayerObjective(Objective):
    """An `Objective` of the parameters of a linear head.

    Args:
        parameters: list of the head's kernel `(features, units)` and, where
            it has one, its bias `(units,)`.
        features: list with one tensor `(n, views, features)` for every term,
            what enters the head.
        terms: list of `Term`s.
        regularization: function from a list like `parameters` to a scalar, or
            `None`. Defaults to `None`.
    """

    def __init__(self, parameters, features, terms, regularization=None):
        if len(parameters) == 2:
            features = [_with_ones(a) for a in features]
        self.features = features
        super().__init__(parameters, self._outputs, terms, regularization)
        self.units = self.shapes[0][-1]

    def _outputs(self, parameters):
        matrix = self.matrix(self.flatten(parameters))
        return [ops.matmul(a, matrix) for a in self.features]

    def matrix(self, vector):
        """A vector as the matrix `V`, bias last."""
        return ops.reshape(vector, (-1, self.shapes[0][-1]))

    def directional_derivatives(self, vector) -> list:
        """`⟨∇l_n, V⟩ = ⟨δ_n, a_n V⟩`: one thin product, no gradient built."""
        direction = self.matrix(vector)
        return [
            ops.sum(delta * ops.matmul(a, direction), (1, 2))
            for a, delta in zip(
                self.features, self.output_gradients(), strict=True
            )
        ]

    def curvature(self, name: str) -> "LastLayerCurvature":
        """`H` in closed form.

        The outputs are linear in the parameters: Gauss-Newton is exact.
        """
        return LastLayerCurvature(self, outer_product=name == "outer_product")

    def low_rank(self) -> LowRank:
        """`Σ_n w_n g_n g_nᵀ` from `⟨g_n, g_m⟩ = ⟨a_n, a_m⟩ ⟨δ_n, δ_m⟩`."""
        deltas = self.output_gradients()
        a = ops.concatenate([_flat(a) for a in self.features])
        delta = ops.concatenate([_flat(d) for d in deltas])
        root = ops.sqrt(ops.concatenate([t.weights for t in self.terms]))
        counts = [f.shape[1] for f in self.features for _ in range(f.shape[0])]
        example = ops.repeat(ops.arange(len(counts)), counts)

        def to_examples(rows):
            return tf.math.segment_sum(rows, example)

        def project(vector):
            rows = ops.sum(delta * ops.matmul(a, self.matrix(vector)), 1)
            return root * to_examples(rows)

        def expand(r):
            rows = ops.take(root * r, example)[:, None] * delta
            return ops.reshape(tf.matmul(a, rows, transpose_a=True), (-1,))

        gram = tf.matmul(a, a, transpose_b=True)
        gram *= tf.matmul(delta, delta, transpose_b=True)
        gram = to_examples(ops.transpose(to_examples(gram)))
        return LowRank(root[:, None] * gram * root, project, expand)

    def output_gradients(self) -> list:
        """`δ_n = ∂l_n/∂z_n`, a tensor `(n, views, units)` for every term."""
        return [
            derivatives.gradient(_total(term), [z])[0]
            for term, z in zip(
                self.terms, self.outputs(self.parameters), strict=True
            )
        ]


class LastLayerCurvature(Operator):
    """`Σ_n w_n W_n ⊗ a_n a_nᵀ` plus the regularisers' Hessian.

    Args:
        objective: a `LastLayerObjective`.
        outer_product: whether `W_n` is `δ_n δ_nᵀ`, which makes this the
            empirical Fisher matrix, in place of `∂²l_n/∂z²`. Defaults to
            `False`.

    Reference: `H` of Eq. 6; with `outer_product`, Larsen et al. in table A1.
    """

    def __init__(self, objective: LastLayerObjective, outer_product=False):
        super().__init__(objective.size, objective.dtype)
        self.objective = objective
        self.outer_product = outer_product
        if outer_product:
            self.blocks = map(OutputOuterProduct, objective.output_gradients())
        else:
            self.blocks = map(
                output_hessian,
                objective.terms,
                objective.outputs(objective.parameters),
            )
        self.blocks = list(self.blocks)

    def _sums(self):
        weights = [term.weights for term in self.objective.terms]
        return zip(self.objective.features, weights, self.blocks, strict=True)

    def matvec(self, vector):
        """`Aᵀ [w_n W_n (a_n V)]`."""
        direction = self.objective.matrix(vector)
        product = ops.zeros_like(direction)
        for a, weights, block in self._sums():
            y = block.matvec(ops.matmul(a, direction))
            product += _gram(a, weights[:, None, None] * y)
        return ops.reshape(product, (-1,)) + self._penalty_product(vector)

    def as_matrix(self):
        """One Gram matrix for every pair of head outputs."""
        features = self.objective.features[0].shape[-1]
        units = self.objective.units
        matrix = ops.zeros((units, units, features, features), self.dtype)
        for a, weights, block in self._sums():
            matrix += _pairwise_grams(a, weights, block.dense(), units)
        matrix = ops.transpose(matrix, (2, 0, 3, 1))
        matrix = ops.reshape(matrix, (self.size, self.size))
        return matrix + self._penalty_matrix()

    def inverse(self, damping):
        """Woodbury's identity, where the sum holds outer products only."""
        regularized = self.objective.regularization is not None
        if regularized or not self.outer_product:
            return None
        return functools.partial(self.objective.low_rank().solve, damping)

    def sample(self, number):
        """The curvature on a random half of the examples."""
        sampled = self.objective.sample(number)
        return LastLayerCurvature(sampled, self.outer_product)

    def preconditioner(self, damping):
        """Inverse of (feature second moment ⊗ mean output Hessian) + damping.

        Two small eigendecompositions; Martens and Grosse, 2015.
        """
        moment, mean, total = 0.0, 0.0, 0.0
        for a, weights, block in self._sums():
            moment += _gram(a, weights[:, None, None] * a)
            mean += block.weighted_sum(weights)
            total += ops.sum(weights) * a.shape[1]
        s, U = eigh(moment)
        m, Q = eigh(tf.math.divide_no_nan(mean, total))
        eigenvalues = ops.maximum(s, 0.0)[:, None] * ops.maximum(m, 0.0)
        penalty = self._penalty_product(ops.ones((self.size,), self.dtype))
        floor = 1e-7 * ops.max(eigenvalues)
        # A penalty may be concave; the preconditioner must not be.
        eigenvalues += damping + ops.maximum(ops.mean(penalty), 0.0)
        eigenvalues = ops.maximum(eigenvalues, floor)

        def precondition(residual):
            rotated = ops.transpose(U) @ self.objective.matrix(residual) @ Q
            return ops.reshape(
                U @ (rotated / eigenvalues) @ ops.transpose(Q), (-1,)
            )

        return precondition

    def _penalty_product(self, vector):
        objective = self.objective
        if objective.regularization is None:
            return ops.zeros_like(vector)
        tangents = objective.unflatten(vector)
        return objective.flatten(
            derivatives.hvp(objective.penalty, objective.parameters, tangents)
        )

    def _penalty_matrix(self):
        if self.objective.regularization is None:
            return ops.zeros((), self.dtype)
        return tf.vectorized_map(
            self._penalty_product, ops.eye(self.size, dtype=self.dtype)
        )


def output_hessian(term: Term, outputs):
    """The operator `W_n` of a term at its head outputs."""
    if term.softmax:
        return SoftmaxHessian(outputs)
    return OutputHessian(term, outputs)


class OutputHessian:
    """`W_n = ∂²l_n/∂z²` of any twice-differentiable loss, by differentiation.

    Args:
        term: the `Term` whose loss it is.
        outputs: tensor `(n, views, units)`, where to differentiate.
    """

    def __init__(self, term, outputs):
        self.total = _total(term)
        self.outputs = outputs

    def matvec(self, y):
        """`W_n y_n` for `y` of shape `(n, views, units)`."""
        return derivatives.hvp(self.total, [self.outputs], [y])[0]

    def dense(self):
        """`W_n` as a tensor `(n, views, units, views, units)`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.outputs)
            gradient = derivatives.gradient(self.total, [self.outputs])[0]
        blocks = tape.batch_jacobian(
            gradient,
            self.outputs,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return blocks

    def weighted_sum(self, weights):
        """`Σ_n w_n Σ_views W_n`, the blocks within a view: `(units, units)`."""
        _, views, units = self.outputs.shape

        def column(unit):
            total = ops.zeros_like(unit)
            for view in range(views):
                place = ops.one_hot(view, views, dtype=unit.dtype)[:, None]
                y = ops.zeros_like(self.outputs) + place * unit
                product = self.matvec(y)[:, view]
                total += ops.sum(weights[:, None] * product, 0)
            return total

        return tf.map_fn(column, ops.eye(units, dtype=weights.dtype))


class SoftmaxHessian:
    """`W_n = diag(p_n) - p_n p_nᵀ` of the softmax cross-entropy, one view.

    Args:
        outputs: tensor `(n, 1, units)`, the logits.
    """

    def __init__(self, outputs):
        self.p = ops.softmax(outputs)

    def matvec(self, y):
        """`W_n y_n` for `y` of shape `(n, 1, units)`."""
        y = self.p * y
        return y - self.p * ops.sum(y, -1, keepdims=True)

    def dense(self):
        """`W_n` as a tensor `(n, 1, units, 1, units)`."""
        p = self.p[:, 0]
        blocks = tf.linalg.diag(p) - p[:, :, None] * p[:, None, :]
        return blocks[:, None, :, None, :]

    def weighted_sum(self, weights):
        """`Σ_n w_n W_n`, shape `(units, units)`."""
        p = self.p[:, 0]
        weighted = weights[:, None] * p
        return tf.linalg.diag(ops.sum(weighted, 0)) - ops.matmul(
            ops.transpose(weighted), p
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
        return _gram(self.delta, weights[:, None, None] * self.delta)


def _total(term):
    return lambda outputs: ops.sum(term.loss(outputs[0]))


def _gram(a, b):
    """`Σ_n Σ_views a_nᵀ b_n` for `(n, views, p)` and `(n, views, q)`."""
    return tf.matmul(_flat(a), _flat(b), transpose_a=True)


def _flat(a):
    """`(n, views, p)` to `(n·views, p)`."""
    return ops.reshape(a, (-1, a.shape[-1]))


def _with_ones(a):
    return ops.concatenate([a, ops.ones_like(a[..., :1])], axis=-1)


def _pairwise_grams(a, weights, blocks, units):
    """`Σ_n w_n Σ W_n[v, c, v', c'] a_n[v] a_n[v']ᵀ` as `(c, c', d, d)`."""
    rows = []
    for c in range(units):
        # The matrix is symmetric: only c' >= c is computed.
        row = 0.0
        for v in range(a.shape[1]):
            for u in range(a.shape[1]):
                scale = weights[:, None] * blocks[:, v, c, u, c:]
                scaled = scale[:, :, None] * a[:, u, None, :]
                flat = ops.reshape(scaled, (ops.shape(a)[0], -1))
                row += tf.matmul(a[:, v], flat, transpose_a=True)
        rows.append(
            tf.transpose(
                ops.reshape(row, (a.shape[-1], units - c, a.shape[-1])),
                (1, 0, 2),
            )
        )
    return _mirror(rows)


def _mirror(rows):
    """Upper triangle of blocks, row by row, to the full symmetric matrix."""
    units = len(rows)
    full = [
        [
            rows[c][d - c] if d >= c else ops.transpose(rows[d][c - d])
            for d in range(units)
        ]
        for c in range(units)
    ]
    return ops.stack([ops.stack(row) for row in full])
