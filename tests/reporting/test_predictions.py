import numpy as np
import scipy.sparse

from keras_influence.reporting.predictions import (
    BATCH,
    belief,
    probabilities_of,
)
from tests.cases.models import draw, quiet_network


def test_batch_by_batch():
    network = quiet_network()
    x, _ = draw(2 * BATCH + 1, 0)
    found = probabilities_of(network, x)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    logits = np.array(network(x))
    np.testing.assert_allclose(
        np.log(found / found[:, :1]), logits - logits[:, :1], atol=1e-4
    )
    sparse = scipy.sparse.csr_matrix(x)
    np.testing.assert_allclose(
        probabilities_of(network, sparse), found, rtol=1e-5
    )


def test_of_equal_weights_the_likely_label_is_believed():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    found = belief(
        np.array([1.0, 1.0, 2.0]), probabilities, np.array([1, 0, -1])
    )
    np.testing.assert_allclose(found, [0.1, 0.6, 1.4])
