from keras_influence.data.checks import check_integer


class Schedule:
    """In which steps of the network the weights move.

    Args:
        inner_steps: integer, network steps for every step of the weights, or
            `None` for constant weights.
        warmup_steps: integer, network steps before the weights move.

    Raises:
        ValueError: if an argument is outside its range.

    Example:
    >>> schedule = Schedule(inner_steps=2, warmup_steps=1)
    >>> [step for step in range(7) if schedule.updates(step)]
    [2, 4, 6]
    """

    def __init__(self, inner_steps: int | None, warmup_steps: int):
        if inner_steps is not None:
            check_integer("inner_steps", inner_steps, 1)
        check_integer("warmup_steps", warmup_steps, 0)
        self.inner_steps = inner_steps
        self.warmup_steps = warmup_steps

    @property
    def learns(self) -> bool:
        """Whether the weights ever move."""
        return self.inner_steps is not None

    def updates(self, step: int) -> bool:
        """Whether the weights move in step number `step` of the network."""
        if self.inner_steps is None or step < self.warmup_steps:
            return False
        return (step - self.warmup_steps + 1) % self.inner_steps == 0

    def updates_within(self, steps: int) -> int:
        """How many updates fall into so many steps of the network, 1 at least.

        Args:
            steps: integer of at least 1.
        """
        return max(1, steps // (self.inner_steps or steps))
