import pytest

from keras_influence.models.schedule import Schedule


@pytest.mark.parametrize(
    ("inner_steps", "warmup_steps", "updates"),
    [
        (1, 0, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (3, 0, [2, 5, 8]),
        (3, 4, [6]),
        (2, 8, []),
        (None, 0, []),
    ],
)
def test_updates(inner_steps, warmup_steps, updates):
    schedule = Schedule(inner_steps, warmup_steps)
    assert [s for s in range(9) if schedule.updates(s)] == updates
    assert schedule.learns is (inner_steps is not None)


@pytest.mark.parametrize("arguments", [(0, 0), (1, -1), (1.5, 0), (1, None)])
def test_no_schedules(arguments):
    with pytest.raises(ValueError, match=r"inner_steps|warmup_steps"):
        Schedule(*arguments)
