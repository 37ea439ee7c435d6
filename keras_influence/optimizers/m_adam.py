import math
import numbers

import keras
from keras import ops

from keras_influence.optimizers.row_optimizer import RowOptimizer


@keras.saving.register_keras_serializable(package="keras_influence")
class MAdam(RowOptimizer):
    """M(asked)-Adam: Adam in which only elements with a gradient move.

    An example that is not in the batch keeps its weight and both running
    averages bit for bit, where Adam would go on moving it. A sparse gradient
    costs time in proportion to its rows; see `RowOptimizer`.

    Args:
        learning_rate: float, `keras.optimizers.schedules.LearningRateSchedule`
            or a callable without arguments: the step size.
            Defaults to `0.01`.
        beta_1: float in [0, 1), decay rate of the average gradient. Defaults
            to `0.9`.
        beta_2: float in [0, 1), decay rate of the average squared gradient.
            Defaults to `0.999`.
        epsilon: positive float, added to √v̂ as in algorithm 2 (Keras' Adam
            adds its own to √v). Defaults to `1e-8`.
        bias_correction: string, which t corrects the averages. `"global"`
            counts the optimizer's steps, as in algorithm 2: an example that
            is first seen late moves by up to √10 learning rates, with the
            default betas. `"per_example"` counts each element's own steps in a
            further slot: any first move is one learning rate. Defaults to
            `"global"`.
        bounds: `None` or a pair of floats `(lower, upper)`, the range of the
            elements that move; may be set later. Defaults to `None`.
        name: string, the optimizer's name. Defaults to `None`.

    Raises:
        ValueError: if an argument is outside its range.

    Example:

    >>> weights = keras.Variable([1.0, 1.0, 1.0])
    >>> optimizer = MAdam(0.25)
    >>> optimizer.apply([keras.ops.array([0.5, 0.0, -2.0])], [weights])
    >>> keras.ops.convert_to_numpy(weights)
    array([0.75, 1.  , 1.25], dtype=float32)

    Reference: appendix C, algorithm 2, of "Not All Unlabeled Data are Equal".
    """

    def __init__(
        self,
        learning_rate=0.01,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        bias_correction="global",
        bounds=None,
        name=None,
    ):
        super().__init__(learning_rate, bounds=bounds, name=name)
        for argument, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not (isinstance(beta, numbers.Real) and 0 <= beta < 1):
                raise ValueError(
                    f"`{argument}` must be in the range [0, 1). "
                    f"Received: {argument}={beta}"
                )
        real = isinstance(epsilon, numbers.Real)
        if not (real and 0 < epsilon < math.inf):
            raise ValueError(
                "`epsilon` must be positive and finite. "
                f"Received: epsilon={epsilon}"
            )
        if bias_correction not in ("global", "per_example"):
            raise ValueError(
                '`bias_correction` must be "global" or "per_example". '
                f"Received: bias_correction={bias_correction!r}"
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.bias_correction = bias_correction

    @property
    def slot_names(self) -> tuple:
        """Running averages m and v, and each element's t if it has its own."""
        counts = ("t",) if self.bias_correction == "per_example" else ()
        return ("m", "v", *counts)

    def update_rows(self, values, gradients, learning_rate, m, v, *counts):
        """Lines 6 to 10 of algorithm 2; the mask of line 5 is the base's."""
        counts = tuple(t + 1 for t in counts)
        t = counts[0] if counts else ops.add(self.iterations, 1)
        t = ops.cast(t, values.dtype)
        m = m + (1 - self.beta_1) * (gradients - m)
        v = v + (1 - self.beta_2) * (ops.square(gradients) - v)
        m_hat = m / _one_minus_power(self.beta_1, t)
        v_hat = v / _one_minus_power(self.beta_2, t)
        step = learning_rate * m_hat / (ops.sqrt(v_hat) + self.epsilon)
        return (values - step, m, v, *counts)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "bias_correction": self.bias_correction,
        }


def _one_minus_power(beta, t):
    # As written, float32 would lose three of seven digits of `1 - 0.999`.
    return -ops.expm1(t * (math.log(beta) if beta else -math.inf))
