"""Names that every docstring example may use."""

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _doctest_names(doctest_namespace):
    doctest_namespace.update(keras=keras, np=np)
    keras.utils.set_random_seed(0)
