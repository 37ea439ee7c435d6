"""Do learned weights pay? Accuracy on real data, beside what costs nothing.

    python -m benchmarks.effect --data-dir PATH [--rows effect.jsonl]
        [--only TEXT ...] [--seeds 5] [--json PATH] [--picture PATH]

Every scenario, seed and method is one training of the same number of steps
from the same weights. Each is written to `--rows` as soon as it is done; what
is there already is not run again, so that a run can be stopped and go on, and
two processes can share the work. `--summary` trains nothing.
"""

import argparse
import json
import pathlib

import numpy as np

from benchmarks import harness
from benchmarks.effect_methods import GRID, Trainings, best_constant
from benchmarks.effect_picture import plot
from benchmarks.effect_tasks import SCENARIOS, make

CONSTANT = "best constant weight"


def load(path) -> list:
    """The rows that were written so far.

    Args:
        path: path of a file with a JSON object a line.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def measure(scenarios, seeds: int, data_dir: str | None, path) -> None:
    """Trains what is not yet in the file, and adds it.

    Args:
        scenarios: list of `Scenario`s.
        seeds: integer, the number of seeds.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
        path: path of the file.
    """
    for seed in range(seeds):
        for scenario in scenarios:
            done = {
                row["method"]: row
                for row in load(path)
                if (row["scenario"], row["seed"]) == (scenario.name, seed)
            }
            task = make(scenario, seed, data_dir)
            for row in Trainings(scenario, task, seed).rows(done):
                with open(path, "a") as file:
                    file.write(json.dumps(row) + "\n")
                print(scenario.name, seed, row["method"], row["test"])


def by_method(rows: list) -> dict:
    """The runs of one scenario by method and seed.

    The grid of constant weights becomes one method, by seed the one that did
    best on the validation set.

    Args:
        rows: list of dictionaries, of one scenario.
    """
    runs = {}
    for row in rows:
        runs.setdefault(row["method"], {})[row["seed"]] = row
    grid = [runs.pop(f"constant weight {w}", {}) for w in GRID]
    supervised = runs["supervised only"]
    best = {}
    for seed in set(supervised).intersection(*grid):
        names = ["supervised only", *(f"constant weight {w}" for w in GRID)]
        every = [supervised[seed], *(part[seed] for part in grid)]
        best[seed] = dict(zip((0.0, *GRID), every, strict=True))[
            best_constant(dict(zip(names, every, strict=True)))
        ]
    return {
        "supervised only": runs.pop("supervised only"),
        "labels + validation": runs.pop("labels + validation", {}),
        CONSTANT: best,
        **runs,
    }


def table(runs: dict) -> list:
    """Means and spreads over the seeds of one scenario, one row a method.

    Args:
        runs: dictionary, as `by_method` gives it.
    """
    results = []
    for name, by_seed in runs.items():
        if not by_seed:
            continue
        test = np.array([100 * row["test"] for row in by_seed.values()])
        gains = [
            100 * (row["test"] - runs[CONSTANT][seed]["test"])
            for seed, row in by_seed.items()
            if seed in runs[CONSTANT]
        ]
        results.append(
            {
                "method": name,
                "seeds": len(test),
                "test, %": harness.spread(test, 1),
                "over constant": f"{np.mean(gains):+.1f}" if gains else "-",
                "AUROC of weight": _mean(by_seed, "AUROC of weight"),
                "seconds": _mean(by_seed, "seconds"),
            }
        )
    return results


def free_scores(runs: dict) -> dict:
    """AUROC of what costs nothing, in the constant training on all labels.

    Args:
        runs: dictionary, as `by_method` gives it.
    """
    by_seed = runs.get("constant weight, all labels", {})
    names = ("confidence", "small loss", "neighbors")
    return {name: _mean(by_seed, f"AUROC of {name}") for name in names}


def _mean(runs, key):
    values = [row[key] for row in runs.values() if row.get(key) is not None]
    return float(np.mean(values)) if values else None


def main():
    """Measures what is missing, prints the tables, writes JSON and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--rows", default="effect.jsonl")
    parser.add_argument(
        "--only", nargs="*", default=[""], help="parts of names"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--picture", help="where to save the PNG")
    arguments = parser.parse_args()
    scenarios = [
        s for s in SCENARIOS if any(part in s.name for part in arguments.only)
    ]
    if not scenarios:
        names = "\n".join(s.name for s in SCENARIOS)
        parser.error(f"--only fits none of\n{names}")
    if not arguments.summary:
        measure(scenarios, arguments.seeds, arguments.data_dir, arguments.rows)
    rows = load(arguments.rows)
    tables = {}
    for scenario in scenarios:
        own = [row for row in rows if row["scenario"] == scenario.name]
        if not own:
            continue
        own = by_method(own)
        free = free_scores(own)
        stated = (f"{k} {v:.3f}" for k, v in free.items() if v is not None)
        title = f"{scenario.name}; free AUROC: {', '.join(stated) or '-'}"
        tables[title] = table(own)
        harness.print_table(title, tables[title])
    harness.write_json(arguments.json, tables, seeds=arguments.seeds)
    if arguments.picture:
        plot(tables, arguments.picture)


if __name__ == "__main__":
    main()
