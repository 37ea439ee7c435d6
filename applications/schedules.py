"""Learning rates of UDA, of FixMatch and of BERT."""

import math

import keras
from keras import ops

__all__ = ["SevenSixteenthsCosine", "WarmupLinear", "warmup_cosine"]


def warmup_cosine(
    learning_rate: float,
    steps: int,
    warmup_steps: int = 20_000,
    alpha: float = 0.004,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Rises in a line from 0, then falls as half a cosine: UDA's schedule.

    Args:
        learning_rate: float, the highest value.
        steps: int, where the schedule ends.
        warmup_steps: int, steps of the rise. Defaults to `20_000`.
        alpha: float, the last value as a share of the highest. Defaults to
            `0.004`.

    Raises:
        ValueError: if the rise takes all steps.

    Example:
    >>> schedule = warmup_cosine(0.03, steps=400_000)
    >>> [round(float(schedule(step)), 6) for step in (0, 20_000, 400_000)]
    [0.0, 0.03, 0.00012]
    """
    _check_warmup(warmup_steps, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup_steps else learning_rate,
        decay_steps=steps - warmup_steps,
        alpha=alpha,
        warmup_target=learning_rate if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


@keras.saving.register_keras_serializable(package="keras_influence")
class SevenSixteenthsCosine(
    keras.optimizers.schedules.LearningRateSchedule,
):
    """`learning_rate · cos(7π/16 · step/steps)`: FixMatch's schedule.

    Args:
        learning_rate: float, the first value; the last is 0.195 of it.
        steps: int, where the schedule ends; the value stays from there.

    Example:
    >>> schedule = SevenSixteenthsCosine(0.03, steps=2**20)
    >>> [round(float(schedule(step)), 6) for step in (0, 2**20)]
    [0.03, 0.005853]

    Reference: section 2.4 of [FixMatch](https://arxiv.org/abs/2001.07685).
    """

    def __init__(self, learning_rate: float, steps: int):
        super().__init__()
        self.learning_rate = learning_rate
        self.steps = steps

    def __call__(self, step):
        """The learning rate of a step."""
        progress = ops.minimum(ops.cast(step, "float32") / self.steps, 1.0)
        return self.learning_rate * ops.cos(7 / 16 * math.pi * progress)

    def get_config(self):
        """The arguments of the constructor."""
        return {"learning_rate": self.learning_rate, "steps": self.steps}


@keras.saving.register_keras_serializable(package="keras_influence")
class WarmupLinear(keras.optimizers.schedules.LearningRateSchedule):
    """Rises in a line from 0, then falls in a line to 0: BERT's schedule.

    The fall is that of a line from the first step on, of which the rise takes
    the place: the rate jumps down to it where the rise ends.

    Args:
        learning_rate: float, where both lines would meet.
        steps: int, where the schedule ends.
        warmup_steps: int, steps of the rise. Defaults to `1_000`.

    Raises:
        ValueError: if the rise takes all steps.

    Example:
    >>> schedule = WarmupLinear(2e-5, steps=10_000)
    >>> [round(float(schedule(step)), 7) for step in (0, 500, 1000, 10_000)]
    [0.0, 1e-05, 1.8e-05, 0.0]

    Reference: `create_optimizer` of the code of UDA for texts.
    """

    def __init__(
        self, learning_rate: float, steps: int, warmup_steps: int = 1_000
    ):
        super().__init__()
        _check_warmup(warmup_steps, steps)
        self.learning_rate = learning_rate
        self.steps = steps
        self.warmup_steps = warmup_steps

    def __call__(self, step):
        """The learning rate of a step."""
        step = ops.cast(step, "float32")
        share = ops.clip(1 - step / self.steps, 0.0, 1.0)
        if self.warmup_steps:
            rise = step / self.warmup_steps
            share = ops.where(step < self.warmup_steps, rise, share)
        return self.learning_rate * share

    def get_config(self):
        """The arguments of the constructor."""
        return {
            "learning_rate": self.learning_rate,
            "steps": self.steps,
            "warmup_steps": self.warmup_steps,
        }


def _check_warmup(warmup_steps, steps):
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            f"`schedule.warmup_steps` must be less than all {steps} steps. "
            f"Received: {warmup_steps}."
        )
