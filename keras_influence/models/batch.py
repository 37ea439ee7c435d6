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
            ValueError: if the element has another structure.
        """
        try:
            if isinstance(data, tuple):  # as `train_on_batch` packs it
                data = data[0]
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
        label = unlabeled.get("label")
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
        """
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


def _shape(leaf):
    return getattr(leaf, "shape", leaf)


def _rows(nest):
    return ops.shape(keras.tree.flatten(nest)[0])[0]


def _concatenated(*parts):
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
