"""One function per image: every image pays only for its own."""

from collections.abc import Callable, Sequence

import tensorflow as tf
from keras import ops


def switch(
    choices: tf.Tensor, branches: Sequence[Callable], *arguments: tf.Tensor
) -> tf.Tensor:
    """Applies `branches[choices[i]]` to row `i` of the arguments.

    Rows with the same choice are gathered, transformed together and put back
    in place, so the cost is that of one branch a row however many branches
    there are. A branch may receive zero rows.

    Args:
        choices: int32 tensor of shape `(n,)` with values in
            `[0, len(branches))`.
        branches: functions that take one tensor per argument, each of shape
            `(m, ...)`, and return one of the first argument's shape.
        *arguments: tensors of shape `(n, ...)`.

    Returns:
        Tensor of the shape of the first argument.

    Example:
    >>> branches = [lambda x: x, lambda x: -x]
    >>> switch([0, 1, 1], branches, np.array([1, 2, 3])).numpy()
    array([ 1, -2, -3])
    """
    rows = [ops.convert_to_tensor(x) for x in arguments]
    places = ops.arange(ops.shape(rows[0])[0], dtype="int32")
    places, *shares = (
        tf.dynamic_partition(x, choices, len(branches)) for x in (places, *rows)
    )
    outputs = [
        branch(*share) for branch, *share in zip(branches, *shares, strict=True)
    ]
    return ops.reshape(tf.dynamic_stitch(places, outputs), ops.shape(rows[0]))
