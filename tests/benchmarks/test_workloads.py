import keras
import numpy as np
import pytest
import scipy.special
import sklearn.linear_model
import sklearn.metrics

from benchmarks import workloads
from benchmarks.retraining import SoftmaxRegression


@pytest.mark.parametrize("correlated", [True, False])
def test_truth_of_the_heads_is_a_dense_solve(correlated):
    problem = workloads.head("W1", correlated, scale=0.02)
    kernel = problem.parameters[0].astype("float64")
    x, (x_val, y_val) = problem.x.astype("float64"), problem.validation

    def residuals(x, y):
        return scipy.special.softmax(x @ kernel, axis=1) - np.eye(10)[y]

    p = scipy.special.softmax(x @ kernel, axis=1)
    blocks = p[:, :, None] * np.eye(10) - p[:, :, None] * p[:, None]
    hessian = np.einsum("ncd,ni,nj->icjd", blocks, x, x, optimize=True)
    hessian = hessian.reshape(1280, 1280) / len(x)
    hessian += workloads.DAMPING * np.eye(1280)
    gradient = x_val.T @ residuals(x_val, y_val) / len(x_val)
    solution = np.linalg.solve(hessian, gradient.ravel())
    outputs = x @ solution.reshape(128, 10)
    expected = -np.sum(residuals(x, problem.y) * outputs, axis=1)
    np.testing.assert_allclose(
        workloads.head_scores(problem), expected, rtol=1e-6, atol=1e-8
    )


def test_losses_of_the_network_are_those_of_keras():
    problem, _ = workloads.network()
    convolutions = [
        keras.layers.Conv2D(n, 3, 2 if i else 1, activation="relu")
        for i, n in enumerate(workloads.CHANNELS[1:])
    ]
    model = keras.Sequential(
        [
            keras.Input(problem.x.shape[1:]),
            *convolutions,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(workloads.CLASSES),
        ]
    )
    model.set_weights(problem.parameters)
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction=None
    )
    losses = workloads._losses(problem.parameters, problem.x, problem.y)
    np.testing.assert_allclose(
        losses, loss(problem.y, model(problem.x)), rtol=1e-4
    )


def test_retraining_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), np.arange(60) % 3
    x[:, 0] += y
    train, validation = (x[:40], y[:40]), (x[40:], y[40:])
    regression = SoftmaxRegression(train, validation, 3, decay=0.1)

    def validation_loss(kept):
        model = sklearn.linear_model.LogisticRegression(
            C=1 / (40 * 0.1), fit_intercept=False, tol=1e-9, max_iter=1000
        )
        model.fit(train[0][kept], train[1][kept])
        p = model.predict_proba(validation[0])
        return sklearn.metrics.log_loss(validation[1], p)

    everyone = np.arange(40)
    expected = [
        validation_loss(everyone != i) - validation_loss(everyone >= 0)
        for i in (0, 7, 39)
    ]
    np.testing.assert_allclose(
        regression.leave_one_out()[[0, 7, 39]], expected, rtol=1e-4, atol=1e-8
    )
