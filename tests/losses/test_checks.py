import numpy as np
import pytest

from keras_influence.losses import checks


@pytest.mark.parametrize("number", [0.0, -1.0, np.inf, np.nan])
def test_positive_numbers(number):
    checks.check_positive(a=1e-9, b=3)
    with pytest.raises(ValueError, match=f"`b` must be positive.*b={number}"):
        checks.check_positive(a=1.0, b=number)


@pytest.mark.parametrize("number", [-1e-9, np.inf, np.nan])
def test_numbers_that_are_not_negative(number):
    checks.check_not_negative(a=0.0, b=3)
    with pytest.raises(ValueError, match=f"`a` must be at least 0.*a={number}"):
        checks.check_not_negative(a=number, b=1.0)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, np.nan])
def test_momentum(momentum):
    checks.check_momentum(0.0)
    with pytest.raises(ValueError, match="`momentum` must be in"):
        checks.check_momentum(momentum)


@pytest.mark.parametrize("steps", [0, 1.5, None])
def test_steps(steps):
    checks.check_steps("steps", np.int64(1))
    with pytest.raises(ValueError, match="`steps` must be a positive"):
        checks.check_steps("steps", steps)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, np.nan])
def test_confidence(confidence):
    checks.check_confidence(1.0)
    with pytest.raises(ValueError, match="`confidence` must be in"):
        checks.check_confidence(confidence)


@pytest.mark.parametrize("views", ["weak", ("a", "a"), ("a", 1), ("a",)])
def test_pairs(views):
    assert checks.check_pair(["a", "b"]) == ("a", "b")
    with pytest.raises(ValueError, match="`views` must name two"):
        checks.check_pair(views)
