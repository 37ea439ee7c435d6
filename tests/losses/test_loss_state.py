import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence import losses
from keras_influence.losses import LossState
from tests.cases.models import (
    VALIDATION,
    assert_same,
    compiled,
    data,
    draw,
    fit,
    network,
    quiet_network,
    state,
)


def weak(x, seed):
    return x + 0.1 * tf.random.stateless_normal(tf.shape(x), seed)


def strong(x, seed):
    return x + 0.5 * tf.random.stateless_normal(tf.shape(x), seed)


def broken_view(x, seed):
    return x * np.inf


MADE = {
    "flexmatch": lambda: losses.FlexMatch(0.5),
    "freematch": lambda: losses.FreeMatch(0.9),
    "softmatch": lambda: losses.SoftMatch(0.9),
    "mean_teacher": lambda: losses.MeanTeacher(0.9),
    "vat": lambda: losses.VAT(0.5, view="weak"),
}
KEEP = [name for name in MADE if name != "vat"]


def train(**arguments):
    return data(views={"weak": weak, "strong": strong}, **arguments)


# Quick to trace.
QUICK = {"influence": ki.Influence(curvature=None)}


def build(name, built=network, **arguments):
    keras.utils.set_random_seed(0)
    arguments = {**QUICK, **arguments}
    return compiled(built(), unlabeled_loss=MADE[name](), **arguments)


ALWAYS = [("mean_teacher", "model")]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(
            name, way, marks=[pytest.mark.slow] * ((name, way) not in ALWAYS)
        )
        for name in MADE
        for way in ("model", "weights")
    ],
)
def test_resumed_training_is_bit_for_bit_the_same(name, way, tmp_path):
    whole, killed = build(name), build(name)
    fit(whole, 5, train())
    fit(killed, 3, train())
    keras.utils.set_random_seed(7)
    if way == "model":
        killed.save(tmp_path / "model.keras")
        resumed = keras.models.load_model(tmp_path / "model.keras")
        resumed.validation_set = draw(VALIDATION, 2)
    else:
        killed.save_weights(tmp_path / "model.weights.h5")
        resumed = build(name)
        resumed.load_weights(tmp_path / "model.weights.h5")
    fit(resumed, 2, train(start_step=3))
    assert_same(state(whole), state(resumed))
    assert whole.weight_optimizer.iterations == 5
    if name in KEEP:
        kept = whole.unlabeled_loss.state.variables
        assert {id(v) for v in kept} <= {id(v) for v in whole.variables}


class Subclassed(keras.Model):
    """Its last layer is not known before its first batch."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = keras.layers.Dense(5, activation="tanh")
        self.head = keras.layers.Dense(3)
        self(np.zeros((1, 4)))

    def call(self, x):
        return self.head(self.hidden(x))


@pytest.mark.parametrize(
    "name",
    ["mean_teacher", *(pytest.param(n, marks=pytest.mark.slow) for n in KEEP)],
)
def test_a_network_whose_head_the_first_batch_finds(name, tmp_path):
    model = build(name, Subclassed)
    fit(model, 2, train())
    model.save(tmp_path / "model.keras")
    objects = {"Subclassed": Subclassed}
    copy = keras.models.load_model(tmp_path / "model.keras", objects)
    copy.validation_set = draw(VALIDATION, 2)
    for a in (model, copy):
        fit(a, 2, train(start_step=2))
    assert_same(state(model), state(copy))


WAYS = {
    "run_eagerly": {"run_eagerly": True},
    "jit_compile": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_run_is_the_same(name, way):
    # XLA draws other dropout.
    kind = quiet_network if way == "jit_compile" else network
    one, other = build(name, kind), build(name, kind, **WAYS[way])
    for model in (one, other):
        logs = fit(model, 4, train())
        assert logs["steps_skipped"] == 0
        assert model.weight_optimizer.iterations == 4
    if (name, way) == ("vat", "jit_compile"):
        return  # And other directions.
    for (path, a), b in zip(
        state(one).items(), state(other).values(), strict=True
    ):
        np.testing.assert_allclose(a, b, atol=2e-4, err_msg=path)


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(name, precision):
    keras.config.set_dtype_policy(precision)
    try:
        model = build(name)
    finally:
        keras.config.set_dtype_policy("float32")
    logs = fit(model, 4, train())
    assert np.isfinite(logs["loss"])
    assert logs["steps_skipped"] < 4
    assert np.ptp(model.example_weights) > 0
    assert all(v.dtype in ("float32", "int32") for v in model.variables[-3:])


@pytest.mark.parametrize(
    "name",
    ["flexmatch", *(pytest.param(n, marks=pytest.mark.slow) for n in KEEP)],
)
def test_a_step_that_is_not_finite_is_forgotten(name):
    model = build(name)
    fit(model, 2, train())
    before = [v.numpy() for v in model.unlabeled_loss.state.variables]
    broken = data(views=dict.fromkeys(("weak", "strong"), broken_view))
    assert fit(model, 1, broken)["steps_skipped"] == 1
    after = [v.numpy() for v in model.unlabeled_loss.state.variables]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["flexmatch", "freematch", "mean_teacher"])
def test_the_network_as_scores_see_it(name):
    """The estimates of a step are those of explicit gradients of its loss."""
    hypergradients = []
    for parameters in ("last_layer", ["head"]):
        influence = ki.Influence(
            parameters, "outer_product", ki.solvers.Exact(0.1)
        )
        model = build(name, quiet_network, influence=influence)
        fit(model, 4, train())
        hypergradients.append(model.example_weights)
    np.testing.assert_allclose(*hypergradients, atol=2e-3)
    assert np.ptp(hypergradients[0]) > 0.01


def test_only_training_moves_it():
    model = build("flexmatch")
    fit(model, 2, train())
    before = state(model)
    x, y = draw(8, 5)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.loss(y, model(x))
    ki.influence_scores(
        model.network, (x, y), draw(VALIDATION, 2), loss=model.loss
    )
    now = state(model)
    kept = [name for name in now if "loss_state" in name]
    assert len(kept) == 3
    assert_same({n: before[n] for n in kept}, {n: now[n] for n in kept})


@pytest.mark.parametrize("name", ["flexmatch", "vat"])
def test_the_closed_form_of_the_hessian(name, monkeypatch):
    norms = []
    for own in (True, False):
        model = build(name, quiet_network, influence=None)
        if not own:
            kind = type(model.unlabeled_loss)
            monkeypatch.setattr(kind, "softmax_shares", lambda *_: None)
        norms.append(fit(model, 3, train())["hypergradient_norm"])
    assert norms[0] > 0
    np.testing.assert_allclose(*norms, rtol=1e-3)


@pytest.mark.slow
def test_truncated_unrolling_looks_back_on_made_views():
    model = build("vat", influence=ki.Unrolled(2))
    assert fit(model, 3, train())["updates_skipped"] == 0
    model = build("mean_teacher", influence=ki.Unrolled(2))
    assert fit(model, 3, train())["updates_skipped"] == 0


def test_a_loss_of_ones_own(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Confident(losses.UnlabeledLoss):
        """Entropy where it is below its running mean."""

        def __init__(self):
            self.state = LossState()

        def initial_state(self, network, classes, num_examples):
            return {"mean": np.log(np.float32(classes))}

        def _entropy(self, logits):
            logs = keras.ops.log_softmax(logits["weak"])
            return -keras.ops.sum(keras.ops.exp(logs) * logs, -1)

        def observe(self, logits, index):
            now = keras.ops.mean(self._entropy(logits))
            self.state.assign(mean=0.5 * self.state["mean"] + 0.5 * now)

        def call(self, logits, labels=None, step=None):
            entropy = self._entropy(logits)
            mask = keras.ops.stop_gradient(entropy) < self.state["mean"]
            return entropy, keras.ops.cast(mask, entropy.dtype)

    model = compiled(unlabeled_loss=Confident())
    logs = fit(model, 3, train())
    assert 0 < logs["mask_rate"] < 1
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.unlabeled_loss.state["mean"], copy.unlabeled_loss.state["mean"]
    )


def test_a_state_belongs_to_one_network():
    loss = losses.FreeMatch()
    first = compiled(unlabeled_loss=loss)
    with pytest.raises(ValueError, match="every model needs a loss of its own"):
        compiled(unlabeled_loss=loss)
    first.compile(
        loss=first.loss, unlabeled_loss=loss, validation_set=draw(5, 2)
    )
    flexmatch = losses.FlexMatch()
    first = compiled(unlabeled_loss=flexmatch)
    with pytest.raises(ValueError, match="a state of other shapes"):
        compiled(first.network, num_unlabeled=30, unlabeled_loss=flexmatch)


def test_no_state_yet():
    logits = {view: np.zeros((2, 3), "float32") for view in ("weak", "strong")}
    for name in ("flexmatch", "freematch", "softmatch"):
        with pytest.raises(ValueError, match="has no state yet"):
            MADE[name]()(logits)


TWO_REPLICAS = """
import numpy as np, tensorflow as tf, keras
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2)
from tests.cases.models import fit, quiet_network
from tests.losses.test_loss_state import MADE, build, train

one = tf.distribute.get_strategy()
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for name in MADE:
    models = []
    for strategy in (one, two):
        with strategy.scope():
            models.append(build(
                name, quiet_network,
                optimizer=keras.optimizers.SGD(0.1, momentum=0.9)))
        assert fit(models[-1], 3, train())["updates_skipped"] == 0
    single, double = models
    for variable in double.variables:
        copies = two.experimental_local_results(variable.value)
        np.testing.assert_array_equal(*copies, err_msg=variable.path)
    if name != "vat":  # Each replica draws the same directions.
        for a, b in zip(single.variables, double.variables):
            np.testing.assert_allclose(a, b, atol=1e-4, err_msg=a.path)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_learn_as_one():
    result = subprocess.run(
        [sys.executable, "-c", TWO_REPLICAS],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip().endswith("same"), result.stderr
