import keras
import numpy as np

import keras_influence as ki

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def test_the_network_is_traced_once_a_form_of_data():
    calls = []

    class Counted(keras.layers.Layer):
        def call(self, x):
            calls.append(x.dtype)
            return x

    layers = [keras.Input((4,)), Counted(), keras.layers.Dense(3)]
    model = keras.Sequential(layers)
    random = np.random.default_rng(0)
    x, judged = (np.round(4 * random.normal(size=(n, 4))) for n in (11, 5))
    y, expected_y = random.integers(0, 3, 11), random.integers(0, 3, 5)

    def scores(dtype):
        calls.clear()
        train = x.astype("float32"), y
        validation = judged.astype(dtype), expected_y
        return ki.influence_scores(model, train, validation, loss=LOSS)

    expected = scores("float32")
    assert len(calls) == 1
    found = scores("int32")
    assert len(calls) == 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
