import keras
import numpy as np
import pytest

from keras_influence.layers import EinsumDense
from tests.cases.layers import check_primitives, run_layer_test

EQUATIONS = [
    ("ab,bc->ac", 7, "c", (5,)),
    ("ab,bc->ac", 7, None, (5,)),
    ("...x,xy->...y", 6, "y", (2, 3, 5)),
    ("abc,cd->abd", (None, 6), "d", (2, 5)),
    ("abc,cd->abd", (2, 6), "bd", (2, 5)),
    ("abc,cd->abd", (2, 6), "b", (2, 5)),
    ("abc,cde->abde", (None, 3, 2), "de", (2, 12)),
    ("abcd,cde->abe", (None, 6), "e", (2, 3, 4)),
    ("abhd,hde->abhe", (None, 3, 9), "he", (2, 3, 8)),
    ("abc,cd->ad", 6, "d", (4, 5)),
    ("abc,bd->adc", (4, 5), "d", (3, 5)),
    ("ab...,bc->ac...", 4, "c", (3, 2)),
]


@pytest.mark.parametrize(("equation", "units", "bias", "shape"), EQUATIONS)
@pytest.mark.parametrize("pairs", [True, False])
def test_primitives(equation, units, bias, shape, pairs, monkeypatch):
    monkeypatch.setattr(EinsumDense, "_pairs_are_cheaper", lambda *args: pairs)
    arguments = {"activation": "tanh", "bias_axes": bias, "dtype": "float64"}
    check_primitives(
        EinsumDense(equation, units, **arguments),
        keras.layers.EinsumDense(equation, units, **arguments),
        np.random.normal(size=(3, *shape)),
    )


def test_is_an_einsum_dense_layer(tmp_path):
    arguments = {
        "equation": "abc,cde->abde",
        "output_shape": (None, 3, 2),
        "bias_axes": "de",
        "activation": "tanh",
    }
    inputs = np.random.normal(size=(3, 2, 5)).astype("float32")
    kinds = EinsumDense, keras.layers.EinsumDense
    run_layer_test(*kinds, arguments, inputs, tmp_path)
