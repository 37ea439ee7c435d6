"""A small problem that every test of the model can train on."""

import keras
import numpy as np

import keras_influence as ki

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
CLASSES, FEATURES = 3, 4
LABELED, UNLABELED, VALIDATION = 12, 20, 10


def draw(n, seed, noise=0.5):
    """Three clusters that touch, unless there is little noise."""
    random = np.random.default_rng(seed)
    y = random.integers(0, CLASSES, n)
    x = np.eye(CLASSES, FEATURES)[y] + noise * random.normal(size=(n, FEATURES))
    return x.astype("float32"), y


def data(labeled=None, unlabeled=None, **arguments):
    """Steps of 4 labelled and 8 unlabelled examples with given labels."""
    arguments = {"batch_size": 4, "unlabeled_ratio": 2, **arguments}
    return ki.data.semi_supervised(
        labeled=draw(LABELED, 0) if labeled is None else labeled,
        unlabeled=draw(UNLABELED, 1) if unlabeled is None else unlabeled,
        **arguments,
    )


def quiet_network():
    """Two layers without state or randomness."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(5, activation="tanh"),
            keras.layers.Dense(CLASSES, name="head"),
        ]
    )


def linear_network(**arguments):
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(CLASSES, name="head", **arguments),
        ]
    )


def network(**arguments):
    """Everything that has state: batch statistics, seeds, penalties."""
    return keras.Sequential(
        [
            keras.Input((FEATURES,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.Dropout(0.3, seed=1),
            keras.layers.Dense(
                CLASSES, kernel_regularizer="l2", name="head", **arguments
            ),
        ]
    )


MADE_WITH = (
    *("initial_weight", "max_weight", "dtype"),
    *("weight_network", "mean_weight"),
)


def compiled(built=None, num_unlabeled=UNLABELED, **arguments):
    """An `InfluenceModel` that updates the weights in every step."""
    made = {
        name: arguments.pop(name) for name in MADE_WITH if name in arguments
    }
    built = network() if built is None else built
    made = {"weight_network": None, "initial_weight": 1.0, **made}
    model = ki.InfluenceModel(built, num_unlabeled, **made)
    model.compile(
        **{
            "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
            "loss": LOSS,
            "unlabeled_loss": ki.losses.GivenLabels(),
            "weight_optimizer": ki.optimizers.MAdam(0.05),
            "validation_set": draw(VALIDATION, 2),
            "inner_steps": 1,
            **arguments,
        }
    )
    return model


def fit(model, steps, train=None, **arguments):
    """Trains and gives the logs of the last epoch."""
    train = data() if train is None else train
    history = model.fit(
        train, steps_per_epoch=steps, **{"verbose": 0, **arguments}
    )
    return {name: values[-1] for name, values in history.history.items()}


def state(model):
    """Everything that training changes, as numpy arrays."""
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.weight_optimizer.variables,
    ]
    return {f"{i} {v.path}": v.numpy() for i, v in enumerate(variables)}


def assert_same(ours, theirs):
    """Bit for bit."""
    assert len(ours) == len(theirs)
    for (name, a), b in zip(ours.items(), theirs.values(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)


@keras.saving.register_keras_serializable("tests")
class RowSGD(ki.optimizers.RowOptimizer):
    """Shows the hypergradient: the weights move by minus it."""

    def update_rows(self, values, gradients, learning_rate):
        return (values - learning_rate * gradients,)
