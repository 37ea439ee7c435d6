"""Appendix E as a test: scores are derivatives of retraining."""

import keras
import numpy as np
import pytest
import scipy.optimize
import scipy.special

import keras_influence as ki

DECAY = 0.05


def problem(classes=3, n=30, d=4):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(d, classes))

    def draw(n):
        x = rng.normal(size=(n, d))
        logits = x @ truth + rng.gumbel(size=(n, classes))
        return x, np.argmax(logits, axis=1)

    return draw(n), draw(20)


def trained(train, weights, classes, bias):
    """Parameters of L2 softmax regression at the optimum, by scipy."""
    x, y = train
    a = np.concatenate([x, np.ones((len(x), 1))], 1) if bias else x
    onehot = np.eye(classes)[y]
    decay = np.full((a.shape[1], 1), DECAY)

    def parts(flat):
        v = flat.reshape(a.shape[1], classes)
        p = scipy.special.softmax(a @ v, axis=1)
        return v, p

    def value(flat):
        v, _ = parts(flat)
        log_p = scipy.special.log_softmax(a @ v, axis=1)
        nll = -(weights * np.sum(onehot * log_p, 1)).mean()
        return nll + np.sum(decay * v**2)

    def gradient(flat):
        v, p = parts(flat)
        g = a.T @ (weights[:, None] * (p - onehot)) / len(x)
        return (g + 2 * decay * v).ravel()

    def hessian(flat):
        _, p = parts(flat)
        w = p[:, :, None] * np.eye(classes) - p[:, :, None] * p[:, None]
        h = np.einsum("n,ncd,ni,nj->icjd", weights / len(x), w, a, a)
        h = h.reshape(flat.size, flat.size)
        return h + 2 * DECAY * np.eye(flat.size)

    flat = np.zeros(a.shape[1] * classes)
    for _ in range(50):
        flat = flat - np.linalg.solve(hessian(flat), gradient(flat))
    result = scipy.optimize.minimize(
        value, flat, jac=gradient, hess=hessian, method="trust-exact"
    )
    flat = min((result.x, flat), key=lambda f: np.linalg.norm(gradient(f)))
    assert np.linalg.norm(gradient(flat)) < 1e-10
    return flat.reshape(a.shape[1], classes)


def network(parameters, bias, classes):
    regularizer = keras.regularizers.L2(DECAY)
    head = keras.layers.Dense(
        classes,
        use_bias=bias,
        kernel_regularizer=regularizer,
        bias_regularizer=regularizer,
        dtype="float64",
    )
    d = len(parameters) - bias
    model = keras.Sequential([keras.Input((d,), dtype="float64"), head])
    weights = [parameters[:d]] + ([parameters[d]] if bias else [])
    model.set_weights(weights)
    return model


def validation_loss(parameters, validation, bias):
    x, y = validation
    a = np.concatenate([x, np.ones((len(x), 1))], 1) if bias else x
    log_p = scipy.special.log_softmax(a @ parameters, axis=1)
    return -log_p[np.arange(len(y)), y].mean()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("parameters", ["last_layer", "all"])
@pytest.mark.parametrize(
    "solver",
    [
        ki.solvers.Exact(damping=0.0),
        ki.solvers.ConjugateGradient(damping=0.0, tolerance=1e-12),
    ],
    ids=["exact", "cg"],
)
def test_scores_are_derivatives_of_retraining(bias, parameters, solver):
    classes, epsilon = 3, 1e-4
    train, validation = problem(classes)
    ones = np.ones(len(train[1]))
    model = network(trained(train, ones, classes, bias), bias, classes)
    scores = ki.influence_scores(
        model,
        train,
        validation,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        influence=ki.Influence(parameters, solver=solver),
        batch_size=7,
    )
    for u in range(0, len(ones), 3):
        losses = []
        for sign in (1, -1):
            weights = ones.copy()
            weights[u] += sign * epsilon
            moved = trained(train, weights, classes, bias)
            losses.append(validation_loss(moved, validation, bias))
        derivative = (losses[0] - losses[1]) / (2 * epsilon)
        np.testing.assert_allclose(scores[u], derivative, rtol=1e-4)
