import dataclasses
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@dataclasses.dataclass
class Batch:
    """One step's data, and its layout in the one forward pass.

    Labelled examples and all views of the unlabelled ones go through the
    network together, so that batch normalisation sees them all.

    Args:
        x: nest of tensors with `labeled_size` rows.
        y: tensor with the labels of `x`.
        sample_weight: tensor of shape `(labeled_size,)`, or `None`.
        views: dictionary from names to nests like `x` with `unlabeled_size`
            rows.
        index: integer tensor of shape `(unlabeled_size,)`, the ids.
        label: tensor with the given labels of the unlabelled examples, or
            `None`.
    """

    x: Any
    y: Any
    sample_weight: tf.Tensor | None
    views: dict[str, Any]
    index: tf.Tensor
    label: tf.Tensor | None

    @classmethod
    def from_data(cls, data: dict) -> "Batch":
        """A batch from one element of `keras_influence.data.semi_supervised`.

        Raises:
            ValueError: if the element has another structure, or its parts do
                not have a row for each example.
        """
        others = []
        try:
            if isinstance(data, tuple):  # as `train_on_batch` packs it
                data, *others = data
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(
                data["labeled"]
            )
            unlabeled = data["unlabeled"]
            views, index = unlabeled["views"], unlabeled["index"]
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(
                "`InfluenceModel` trains on batches of the form {'labeled': "
                "(x, y), 'unlabeled': {'views': {name: x}, 'index': ids}}, as "
                "`keras_influence.data.semi_supervised` makes them. Received: "
                f"{keras.tree.map_structure(_shape, data)}"
            ) from error
        _check_absent(others)
        label = unlabeled.get("label")
        index = _column(index)
        if sample_weight is not None:
            sample_weight = _column(sample_weight)
        _check_rows(x, {"y": y, "sample_weight": sample_weight})
        _check_rows(index, {**views, "label": label})
        _check_ids(index)
        return cls(x, y, sample_weight, views, index, label)

    @property
    def labeled_size(self) -> int | tf.Tensor:
        """The number of labelled examples."""
        return _rows(self.x)

    @property
    def unlabeled_size(self) -> int | tf.Tensor:
        """The number of unlabelled examples, each seen in every view."""
        return ops.shape(self.index)[0]

    def inputs(self) -> Any:
        """Labelled examples, then every view, as one nest of inputs.

        Where their types differ, as integers and floats, it is the one that
        holds them all.

        Raises:
            ValueError: if their structures or shapes differ.
        """
        for name, view in self.views.items():
            _check_alike(self.x, name, view)
        return keras.tree.map_structure(
            _concatenated, self.x, *self.views.values()
        )

    def split(self, rows: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Rows of the forward pass to those of `x` and of every view."""
        sizes = [self.labeled_size, *(self.unlabeled_size for _ in self.views)]
        labeled, *views = tf.split(rows, sizes)
        return labeled, dict(zip(self.views, views, strict=True))

    def stack(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Rows of the forward pass as `(n, 1, ...)` and `(n, views, ...)`."""
        labeled, views = self.split(rows)
        unlabeled = ops.stack(list(views.values()), axis=1)
        return ops.expand_dims(labeled, 1), unlabeled


def _column(part):
    """Numbers of shape `(n, 1)` as `(n,)`."""
    return part[:, 0] if part.shape[1:] == (1,) else part


def _check_rows(like, parts):
    """Raises unless parts have as many rows as these, where that is known."""
    count = keras.tree.flatten(like)[0].shape[0]
    for name, part in parts.items():
        for leaf in keras.tree.flatten(part):
            if leaf is None or None in (count, leaf.shape[0]):
                continue
            if leaf.shape[0] != count:
                raise ValueError(
                    f"A batch must have a row of {name!r} for each of its "
                    f"{count} examples. Received: shape {tuple(leaf.shape)}"
                )


def _check_ids(index):
    dtype = keras.backend.standardize_dtype(index.dtype)
    if len(index.shape) != 1 or dtype not in ("int32", "int64"):
        raise ValueError(
            "A batch must have ids 'index' of shape (n,) and type int32 or "
            f"int64. Received: shape {tuple(index.shape)}, type {dtype}"
        )
    if index.shape[0] == 0:
        raise ValueError(
            "A batch must have at least one unlabelled example. Received: an "
            "empty 'index'"
        )


def _check_absent(others):
    if any(other is not None for other in others):
        raise ValueError(
            "Arguments `y` and `sample_weight` of `train_on_batch()` are not "
            "taken: labels and weights are in the batch, as {'labeled': (x, y, "
            "sample_weight), ...}."
        )


def _shape(leaf):
    return getattr(leaf, "shape", leaf)


def _rows(nest):
    return ops.shape(keras.tree.flatten(nest)[0])[0]


def _check_alike(x, name, view):
    """Raises unless labelled inputs and a view can be put side by side."""
    try:
        keras.tree.assert_same_structure(x, view)
        alike = all(
            tf.TensorShape(a.shape)[1:].is_compatible_with(b.shape[1:])
            for a, b in zip(*map(keras.tree.flatten, (x, view)), strict=True)
        )
    except ValueError:
        alike = False
    if not alike:
        labeled, unlabeled = (
            keras.tree.map_structure(_shape, part) for part in (x, view)
        )
        raise ValueError(
            "Labelled and unlabelled inputs must have the same structure and "
            f"shapes. Received: labelled inputs {labeled}, view {name!r} "
            f"{unlabeled}"
        )


def _concatenated(*parts):
    if any(isinstance(p, (tf.RaggedTensor, tf.SparseTensor)) for p in parts):
        raise ValueError(
            "Inputs must be dense tensors: `to_tensor()` makes them of ragged "
            "ones, `tf.sparse.to_dense()` of sparse ones. Received: "
            f"{sorted({type(p).__name__ for p in parts})}"
        )
    parts = [tf.convert_to_tensor(p) for p in parts]
    dtypes = {p.dtype.name for p in parts}
    if len(dtypes) > 1:
        if "string" in dtypes:
            raise ValueError(
                "Labelled inputs and all views must be strings where one is. "
                f"Received: inputs of types {sorted(dtypes)}"
            )
        dtype = keras.backend.result_type(*dtypes)
        parts = [ops.cast(p, dtype) for p in parts]
    return tf.concat(parts, axis=0)
