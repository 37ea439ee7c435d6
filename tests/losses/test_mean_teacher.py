import keras
import numpy as np
import pytest
import scipy.special

from keras_influence.losses import MeanTeacher

MOMENTUM = 0.6


def linear():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


@pytest.mark.parametrize("ramp_up_steps", [None, 3])
def test_the_published_algorithm(ramp_up_steps):
    random = np.random.default_rng(0)
    network, loss = linear(), MeanTeacher(MOMENTUM, ramp_up_steps)
    loss.start(network, 3, None)
    teacher = [v.numpy() for v in network.trainable_variables]
    for step in range(6):
        for variable in network.trainable_variables:
            variable.assign(random.normal(size=variable.shape))
        weak, strong = random.normal(size=(2, 5, 4)).astype("float32")
        views, labels = loss.prepare(
            network, {"weak": weak, "strong": strong}, None, step
        )
        losses, mask = loss({"strong": network(strong)}, labels, step)
        alpha = min(1 - 1 / (step + 1), MOMENTUM)
        student = [v.numpy() for v in network.trainable_variables]
        teacher = [
            alpha * a + (1 - alpha) * b
            for a, b in zip(teacher, student, strict=True)
        ]
        difference = scipy.special.softmax(strong @ student[0] + student[1], -1)
        difference -= scipy.special.softmax(weak @ teacher[0] + teacher[1], -1)
        expected = np.sum(difference**2, -1)
        if ramp_up_steps:
            progress = min(step / ramp_up_steps, 1)
            expected *= np.exp(-5 * (1 - progress) ** 2)
        np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(mask, np.ones(5))
        assert list(views) == ["strong"]


def test_one_view_for_both():
    network = linear()
    loss = MeanTeacher(view="weak")
    loss.start(network, 3, None)
    views, _ = loss.prepare(network, {"weak": np.ones((2, 4))}, None, 0)
    assert list(views) == ["weak"]


def test_a_teacher_sees_and_speaks():
    network, loss = linear(), MeanTeacher()
    loss.start(network, 3, None)
    with pytest.raises(ValueError, match=r"its teacher sees, 'weak'\. Rec"):
        loss.prepare(network, {"strong": np.ones((2, 4))}, None, 0)
    with pytest.raises(ValueError, match="its teacher's probabilities"):
        loss({"strong": np.zeros((2, 3), "float32")})


def test_statistics_and_seeds_stay_as_they_are():
    layers = keras.layers
    network = keras.Sequential(
        [
            *[keras.Input((4,)), layers.BatchNormalization()],
            *[layers.Dropout(0.5, seed=1), layers.Dense(3)],
        ]
    )
    loss = MeanTeacher()
    loss.start(network, 3, None)
    before = [v.numpy() for v in network.variables]
    views = {"weak": np.random.normal(size=(6, 4)), "strong": np.ones((6, 4))}
    loss.prepare(network, views, None, 3)
    for a, b in zip(before, network.variables, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("steps", [0, 1.5])
def test_steps_are_positive_integers(steps):
    with pytest.raises(ValueError, match="`ramp_up_steps` must be a positive"):
        MeanTeacher(ramp_up_steps=steps)
