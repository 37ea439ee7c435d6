import keras
import numpy as np
import scipy.sparse

from applications.own.held_out import CHUNK, HeldOut, probabilities


def network():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    )


def test_of_arrays_and_of_sparse_matrices():
    made = network()
    x = np.random.default_rng(0).normal(size=(2 * CHUNK + 3, 3))
    found = probabilities(made, x.astype("float32"))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    logits = made.predict(x, verbose=0)
    np.testing.assert_array_equal(found.argmax(1), logits.argmax(1))
    sparse = scipy.sparse.csr_matrix(x.astype("float32"))
    np.testing.assert_allclose(probabilities(made, sparse), found, rtol=1e-5)


def test_after_the_last_epoch_only():
    made = network()
    made.compile("sgd", "mse")
    x = np.ones((4, 3), "float32")
    callback = HeldOut(x)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: seen.append(len(callback.probabilities))
    )
    made.fit(
        x, np.ones((4, 2)), epochs=3, verbose=0, callbacks=[callback, watch]
    )
    assert seen == [0, 0, 1]
    np.testing.assert_allclose(
        callback.probabilities[0], probabilities(made, x)
    )
