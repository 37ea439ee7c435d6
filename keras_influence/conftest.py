"""Names that every docstring example may use."""

import keras
import numpy as np
import pytest

from keras_influence import solvers


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    doctest_namespace.update(keras=keras, np=np, solvers=solvers)
    keras.utils.set_random_seed(0)
