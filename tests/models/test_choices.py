import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from keras_influence import solvers
from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.objective import Term
from keras_influence.influence.per_example_loss import PerExampleLoss
from keras_influence.models import choices
from tests.cases.models import (
    LOSS,
    UNLABELED,
    compiled,
    data,
    draw,
    fit,
    linear_network,
    quiet_network,
)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss_weights": 0.1}, "`loss_weights` is not taken"),
        ({"on_nonfinite": "ignore"}, "`on_nonfinite` must be"),
        ({"inner_steps": 1.5}, "`inner_steps` must be an integer"),
        ({"warmup_steps": float("nan")}, "`warmup_steps` must be an integer"),
        (
            {
                "loss": keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True, reduction="sum"
                )
            },
            "`loss` must reduce by the mean",
        ),
        (
            {"weight_optimizer": ki.optimizers.MAdam(bounds=(0.0, 5.0))},
            "bounds outside those of a weight",
        ),
        ({"unlabeled_loss": None}, "`unlabeled_loss` must be a"),
        ({"optimizer": None}, "`optimizer` must be a"),
        ({"num_unlabeled": True}, "`num_unlabeled` must be an integer"),
        ({"num_unlabeled": 20.0}, "`num_unlabeled` must be an integer"),
        ({"weight_optimizer": keras.optimizers.Adam()}, "`weight_optimizer`"),
        ({"influence": "hessian"}, "`influence` must be a"),
        ({"weight_network": "best"}, "`weight_network` must be 'recommended'"),
        ({"mean_weight": 3.0}, "`mean_weight` must be a positive number"),
    ],
)
def test_what_cannot_be_honoured_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compiled(linear_network(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": np.zeros(3)}, "`y` of `fit"),
        ({"class_weight": {0: 1.0}}, "`class_weight` of `fit"),
        ({"sample_weight": np.ones(3)}, "`sample_weight` of `fit"),
        ({"batch_size": 3}, "`batch_size` of `fit"),
        ({"validation_split": 0.1}, "`validation_split` of `fit"),
        ({"steps_per_epoch": None}, "`steps_per_epoch` must be an integer"),
    ],
)
def test_arguments_of_fit_that_are_refused(arguments, message):
    model = compiled(linear_network())
    with pytest.raises(ValueError, match=message):
        model.fit(data(), **{"steps_per_epoch": 1, "verbose": 0, **arguments})


def test_fit_before_compile():
    model = ki.InfluenceModel(linear_network(), UNLABELED)
    model.validation_set = draw(5, 2)  # is kept for `compile`
    with pytest.raises(ValueError, match=r"Call `compile\(\)` before"):
        model.fit(data(), steps_per_epoch=1)
    model.compile(loss=LOSS, unlabeled_loss=ki.losses.GivenLabels())
    fit(model, 1)
    assert model.validation_set.size == 5


def test_bounds_of_the_user_are_kept():
    optimizer = ki.optimizers.MAdam(0.5, bounds=(0.7, 1.2))
    model = compiled(linear_network(), weight_optimizer=optimizer)
    fit(model, 8)
    assert optimizer.bounds == (0.7, 1.2)
    weights = model.example_weights
    assert weights.min() == pytest.approx(0.7)
    assert weights.max() == pytest.approx(1.2)


def test_a_new_head_and_compile_again():
    built = quiet_network()
    model = compiled(built)
    fit(model, 2)
    built.pop()
    built.add(keras.layers.Dense(3, name="new"))
    model.compile(
        loss=LOSS,
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=ki.optimizers.MAdam(),
    )
    before = built.layers[-1].kernel.numpy()
    assert np.isfinite(fit(model, 2)["loss"])
    assert np.any(built.layers[-1].kernel.numpy() != before)


def test_a_head_that_is_no_longer_plain():
    built = linear_network()
    model = compiled(built)
    fit(model, 1)
    with pytest.warns(UserWarning, match="does not have a `quantize`"):
        model.quantize("int8")
    with pytest.raises(ValueError, match="quantization_mode='int8'"):
        fit(model, 1)
    built = linear_network()
    built.layers[-1].enable_lora(2)
    with pytest.raises(ValueError, match="layer 'head' with LoRA"):
        compiled(built)


@pytest.mark.parametrize("is_built", [True, False])
def test_a_single_logit_is_refused(is_built):
    layers = [keras.layers.Dense(1, name="head")]
    if is_built:
        layers = [keras.Input((4,)), *layers]
    with pytest.raises(ValueError, match="'head' with 1 logit"):
        fit(compiled(keras.Sequential(layers)), 1)


class OwnLoss(ki.InfluenceModel):
    def compute_loss(self, *args, **kwargs):
        return 100 * super().compute_loss(*args, **kwargs)


class OwnStep(ki.InfluenceModel):
    def train_step(self, data):
        return super().train_step(data)


class OwnUpdates(ki.InfluenceModel):
    def train_step(self, data, updates=False):
        return {**super().train_step(data, updates), "updates": updates}


@pytest.mark.parametrize(
    ("kind", "message"),
    [(OwnLoss, r"`compute_loss\(\)`"), (OwnStep, "has no `updates`")],
)
def test_methods_that_would_not_be_called(kind, message):
    with pytest.raises(ValueError, match=message):
        kind(quiet_network(), UNLABELED).compile(
            "sgd", LOSS, ki.losses.GivenLabels(), validation_set=draw(9, 2)
        )


def test_an_own_step():
    model = OwnUpdates(quiet_network(), UNLABELED)
    model.compile(
        "sgd",
        LOSS,
        ki.losses.GivenLabels(),
        validation_set=draw(9, 2),
        inner_steps=1,
    )
    assert fit(model, 2)["updates"] == 1


def test_a_network_with_a_step_of_its_own():
    class Network(keras.Sequential):
        def train_step(self, data):
            raise NotImplementedError

    layers = [keras.Input((4,)), keras.layers.Dense(3)]
    with pytest.warns(UserWarning, match="`Network` has a `train_step`"):
        ki.InfluenceModel(Network(layers), UNLABELED)


def test_nothing_to_train():
    model = compiled(linear_network())
    model.network.trainable = False
    with pytest.raises(ValueError, match="Nothing in `network` is trainable"):
        fit(model, 1)


def test_one_batch_without_judges():
    model = compiled(validation_set=None)
    with pytest.raises(ValueError, match="needs a validation set"):
        model.train_on_batch(next(iter(data())))


def test_weights_beside_a_batch():
    model = compiled()
    with pytest.raises(ValueError, match="`sample_weight` of `train_on_batch"):
        model.train_on_batch(next(iter(data())), sample_weight=np.zeros(4))


def test_lora_in_the_body_is_learned():
    built = quiet_network()
    built.layers[0].enable_lora(2)
    model = compiled(built)
    logs = fit(model, 3)
    assert logs["updates_skipped"] == 0
    assert np.ptp(model.example_weights) > 0
    assert len(model.trainable_variables) == 5


def test_parameter_servers_are_refused(monkeypatch):
    strategy = object.__new__(tf.distribute.ParameterServerStrategy)
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: strategy)
    with pytest.raises(ValueError, match="under a `ParameterServerStrategy`"):
        choices.check_network(linear_network())


def test_a_clone_is_a_model_of_its_own():
    model = compiled(linear_network(), weight_network=ki.WeightNetwork())
    clone = keras.models.clone_model(model)
    assert isinstance(clone, ki.InfluenceModel)
    assert clone.network is not model.network
    assert clone.weighting.num_examples == UNLABELED


def test_one_batch_at_a_time():
    model = compiled(linear_network())
    batch = next(iter(data()))
    assert np.isfinite(model.train_on_batch(batch)).all()
    assert model.weight_optimizer.iterations == 1
    with pytest.raises(ValueError, match="trains on batches of the form"):
        model.train_on_batch(draw(4, 0)[0])


def test_layers_are_what_they_were():
    built = quiet_network()
    model = compiled(built)
    fit(model, 2)
    assert all("call" not in vars(layer) for layer in built.layers)


def test_only_the_network_is_trainable():
    model = compiled(weight_network=ki.WeightNetwork(residual=True))
    for own, networks in (
        (model.trainable_variables, model.network.trainable_variables),
        (model.trainable_weights, model.network.trainable_weights),
    ):
        assert [id(v) for v in own] == [id(v) for v in networks]
    assert model.weighting.trainable_variables


def test_export_serves_the_network(tmp_path):
    model = compiled(quiet_network())
    fit(model, 1)
    x = draw(4, 5)[0]
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(str(tmp_path / "served"))
    found = served.serve(x)
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-5)


def test_updates_count_steps_of_the_network_not_its_batches():
    updates = []

    class See(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            updates.append(int(self.model.weight_optimizer.iterations))

    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model = compiled(linear_network(), optimizer=optimizer, inner_steps=3)
    fit(model, 13, callbacks=[See()])
    assert updates == [0] * 5 + [1] * 6 + [2] * 2


@pytest.mark.parametrize("confidence", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("classes", [2, 10, 38])
def test_default_scores_are_as_good_as_exact_ones(classes, confidence):
    random = np.random.default_rng(classes)
    factors = random.normal(size=(32, 64)) / 6

    def rows(n):
        hidden = random.normal(size=(n, 32)) @ factors
        return np.maximum(hidden + 0.1 * random.normal(size=hidden.shape), 0)

    def objective(n, weights):
        logits = features @ kernel
        noise = random.gumbel(size=logits.shape)
        y = np.argmax(logits + noise, -1)
        return LastLayerObjective(
            [tf.constant(kernel), tf.zeros([classes], "float64")],
            [tf.constant(features)[:, None]],
            [Term.of_labels(PerExampleLoss(LOSS), y, tf.constant(weights))],
        )

    kernel = confidence * random.normal(size=(64, classes)) / 8
    features = rows(128)
    inner = objective(128, np.r_[np.full(16, 1 / 16), np.full(112, 1 / 400)])
    features = rows(256)
    outer = objective(256, np.full(256, 1 / 256))
    exact = ki.Influence(
        solver=solvers.Exact(0.01, "largest_eigenvalue", tolerance=1e-12)
    )
    found, expected = (
        i.scores(inner, outer)[0][0] for i in (choices.influence(None), exact)
    )
    assert np.corrcoef(found, expected)[0, 1] > 0.9999


def test_a_frozen_last_layer():
    built = quiet_network()
    built.layers[-1].trainable = False
    with pytest.raises(ValueError, match="'head' with trainable=False"):
        compiled(built)
    influence = ki.Influence("all", curvature="gauss_newton")
    model = compiled(built, influence=influence)
    assert fit(model, 2)["updates_skipped"] == 0
    fit(compiled(built, inner_steps=None), 1)


def test_what_was_learned_stays_with_its_model():
    network = ki.WeightNetwork()
    first = compiled(quiet_network(), weight_network=network)
    fit(first, 3)
    with pytest.raises(ValueError, match="that no other model has"):
        compiled(quiet_network(), weight_network=network)
    # On purpose.
    again = ki.WeightNetwork(network=network.network)
    compiled(quiet_network(), weight_network=again)
    optimizer = first.weight_optimizer
    with pytest.raises(ValueError, match="a weight optimizer of its own"):
        compiled(quiet_network(), weight_optimizer=optimizer)
    first.compile(
        "sgd",
        LOSS,
        ki.losses.GivenLabels(),
        validation_set=draw(10, 2),
        weight_optimizer=optimizer,
    )
    fit(first, 1)


def test_a_weight_network_of_two_numbers():
    weight_network = ki.WeightNetwork(network=keras.layers.Dense(2))
    model = compiled(quiet_network(), weight_network=weight_network)
    with pytest.raises(ValueError, match="must give one number an example"):
        fit(model, 1)


@pytest.mark.parametrize("mean_weight", ["a", 0, -1, np.inf, 3.0])
def test_a_mean_weight_that_is_none(mean_weight):
    with pytest.raises(ValueError, match="`mean_weight` must be a positive"):
        compiled(mean_weight=mean_weight, max_weight=2.0)
