"""What is said first where a step has failed."""

import re

import tensorflow as tf


def explained(error: tf.errors.OpError) -> tf.errors.OpError:
    """An error of a step, with what to do about it at the beginning.

    Args:
        error: what TensorFlow raised.

    Returns:
        An error of the same type or, where there is nothing to add, itself.
    """
    said = _said(error.message)
    if said is None:
        return error
    message = f"{said}\n\nTensorFlow says: {error.message}"
    return type(error)(error.node_def, error.op, message)


def _said(message):
    # There are several, by what was noticed first.
    if "Collective ops is aborted" in message:
        return (
            "A worker of the cluster has ended, or cannot be reached. Start "
            "all workers anew; with `keras.callbacks.BackupAndRestore` they go "
            "on from the last epoch that was saved."
        )
    # Below the place in the graph, as `[Ids must be ... from] [0] [to] [9]`.
    failed = re.search(
        r"assertion failed: \[(.*?)\]\s+\[(?:\[|Op)", message, re.S
    )
    return failed and failed[1].replace("] [", " ")
