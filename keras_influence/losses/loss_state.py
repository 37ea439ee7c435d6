import weakref

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable(package="keras_influence")
class LossState(keras.layers.Layer):
    """What a loss keeps from step to step, by name; saved with the model.

    No gradient flows through it, and a step whose numbers are not finite
    leaves it as it was.

    Example:

    >>> state = LossState()
    >>> state.start(None, {"threshold": np.zeros(2, "float32")})
    >>> state.assign(threshold=np.array([0.5, 1.0]))
    >>> state["threshold"].numpy()
    array([0.5, 1. ], dtype=float32)
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.names: tuple = ()
        self.slots: list = []
        self._network = None
        self.built = True

    def start(self, network: keras.Model | None, values: dict) -> None:
        """Makes room for these values, once.

        Args:
            network: the `keras.Model` that is trained.
            values: dictionary from names to arrays or tensors.

        Raises:
            ValueError: if it is already in use for another network, or has
                values of other shapes.
        """
        owner = self._network and self._network()
        if owner is not None and owner is not network:
            raise ValueError(
                "The loss keeps what it learned of another network: every "
                "model needs a loss of its own. Received: network="
                f"{network!r}, state of {owner!r}"
            )
        if not self.slots:
            self.slots = [self._slot(name, x) for name, x in values.items()]
        shapes = {k: tuple(getattr(x, "shape", ())) for k, x in values.items()}
        kept = [tuple(slot.shape) for slot in self.slots]
        if kept != list(shapes.values()):
            raise ValueError(
                "The loss has a state of other shapes: every model needs a "
                "loss of its own, and a new one where layers were frozen or "
                f"released since. Received: {shapes}, kept are {kept}"
            )
        self._network = None if network is None else weakref.ref(network)
        self.names = tuple(values)

    def __getitem__(self, name: str) -> tf.Tensor:
        if not self.names:
            raise ValueError(
                "The loss has no state yet. `InfluenceModel` makes it; by hand "
                "it is `loss.start(network, classes, num_examples)`."
            )
        return tf.convert_to_tensor(self.slots[self.names.index(name)].value)

    def assign(self, **values) -> None:
        """Replaces values.

        Args:
            **values: tensors, by name.
        """
        for name, value in values.items():
            slot = self.slots[self.names.index(name)]
            slot.assign(ops.cast(value, slot.dtype))

    def rows(self, name: str, index: tf.Tensor) -> tf.Tensor:
        """Some rows of a value; the others are not read.

        Args:
            name: string.
            index: integer tensor of shape `(n,)`.
        """
        return tf.gather(self.slots[self.names.index(name)].value, index)

    def assign_rows(self, name: str, index: tf.Tensor, rows) -> None:
        """Replaces rows of a value.

        Args:
            name: string.
            index: integer tensor of shape `(n,)`.
            rows: tensor with `n` rows.
        """
        slot = self.slots[self.names.index(name)]
        rows = ops.cast(rows, slot.dtype)
        slot.value.scatter_update(tf.IndexedSlices(rows, index))

    def _slot(self, name, value):
        # A network may be built, and its loss started, within a traced step.
        with tf.init_scope():
            value = ops.convert_to_tensor(value)
            return self.add_weight(
                name=name,
                shape=value.shape,
                dtype=keras.backend.standardize_dtype(value.dtype),
                initializer=lambda shape, dtype: ops.cast(value, dtype),
                trainable=False,
                autocast=False,
            )

    def load_own_variables(self, store) -> None:
        """Loads a state, also where the network is not built yet."""
        if not self.slots:
            saved = [store[str(i)] for i in range(len(store.keys()))]
            self.slots = [
                self._slot(f"slot_{i}", value) for i, value in enumerate(saved)
            ]
        super().load_own_variables(store)
