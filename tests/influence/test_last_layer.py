import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence import solvers
from keras_influence.influence import last_layer
from keras_influence.influence.head import Head
from keras_influence.influence.last_layer import LastLayerCurvature
from keras_influence.influence.objective import Term
from keras_influence.influence.scope import LastLayerScope
from keras_influence.layers import BinaryLogits
from tests.cases.influence import (
    assert_close,
    explicit_hessian,
    explicit_jacobian,
    few_examples,
)
from tests.cases.last_layer import (
    LOSSES,
    Problem,
    check,
    convex_over_views,
    dense,
    labeled,
    mixed_views,
    over_views,
    random,
    unlabeled,
)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name, use_bias):
    layer = dense(4, 3, use_bias)
    check(Problem(layer, [labeled(name, 5, 4, 3)]))


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("name", ["binary", "mse"])
def test_single_logit(name, use_bias):
    check(Problem(dense(4, 1, use_bias), [labeled(name, 5, 4, 1)]))


@pytest.mark.parametrize("use_bias", [True, False])
def test_binary_logits(use_bias):
    layer = dense(4, 1, use_bias, BinaryLogits)
    parts = [labeled("sparse", 5, 4, 2), unlabeled(4, 2, 4)]
    check(Problem(layer, parts))


def test_gradients_through_two_views_have_blocks_between_them():
    problem = Problem(dense(3, 3, True), [unlabeled(4, 2, 3)])
    check(problem)
    block = LastLayerCurvature(problem.objective).blocks()[0].dense()
    assert np.abs(block[:, 0, :, 1]).max() > 1e-3


def test_views_are_not_mixed_up():
    problem = Problem(dense(3, 3, True), [unlabeled(4, 2, 3, mixed_views)])
    block = LastLayerCurvature(problem.objective).blocks()[0].dense().numpy()
    between = block[:, 0, :, 1]
    assert np.abs(between - between.transpose(0, 2, 1)).max() > 1e-2
    check(problem)


def test_a_matrix_in_chunks_is_the_same(monkeypatch):
    parts = [labeled("sparse", 5, 4, 3), unlabeled(4, 2, 4, mixed_views)]
    problem = Problem(dense(4, 3, True), parts)
    monkeypatch.setattr(last_layer, "CHUNK", 1)
    matrix = LastLayerCurvature(problem.objective).as_matrix()
    assert_close(matrix, problem.hessian())


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("max_dense", [1, 10**6])
def test_few_rows_of_many_features(use_bias, max_dense):
    parts = [labeled("sparse", 3, 20, 3), unlabeled(2, 2, 20, mixed_views)]
    problem = Problem(dense(20, 3, use_bias), parts)
    curvature = LastLayerCurvature(problem.objective)
    within, project, expand = curvature.restriction
    hessian = problem.hessian()
    damping = 0.1 - np.linalg.eigvalsh(hessian)[0]
    assert within.size == 7 * 3
    vector = random.normal(size=len(hessian))
    inside = project(tf.constant(vector))
    assert_close(project(expand(inside)), inside)
    assert_close(expand(within.matvec(inside)), hessian @ vector)
    solver = solvers.Exact(damping, max_dense=max_dense)
    solution = solver.solve(curvature, vector)
    exact = np.linalg.solve(hessian + damping * np.eye(len(hessian)), vector)
    assert_close(solution.vector, exact, 1e-7)
    relative = solvers.Exact(1.0, "largest_eigenvalue", max_dense=max_dense)
    expected = np.abs(np.linalg.eigvalsh(hessian)).max()
    found = relative.absolute_damping(curvature)
    np.testing.assert_allclose(found, expected, 0.2)


@pytest.mark.parametrize(
    ("rows", "units", "restricted"),
    [(10, 3, True), (11, 3, False), (10, 1, True), (17, 1, False)],
)
def test_restricted_where_it_saves(rows, units, restricted):
    features = 21 if rows < 12 else 60
    parts = [labeled("mse", rows, features - 1, units)]
    curvature = LastLayerCurvature(
        Problem(dense(features - 1, units, True), parts).objective
    )
    assert (curvature.restriction is not None) is restricted


def test_a_regularizer_reaches_beyond_the_span():
    layer = dense(20, 3, True, kernel_regularizer="l2")
    problem = Problem(layer, [labeled("sparse", 3, 20, 3)])
    assert LastLayerCurvature(problem.objective).restriction is None


@pytest.mark.parametrize("solver", [solvers.Exact(0.1), solvers.Exact(1e-6)])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("known", [True, False])
def test_outer_products_are_solved_by_their_rank(solver, views, known):
    parts = [labeled("mse", 5, 8, 3), unlabeled(6, views, 8)]
    layer = dense(8, 3, True)
    expected = 0.0
    problem = Problem(layer, parts)
    for (*_, weights), g in zip(parts, problem.gradients(), strict=True):
        expected += (weights[:, None] * g).T @ g
    vector = random.normal(size=27)
    damping = solver.damping * np.eye(27)

    def run(vector, labeled_rows, unlabeled_rows):
        features = [labeled_rows, unlabeled_rows]
        terms = [
            Term(lambda z: ops.mean((z[:, 0] - parts[0][2]) ** 2, -1), w0),
            Term(over_views, w1),
        ]
        scope = LastLayerScope(Head(layer), lambda features: features)
        objective = scope.objective(features, terms, stack=list)
        curvature = LastLayerCurvature(objective, outer_product=True)
        assert curvature.materialize() is curvature
        return solver.solve(curvature, vector).vector

    (w0, w1) = (tf.constant(part[-1]) for part in parts)
    if not known:
        run = tf.function(
            run,
            autograph=False,
            input_signature=[
                tf.TensorSpec((27,), "float64"),
                tf.TensorSpec((None, 1, 8), "float64"),
                tf.TensorSpec((None, views, 8), "float64"),
            ],
        )
    found = run(tf.constant(vector), *(tf.constant(p[0]) for p in parts))
    exact = np.linalg.solve(expected + damping, vector)
    assert_close(found, exact, 1e-7)


def test_more_outer_products_than_parameters_are_written_out():
    problem = Problem(dense(2, 2, True), [labeled("sparse", 9, 2, 2)])
    curvature = LastLayerCurvature(problem.objective, outer_product=True)
    assert curvature.materialize() is not curvature
    assert curvature.inverse(0.1) is None


def operations(units, features, outer_product=False, known=False):
    """How many operations a traced solve has, loops and branches included."""
    parts = [labeled("sparse", 6, features, units)]
    if not known:
        parts.append(unlabeled(5, 2, features))
    problem = Problem(dense(features, units, True), parts)
    solver = solvers.Exact(0.01, "largest_eigenvalue")

    def run(vector):
        curvature = LastLayerCurvature(problem.objective, outer_product)
        return solver.solve(curvature, vector).vector

    size = (features + 1) * units
    spec = tf.TensorSpec((size,), "float64")
    traced = tf.function(run, autograph=False).get_concrete_function(spec)
    graph = traced.graph.as_graph_def()
    inner = sum(len(f.node_def) for f in graph.library.function)
    return len(graph.node) + inner


@pytest.mark.parametrize("outer_product", [True, False])
@pytest.mark.parametrize(
    "sizes",
    [[(3, 6), (10, 20)], [(30, 12), (90, 20)], [(30, 40), (90, 60)]],
    ids=["dense", "matrix_free", "few_rows"],
)
def test_the_graph_does_not_grow(sizes, outer_product):
    small, large = (operations(*size, outer_product) for size in sizes)
    assert abs(large - small) < 20
    assert large < 1000


def test_nor_does_that_of_softmax_whose_loops_are_written_out():
    small, large = (operations(*s, known=True) for s in [(30, 12), (90, 60)])
    assert abs(large - small) < 40
    assert large < 1000


def test_sums_of_output_hessians():
    parts = [unlabeled(4, 2, 3, mixed_views)]
    problem = Problem(dense(3, 4, True), parts)
    block = LastLayerCurvature(problem.objective).blocks()[0]
    weights = tf.constant(parts[0][-1])
    within = sum(block.dense().numpy()[:, v, :, v] for v in range(2))
    expected = np.einsum("n,nce->ce", weights, within)
    assert_close(block.weighted_sum(weights), expected)


@pytest.mark.parametrize(
    "regularizer",
    [
        keras.regularizers.L1(0.3),
        keras.regularizers.L2(0.3),
        keras.regularizers.L1L2(0.1, 0.2),
        lambda kernel: ops.sum(ops.matmul(kernel, ops.transpose(kernel)) ** 2),
    ],
    ids=["l1", "l2", "l1l2", "coupled"],
)
def test_regularizers_count(regularizer):
    arguments = {"kernel_regularizer": regularizer}
    arguments["bias_regularizer"] = keras.regularizers.L2(0.7)
    layer = dense(4, 3, True, **arguments)
    problem = Problem(layer, [labeled("sparse", 5, 4, 3)])
    check(problem)
    bare = Problem(dense(4, 3, True), problem.parts)
    bare.layer.set_weights(layer.get_weights())
    difference = problem.hessian()[-3:, -3:] - bare.hessian()[-3:, -3:]
    assert np.abs(difference).max() > 0.1


@few_examples
@hypothesis.given(
    n=st.integers(1, 6),
    features=st.integers(1, 4),
    units=st.integers(2, 4),
    views=st.integers(1, 3),
    use_bias=st.booleans(),
)
def test_every_size(n, features, units, views, use_bias):
    parts = [labeled("sparse", n, features, units)]
    parts.append(unlabeled(n + 1, views, features))
    check(Problem(dense(features, units, use_bias), parts))


@pytest.mark.parametrize("use_bias", [True, False])
def test_outer_product(use_bias):
    decay = keras.regularizers.L2(0.25)
    layer = dense(4, 3, use_bias, kernel_regularizer=decay)
    parts = [labeled("sparse", 5, 4, 3), unlabeled(4, 2, 4)]
    problem = Problem(layer, parts)
    expected = np.diag([0.5] * 12 + [0.0] * 3 * use_bias)
    for (*_, weights), g in zip(parts, problem.gradients(), strict=True):
        expected += (weights[:, None] * g).T @ g
    curvature = LastLayerCurvature(problem.objective, outer_product=True)
    assert_close(curvature.as_matrix(), expected)
    vector = random.normal(size=len(expected))
    assert_close(curvature.matvec(tf.constant(vector)), expected @ vector)


def as_matrix(function, size):
    return np.stack([function(tf.constant(e)) for e in np.eye(size)])


@pytest.mark.parametrize("outer_product", [False, True])
def test_preconditioner_is_the_kronecker_approximation(outer_product):
    parts = [labeled("sparse", 6, 4, 3)]
    parts.append(unlabeled(5, 2, 4, convex_over_views))
    problem = Problem(dense(4, 3, True), parts)
    moment, blocks, total = 0.0, 0.0, 0.0
    for part, term in zip(problem.parts, problem.terms, strict=True):
        a, *_, weights = part
        a = np.concatenate([a, np.ones_like(a[..., :1])], -1)
        moment += np.einsum("n,nvd,nve->de", weights, a, a)
        total += weights.sum() * a.shape[1]
        kernel, bias = problem.parameters
        z = a @ np.concatenate([kernel, [bias]])
        for i, weight in enumerate(weights):
            for v in range(a.shape[1]):
                block = output_block(term, z, i, v, outer_product)
                blocks += weight * block
    expected = np.kron(moment, blocks / total) + 0.01 * np.eye(15)
    curvature = LastLayerCurvature(problem.objective, outer_product)
    precondition = curvature.preconditioner(tf.constant(0.01, "float64"))
    inverse = np.linalg.inv(expected)
    assert_close(as_matrix(precondition, 15), inverse, rtol=1e-4)


def output_block(term, z, example, view, outer_product):
    """`∂²l/∂z²` or `δδᵀ` of one example within one view."""

    def loss(parameters):
        moved = tf.tensor_scatter_nd_update(
            tf.constant(z), [[example, view]], [parameters[0]]
        )
        return term.loss(moved)[example]

    if outer_product:
        gradient = explicit_jacobian(
            lambda p: loss(p)[None], [z[example, view]]
        )
        return gradient.T @ gradient
    return explicit_hessian(loss, [z[example, view]])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_preconditioner_is_positive_definite(sign):
    # A custom penalty may be concave.
    layer = dense(4, 3, True, kernel_regularizer=lambda k: sign * ops.sum(k**2))
    problem = Problem(layer, [labeled("sparse", 6, 4, 3)])
    curvature = LastLayerCurvature(problem.objective)
    precondition = curvature.preconditioner(tf.constant(0.01, "float64"))
    matrix = as_matrix(precondition, 15)
    assert_close(matrix, matrix.T)
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_preconditioner_inverts_what_is_a_kronecker_product(penalty):
    decay = keras.regularizers.L2(penalty) if penalty else None
    layer = dense(4, 3, True, kernel_regularizer=decay, bias_regularizer=decay)
    problem = Problem(layer, [labeled("mse", 9, 4, 3)])
    curvature = LastLayerCurvature(problem.objective)
    precondition = curvature.preconditioner(tf.constant(0.1, "float64"))
    inverse = np.linalg.inv(problem.hessian() + 0.1 * np.eye(15))
    assert_close(as_matrix(precondition, 15), inverse, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_graphs(jit_compile):
    problem = Problem(
        dense(4, 3, True, kernel_regularizer="l2"),
        [labeled("sparse", 5, 4, 3), unlabeled(4, 2, 4)],
    )
    vector = tf.constant(random.normal(size=15))

    @tf.function(jit_compile=jit_compile)
    def run(vector):
        curvature = LastLayerCurvature(problem.objective)
        return curvature.matvec(vector), curvature.as_matrix()

    product, matrix = run(vector)
    assert_close(matrix, problem.hessian())
    assert_close(product, problem.hessian() @ vector.numpy())


def test_only_damping_is_left_in_the_directions_that_change_nothing():
    """The same vector added to every class leaves the softmax as it is."""
    problem = Problem(dense(4, 3, True), [labeled("sparse", 30, 4, 3)])
    matrix = LastLayerCurvature(problem.objective).as_matrix().numpy()
    eigenvalues = np.linalg.eigvalsh(matrix + 1e-3 * np.eye(15))
    np.testing.assert_allclose(eigenvalues[:5], 1e-3, rtol=1e-9)
    assert eigenvalues[5] > 2e-3
