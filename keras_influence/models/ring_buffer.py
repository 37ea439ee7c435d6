import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_influence")
class RingBuffer(keras.layers.Layer):
    """The last of many nests of tensors of the same shapes.

    Args:
        length: integer, how many are kept.

    Example:

    >>> history = RingBuffer(2)
    >>> for number in (1.0, 2.0, 3.0):
    ...     history.push({"theta": keras.ops.array([number])})
    >>> float(history.recent(1)["theta"][0])
    2.0
    """

    def __init__(self, length: int, **kwargs):
        super().__init__(**kwargs)
        self.length = length
        self.count = self._slot("count", (), "int32")
        self.structure, self.slots = None, []
        self.built = True

    def prepare(self, nest: Any) -> None:
        """Makes room for nests of tensors like this one, once.

        Raises:
            ValueError: if a shape is not that of before.
        """
        tensors = keras.tree.flatten(nest)
        kept = [tf.TensorShape(slot.shape[1:]) for slot in self.slots]
        alike = (
            tf.TensorShape(tensor.shape).is_compatible_with(shape)
            for tensor, shape in zip(tensors, kept, strict=bool(kept))
        )
        if not all(alike):
            raise ValueError(
                f"`{self.name}` keeps tensors of the same shapes: batches must "
                "all be of one size (`drop_remainder=True`). Received: "
                f"{[tuple(t.shape) for t in tensors]} after "
                f"{[tuple(shape) for shape in kept]}"
            )
        if not self.slots:
            self.slots = [
                self._slot(f"slot_{i}", (self.length, *t.shape), _dtype(t))
                for i, t in enumerate(tensors)
            ]
        self.structure = keras.tree.map_structure(lambda _: 0, nest)

    def push(self, nest: Any) -> None:
        """Keeps a nest of tensors in the place of the oldest one."""
        self.prepare(nest)
        place = ops.expand_dims(self.count.value % self.length, 0)
        tensors = keras.tree.flatten(nest)
        for slot, tensor in zip(self.slots, tensors, strict=True):
            row = ops.expand_dims(tensor, 0)
            slot.value.scatter_update(tf.IndexedSlices(row, place))
        self.count.assign_add(1)

    def recent(self, back: int) -> Any:
        """The nest of `back` pushes before the last one."""
        place = (self.count.value - 1 - back) % self.length
        return self._packed([tf.gather(s.value, place) for s in self.slots])

    def holds(self, back: int) -> tf.Tensor:
        """Whether there was a push that long ago, as a boolean tensor."""
        return self.count.value > back

    def all(self) -> Any:
        """All places at once, in no order: a nest of tensors `(length, ...)`.

        Those that are not filled yet hold zeros.
        """
        return self._packed([s.value for s in self.slots])

    def fits(self, nest: Any) -> bool:
        """Whether nests of tensors like this one can be kept."""
        tensors = keras.tree.flatten(nest)
        kinds = [((self.length, *t.shape), _dtype(t)) for t in tensors]
        own = [(tuple(s.shape), s.dtype) for s in self.slots]
        return not self.slots or kinds == own

    def clear(self) -> None:
        """Forgets everything, but for how much room there is."""
        for variable in self.variables:
            variable.assign(ops.zeros_like(variable))

    def _packed(self, tensors):
        return keras.tree.pack_sequence_as(self.structure, tensors)

    def _slot(self, name, shape, dtype):
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=lambda shape, dtype: ops.zeros(shape, dtype),
            trainable=False,
            autocast=False,
        )

    def load_own_variables(self, store) -> None:
        """Loads what a file holds, or nothing if that does not fit."""
        # Keras numbers the variables; the first one is the count.
        saved = [store[str(i)] for i in range(1, len(store.keys()))]
        self.clear()
        if not store.keys() or not self._takes(saved):
            name = self.name.replace("_", " ")
            warnings.warn(
                f"The file has no {name}, as of version 0.1, or such as do not "
                "fit: they are collected anew.",
                stacklevel=2,
            )
            return
        if not self.slots:
            self.slots = [
                self._slot(f"slot_{i}", value.shape, _dtype(value))
                for i, value in enumerate(saved)
            ]
        self.count.assign(store["0"])
        for slot, value in zip(self.slots, saved, strict=False):
            slot.assign(value)

    def _takes(self, arrays):
        shapes = [tuple(array.shape) for array in arrays]
        own = [tuple(slot.shape) for slot in self.slots]
        long = all(shape[0] == self.length for shape in shapes)
        # A file may be older than the first push, and so may be the slots.
        return long and (shapes == own or not shapes or not own)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "length": self.length}


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)
