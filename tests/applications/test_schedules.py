import keras
import numpy as np
import pytest

from applications.recipe import build, resolve
from applications.schedules import (
    SevenSixteenthsCosine,
    WarmupLinear,
    warmup_cosine,
)


def schedule_of(name, **options):
    recipe = resolve(name, **options)
    steps = recipe["epochs"] * recipe["steps_per_epoch"]
    rate = recipe["optimizer"]["learning_rate"]
    return build(
        "schedule", recipe["schedule"], learning_rate=rate, steps=steps
    )


@pytest.mark.parametrize("name", ["uda_cifar10_250", "uda_svhn_1000"])
def test_uda_is_the_schedule_of_november_2019(name):
    schedule = schedule_of(name)
    half = 0.03 * (0.996 * 0.5 + 0.004)
    expected = {
        **{0: 0.0, 10_000: 0.015, 20_000: 0.03},
        **{210_000: half, 400_000: 0.03 * 0.004, 500_000: 0.03 * 0.004},
    }
    for step, rate in expected.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("name", ["fixmatch_cifar10_40", "cifar10_mismatch"])
def test_fixmatch_ends_before_a_quarter_of_the_period(name):
    schedule = schedule_of(name)
    for step in (0, 20_000, 2**19, 2**20):
        expected = 0.03 * np.cos(7 * np.pi * step / 2**20 / 16)
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)
    assert float(schedule(2**21)) == float(schedule(2**20))


def test_the_small_scale_keeps_the_shape():
    schedule = schedule_of("uda_cifar10_250", scale="small")
    assert float(schedule(0)) == 0
    assert float(schedule(25)) == pytest.approx(0.03)
    assert float(schedule(800)) == pytest.approx(0.03 * 0.004)


def test_without_warmup_the_cosine_starts_at_the_top():
    schedule = warmup_cosine(0.1, steps=100, warmup_steps=0)
    assert float(schedule(0)) == pytest.approx(0.1)


def test_a_warmup_as_long_as_the_training():
    with pytest.raises(ValueError, match=r"less than all 50 steps.*50"):
        warmup_cosine(0.1, steps=50, warmup_steps=50)


def test_an_optimizer_with_the_schedule_is_restored():
    optimizer = keras.optimizers.SGD(SevenSixteenthsCosine(0.03, 1000))
    config = keras.optimizers.serialize(optimizer)
    restored = keras.optimizers.deserialize(config)
    restored.iterations.assign(1000)
    assert float(restored.learning_rate) == pytest.approx(0.0058527, rel=1e-4)


def test_bert_rises_and_falls_in_a_line():
    schedule = schedule_of("uda_imdb_20")
    # The fall has the slope of a line from the first step on.
    expected = {0: 0.0, 250: 5e-6, 1000: 1.8e-5, 5500: 9e-6, 10_000: 0.0}
    for step, rate in {**expected, 20_000: 0.0}.items():
        assert float(schedule(step)) == pytest.approx(rate, 1e-5, 1e-12)
    assert float(WarmupLinear(1.0, 10, warmup_steps=0)(0)) == 1.0
    # A long rise is not cut short by the fall.
    assert float(WarmupLinear(1.0, 10, warmup_steps=8)(7)) == 7 / 8
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(schedule)
    )
    assert float(again(500)) == float(schedule(500))


def test_bert_without_steps_to_fall():
    with pytest.raises(ValueError, match="less than all 10 steps"):
        WarmupLinear(1.0, 10, warmup_steps=10)
