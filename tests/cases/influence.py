"""What the closed forms must equal, by plain automatic differentiation."""

import hypothesis
import numpy as np
import tensorflow as tf

few_examples = hypothesis.settings(max_examples=5, deadline=None)


def flat(tensors):
    return np.concatenate([np.reshape(t, -1) for t in tensors])


def unflat(vector, tensors):
    """A tensor like all of `tensors` together, split and reshaped."""
    parts = tf.split(vector, [int(tf.size(t)) for t in tensors])
    return [
        tf.reshape(part, tf.shape(t))
        for part, t in zip(parts, tensors, strict=True)
    ]


def explicit_jacobian(function, parameters):
    """Rows `∂function_n/∂θ`, one reverse pass each."""
    theta = tf.constant(flat(parameters))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(theta)
        values = function(unflat(theta, parameters))
    jacobian = tape.jacobian(
        values,
        theta,
        experimental_use_pfor=False,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return jacobian.numpy()


def explicit_hessian(function, parameters):
    """The Hessian of a scalar function, one double reverse pass a row."""

    def gradient(split):
        with tf.GradientTape() as tape:
            tape.watch(split)
            value = function(split)
        gradients = tape.gradient(
            value, split, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return tf.concat([tf.reshape(g, (-1,)) for g in gradients], 0)

    return explicit_jacobian(gradient, parameters)


def assert_close(ours, theirs, rtol=1e-9):
    """Close in relation to the largest element."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape
    atol = rtol * max(np.max(np.abs(theirs), initial=0.0), 1e-12)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)
