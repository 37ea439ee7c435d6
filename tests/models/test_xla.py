import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from tests.cases.models import compiled, fit, quiet_network


def margin(labels, logits):
    """A judge with an operation that XLA cannot compile."""
    labels = tf.numpy_function(lambda y: y, [labels], labels.dtype)
    return ki.influence.outer.margin(tf.ensure_shape(labels, (None,)), logits)


@pytest.mark.parametrize(
    ("arguments", "suits"),
    [
        ({}, False),
        ({"solver": ki.solvers.Exact(0.1, max_dense=17)}, True),
        ({"solver": ki.solvers.Exact(0.1, max_dense=18)}, False),
        ({"solver": ki.solvers.ConjugateGradient(5)}, True),
        (
            {
                "solver": ki.solvers.ConjugateGradient(
                    5, preconditioner="kronecker"
                )
            },
            False,
        ),
        ({"curvature": "outer_product"}, False),
        ({"curvature": None}, True),
        ({"curvature": None, "parameters": "all"}, False),
    ],
)
def test_what_suits_xla(arguments, suits):
    """No second derivatives of the network and no factorisation."""
    model = compiled(quiet_network(), influence=ki.Influence(**arguments))
    assert model.suits_xla == suits


def test_an_unrolled_update_does_not_suit_xla():
    model = compiled(quiet_network(), influence=ki.Unrolled(2))
    assert not model.suits_xla


def test_second_derivatives_of_the_network_stay_out_of_xla():
    # XLA's are wrong for max-pooling, in one network of twelve by 0.7.
    influence = ki.Influence("all", curvature=None, outer=margin)
    model = compiled(
        quiet_network(), influence=influence, jit_compile=True, inner_steps=2
    )
    fit(model, 4)
    assert model.jit_compile
    assert np.ptp(model.example_weights) > 0.01
