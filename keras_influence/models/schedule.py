from collections.abc import Callable


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
        if (inner_steps is not None and inner_steps < 1) or warmup_steps < 0:
            raise ValueError(
                "Argument `inner_steps` must be an integer >= 1 or None, and "
                "`warmup_steps` an integer >= 0. Received: "
                f"inner_steps={inner_steps}, warmup_steps={warmup_steps}"
            )
        self.inner_steps = inner_steps
        self.warmup_steps = warmup_steps

    @property
    def learns(self) -> bool:
        """Whether the weights ever move."""
        return self.inner_steps is not None

    def updates(self, step: int) -> bool:
        """Whether the weights move in step number `step` of the network."""
        if not self.learns or step < self.warmup_steps:
            return False
        return (step - self.warmup_steps + 1) % self.inner_steps == 0


class TwoSteps:
    """Two compiled steps, with and without an update of the weights.

    Which one runs is chosen here, in Python, so that plain steps carry no
    trace of the update.

    Args:
        model: the `InfluenceModel`.
        make: Keras' own `make_train_function` of the model.
    """

    def __init__(self, model, make: Callable):
        self.model = model
        self.steps = model.steps_per_execution
        self.plain = self._compiled(make, updates=False, steps=self.steps)
        self.single = {
            updates: self._compiled(make, updates, steps=1)
            for updates in (False, True)
        }

    def __call__(self, iterator):
        """Runs the next `steps_per_execution` steps."""
        first = int(self.model.optimizer.iterations.numpy())
        steps = range(first, first + self.steps)
        updates = [self.model.schedule.updates(step) for step in steps]
        if not any(updates):
            return self.plain(iterator)
        if len(updates) == 1:
            return self.single[True](iterator)
        # Taken here: a graph that finds no data may have counted a step.
        logs = None
        for flag, data in zip(updates, iterator, strict=False):
            logs = self.single[flag](iter([data]))
        if logs is None:
            raise StopIteration
        return logs

    def _compiled(self, make, updates, steps):
        model = self.model
        jit_compile = model.jit_compile
        # XLA's second derivatives of max-pooling are wrong.
        model.jit_compile = jit_compile and not (updates and model.is_deep)
        with model.tracing(updates, steps):
            make(force=True)
        model.jit_compile = jit_compile
        function = model.train_function

        def run(iterator):
            # Keras traces the step when it first runs, and may do so again.
            with model.tracing(updates, steps):
                return function(iterator)

        return run
