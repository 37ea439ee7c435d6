import numpy as np
import scipy.sparse

from keras_influence.reporting.predictions import (
    BATCH,
    least_believed_first,
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


def test_of_equal_quality_the_likely_label_is_believed():
    """What is not known lies between what is doubted and what is not."""
    quality = np.array([0.702, 0.701, 0.1, np.nan, 0.4])
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], *[[0.3, 0.7]] * 3])
    labels = np.array([1, 0, -1, 0, 0])
    found = least_believed_first(quality, probabilities, labels)
    np.testing.assert_array_equal(found, [2, 4, 3, 0, 1])
