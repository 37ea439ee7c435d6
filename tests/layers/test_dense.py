import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

from keras_influence.layers import Dense
from tests.cases.layers import check_primitives, few_examples, run_layer_test


@pytest.mark.parametrize("shape", [(3, 5), (3, 2, 5)])
def test_is_a_dense_layer(shape, tmp_path):
    arguments = {"units": 4, "activation": "tanh"}
    inputs = np.random.normal(size=shape).astype("float32")
    run_layer_test(Dense, keras.layers.Dense, arguments, inputs, tmp_path)


@few_examples
@hypothesis.given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    units=st.integers(2, 9),
    use_bias=st.booleans(),
    activation=st.sampled_from([None, "tanh", "softmax"]),
)
def test_primitives(shape, units, use_bias, activation):
    arguments = {"use_bias": use_bias, "activation": activation}
    arguments |= {"dtype": "float64"}
    check_primitives(
        Dense(units, **arguments),
        keras.layers.Dense(units, **arguments),
        np.random.normal(size=(3, *shape)),
    )


@pytest.mark.parametrize(("time", "builds"), [(1, 0), (2, 0), (9, 2)])
def test_gram_takes_the_cheaper_way(time, builds, monkeypatch):
    layer, built = Dense(20, dtype="float64"), []
    inputs = np.random.normal(size=(3, time, 20))
    explicit = Dense.per_example_gradients
    monkeypatch.setattr(
        Dense,
        "per_example_gradients",
        lambda self, *args: built.append(1) or explicit(self, *args),
    )
    layer.gram(inputs, layer(inputs), inputs, layer(inputs))
    assert len(built) == builds


def test_lora_is_refused():
    with pytest.raises(ValueError, match="LoRA"):
        Dense(3, lora_rank=2)(np.ones((2, 5)))
