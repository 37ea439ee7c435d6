import keras
import numpy as np
from keras import ops

from keras_influence.optimizers.row_optimizer import RowOptimizer
from keras_influence.optimizers.t_statistic import (
    hypotenuse,
    t_statistic,
)


@keras.saving.register_keras_serializable(package="keras_influence")
class Evidence(RowOptimizer):
    """Weights by how sure it is that an example helps.

    An element's gradients `g_1 .. g_k` make the statistic `t = Σ g / √Σ g²`.
    Without an effect it is about standard normal, whatever the scale of the
    gradients. The weight is the part of its range that the normal distribution
    function gives:

        λ = lower + (upper - lower) · Φ(Φ⁻¹(start) - learning_rate · t)

    where `start` is where in the range the element was at first. Nothing is
    forgotten: where `MAdam` follows the last gradients, this one weighs all of
    them, so it tells harmful from useful examples in few visits. For examples
    whose influence changes its sign in training, take `MAdam`. A weight is what
    its gradients say: one that is set by hand, or restored without this
    optimizer, as by `keras.callbacks.EarlyStopping`, lasts until the next.

    Args:
        learning_rate: positive float, `LearningRateSchedule` or a callable
            without arguments: how much a unit of `t` counts. Defaults to
            `1.0`.
        bounds: pair of finite floats `(lower, upper)`, the range of the
            elements; may be set later. Defaults to `None`.
        name: string, the optimizer's name. Defaults to `None`.

    Raises:
        ValueError: if `bounds` are not finite when the optimizer is built.

    Example:

    >>> weights = keras.Variable([1.0, 1.0, 1.0])
    >>> optimizer = Evidence(bounds=(0.0, 2.0))
    >>> for _ in range(4):
    ...     optimizer.apply([keras.ops.array([0.5, 0.0, -0.1])], [weights])
    >>> np.round(keras.ops.convert_to_numpy(weights), 2)
    array([0.05, 1.  , 1.95], dtype=float32)

    Reference: the sparse updates are those of appendix C of "Not All
    Unlabeled Data are Equal"; the statistic is Student's, about 0.
    """

    slot_names = ("total", "norm", "start")

    def __init__(self, learning_rate=1.0, bounds=None, name=None):
        super().__init__(learning_rate, bounds=bounds, name=name)

    def build(self, variables):
        """Creates the slots; the bounds must be known by now."""
        self._finite_bounds()
        super().build(variables)

    def update_rows(self, values, gradients, learning_rate, total, norm, start):
        """One more gradient of every row."""
        lower, upper = self._finite_bounds()
        share = (values - lower) / (upper - lower)
        start = ops.where(norm > 0, start, _quantile(share))
        total, norm = total + gradients, hypotenuse(norm, gradients)
        t = t_statistic(total, norm)
        share = _normal(start - learning_rate * t)
        return lower + (upper - lower) * share, total, norm, start

    def _finite_bounds(self) -> tuple[float, float]:
        if self.bounds is None or not np.all(np.isfinite(self.bounds)):
            raise ValueError(
                "`Evidence` needs weights with two bounds, such as those of "
                "`InfluenceModel` with a `max_weight` and without a "
                f"`weight_network`. Received: bounds={self.bounds}"
            )
        return self.bounds


def _normal(x):
    return (1 + ops.erf(x / np.sqrt(2))) / 2


def _quantile(share):
    # A bound itself would be infinitely far.
    share = ops.clip(share, 1e-4, 1 - 1e-4)
    return np.sqrt(2) * ops.erfinv(2 * share - 1)
