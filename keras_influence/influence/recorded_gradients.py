"""Per-example gradients as recorded features and output gradients."""

import tensorflow as tf
from keras import ops

from keras_influence.layers import RecordingLayer


class RecordedGradients:
    """The gradients of every row of a forward pass, never written out.

    Each call of a layer keeps its features `a` and the gradient `δ` at its
    outputs; what is asked of the gradients follows from these, layer by layer.

    Args:
        variables: list of the scope's variables; vectors are lists of tensors
            of their shapes.
        records: list of `Record`s of the layers that own the variables.
        output_gradients: list of tensors, `δ` of every record.

    Reference: section 3.2 and appendix B of "Not All Unlabeled Data are Equal".
    """

    def __init__(self, variables, records, output_gradients):
        self.places = {id(v): place for place, v in enumerate(variables)}
        self.calls = [
            (record.layer, record.inputs, delta)
            for record, delta in zip(records, output_gradients, strict=True)
            if delta is not None
        ]

    def dot(self, vector: list):
        """`⟨g_row, V⟩`: every layer applied with `V` for its parameters."""
        return sum(
            layer.dot(features, delta, self._parameters(layer, vector))
            for layer, features, delta in self.calls
        )

    def gram(self):
        """`⟨g_row, g_row'⟩` of all pairs of rows.

        Calls of the same layer share parameters and are taken together.
        """
        return sum(
            layer.gram(features, delta, others, deltas)
            for layer, features, delta in self.calls
            for other, others, deltas in self.calls
            if other is layer
        )

    def _parameters(self, layer, vector):
        # What is not in scope, such as a frozen bias, has no direction.
        return [
            vector[self.places[id(p)]]
            if id(p) in self.places
            else ops.zeros(p.shape, p.dtype)
            for p in layer.parameters
        ]


def scope_records(variables, recording, rows) -> list | None:
    """The records that carry the whole gradient of a scope.

    Args:
        variables: list of the scope's variables.
        recording: the `Recording` of a forward pass.
        rows: integer, the rows of the pass; a tensor where they are not known.

    Returns:
        List of `Record`s, or `None` if they do not carry it: a variable
        belongs to a layer that does not record, or a layer was called on
        something else than these rows.

    Raises:
        tf.errors.InvalidArgumentError: if only the run shows the latter.
    """
    ids = {id(v) for v in variables}
    records = [
        record
        for record in recording.records
        if isinstance(record.layer, RecordingLayer)
        and ids & {id(p) for p in record.layer.parameters}
    ]
    recorded = {id(p) for record in records for p in record.layer.parameters}
    if not ids <= recorded:
        return None
    return records if all(_is_of(rows, r) for r in records) else None


def _is_of(rows, record):
    """Whether a layer was called on so many rows, as far as is known."""
    own = record.outputs.shape[0]
    if isinstance(rows, int) and own is not None:
        return own == rows
    tf.debugging.assert_equal(
        tf.shape(record.outputs)[0],
        rows,
        f"Layer {record.layer.name!r} was not called on one row for each "
        "example, so that it records no gradients of examples, as where a "
        "network merges batch and time: take the stock layer of Keras.",
    )
    return True


def output_gradients(tape: tf.GradientTape, losses, records) -> list:
    """`δ` of every record: the gradient of the *unweighted* losses.

    Training's own backward pass carries the factor `mask·λ`, with which a
    weight at 0 would look free of influence and never come back.
    """
    return tape.gradient(losses, [record.outputs for record in records])
