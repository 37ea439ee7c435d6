import keras
import pytest

import keras_influence as ki
from keras_influence.losses import UDA, FixMatch, GivenLabels, PseudoLabel
from keras_influence.optimizers import Evidence, MAdam
from keras_influence.representation import representation

ExponentialDecay = keras.optimizers.schedules.ExponentialDecay


def rate():
    return 0.5


@pytest.mark.parametrize(
    "text",
    [
        "FixMatch()",
        "FixMatch(confidence=0.9)",
        "PseudoLabel(view='strong')",
        "GivenLabels(label_smoothing=0.1)",
        "UDA(temperature=0.5, annealing='exp', annealing_steps=10)",
        "UDA(views=('a', 'b'))",
        "MAdam()",
        "MAdam(learning_rate=0.3, bounds=(0.0, 2.0))",
        "MAdam(learning_rate=rate)",
        "Evidence(learning_rate=ExponentialDecay(initial_learning_rate=0.1, "
        "decay_steps=10, decay_rate=0.5))",
    ],
)
def test_pasted_back_gives_the_same_object(text):
    names = [UDA, FixMatch, GivenLabels, PseudoLabel, Evidence, MAdam]
    names = {n.__name__: n for n in (*names, ExponentialDecay, rate)}
    assert repr(eval(text, names)) == text


def test_a_users_loss_and_the_name_of_an_optimizer():
    class Entropy(ki.losses.UnlabeledLoss):
        pass

    assert repr(Entropy()) == "Entropy()"
    assert repr(MAdam(name="weights")) == "MAdam()"


def test_objects_within_show_themselves():
    class Holder:
        def __init__(self, loss, function=None):
            self.loss, self.function = loss, function

        def get_config(self):
            serialize = keras.saving.serialize_keras_object
            return {
                "loss": serialize(self.loss),
                "function": serialize(self.function),
            }

    text = representation(Holder(FixMatch(0.5), keras.ops.relu))
    assert text == "Holder(loss=FixMatch(confidence=0.5), function=relu)"
    assert representation(Holder(UDA())) == "Holder(loss=UDA())"
