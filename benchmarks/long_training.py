"""Learned weights where training runs to its end.

    python -m benchmarks.long_training --data-dir PATH [--rows FILE]
        [--only TEXT ...] [--methods TEXT ...] [--short] [--seeds 5]
        [--json PATH] [--picture PATH]

The tasks of `benchmarks.effect` with given labels, trained on until a constant
weight has learned the wrong ones by heart; every method trains on all trusted
labels. Rows are written as soon as they are done, and what is in the file is
not run again. With `--short` the trainings are as long as there. cleanlab comes
with `pip install .[benchmarks]`.
"""

import argparse
import dataclasses
import json
import time
from unittest import mock

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

import keras_influence as ki
from benchmarks import harness
from benchmarks.effect import load
from benchmarks.effect_methods import (
    GRID,
    START,
    Trainings,
    auroc,
    by_small_loss,
)
from benchmarks.effect_tasks import SCENARIOS, make
from keras_influence.weighting import predicted_weights

# Long enough for a constant weight of 1 to fall 3 points below its own peak.
STEPS = {"fashion_mnist": 8000, "cifar10": 6000, "imdb_reviews": 4000}


def scenarios(short: bool = False) -> list:
    """The scenarios with given labels, with more steps.

    Args:
        short: boolean, whether they keep the steps of `benchmarks.effect`.
            Defaults to `False`.
    """
    found = [s for s in SCENARIOS if s.has_given_labels]
    if short:
        return found
    return [dataclasses.replace(s, steps=STEPS[s.data]) for s in found]


def small_weight_network():
    """That of Meta-Weight-Net: one hidden layer of 100, from the loss."""
    layers = [keras.layers.Dense(100, "relu"), keras.layers.Dense(1)]
    return ki.WeightNetwork("loss", keras.Sequential(layers))


def with_cleanlab(trainings: Trainings) -> dict:
    """Drops what cleanlab flags by 5-fold probabilities, and trains again.

    Args:
        trainings: the `Trainings` of a task.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    task = trainings.task
    given = task.given
    folds = StratifiedKFold(5, shuffle=True, random_state=trainings.seed)
    parts, held_out = [], []
    for kept, rest in folds.split(given, given):
        model, _ = trainings.fit(share=True, kept=kept)
        x = task.unlabeled[rest]
        parts.append(model.network.predict(x, batch_size=1000, verbose=0))
        held_out.append(rest)
    order = np.argsort(np.concatenate(held_out))
    probabilities = softmax(np.concatenate(parts)[order].astype(float), -1)
    flagged = find_label_issues(given, probabilities)
    quality = get_label_quality_scores(given, probabilities)
    right = given == task.truth
    return {
        **trainings.train(share=True, kept=np.flatnonzero(~flagged)),
        "AUROC of label quality": auroc(right, quality),
        "doubted": int(flagged.sum()),
        "harmful": int((~right).sum()),
    }


def methods(trainings: Trainings) -> dict:
    """Functions without arguments that train, by name.

    Args:
        trainings: the `Trainings` of a task.
    """
    train = trainings.train
    kept = 1 - trainings.harmful_share

    def recommended(**arguments):
        return train(
            START["GivenLabels"],
            share=True,
            weight_network=ki.WeightNetwork,
            **ki.preset("recommended"),
            **arguments,
        )

    def limited(clearly_lower):
        with mock.patch.object(
            predicted_weights, "CLEARLY_LOWER", clearly_lower
        ):
            return recommended()

    return {
        "trusted labels only": lambda: train(0.0, share=True),
        **{
            f"constant weight {w}": lambda w=w: train(w, share=True)
            for w in GRID
        },
        "small loss, told the share": lambda: train(
            share=True, rule=by_small_loss(kept)
        ),
        "meta-weight-net": lambda: train(
            0.5,
            share=True,
            weight_network=small_weight_network,
            max_weight=1.0,
            influence=ki.Influence.preset("luketina", parameters="all"),
            weight_optimizer=ki.optimizers.MAdam(1e-3),
            inner_steps=1,
        ),
        "recommended": recommended,
        "64 labels judge": lambda: recommended(validation_draw=64),
        "features made anew": lambda: recommended(validation_reuse=1),
        "features for 8 steps": lambda: recommended(validation_reuse=8),
        "no limit by mean loss": lambda: limited(0.0),
        "limit by any lower mean loss": lambda: limited(1.0),
        "limit by a factor of e": lambda: limited(1 / np.e),
        "cleanlab": lambda: with_cleanlab(trainings),
    }


def measure(scenarios, chosen, seeds, data_dir, path) -> None:
    """Trains what is not yet in the file, and adds it.

    Args:
        scenarios: list of `Scenario`s.
        chosen: list of strings, parts of the names of methods.
        seeds: iterable of integers.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
        path: path of the file.
    """
    for seed in seeds:
        for scenario in scenarios:
            key = {"scenario": scenario.name, "seed": seed}
            key["steps"] = scenario.steps
            task = make(scenario, seed, data_dir)
            trainings = Trainings(scenario, task, seed)
            for method, train in methods(trainings).items():
                own = {**key, "method": method}
                done = any(own.items() <= row.items() for row in _plain(path))
                if done or not any(part in method for part in chosen):
                    continue
                start = time.process_time()
                row = {**own, **train()}
                row["seconds"] = time.process_time() - start
                with open(path, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(scenario.name, seed, method, row["test"], flush=True)


def _plain(path):
    """Rows without what cannot be compared as part of a set."""
    return [
        {k: v for k, v in row.items() if k != "curve"} for row in load(path)
    ]


def table(rows: list) -> list:
    """Means and spreads over the seeds of one scenario, one row a method.

    Args:
        rows: list of dictionaries, of one scenario.
    """
    by_method = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    results = []
    for method, runs in by_method.items():
        test = [100 * run["test"] for run in runs]
        peak = np.mean([100 * max(run["curve"]) for run in runs])
        results.append(
            {
                "method": method,
                "seeds": len(test),
                "test, %": harness.spread(test, 1),
                "peak, %": float(peak),
                "AUROC of small loss": _mean(runs, "AUROC of small loss"),
                "AUROC of weight": _mean(runs, "AUROC of weight"),
                "AUROC of label quality": _mean(runs, "AUROC of label quality"),
                "doubted / wrong": _ratio(runs),
                "CPU seconds": _mean(runs, "seconds"),
            }
        )
    return results


def _mean(runs, key):
    values = [run[key] for run in runs if run.get(key) is not None]
    return float(np.mean(values)) if values else None


def _ratio(runs):
    pairs = [
        (run["doubted"], run["harmful"]) for run in runs if "doubted" in run
    ]
    return " / ".join(f"{n:.0f}" for n in np.mean(pairs, 0)) if pairs else None


def plot(rows: list, path) -> None:
    """Test accuracy over time, a panel for each scenario, a line a method.

    Args:
        rows: list of dictionaries, of all scenarios.
        path: where to save the PNG.
    """
    names = list(dict.fromkeys(row["scenario"] for row in rows))
    every = list(dict.fromkeys(row["method"] for row in rows))
    across = min(len(names), 3)
    down = -(-len(names) // across)
    figure = Figure((5 * across + 2, 4 * down), layout="constrained")
    FigureCanvasAgg(figure)
    lines = {}
    for k, name in enumerate(names, start=1):
        axes = figure.add_subplot(down, across, k)
        own = [row for row in rows if row["scenario"] == name]
        steps = own[0]["steps"] / 10 * np.arange(1, 11)
        for method in dict.fromkeys(row["method"] for row in own):
            curves = [r["curve"] for r in own if r["method"] == method]
            bold = method == "recommended"
            [lines[method]] = axes.plot(
                steps,
                100 * np.mean(curves, 0),
                color="black" if bold else f"C{every.index(method)}",
                linewidth=3 if bold else 1.5,
                linestyle="-" if bold else "--",
            )
        axes.set_title(name)
        axes.set_xlabel("steps")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("test accuracy, %")
    figure.legend(lines.values(), lines, loc="outside right center")
    figure.savefig(path, dpi=80)


def main():
    """Measures what is missing, prints the tables, writes JSON and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--rows", default="long_training.jsonl")
    parser.add_argument(
        "--only", nargs="*", default=[""], help="parts of names"
    )
    parser.add_argument(
        "--methods", nargs="*", default=[""], help="parts of names"
    )
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--picture", help="where to save the PNG")
    arguments = parser.parse_args()
    every = scenarios(arguments.short)
    wanted = [
        s for s in every if any(part in s.name for part in arguments.only)
    ]
    if not wanted:
        names = "\n".join(s.name for s in every)
        parser.error(f"--only fits none of\n{names}")
    seeds = range(arguments.seeds)
    if not arguments.summary:
        measure(
            wanted,
            arguments.methods,
            seeds,
            arguments.data_dir,
            arguments.rows,
        )
    found, tables = [], {}
    for scenario in wanted:
        own = [
            row
            for row in load(arguments.rows)
            if (row["scenario"], row["steps"])
            == (scenario.name, scenario.steps)
        ]
        if own:
            found += own
            tables[scenario.name] = table(own)
            harness.print_table(scenario.name, tables[scenario.name])
    harness.write_json(arguments.json, tables, seeds=arguments.seeds)
    if arguments.picture and found:
        plot(found, arguments.picture)


if __name__ == "__main__":
    main()
