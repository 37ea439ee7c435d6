"""Infinite shuffled batches whose examples keep their ids."""

import keras
import tensorflow as tf


def stream(
    examples, size: int, seed: int, start_step: int, shuffle_buffer: int
) -> tf.data.Dataset:
    """Batches of `(index, examples)`, a function of seed and step alone.

    Args:
        examples: nested arrays with one row an example, or a finite
            `tf.data.Dataset` of single examples.
        size: int, examples a batch. Batches run over the end of an epoch.
        seed: int of at most 31 bits.
        start_step: int, number of batches that come before the first.
        shuffle_buffer: int, examples held for shuffling a `Dataset`.

    Returns:
        An infinite `tf.data.Dataset`; `index` is an `int64` tensor of shape
        `(size,)`: the rows of the arrays, or the places in the dataset.
    """
    start = start_step * size
    if isinstance(examples, tf.data.Dataset):
        n = int(examples.cardinality())

        def one_epoch(epoch):
            # Of this function's graph; the global seed plays no part.
            tf.random.set_seed(seed)
            return examples.enumerate().shuffle(
                shuffle_buffer, seed=epoch, reshuffle_each_iteration=False
            )

        return _epochs(one_epoch, n, start).batch(size, drop_remainder=True)

    with tf.device("CPU:0"):
        arrays = keras.tree.map_structure(tf.convert_to_tensor, examples)
    n = keras.tree.flatten(arrays)[0].shape[0]

    def rows(epoch):
        return tf.data.Dataset.from_tensor_slices(
            tf.random.experimental.stateless_shuffle(
                tf.range(n, dtype="int64"), (seed, epoch), alg="philox"
            )
        )

    def gather(index):
        return index, keras.tree.map_structure(
            lambda array: tf.gather(array, index), arrays
        )

    batches = _epochs(rows, n, start).batch(size, drop_remainder=True)
    return batches.map(gather, tf.data.AUTOTUNE, deterministic=True)


def _epochs(one_epoch, n, start):
    """Epoch after epoch from the example in place `start`; `n < 1`: unknown."""
    epoch, skipped = divmod(start, n) if n > 0 else (0, start)
    return tf.data.Dataset.counter(epoch).flat_map(one_epoch).skip(skipped)
