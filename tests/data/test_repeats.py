import numpy as np
import pytest
import tensorflow as tf

from keras_influence.data import semi_supervised

Dataset = tf.data.Dataset
N = 200
X, Y = np.arange(float(N))[:, None], np.arange(N) % 3
EXAMPLES = Dataset.from_tensor_slices((X, Y))


def not_deterministic():
    options = tf.data.Options()
    options.deterministic = False
    return EXAMPLES.with_options(options)


def one_shot():
    examples = iter(X)
    return Dataset.from_generator(
        lambda: examples, output_signature=tf.TensorSpec((1,))
    ).map(lambda x: (x, 0))


def noisy(x, y):
    return x + tf.random.uniform((), dtype="float64"), y


@pytest.mark.parametrize("part", ["labeled", "unlabeled"])
@pytest.mark.parametrize(
    "dataset",
    [
        not_deterministic,
        one_shot,
        lambda: EXAMPLES.shuffle(2),
        lambda: EXAMPLES.shuffle(N, seed=3),
        lambda: EXAMPLES.batch(50).shuffle(9).unbatch(),
        lambda: EXAMPLES.map(noisy),
    ],
)
def test_an_order_that_changes_is_refused(dataset, part):
    parts = {"labeled": (X, Y), "unlabeled": X} | {part: dataset()}
    with pytest.raises(ValueError, match=f"`{part}` must yield the same"):
        semi_supervised(**parts)


def test_a_shuffle_that_stays_the_same_is_taken():
    dataset = EXAMPLES.shuffle(N, seed=1, reshuffle_each_iteration=False)
    in_order = [x.numpy() for x, _ in dataset]
    train = semi_supervised((X, Y), dataset, batch_size=N)
    for batch in train.take(2):
        views, index = batch["unlabeled"]["views"], batch["unlabeled"]["index"]
        np.testing.assert_array_equal(
            views["original"], np.stack(in_order)[index]
        )


def test_an_order_that_changes_late_is_an_error_in_the_second_epoch():
    late = EXAMPLES.take(N // 2).concatenate(EXAMPLES.skip(N // 2).shuffle(N))
    train = semi_supervised((X, Y), late, batch_size=N, unlabeled_ratio=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="second pass"):
        list(train.take(3))


def test_strings_and_nests_are_compared():
    texts = Dataset.from_tensor_slices({"text": X.astype(str), "n": Y})
    semi_supervised((X, Y), texts)
    with pytest.raises(ValueError, match="same examples"):
        semi_supervised((X, Y), texts.shuffle(N))
