"""The problems of the comparison with peers and their true answers.

Only NumPy and SciPy: every library draws the same data in its own process, and
the truth comes from none of them.
"""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.sparse.linalg
import scipy.special

DAMPING = 1e-3
TOLERANCE = 1e-5
LATENT = 32

HEADS = {
    "W1": {"examples": 4096, "features": 128, "classes": 10},
    "W2": {"examples": 4096, "features": 512, "classes": 100},
}
BATCH = 64
CHANNELS = (3, 16, 32, 32)
CLASSES = 10


class Problem(NamedTuple):
    """A trained model with what its scores are asked for.

    Args:
        parameters: list of arrays: kernels `(..., inputs, outputs)`, and in
            `W3` each followed by its bias.
        x: array, training inputs.
        y: int array of shape `(n,)`.
        validation: tuple `(x, y)`.
    """

    parameters: list
    x: np.ndarray
    y: np.ndarray
    validation: tuple


def head(name: str, correlated: bool, scale: float = 1.0) -> Problem:
    """A linear softmax head without bias that labels were drawn from.

    Args:
        name: `"W1"` or `"W2"`.
        correlated: boolean, whether features are ReLU outputs of a few
            latent variables, as a network's are, or Gaussian.
        scale: float, a factor of the number of examples. Defaults to `1.0`.
    """
    rng = np.random.default_rng(0)
    size = HEADS[name]
    n, d, classes = size["examples"], size["features"], size["classes"]
    n = int(n * scale)
    total = n + n // 4
    features = rng.normal(size=(total, d))
    if correlated:
        latent = rng.normal(size=(total, LATENT))
        mixing = rng.normal(size=(LATENT, d)) / LATENT**0.5
        features = np.maximum(latent @ mixing, 0)
    kernel = rng.normal(size=(d, classes)) / d**0.5
    noise = rng.gumbel(size=(total, classes))
    labels = np.argmax(features @ kernel + noise, axis=1)
    x = features.astype("float32")
    return Problem(
        [kernel.astype("float32")],
        x[:n],
        labels[:n],
        (x[n:], labels[n:]),
    )


def write(problem: Problem, path: str) -> None:
    """Writes a linear head and its data, for another process to `read`."""
    [kernel] = problem.parameters
    x_val, y_val = problem.validation
    np.savez(
        path, kernel=kernel, x=problem.x, y=problem.y, x_val=x_val, y_val=y_val
    )


def read(path: str) -> Problem:
    """The linear head in a file that `write` wrote."""
    with np.load(path) as file:
        validation = file["x_val"], file["y_val"]
        return Problem([file["kernel"]], file["x"], file["y"], validation)


def head_scores(problem: Problem) -> np.ndarray:
    """`-∇L(V)ᵀ (H + damping)⁻¹ ∇l_u` of a linear head in float64."""
    kernel, x = (
        np.asarray(t, "float64") for t in (problem.parameters[0], problem.x)
    )
    p = scipy.special.softmax(x @ kernel, axis=1)

    def product(vector):
        direction = vector.reshape(kernel.shape)
        y = p * (x @ direction)
        y -= p * y.sum(1, keepdims=True)
        return (x.T @ y / len(x) + DAMPING * direction).ravel()

    def residuals(x, y):
        p = scipy.special.softmax(x @ kernel, axis=1)
        return p - np.eye(kernel.shape[1])[y]

    x_val, y_val = problem.validation
    x_val = x_val.astype("float64")
    gradient = x_val.T @ residuals(x_val, y_val) / len(x_val)
    operator = scipy.sparse.linalg.LinearOperator(
        (kernel.size, kernel.size), product
    )
    solution, failed = scipy.sparse.linalg.cg(
        operator, gradient.ravel(), rtol=1e-9, maxiter=5000
    )
    if failed:
        raise ArithmeticError("The reference did not converge.")
    outputs = x @ solution.reshape(kernel.shape)
    return -np.sum(residuals(x, problem.y) * outputs, axis=1)


def network() -> tuple[Problem, list]:
    """A small convolutional network, a batch, and a direction `v`.

    3 x 3 convolutions with ReLU, all but the first with strides of 2, the mean
    over positions, a linear head.
    """
    rng = np.random.default_rng(0)
    parameters = []
    for inputs, outputs in itertools.pairwise(CHANNELS):
        kernel = rng.normal(size=(3, 3, inputs, outputs))
        parameters += [kernel / (4.5 * inputs) ** 0.5, np.zeros(outputs)]
    kernel = rng.normal(size=(CHANNELS[-1], CLASSES))
    parameters += [kernel / CHANNELS[-1] ** 0.5, np.zeros(CLASSES)]
    parameters = [p.astype("float32") for p in parameters]
    direction = [rng.normal(size=p.shape).astype("float32") for p in parameters]
    x = rng.normal(size=(BATCH, 32, 32, CHANNELS[0])).astype("float32")
    y = rng.integers(CLASSES, size=BATCH)
    return Problem(parameters, x, y, (x, y)), direction


def network_scores(problem: Problem, direction: list) -> np.ndarray:
    """`-⟨v, ∇l_u⟩` by central differences in float64."""
    epsilon = 1e-8  # small enough for no ReLU to switch
    losses = [
        _losses(
            [
                p.astype("float64") + sign * epsilon * v
                for p, v in zip(problem.parameters, direction, strict=True)
            ],
            problem.x,
            problem.y,
        )
        for sign in (1, -1)
    ]
    return -(losses[0] - losses[1]) / (2 * epsilon)


def _losses(parameters, x, y):
    *convolutions, kernel, bias = parameters
    x = x.astype("float64")
    for layer in range(0, len(convolutions), 2):
        stride = 2 if layer else 1
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
        windows = windows[:, ::stride, ::stride]
        x = np.einsum(
            "nhwcij,ijco->nhwo", windows, convolutions[layer], optimize=True
        )
        x = np.maximum(x + convolutions[layer + 1], 0)
    logits = x.mean((1, 2)) @ kernel + bias
    return -scipy.special.log_softmax(logits, axis=1)[np.arange(len(y)), y]
