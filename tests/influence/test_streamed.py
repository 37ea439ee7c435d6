import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.objective import Term
from keras_influence.influence.streamed import StreamedObjective
from tests.cases.influence import assert_close

PARTS = 4


def objective(batch):
    """Squares of outputs: the Hessian is a Kronecker product."""
    features = ops.convert_to_tensor(batch)[:, None]
    term = Term(lambda z: ops.sum(z[:, 0] ** 2, -1), ops.ones(6, "float64"))
    return LastLayerObjective([tf.zeros((3, 2), "float64")], [features], [term])


@pytest.fixture
def batch():
    return np.random.default_rng(0).normal(size=(6, 3))


@pytest.fixture
def operator(batch):
    streamed = StreamedObjective(objective, [batch] * PARTS, PARTS)
    return streamed.curvature("hessian")


def test_one_batch_preconditions_for_all(operator, batch):
    whole = np.kron(PARTS * 2 * batch.T @ batch, np.eye(2))
    assert_close(operator.as_matrix(), whole)
    precondition = operator.preconditioner(tf.constant(0.3, "float64"))
    inverse = np.linalg.inv(whole + 0.3 * np.eye(6))
    found = np.stack([precondition(tf.constant(e)) for e in np.eye(6)])
    assert_close(found, inverse)


def test_one_batch_stands_for_all(operator):
    vector = tf.constant(np.arange(6.0))
    expected = operator.matvec(vector)
    for number in range(3):
        assert_close(operator.sample(number).matvec(vector), expected)
