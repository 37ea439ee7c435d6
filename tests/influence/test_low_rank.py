import numpy as np
import pytest
import tensorflow as tf

from keras_influence.influence.low_rank import LowRank
from tests.cases.influence import assert_close

F = np.random.default_rng(0).normal(size=(3, 7))


@pytest.fixture
def low_rank():
    return LowRank(
        tf.constant(F @ F.T),
        lambda vector: tf.linalg.matvec(F, vector),
        lambda r: tf.linalg.matvec(F.T, r),
    )


def test_products_and_solves_are_those_of_the_matrix(low_rank):
    vector, matrix = np.arange(7.0), F.T @ F
    assert low_rank.rank == 3
    assert_close(low_rank.matvec(vector), matrix @ vector)
    expected = np.linalg.solve(matrix + 0.3 * np.eye(7), vector)
    assert_close(low_rank.solve(0.3, vector), expected)


def test_a_matrix_without_a_factor_is_nan(low_rank):
    low_rank.gram = -low_rank.gram
    assert np.isnan(low_rank.solve(0.1, np.arange(7.0))).all()
