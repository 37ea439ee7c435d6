"""Whether a data set yields the same examples in a second pass."""

import keras
import tensorflow as tf

READ_AHEAD = 64
WATCHED = 4096
_REMEDY = (
    "Received a dataset whose second pass differs from its first: remove "
    "`.shuffle()` (batches are shuffled here) or give it "
    "`reshuffle_each_iteration=False`, and leave random augmentation to views."
)


def check_repeats(name: str, dataset: tf.data.Dataset) -> None:
    """Reads the first examples twice.

    Raises:
        ValueError: if there are none, or if they are others, or may be, the
            second time.
    """
    if dataset.options().deterministic is False:
        raise ValueError(
            f"{_message(name)} Received a dataset with the option "
            "`deterministic=False`."
        )
    # In one iterator: a shuffle with a seed changes its order only there.
    twice = dataset.take(READ_AHEAD).map(fingerprint).repeat(2)
    marks = list(twice.as_numpy_iterator())
    if not marks:
        raise ValueError(f"`{name}` must not be empty. Received: {dataset}")
    if marks[: len(marks) // 2] != marks[len(marks) // 2 :]:
        raise ValueError(f"{_message(name)} {_REMEDY}")


def watch(name: str, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Examples with their ids, an error if one comes back as another.

    Some orders change late in an epoch, or between files. The first
    `WATCHED` examples are compared with those of earlier epochs.
    """
    seen = {}
    message = f"{_message(name)} {_REMEDY}"

    def is_same(index, mark):
        return seen.setdefault(int(index), int(mark)) == int(mark)

    def check(index, example):
        same = tf.cond(
            index < WATCHED,
            lambda: tf.numpy_function(
                is_same, [index, fingerprint(*example)], tf.bool
            ),
            lambda: True,
        )
        assertion = tf.debugging.Assert(same, [message])
        with tf.control_dependencies([assertion]):
            return tf.identity(index), example

    return dataset.enumerate().map(check)


def fingerprint(*example):
    """A number that another example does not have, but by rare chance."""
    leaves = [tf.io.serialize_tensor(x) for x in keras.tree.flatten(example)]
    return tf.strings.to_hash_bucket_fast(tf.strings.join(leaves), 2**62)


def _message(name):
    return (
        f"`{name}` must yield the same examples in the same order every time, "
        "because an example's id is its place in the dataset."
    )
