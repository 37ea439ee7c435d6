"""What it costs that features of validation examples are used again.

    python -m benchmarks.validation_reuse --data-dir PATH [--json PATH]

`compile(validation_reuse=4)` passes a part of a draw through the network in
every update; the rest of it counts as it was up to 4 steps ago. While networks
train on wrong labels, the scores of a batch are made with features of several
ages and compared with those of features of this step, early and late; beside
them, what it does to scores to draw fewer examples, and what a draw is to all
examples there are.
"""

import argparse
import collections
import dataclasses

import keras
import numpy as np
import tensorflow as tf

import keras_influence as ki
from benchmarks import harness
from benchmarks.effect_methods import START, Trainings
from benchmarks.effect_tasks import SCENARIOS, make
from keras_influence.influence.last_layer import LastLayerObjective

REUSE = (4, 8, 16, 32)
INNER_STEPS = 2
DRAW = 256


class Probe(ki.Influence):
    """Compares scores while it serves as the influence of a training.

    Args:
        every: integer, updates from one comparison to the next.
    """

    def __init__(self, every: int, **arguments):
        super().__init__(**arguments)
        self.every = every
        self.updates = 0
        self.past = collections.deque(maxlen=max(REUSE) // INNER_STEPS)
        self.rows = []

    def step_scores(self, inner, outer):
        """As of `Influence`; `outer` is of all validation examples."""
        (features,) = outer.features
        self.past.appendleft(features)
        self.updates += 1
        if self.updates % self.every == 0:
            self.rows.append(self._compare(inner, outer))
        return super().step_scores(inner, outer)

    def _compare(self, inner, outer):
        def scores(features, rows):
            judged = of_rows(outer, features, rows)
            found, _ = ki.Influence.step_scores(self, inner, judged)
            return found[0][-1].numpy()

        features = self.past[0]
        anew = scores(features, DRAW)
        aged = {
            f"reuse {steps}": correlation(scores(self.aged(steps), DRAW), anew)
            for steps in REUSE
        }
        return {
            "update": self.updates,
            **aged,
            "64 examples": correlation(scores(features, 64), anew),
            "all examples": correlation(scores(features, len(features)), anew),
        }

    def aged(self, steps: int) -> tf.Tensor:
        """The features as `validation_reuse=steps` would have them now."""
        draws = steps // INNER_STEPS
        size = DRAW // draws
        places = [(self.updates - part) % draws for part in range(draws)]
        parts = [
            self.past[min(age, len(self.past) - 1)][part * size :][:size]
            for part, age in enumerate(places)
        ]
        return tf.concat([*parts, self.past[0][DRAW:]], 0)


def of_rows(outer, features, rows):
    """The mean over the first `rows` examples, with these features."""
    (term,) = outer.terms
    weights = (np.arange(len(features)) < rows) / rows
    mean = dataclasses.replace(term, weights=tf.constant(weights))
    # Without the ones, which are a feature of the bias.
    return LastLayerObjective(outer.parameters, [features[..., :-1]], [mean])


def correlation(ours, reference):
    """Of two arrays, as a float."""
    return float(np.corrcoef(ours, reference)[0, 1])


def probed(scenario, data_dir, seed: int, comparisons: int = 50) -> list:
    """Trains once and returns the comparisons.

    Args:
        scenario: the `Scenario`.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
        seed: integer.
        comparisons: integer. Defaults to `50`.
    """
    task = make(scenario, seed, data_dir)
    learning = ki.preset("recommended", inner_steps=INNER_STEPS)
    every = max(1, scenario.steps // INNER_STEPS // comparisons)
    learning["influence"] = probe = Probe(
        every, solver=learning["influence"].solver
    )
    Trainings(scenario, task, seed).fit(
        START[scenario.unlabeled_loss],
        share=True,
        weight_network=ki.WeightNetwork,
        **learning,
        validation_draw=sum(scenario.sizes),
        validation_reuse=1,
        run_eagerly=True,
    )
    return probe.rows


def table(name: str, rows: list, updates: int) -> list:
    """Median correlations, one row for the first tenth and one for the rest.

    Args:
        name: string, of the scenario.
        rows: list of comparisons.
        updates: integer, of a whole training.
    """
    found = []
    for part, early in (("first tenth", True), ("rest", False)):
        chosen = [r for r in rows if (r["update"] <= updates // 10) == early]
        found.append(
            {
                "scenario": name,
                "updates": part,
                **{
                    key: float(np.median([r[key] for r in chosen]))
                    for key in chosen[0]
                    if key != "update"
                },
            }
        )
    return found


def main():
    """Trains, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=None)
    parser.add_argument("--only", nargs="*", default=["40%"])
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    rows = []
    for scenario in SCENARIOS:
        if not any(text in scenario.name for text in arguments.only):
            continue
        if arguments.steps:
            scenario = dataclasses.replace(scenario, steps=arguments.steps)
        found = []
        for seed in range(arguments.seeds):
            keras.utils.set_random_seed(seed)
            found += probed(scenario, arguments.data_dir, seed)
        rows += table(scenario.name, found, scenario.steps // INNER_STEPS)
    harness.report("Correlation with scores of now", rows, arguments.json)


if __name__ == "__main__":
    main()
