"""Optimizers for variables with one row per example (design idea 4)."""

import math

import keras
import numpy as np
import tensorflow as tf

from keras_influence.representation import representation


@keras.saving.register_keras_serializable(package="keras_influence")
class RowOptimizer(keras.optimizers.Optimizer):
    """Base class of optimizers that move only the rows that were touched.

    Subclass it, name the slot variables in `slot_names` and write
    `update_rows`, which maps old values to new ones. What surrounds it is done
    here:

    - A `tf.IndexedSlices` gradient reads and writes its own rows only, in the
      variable and in the slots: the cost depends on the number of indices,
      not on the number of rows. An index that occurs twice adds both of its
      gradients, once. Indices outside the variable are the caller's to check.
    - Elements whose gradient is exactly 0 keep their value and slots bit for
      bit. So do elements whose gradient, or result, is not finite.
    - Elements that do move stay within `bounds`.

    Arguments of Keras' optimizers that would touch every row (weight decay,
    averages, gradient accumulation), and clipping, which would see the
    gradients of a repeated index one by one, are not accepted.

    Args:
        learning_rate: float, `keras.optimizers.schedules.LearningRateSchedule`
            or a callable without arguments: the step size.
        bounds: `None` or a pair of floats `(lower, upper)`, the range of the
            elements that move; may be set later. Defaults to `None`.
        name: string, the optimizer's name. Defaults to `None`.

    Raises:
        ValueError: if `bounds` is not `None` or two increasing numbers, or
            `learning_rate` is a number that is negative or not finite.

    Example:

    >>> class RowSGD(RowOptimizer):
    ...     def update_rows(self, values, gradients, learning_rate):
    ...         return (values - learning_rate * gradients,)
    >>> weights = keras.Variable([1.0, 1.0, 1.0])
    >>> optimizer = RowSGD(0.5, bounds=(0.0, 2.0))
    >>> optimizer.apply([keras.ops.array([1.0, 0.0, 9.0])], [weights])
    >>> keras.ops.convert_to_numpy(weights)
    array([0.5, 1. , 0. ], dtype=float32)

    Reference: appendix C, algorithm 2, line 5, of "Not All Unlabeled Data are
    Equal".
    """

    slot_names = ()

    def __init__(self, learning_rate, bounds=None, name=None):
        _check_rate(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name)
        self.bounds = bounds
        self._default_bounds = None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Range of the elements that move, or `None`."""
        return self._bounds or self._default_bounds

    @bounds.setter
    def bounds(self, bounds):
        if bounds is not None:
            pair = np.asarray(bounds)
            numbers = pair.shape == (2,) and pair.dtype.kind in "iuf"
            if not numbers or not pair[0] < pair[1]:
                raise ValueError(
                    "`bounds` must be None or a pair `(lower, upper)` of "
                    "numbers with lower < upper. Received: "
                    f"bounds={bounds!r}"
                )
            bounds = tuple(pair.astype(float).tolist())
        self._bounds = bounds

    def set_default_bounds(self, bounds: tuple | None) -> None:
        """Bounds where none were given; they are not in the configuration.

        Args:
            bounds: pair of floats, or `None`.
        """
        self._default_bounds = bounds

    def build(self, variables):
        """Creates one slot variable per slot name and variable.

        Raises:
            ValueError: if it was built for other variables.
        """
        if self.built:
            self._check_known(variables)
            return
        super().build(variables)
        self._slots = self.add_optimizer_variables(variables, self.slot_names)

    def _check_known(self, variables):
        try:
            for variable in variables:
                self._get_variable_index(variable)
        except KeyError:
            raise ValueError(
                f"The `{type(self).__name__}` keeps what it learned of another "
                "model: every model needs a weight optimizer of its own. "
                f"Received: {self!r}"
            ) from None

    def update_rows(self, values, gradients, learning_rate, *slots) -> tuple:
        """The algorithm, as if every element of these rows were touched.

        Args:
            values: tensor of shape `(rows, ...)`, the variable's values.
            gradients: tensor of the same shape and dtype.
            learning_rate: scalar tensor of the same dtype.
            *slots: one tensor like `values` for each name in `slot_names`.

        Returns:
            Tuple of the new values and every new slot, in the same order.
        """
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement "
            "`update_rows(values, gradients, learning_rate, *slots)`."
        )

    def update_step(self, gradient, variable, learning_rate):
        """Applies `update_rows` to the touched elements of one variable."""
        index = self._get_variable_index(variable)
        variables = [variable, *(slot[index].value for slot in self._slots)]
        gradient = tf.cast(gradient, variable.dtype)
        learning_rate = tf.cast(learning_rate, variable.dtype)
        if isinstance(gradient, tf.IndexedSlices):
            rows, sums, places = sum_duplicates(gradient)
            gradient = tf.gather(sums, places)
            old = [gather_rows(v, rows) for v in variables]
            new = self._masked_update(old, gradient, learning_rate)
            new = [tf.IndexedSlices(values, rows) for values in new]
        else:
            old = [tf.convert_to_tensor(v) for v in variables]
            new = self._masked_update(old, gradient, learning_rate)
        for v, values in zip(variables, new, strict=True):
            self.assign(v, values)

    def _masked_update(self, old, gradient, learning_rate):
        values, *slots = old
        new = list(self.update_rows(values, gradient, learning_rate, *slots))
        mask = gradient != 0
        for result in (gradient, *new):
            mask &= tf.math.is_finite(result)
        if self.bounds is not None:
            new[0] = tf.clip_by_value(new[0], *self.bounds)
        return [tf.where(mask, n, o) for n, o in zip(new, old, strict=True)]

    def get_config(self):
        """The arguments of the constructor."""
        learning_rate = super().get_config()["learning_rate"]
        if isinstance(learning_rate, float):
            # Of the variable: 0.01 instead of 0.009999999776482582.
            learning_rate = float(
                str(keras.ops.convert_to_numpy(self.learning_rate))
            )
        return {
            "learning_rate": learning_rate,
            "bounds": self._bounds,
            "name": self.name,
        }

    def __repr__(self):
        return representation(self)


def gather_rows(variable: tf.Variable, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a `tf.Variable`, without reading the others.

    `tf.gather` reads all of a mirrored variable.
    """
    return tf.raw_ops.ResourceGather(
        resource=variable.handle, indices=rows, dtype=variable.dtype
    )


def _check_rate(learning_rate):
    number = isinstance(learning_rate, (int, float, np.number))
    if number and not 0 <= learning_rate < math.inf:
        raise ValueError(
            "`learning_rate` must be finite and not negative. Received: "
            f"learning_rate={learning_rate}"
        )


def sum_duplicates(
    slices: tf.IndexedSlices,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The gradients of a repeated index, added.

    No index is dropped, so shapes stay static for XLA.

    Args:
        slices: `tf.IndexedSlices` with `n` indices.

    Returns:
        Tuple of the `n` indices, sorted; of `n` sums, one for each different
        index in that order, then zeros; and of the place of each of the `n`
        indices' sum.
    """
    order = tf.argsort(slices.indices)
    rows = tf.gather(slices.indices, order)
    is_new = tf.cast(rows[1:] != rows[:-1], tf.int32)
    places = tf.cumsum(tf.concat([tf.zeros_like(order[:1]), is_new], 0))
    values = tf.gather(slices.values, order)
    sums = tf.math.unsorted_segment_sum(values, places, tf.shape(order)[0])
    return rows, sums, places
