"""Layers that draw at random, repeatably where a seed is given."""

import random

import keras
import tensorflow as tf
from keras import ops


class SeededLayer(keras.layers.Layer):
    """Base class of layers whose calls take an optional stateless seed.

    Args:
        seed: int, where the draws start that are made without a seed of their
            own. Defaults to `None`, a random start that
            `keras.utils.set_random_seed` fixes.
    """

    def __init__(self, seed: int | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.seed = seed
        start = random.randint(1, 10**9) if seed is None else seed
        # keras.random.SeedGenerator hands the same seed to two calls of a
        # parallel `tf.data` map; this one advances atomically. `tf.data` runs
        # on the CPU and can only reach variables there.
        with tf.device("CPU:0"):
            self.generator = tf.random.Generator.from_seed(start)

    def next_seed(self, seed: tf.Tensor | None = None) -> tf.Tensor:
        """`seed` if given, checked, else the next of this layer's own."""
        if seed is None:
            return ops.cast(self.generator.make_seeds(1)[:, 0], "int32")
        given = ops.cast(seed, "int32")
        if tuple(given.shape) != (2,):
            raise ValueError(
                "`seed` must be two integers, a tensor of shape (2,). "
                f"Received a seed of shape {tuple(given.shape)}."
            )
        return given

    def get_config(self):
        """The arguments of this layer."""
        return {**super().get_config(), "seed": self.seed}
