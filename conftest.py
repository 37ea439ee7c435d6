"""Settings of all tests, and names that every docstring example may use."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import pytest

from keras_influence import solvers


@pytest.fixture(autouse=True)
def seed():
    """Starts every test and every example from the same seed."""
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def doctest_names(doctest_namespace):
    """Adds the names."""
    doctest_namespace.update(keras=keras, np=np, solvers=solvers)
