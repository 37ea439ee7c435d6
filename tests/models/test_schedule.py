import numpy as np
import pytest

from keras_influence.models.schedule import Schedule
from tests.cases.models import compiled, data, fit

every = pytest.mark.parametrize(
    ("inner_steps", "warmup_steps", "updates"),
    [
        (1, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (3, 0, [2, 5, 8]),
        (3, 4, [6]),
        (2, 8, []),
        (None, 0, []),
    ],
)


@every
def test_updates(inner_steps, warmup_steps, updates):
    schedule = Schedule(inner_steps, warmup_steps)
    assert [s for s in range(9) if schedule.updates(s)] == updates
    assert schedule.learns is (inner_steps is not None)


@every
@pytest.mark.parametrize(
    "steps_per_execution", [4, pytest.param(1, marks=pytest.mark.slow)]
)
def test_cadence(inner_steps, warmup_steps, updates, steps_per_execution):
    """Nine steps: the last execution of four ends early."""
    arguments = {"inner_steps": inner_steps, "warmup_steps": warmup_steps}
    model = compiled(**arguments, steps_per_execution=steps_per_execution)
    ours = [step for step in range(9) if model.schedule.updates(step)]
    assert ours == updates
    batches = list(data().take(9))
    moved = set()
    fit(model, 9, data().take(9))
    assert model.optimizer.iterations == 9
    assert model.weight_optimizer.iterations == len(updates)
    for step in updates:
        moved |= set(batches[step]["unlabeled"]["index"].numpy())
    changed = np.flatnonzero(model.example_weights != 1.0)
    assert set(changed) == moved


@pytest.mark.parametrize("arguments", [(0, 0), (1, -1), (1.5, 0), (1, None)])
def test_no_schedules(arguments):
    with pytest.raises(ValueError, match=r"inner_steps|warmup_steps"):
        Schedule(*arguments)
