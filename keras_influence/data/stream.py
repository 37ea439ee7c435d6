"""Infinite shuffled batches whose examples keep their ids."""

import keras
import tensorflow as tf

from keras_influence.data.repeats import check_repeats, watch
from keras_influence.data.sparse_rows import SparseRows, gather_examples

# Above it, an order of all ids takes seconds to make and much memory.
SHUFFLED_AT_ONCE = 2**20


def stream(
    name: str,
    examples,
    size: int,
    seed: int,
    start_step: int,
    shuffle_buffer: int,
) -> tf.data.Dataset:
    """Batches of `(index, examples)`, a function of seed and step alone.

    Args:
        name: the argument that `examples` was given as.
        examples: nest of arrays or `SparseRows` with one row an example, or a
            finite `tf.data.Dataset` of single examples.
        size: int, examples a batch. Batches run over the end of an epoch.
        seed: int of at most 31 bits.
        start_step: int, number of batches that come before the first.
        shuffle_buffer: int, examples held for shuffling a `Dataset`.

    Returns:
        An infinite `tf.data.Dataset`; `index` is an `int64` tensor of shape
        `(size,)`: the rows of the arrays, or the places in the dataset.
    """
    if isinstance(examples, tf.data.Dataset):
        check_repeats(name, examples)
        return _batches_of_dataset(
            watch(name, examples), size, seed, start_step, shuffle_buffer
        )
    with tf.device("CPU:0"):
        arrays = keras.tree.map_structure(
            lambda a: a if isinstance(a, SparseRows) else tf.constant(a),
            examples,
        )
    n = keras.tree.flatten(arrays)[0].shape[0]

    def gather(index):
        return index, gather_examples(arrays, index)

    ids = (_ids if n <= SHUFFLED_AT_ONCE else _ids_of_many)(
        n, size, seed, start_step
    )
    return ids.map(gather, tf.data.AUTOTUNE, deterministic=True)


def _batches_of_dataset(examples, size, seed, start_step, shuffle_buffer):
    def one_epoch(epoch):
        # Of this function's graph; the global seed plays no part.
        tf.random.set_seed(seed)
        return examples.shuffle(
            shuffle_buffer, seed=epoch, reshuffle_each_iteration=False
        )

    n = int(examples.cardinality())
    # Below 1, `n` is unknown.
    start = start_step * size
    first, skipped = divmod(start, n) if n > 0 else (0, start)
    epochs = tf.data.Dataset.counter(first).flat_map(one_epoch).skip(skipped)
    return epochs.batch(size, drop_remainder=True)


def _ids(n, size, seed, start_step):
    """Batches of ids, every epoch in an order of its own."""
    first, skipped = divmod(start_step * size, n)

    def one_epoch(epoch):
        # Missing in TensorFlow's stubs.
        order = tf.random.experimental.stateless_shuffle(  # pyright: ignore[reportAttributeAccessIssue]
            tf.range(n, dtype="int64"), (seed, epoch), alg="philox"
        )
        return order[tf.where(epoch == first, skipped, 0) :]

    # Not id by id, which would take as long as a small step.
    epochs = tf.data.Dataset.counter(first).map(one_epoch)
    return epochs.rebatch(size, drop_remainder=True)


def _ids_of_many(n, size, seed, start_step):
    """The same without an array of all ids: a cipher of their places."""

    def ids(step):
        place = step * size + tf.range(size, dtype="int64")
        return tf.raw_ops.RandomIndexShuffle(
            index=place % n,
            seed=tf.stack([tf.fill([size], seed64), place // n, zeros], 1),
            max_index=tf.constant(n - 1, "int64"),
            rounds=16,  # The default of 4 leaves a pattern.
        )

    seed64, zeros = tf.constant(seed, "int64"), tf.zeros([size], "int64")
    return tf.data.Dataset.counter(start_step).map(ids)
