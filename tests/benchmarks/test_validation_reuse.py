import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import validation_reuse
from benchmarks.effect_tasks import SCENARIOS


@pytest.mark.parametrize("updates", [16, 17, 19])
@pytest.mark.parametrize("steps", validation_reuse.REUSE)
def test_every_part_of_a_draw_has_an_age_of_its_own(steps, updates):
    probe = validation_reuse.Probe(every=1)
    rows = validation_reuse.DRAW + 10
    for number in range(1, updates + 1):
        probe.past.appendleft(tf.fill((rows, 1, 3), float(number)))
    probe.updates = updates
    aged = probe.aged(steps).numpy()
    assert aged.shape == (rows, 1, 3)
    made_in, counts = np.unique(aged[:-10], return_counts=True)
    draws = steps // validation_reuse.INNER_STEPS
    expected = np.arange(updates - draws, updates) + 1
    np.testing.assert_array_equal(made_in, expected)
    assert set(counts) == {aged[:-10].size // draws}
    assert (aged[-10:] == updates).all()
    assert (aged[updates % draws * 256 // draws] == updates).all()


@pytest.mark.slow
def test_features_of_now_are_compared_with_older_ones(tfds_dir):
    [scenario] = [
        dataclasses.replace(s, steps=80)
        for s in SCENARIOS
        if s.name == "fashion_mnist, 40% of labels wrong at random"
    ]
    rows = validation_reuse.probed(scenario, tfds_dir, 0, comparisons=10)
    assert [row["update"] for row in rows] == list(range(4, 41, 4))
    table = validation_reuse.table("a", rows, 40)
    assert [row["updates"] for row in table] == ["first tenth", "rest"]
    # The older, the less like it, which the first steps show most.
    assert table[0]["reuse 32"] < table[0]["reuse 4"] < 1
    assert table[1]["reuse 4"] > 0.9
