"""Influence after training: Eq. 6 over whole data sets."""

import tempfile
import weakref

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.influence.head import find_head
from keras_influence.influence.influence import Influence
from keras_influence.influence.network_objective import (
    NetworkObjective,
    StatelessNetwork,
)
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import scope_variables
from keras_influence.influence.streamed import Streamed
from keras_influence.layers import Recording

# Numbers (features and logits) that one step of the solver works on.
CHUNK = 2**25

# What a second call on the same model need not find and trace again.
_heads = weakref.WeakKeyDictionary()


def influence_scores(
    model: keras.Model,
    train,
    validation,
    *,
    loss=None,
    influence: Influence | None = None,
    batch_size: int = 256,
) -> np.ndarray:
    """How the validation loss changes with the weight of a training example.

    For a trained model and the objective `(1/n)·Σ w_i l_i` plus regularisers,
    with all `w_i = 1`: the derivative of the mean validation loss in every
    `w_i`. A negative score means that the example helps.

    Args:
        model: a built `keras.Model` that gives logits.
        train: tuple `(x, y)` of arrays, or a `tf.data.Dataset` of single
            examples, which is streamed and must give the same order each time.
        validation: like `train`.
        loss: a Keras loss of logits. `None` takes the model's compiled one.
            Defaults to `None`.
        influence: an `Influence`. `None` takes the default one. Defaults to
            `None`.
        batch_size: integer, examples in one pass of the network. Defaults to
            `256`.

    Returns:
        Numpy array of shape `(n,)`.

    Raises:
        ValueError: if there is no loss, a data set is empty, or the solver
            found no solution, as for a Hessian that is not positive definite.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> x, y = np.random.normal(size=(9, 4)), np.arange(9) % 3
    >>> influence_scores(model, (x, y), (x, y), loss=loss).shape
    (9,)

    Reference: Eq. 6 and appendix E of "Not All Unlabeled Data are Equal".
    """
    loss = loss or getattr(model, "loss", None)
    if loss is None:
        raise ValueError(
            "Argument `loss` is needed, because the model is not compiled. "
            "Received: loss=None"
        )
    loss = PerExampleLoss(loss)
    influence = influence or Influence()
    train = _batches("train", train, batch_size)
    validation = _batches("validation", validation, batch_size)
    if influence.parameters == "last_layer":
        problem = _LastLayerProblem(model, train, loss)
    else:
        problem = _NetworkProblem(model, influence.parameters)
    inner = problem.objective(train, loss, regularized=True)
    outer = problem.objective(validation, influence.outer_loss(loss))
    scores, solution = influence.scores(inner, outer)
    if not bool(solution.valid):
        raise ValueError(
            f"Argument `influence` found no solution: the curvature is not "
            "positive definite or not finite. Raise the damping of its solver. "
            f"Received: influence with solver {influence.solver.get_config()}, "
            f"relative residual {float(solution.residual):.3g}"
        )
    # The objective is the mean of the losses: each counts by 1/n.
    return ops.convert_to_numpy(scores[0]) / len(scores[0])


class _LastLayerProblem:
    """Objectives of the head, on features that are computed once."""

    def __init__(self, model, batches, loss):
        if model not in _heads:
            _heads[model] = find_head(model, next(iter(batches))[0]), {}
        self.model = model
        self.head, _ = _heads[model]
        self.loss = loss

    def objective(self, batches, loss, regularized=False):
        features, labels = self._features(batches)
        name = "train" if regularized else "validation"
        self.loss.check_labels(name, labels, self.head.classes)
        count = len(features)
        rows = max(CHUNK // (features.shape[1] + self.head.layer.units), 1)
        chunks = [slice(i, i + rows) for i in range(0, count, rows)]
        penalty_share = regularized / len(chunks)

        def objective(chunk):
            a = tf.convert_to_tensor(features[chunk])
            weights = ops.ones_like(a[:, 0]) / count
            term = self.head.term(loss, labels[chunk], weights)
            return self.head.objective([a[:, None]], [term], penalty_share)

        if len(chunks) == 1:
            return objective(chunks[0])
        return Streamed(objective, chunks)

    def _features(self, batches):
        """The inputs of the head and the labels of all examples."""
        dtype = self.head.layer.kernel.dtype
        width = self.head.layer.kernel.shape[0]
        head_inputs = _head_inputs(self.model, self.head, batches)
        labels, count = [], 0
        # The system keeps in memory what fits; the file has no name.
        with tempfile.TemporaryFile() as file:
            for x, y in batches:
                features = head_inputs(x).numpy()
                file.write(features.tobytes())
                labels.append(y.numpy())
                count += len(features)
            file.flush()
            features = np.memmap(file, dtype, "r", shape=(count, width))
        return features, np.concatenate(labels)


class _NetworkProblem:
    """Objectives of any variables of the network, which runs every time."""

    def __init__(self, model, parameters):
        variables = scope_variables(model, parameters)
        self.network = StatelessNetwork(model, variables, training=False)

    def objective(self, batches, loss, regularized=False):
        sizes = [int(tf.shape(y)[0]) for _, y in batches]
        dtype = self.network.variables[0].dtype
        penalty_share = regularized / len(sizes)

        def objective(batch):
            x, y = batch
            weights = ops.ones((ops.shape(y)[0],), dtype) / sum(sizes)
            softmax = getattr(loss, "softmax", False)
            return NetworkObjective(
                self.network,
                x,
                [Term(lambda z: loss(y, z[:, 0]), weights, softmax)],
                lambda rows: [rows[:, None]],
                penalty_share,
            )

        return Streamed(objective, batches, compiled=True)


def _head_inputs(model, head, batches):
    """What enters the head, as a compiled function of a batch's inputs."""
    spec = batches.element_spec[0]
    _, compiled = _heads[model]
    if str(spec) not in compiled:
        reference = weakref.ref(model)

        def head_inputs(x):
            with Recording() as recording:
                reference()(x, training=False)
            return head.features(recording)

        traced = tf.function(head_inputs, [spec], autograph=False)
        compiled[str(spec)] = traced.get_concrete_function()
    return compiled[str(spec)]


def _batches(name, data, batch_size):
    """Arrays or a data set of single examples as batches `(x, y)`."""
    if not isinstance(data, tf.data.Dataset):
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise ValueError(
                f"Argument `{name}` must be a tuple (x, y) or a "
                f"`tf.data.Dataset` of such. Received: {type(data)}"
            )
        data = tf.data.Dataset.from_tensor_slices(tuple(data))
    if not any(True for _ in data.take(1)):
        raise ValueError(
            f"Argument `{name}` must hold at least one example. Received an "
            "empty data set."
        )
    return data.batch(batch_size)
