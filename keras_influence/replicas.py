"""What the replicas of a distribution strategy tell each other."""

import tensorflow as tf


def of_all_replicas(*parts) -> list:
    """Tensors with a row an example, those of all replicas together.

    Collectives cannot be part of a loop or of what is differentiated.

    Args:
        *parts: tensors of shape `(n, ...)`, with an `n` of each its own.

    Returns:
        List of tensors of shape `(n · replicas, ...)`, the same on each.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return list(parts)
    return [
        replica.all_reduce(
            tf.distribute.ReduceOp.SUM,
            _in_place(replica, tf.convert_to_tensor(part)),
        )
        for part in parts
    ]


def _in_place(replica, part):
    """The rows at their place among zeros, which sum to all rows.

    `all_gather` does not work across workers whose replica is alone, and it
    loses the shape.
    """
    replicas = replica.num_replicas_in_sync
    size = part.shape[0] or tf.shape(part)[0]
    before = replica.replica_id_in_sync_group * size
    after = (replicas - 1) * size - before
    rest = [[0, 0]] * (len(part.shape) - 1)
    rows = tf.pad(part, [[before, after], *rest])
    count = part.shape[0] and replicas * part.shape[0]
    rows.set_shape([count, *part.shape[1:]])
    return rows


def of_this_replica(rows, size):
    """The rows that `of_all_replicas` had from this one.

    Args:
        rows: tensor of shape `(n · replicas, ...)`.
        size: integer, or integer scalar tensor, `n`.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return rows
    first = replica.replica_id_in_sync_group * size
    return rows[first : first + size]


def everywhere(condition):
    """Whether something holds on all replicas, a boolean scalar tensor.

    Args:
        condition: boolean scalar tensor.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return condition
    failed = replica.all_reduce(
        tf.distribute.ReduceOp.SUM, tf.cast(~condition, "float32")
    )
    return failed == 0


def count() -> int:
    """How many replicas there are."""
    return tf.distribute.get_replica_context().num_replicas_in_sync
