import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.losses.checks import (
    check_not_negative,
    check_positive,
    check_steps,
)
from keras_influence.losses.uda import divergence, entropy
from keras_influence.losses.unlabeled_loss import UnlabeledLoss
from keras_influence.stateless import stateless_call

# The name of the view that it makes.
ADVERSARIAL = "adversarial"


@keras.saving.register_keras_serializable(package="keras_influence")
class VAT(UnlabeledLoss):
    """Divergence where a small change of the inputs changes most.

    Virtual adversarial training. The direction comes from power iteration on
    the Hessian of the divergence, by finite differences, and is a constant:

        d   ← random direction of norm 1
        d   ← ∇_r KL(p(y | x) ‖ p(y | x + r)) at r = ξ d, scaled to norm 1
        l_u = KL(p(y | x) ‖ p(y | x + ε d))

    No gradient flows through `p(y | x)`. With an `entropy_weight` the entropy
    of `p(y | x)` is added (VAT + EntMin). The inputs must be floats. A step
    takes `iterations` more passes through the network, there and back.

    Args:
        epsilon: positive float, `ε`, the norm of the change, in the units of
            the inputs.
        xi: positive float, `ξ` as a share of `epsilon`. The published 1e-6, of
            1, is lost in the rounding of float32. Defaults to `0.1`.
        iterations: positive integer, of power iteration. Defaults to `1`.
        entropy_weight: float, at least 0. Defaults to `0.0`.
        view: string, name of the view. Defaults to `None`: the only one that
            there is.
        seed: integer, of the random directions. Defaults to `0`.

    Raises:
        ValueError: if an argument is outside its range, or, in training, if
            `view` is `None` and there are several, or inputs are no floats.

    Example:

    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> loss = VAT(epsilon=0.5)
    >>> x = np.ones((3, 4), "float32")
    >>> views, _ = loss.prepare(network, {"original": x}, None, step=0)
    >>> change = views["adversarial"] - x
    >>> np.round(keras.ops.norm(change, axis=-1), 3)
    array([0.5, 0.5, 0.5], dtype=float32)

    Reference: Miyato et al. (2018), "Virtual Adversarial Training: A
    Regularization Method for Supervised and Semi-Supervised Learning",
    equations 5 to 13.
    """

    def __init__(
        self,
        epsilon,
        xi=0.1,
        iterations=1,
        entropy_weight=0.0,
        view=None,
        seed=0,
    ):
        check_positive(epsilon=epsilon, xi=xi)
        check_steps("iterations", iterations)
        check_not_negative(entropy_weight=entropy_weight)
        self.epsilon = epsilon
        self.xi = xi
        self.iterations = iterations
        self.entropy_weight = entropy_weight
        self.view = view
        self.seed = seed

    @property
    def views(self) -> tuple | None:
        """The view, or `None` for the only one."""
        return None if self.view is None else (self.view,)

    def prepare(self, network, views, labels, step):
        """Adds the adversarial view."""
        x = self._inputs(views)

        def logits(x):
            # The same dropout every time, and no statistics are moved.
            outputs = stateless_call(
                network,
                network.trainable_variables,
                network.non_trainable_variables,
                x,
                training=True,
            )
            return ops.cast(outputs, "float32")

        seed = ops.stack([self.seed, ops.cast(step, "int32")])
        direction = _unit(tf.random.stateless_normal(tf.shape(x), seed))
        clean = logits(x)
        for _ in range(self.iterations):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                change = self.xi * self.epsilon * direction
                change = ops.cast(change, x.dtype)
                tape.watch(change)
                total = ops.sum(divergence(clean, logits(x + change)))
                # Half precision would round it to 0.
                total *= 2.0**10
            direction = _unit(tape.gradient(total, change))
        change = ops.cast(self.epsilon * direction, x.dtype)
        return {**views, ADVERSARIAL: x + change}, labels

    def _inputs(self, views):
        if ADVERSARIAL in views or (self.view is None and len(views) != 1):
            raise ValueError(
                "`VAT` makes the view 'adversarial' of a single one: choose "
                "it with the argument `view`. Received: views "
                f"{sorted(views)}"
            )
        if self.view is not None and self.view not in views:
            raise ValueError(
                f"`VAT` needs the view {self.view!r}. Received: views "
                f"{sorted(views)}"
            )
        x = views[self.view or next(iter(views))]
        if not keras.tree.is_nested(x):
            x = ops.convert_to_tensor(x)
            if x.dtype.is_floating:
                return x
        raise ValueError(
            "`VAT` changes inputs a little, which must be one tensor of "
            "floats: cast images with a view. Received: inputs of types "
            f"{[x.dtype for x in keras.tree.flatten(x)]}"
        )

    def call(self, logits, labels=None, step=None):
        """Divergence of the adversarial view, plus the view's entropy."""
        if ADVERSARIAL not in logits:
            raise ValueError(
                "`VAT` needs the view 'adversarial', which `prepare` makes. "
                f"Received: views {sorted(logits)}"
            )
        original = logits[self.view or next(iter(logits))]
        target = ops.stop_gradient(original)
        losses = divergence(target, logits[ADVERSARIAL])
        if self.entropy_weight:
            losses += self.entropy_weight * entropy(original)
        return losses, ops.ones_like(losses)

    def softmax_shares(self, views):
        """All of it from the adversarial view, if there is no entropy."""
        if self.entropy_weight:
            return None
        return tuple(float(view == ADVERSARIAL) for view in views)

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "epsilon": self.epsilon,
            "xi": self.xi,
            "iterations": self.iterations,
            "entropy_weight": self.entropy_weight,
            "view": self.view,
            "seed": self.seed,
        }


def _unit(direction):
    """Every example's tensor, scaled to norm 1; zeros stay zeros."""
    direction = ops.cast(direction, "float32")
    axes = tuple(range(1, len(direction.shape)))
    highest = ops.max(ops.abs(direction), axes, keepdims=True)
    direction = direction / ops.maximum(highest, np.finfo("float32").tiny)
    squares = ops.sum(direction**2, axes, keepdims=True)
    return direction / ops.sqrt(ops.maximum(squares, 1.0))
