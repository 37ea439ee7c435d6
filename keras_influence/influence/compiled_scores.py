"""Eq. 6 for a linear head, traced once for all heads of a kind."""

import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from keras_influence import solvers
from keras_influence.influence.head import Head
from keras_influence.influence.influence import Influence
from keras_influence.influence.objective import Objective, Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.influence.scope import LastLayerScope
from keras_influence.layers import BinaryLogits, Dense

# Types whose configuration says all that a trace depends on.
_KNOWN = (
    Influence,
    *(getattr(solvers, name) for name in solvers.__all__),
    keras.losses.SparseCategoricalCrossentropy,
    keras.losses.CategoricalCrossentropy,
    keras.losses.BinaryCrossentropy,
    keras.regularizers.L1,
    keras.regularizers.L2,
    keras.regularizers.L1L2,
    type(None),
)


class _Parameter(NamedTuple):
    """What an objective sees of a variable."""

    value: tf.Tensor
    regularizer: Callable | None


class _HeadOfTensors(Head):
    """A head with tensors in the place of its layer's variables."""

    variables: Any = None

    def __init__(self, layer, tensors, regularizers):
        super().__init__(layer)
        self.variables = list(map(_Parameter, tensors, regularizers))


def count(loss: Callable, labels: Any) -> Any:
    """How many examples the mean of a loss is over."""
    if isinstance(loss, PerExampleLoss):
        return loss.count(labels)
    return ops.shape(labels)[0]


def mean_objective(
    scope: Any, batch: tuple, loss: Callable, size: Any, penalty: float
) -> Objective:
    """A batch's share of the mean loss of `size` examples.

    Args:
        scope: a `LastLayerScope` or `VariablesScope`.
        batch: tuple `(x, y)`.
        loss: function from labels and logits to one value an example.
        size: number, or a scalar tensor of one.
        penalty: float, how much of the regularisers counts.
    """
    x, y = batch
    ones = ops.ones((ops.shape(y)[0],), "float64")
    weights = ones / ops.cast(size, "float64")
    term = Term.of_labels(loss, y, weights)
    return scope.objective(x, [term], penalty_share=penalty)


def head_scores(
    head: Head, influence: Influence, loss: PerExampleLoss, inner, outer
) -> tuple:
    """`Influence.scores` of features in memory, compiled.

    A trace sees tensors only and knows nothing of the model. It is kept for
    what decides it: shapes, and the configurations of loss, estimator and
    regularisers where these say all.

    Args:
        head: the `Head`.
        influence: an `Influence` of the last layer.
        loss: the `PerExampleLoss`.
        inner: tuple of the training examples' features and labels.
        outer: the same of the validation set.
    """
    tensors = tuple(tf.convert_to_tensor(v.value) for v in head.variables)
    arguments = keras.tree.map_structure(
        tf.convert_to_tensor, (tensors, inner, outer)
    )
    specs = keras.tree.map_structure(tf.type_spec_from_value, arguments)
    regularizers = [v.regularizer for v in head.variables]
    parts = [influence, loss.loss, *regularizers]
    known = type(head.layer) in (keras.layers.Dense, Dense, BinaryLogits)
    known = known and all(_is_known(part) for part in parts)
    if not known:
        return _trace(specs, head.layer, *parts)(*arguments)
    parts = json.dumps(list(map(keras.saving.serialize_keras_object, parts)))
    two_logits = isinstance(head.layer, BinaryLogits)
    return _kept_trace(specs, two_logits, parts)(*arguments)


def _is_known(part):
    if isinstance(part, Influence):
        own_function = callable(part.outer)
        return type(part) is Influence and not (
            own_function or not _is_known(part.solver)
        )
    return type(part) in _KNOWN


@functools.lru_cache(maxsize=16)
def _kept_trace(specs, two_logits, parts):
    parts = map(keras.saving.deserialize_keras_object, json.loads(parts))
    layer = BinaryLogits() if two_logits else keras.layers.Dense(1)
    return _trace(specs, layer, *parts)


def _trace(specs, layer, influence, loss, *regularizers):
    loss = PerExampleLoss(loss)

    def scores(tensors, inside, outside):
        head = _HeadOfTensors(layer, tensors, regularizers)
        scope = LastLayerScope(head, tf.convert_to_tensor)
        judge = influence.outer_loss(loss)
        n, m = count(loss, inside[1]), count(judge, outside[1])
        inner = mean_objective(scope, inside, loss, n, penalty=1.0)
        outer = mean_objective(scope, outside, judge, m, penalty=0.0)
        return influence.scores(inner, outer)

    traced = tf.function(scores, autograph=False)
    return traced.get_concrete_function(*specs)
