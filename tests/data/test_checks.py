import numpy as np
import pytest

from keras_influence.data.checks import check_integer


@pytest.mark.parametrize("value", [2, 3, np.int64(2), np.uint8(9)])
def test_integers(value):
    check_integer("size", value, 2)


@pytest.mark.parametrize("value", [1, -5, 2.0, "2", None, True, np.float32(3)])
def test_what_is_none(value):
    with pytest.raises(ValueError, match="`size` must be an integer of at lea"):
        check_integer("size", value, 2)
