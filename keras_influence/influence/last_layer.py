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
from keras_influence.influence.objective import Objective
from keras_influence.influence.output_hessian import (
    OutputOuterProduct,
    output_hessian,
    probabilities,
    softmax_factors,
    softmax_product,
    total_loss,
)
from keras_influence.solvers import Operator, Restriction
from keras_influence.solvers.operator import eigh

# What a Gram matrix may take at once, in numbers.
CHUNK = 2**22


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
        self.logits = self.outputs(self.parameters)

    def _outputs(self, parameters):
        kernel, *bias = parameters
        matrix = ops.concatenate([kernel, *(b[None] for b in bias)])
        return [ops.matmul(a, matrix) for a in self.features]

    def matrix(self, vector):
        """A vector as the matrix `V`, bias last."""
        return ops.reshape(vector, (-1, self.shapes[0][-1]))

    def gradient(self):
        """`Σ_n w_n δ_n ⊗ a_n`, and the regularisers': one thin product."""
        deltas = [
            ops.reshape(t.weights, (-1, 1, 1)) * delta
            for t, delta in zip(
                self.terms, self.output_gradients(), strict=True
            )
        ]
        a, delta = _rows(self.features), _rows(deltas)
        gradient = ops.reshape(tf.matmul(a, delta, transpose_a=True), (-1,))
        if self.regularization is None:
            return gradient
        return gradient + self.flatten(
            derivatives.gradient(self.penalty, self.parameters)
        )

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
        a, delta = _rows(self.features), _rows(self.output_gradients())
        root = ops.sqrt(ops.concatenate([t.weights for t in self.terms]))
        count, example = self._example_of_row()

        def to_examples(rows):
            if example is None:
                return rows
            return tf.math.unsorted_segment_sum(rows, example, count)

        def project(vector):
            rows = ops.sum(delta * ops.matmul(a, self.matrix(vector)), 1)
            return root * to_examples(rows)

        def expand(r):
            rows = root * r if example is None else ops.take(root * r, example)
            rows = rows[:, None] * delta
            return ops.reshape(tf.matmul(a, rows, transpose_a=True), (-1,))

        gram = tf.matmul(a, a, transpose_b=True)
        gram *= tf.matmul(delta, delta, transpose_b=True)
        gram = to_examples(ops.transpose(to_examples(gram)))
        return LowRank(root[:, None] * gram * root, project, expand)

    def _example_of_row(self):
        """The number of examples, and to which of them every row belongs.

        `None` in place of the latter if all have one row.
        """
        numbers, count = [], 0
        for a in self.features:
            size = ops.shape(a)[0]
            numbers.append(ops.repeat(count + ops.arange(size), a.shape[1]))
            count += size
        if all(a.shape[1] == 1 for a in self.features):
            return count, None
        return count, ops.concatenate(numbers)

    def output_gradients(self) -> list:
        """`δ_n = ∂l_n/∂z_n`, a tensor `(n, views, units)` for every term."""
        return [
            derivatives.gradient(total_loss(term), [z])[0]
            for term, z in zip(self.terms, self.logits, strict=True)
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
        self.weights = [term.weights for term in objective.terms]
        self.rows = _rows(objective.features)
        self.examples = self.rows.shape[0]
        self._softmax = self._all_softmax()
        # Not within a product: they would be made anew in every turn.
        self._blocks = [] if self._softmax else self.blocks()
        self.unrolls = bool(self._softmax) and objective.regularization is None

    def blocks(self) -> list:
        """The `W_n` of every term."""
        objective = self.objective
        if self.outer_product:
            return list(map(OutputOuterProduct, objective.output_gradients()))
        return list(map(output_hessian, objective.terms, objective.logits))

    def matvec(self, vector):
        """`Aᵀ [w_n W_n (a_n V)]`."""
        product = self._product(self.rows, self.objective.matrix(vector))
        product = ops.reshape(product, (-1,))
        if self.objective.regularization is None:
            return product
        return product + self._penalty_product(vector)

    def _all_softmax(self):
        """What `softmax_product` takes, of all rows, if all is softmax."""
        terms = self.objective.terms
        if self.outer_product or not all(term.softmax for term in terms):
            return None
        p, likeliest = probabilities(_rows(self.objective.logits))
        factors = [
            ops.reshape(
                weights[:, None] * softmax_factors(term.softmax), (-1, 1)
            )
            for weights, term in zip(self.weights, terms, strict=True)
        ]
        return p, ops.concatenate(factors) * p, likeliest

    def _product(self, rows, direction):
        outputs = tf.matmul(rows, direction)
        if self._softmax is not None:
            p, scaled, likeliest = self._softmax
            product = softmax_product(p, scaled, likeliest, outputs)
            return tf.matmul(rows, product, transpose_a=True)
        shapes = [ops.shape(a)[:2] for a in self.objective.features]
        parts = tf.split(outputs, [n * views for n, views in shapes])
        products = []
        for part, (_, views), weights, block in zip(
            parts, shapes, self.weights, self._blocks, strict=True
        ):
            part = ops.reshape(part, (-1, views, part.shape[-1]))
            product = weights[:, None, None] * block.matvec(part)
            products.append(_flat(product))
        return tf.matmul(rows, ops.concatenate(products), transpose_a=True)

    def as_matrix(self):
        """One Gram matrix for every term, in chunks of head outputs."""
        matrix = self._penalty_matrix()
        for a, weights, block in zip(
            self.objective.features, self.weights, self.blocks(), strict=True
        ):
            blocks = weights[:, None, None, None, None] * block.dense()
            matrix += ops.reshape(_gram(a, blocks), (self.size, self.size))
        return matrix

    def materialize(self):
        """This operator, where its own inverse needs a smaller matrix."""
        return super().materialize() if self.low_rank is None else self

    @functools.cached_property
    def low_rank(self):
        """The `LowRank` form where the sum holds few outer products only."""
        regularized = self.objective.regularization is not None
        if regularized or not self.outer_product:
            return None
        examples = [w.shape[0] for w in self.weights]
        if None not in examples and sum(examples) >= self.size:
            return None
        return self.objective.low_rank()

    def inverse(self, damping):
        """Woodbury's identity, where the sum holds outer products only."""
        if self.low_rank is None:
            return None
        return functools.partial(self.low_rank.solve, damping)

    def sample(self, number):
        """The curvature on a random half of the examples."""
        sampled = self.objective.sample(number)
        return LastLayerCurvature(sampled, self.outer_product)

    @functools.cached_property
    def restriction(self):
        """To the span of the features, where there are few rows of them.

        Householder's QR costs as much as `2 rows / units` products.
        """
        rows, features = self.rows.shape
        if rows is None or self.objective.regularization is not None:
            return None
        if self.outer_product:  # `inverse` costs less
            return None
        if 2 * rows > features or 16 * self.objective.units < rows:
            return None
        basis, triangle = tf.linalg.qr(ops.transpose(self.rows))

        def project(vector):
            matrix = self.objective.matrix(vector)
            return ops.reshape(
                tf.matmul(basis, matrix, transpose_a=True), (-1,)
            )

        def expand(vector):
            matrix = self.objective.matrix(vector)
            return ops.reshape(tf.matmul(basis, matrix), (-1,))

        within = _Within(self, ops.transpose(triangle))
        return Restriction(within, project, expand)

    def preconditioner(self, damping):
        """Inverse of (feature second moment ⊗ mean output Hessian) + damping.

        Two small eigendecompositions; Martens and Grosse, 2015.
        """
        return self._preconditioner(self.rows, damping)

    def _preconditioner(self, rows, damping):
        mean, total, weights = 0.0, 0.0, []
        for a, w, block in zip(
            self.objective.features, self.weights, self.blocks(), strict=True
        ):
            mean += block.weighted_sum(w)
            total += ops.sum(w) * a.shape[1]
            weights.append(ops.repeat(w, a.shape[1]))
        weighted = ops.concatenate(weights)[:, None] * rows
        s, U = eigh(tf.matmul(rows, weighted, transpose_a=True))
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


class _Within(Operator):
    """A curvature whose features are given in another basis.

    Args:
        whole: a `LastLayerCurvature` without regularisers.
        rows: tensor `(n · views, features)`.
    """

    def __init__(self, whole, rows):
        units = whole.objective.units
        super().__init__(rows.shape[1] * units, whole.dtype)
        self.whole = whole
        self.rows = rows
        self.unrolls = whole.unrolls

    def matvec(self, vector):
        """As the whole's."""
        direction = self.whole.objective.matrix(vector)
        return ops.reshape(self.whole._product(self.rows, direction), (-1,))

    def preconditioner(self, damping):
        """As the whole's."""
        return self.whole._preconditioner(self.rows, damping)


def _flat(a):
    """`(n, views, p)` to `(n·views, p)`."""
    return ops.reshape(a, (-1, a.shape[-1]))


def _rows(tensors):
    """The `(n, views, p)` of every term as one `(rows, p)`."""
    return ops.concatenate([_flat(a) for a in tensors])


def _with_ones(a):
    return tf.pad(a, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)


def _gram(a, blocks):
    """`Σ_n W_n ⊗ a_n a_nᵀ` as a tensor `(d, units, d, units)`.

    Args:
        a: tensor `(n, views, d)`.
        blocks: tensor `(n, views, units, views, units)`, the `W_n`.
    """
    size, views, d = a.shape
    units = blocks.shape[-1]

    def rows(chunk):
        """Of chunk `(n, views, k, views, units)`: `(d, k, d, units)`."""
        crossed = tf.einsum("nvkue,nuj->nvkje", chunk, a)
        k = chunk.shape[2]
        crossed = ops.reshape(crossed, (-1, k * d * units))
        product = tf.matmul(_flat(a), crossed, transpose_a=True)
        return ops.reshape(product, (d, k, d, units))

    if size is not None and size * views * units**2 * d <= CHUNK:
        return rows(blocks)
    blocks = ops.transpose(blocks, (2, 0, 1, 3, 4))
    gram = tf.map_fn(
        lambda block: rows(block[:, :, None])[:, 0],
        blocks,
        parallel_iterations=1,  # each holds as much as it may
    )
    return ops.transpose(gram, (1, 0, 2, 3))
