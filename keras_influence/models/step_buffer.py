import warnings
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_influence")
class StepBuffer(keras.layers.Layer):
    """The last steps of training, for differentiating through them.

    Args:
        length: integer, how many steps are kept.

    Example:

    >>> history = StepBuffer(2)
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

    def prepare(self, step: Any) -> None:
        """Makes room for nests of tensors like this one, once."""
        tensors = keras.tree.flatten(step)
        if not self.slots:
            self.slots = [
                self._slot(f"slot_{i}", (self.length, *t.shape), t.dtype)
                for i, t in enumerate(tensors)
            ]
        self.structure = keras.tree.map_structure(lambda _: 0, step)

    def push(self, step: Any) -> None:
        """Keeps a nest of tensors in the place of the oldest one."""
        self.prepare(step)
        place = [[self.count.value % self.length]]
        tensors = keras.tree.flatten(step)
        for slot, tensor in zip(self.slots, tensors, strict=True):
            slot.value.scatter_nd_update(place, tensor[None])
        self.count.assign_add(1)

    def recent(self, back: int) -> Any:
        """The nest of `back` steps before the last one."""
        place = (self.count.value - 1 - back) % self.length
        return keras.tree.pack_sequence_as(
            self.structure, [tf.gather(s.value, place) for s in self.slots]
        )

    def holds(self, back: int) -> tf.Tensor:
        """Whether there was a step that long ago, as a boolean tensor."""
        return self.count.value > back

    def _slot(self, name, shape, dtype):
        dtype = keras.backend.standardize_dtype(dtype)
        return self.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=lambda shape, dtype: ops.zeros(shape, dtype),
            trainable=False,
            autocast=False,
        )

    def load_own_variables(self, store) -> None:
        """Loads a history that may not have seen a step yet."""
        if not store.keys():
            warnings.warn(
                "The file has no past steps, as of version 0.1: they are "
                "collected anew.",
                stacklevel=2,
            )
            return
        if not self.slots:
            # Keras numbers the variables; the first one is the count.
            saved = [store[str(i)] for i in range(1, len(store.keys()))]
            self.slots = [
                self._slot(f"slot_{i}", value.shape, value.dtype)
                for i, value in enumerate(saved)
            ]
        super().load_own_variables(store)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "length": self.length}
