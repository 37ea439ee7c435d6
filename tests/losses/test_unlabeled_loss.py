import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_influence import losses

LOSSES = [
    losses.PseudoLabel(confidence=0.4),
    losses.PseudoLabel(confidence=0.4, view="strong"),
    losses.FixMatch(confidence=0.4),
    losses.UDA(temperature=0.5, confidence=0.4, entropy_weight=0.1),
    losses.UDA(annealing="exp", annealing_steps=10),
    losses.GivenLabels(label_smoothing=0.1),
    losses.FlexMatch(confidence=0.4),
    losses.FreeMatch(momentum=0.5),
    losses.SoftMatch(momentum=0.5),
    losses.MeanTeacher(ramp_up_steps=9),
    losses.VAT(epsilon=1.0, entropy_weight=0.1),
]


def arguments(loss, dtype="float32"):
    random = np.random.default_rng(0)
    views = loss.views or ("weak", "adversarial")
    if isinstance(loss, losses.PseudoLabel | losses.GivenLabels):
        views = loss.views or ("weak",)
    logits = {v: random.normal(size=(6, 3)).astype(dtype) for v in views}
    labels = np.array([0, 1, 2, -1, 2, 0])
    if isinstance(loss, losses.MeanTeacher):
        labels = np.full((6, 3), 1 / 3)
    elif loss.state is not None:
        loss.start(None, 3, 9)
        loss.observe(logits, np.arange(6))
    return logits, labels, 3


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_compiled_equals_eager(loss, jit_compile):
    logits, labels, step = arguments(loss)
    labeled = np.array([0, 1, 2, 1, 2, 0])
    weights = (labeled, logits[next(iter(logits))], step)
    eager = (*loss(logits, labels, step), loss.labeled_weights(*weights))

    @tf.function(jit_compile=jit_compile)
    def compiled(logits, labels, step, weights):
        return *loss(logits, labels, step), loss.labeled_weights(*weights)

    compiled = compiled(logits, labels, tf.constant(step), weights)
    for one, other in zip(eager, compiled, strict=True):
        assert one.shape == (6,)
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_of_the_logits_is_kept(loss, dtype):
    logits, labels, step = arguments(loss, dtype)
    values, mask = loss(logits, labels, step)
    labeled = next(iter(logits.values()))
    weights = loss.labeled_weights(np.zeros(6, int), labeled, step)
    assert [x.dtype.name for x in (values, mask, weights)] == [dtype] * 3


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_config_round_trip(loss):
    serialized = keras.saving.serialize_keras_object(loss)
    restored = keras.saving.deserialize_keras_object(serialized)
    assert type(restored) is type(loss)
    assert restored.get_config() == loss.get_config()
    assert restored.views == loss.views


def test_missing_views_are_named():
    logits = {"weak": np.zeros((2, 3), "float32")}
    with pytest.raises(ValueError, match=r"`UDA` needs.*\['strong'\] is miss"):
        losses.UDA()(logits)
    with pytest.raises(ValueError, match=r"\['left'\] is missing"):
        losses.PseudoLabel(view="left")(logits)
    with pytest.raises(ValueError, match="every one of them is missing"):
        losses.GivenLabels()({}, labels=np.zeros(2))


@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 5, 3)])
def test_logits_need_two_classes(shape):
    with pytest.raises(ValueError, match="BinaryLogits"):
        losses.PseudoLabel()({"weak": np.zeros(shape, "float32")})


@pytest.mark.parametrize(
    "views", ["weak", ("weak",), ("weak", "weak"), ("a", "b", "c"), (0, 1)]
)
def test_two_different_views_are_required(views):
    for loss in (losses.FixMatch, losses.UDA, losses.FreeMatch):
        with pytest.raises(ValueError, match="`views` must name two different"):
            loss(views=views)


@pytest.mark.parametrize("confidence", [-0.1, 1.1, float("nan")])
def test_confidence_is_a_probability(confidence):
    for loss in (losses.PseudoLabel, losses.FlexMatch, losses.UDA):
        with pytest.raises(ValueError, match=r"`confidence` must be in"):
            loss(confidence=confidence)


def test_labeled_weights_are_a_plain_mean():
    weights = losses.FixMatch().labeled_weights(None, tf.zeros((5, 2)))
    np.testing.assert_allclose(weights, np.full(5, 0.2), rtol=1e-7)


def test_a_subclass_must_write_call():
    with pytest.raises(NotImplementedError, match="`call"):
        losses.UnlabeledLoss()({"weak": np.zeros((2, 3), "float32")})


class Own(losses.UnlabeledLoss):
    def __init__(self, returned):
        self.returned = returned

    def call(self, logits, labels=None, step=None):
        return self.returned


@pytest.mark.parametrize(
    "returned",
    [
        (np.zeros((4, 1), "float32"), np.ones(4)),
        (np.float32(0), np.ones(4)),
        (np.zeros(4), np.ones((4, 1))),
        (np.zeros(4), None),
        np.zeros(4),
    ],
)
def test_what_an_own_loss_returns_is_checked(returned):
    with pytest.raises(ValueError, match=r"`Own.call` must return"):
        Own(returned)({"a": np.zeros((4, 3), "float32")})


@pytest.mark.parametrize("dtype", ["bool", "int32", "float64", "float16"])
def test_masks_and_losses_of_any_dtype(dtype):
    ones = np.ones(4, dtype)
    for part in Own((ones, ones))({"a": np.zeros((4, 3), "float32")}):
        assert part.dtype == "float32"
