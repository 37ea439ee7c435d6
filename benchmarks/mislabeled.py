"""Who finds wrong labels, and what does it cost?

    python -m benchmarks.mislabeled --data-dir PATH [--peers-python PATH]
        [--seeds 5] [--epochs 10] [--json PATH]

Fashion-MNIST in 14 x 14 pixels, a share of 10,800 labels wrong, at random or
all of them the next class, and 1,200 trusted ones. Every method has the same
network and data, and trains on the trusted labels too. Seconds are of the
processor, from the data to the ranking. cleanlab comes with
`pip install .[benchmarks]`; for pyDVL see `benchmarks.peers`.
"""

import argparse
import contextlib
import pathlib
import tempfile
import time

import keras
import numpy as np
from scipy.special import softmax
from sklearn.model_selection import StratifiedKFold

import keras_influence as ki
from benchmarks import harness, workloads
from benchmarks.effect_methods import auroc
from benchmarks.effect_tasks import flipped, make, network
from benchmarks.methods import Peers

SCENARIOS = [
    flipped("fashion_mnist", 0.2),
    flipped("fashion_mnist", 0.4),
    flipped("fashion_mnist", 0.4, by_class=True),
]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# The same damping as the peers have.
INFLUENCE = ki.Influence(solver=ki.solvers.Exact(workloads.DAMPING))
OURS, CLEANLAB = "find_mislabeled", "cleanlab, 5 folds"
SCORES, PYDVL = "influence_scores", "pyDVL, direct"


class Found:
    """Rankings of one task's labels, all made of the same network.

    Args:
        scenario: a `Scenario` with given labels.
        seed: integer.
        epochs: integer, how often a training passes over the labels.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
    """

    def __init__(self, scenario, seed: int, epochs: int, data_dir: str | None):
        self.scenario = scenario
        self.seed = seed
        self.epochs = epochs
        self.task = task = make(scenario, seed, data_dir)
        self.train = task.unlabeled, task.given
        self.right = task.given == task.truth
        self.trusted = tuple(
            np.concatenate(parts)
            for parts in zip(task.labeled, task.validation, strict=True)
        )

    def trained(self, rows=slice(None)) -> keras.Model:
        """The network, trained on some of the labels and the trusted ones."""
        keras.utils.set_random_seed(self.seed)
        model = network(self.scenario, self.task)
        model.compile(keras.optimizers.Adam(0.001), LOSS)
        x, y = (
            np.concatenate([part[rows], more])
            for part, more in zip(self.train, self.trusted, strict=True)
        )
        model.fit(x, y, batch_size=64, epochs=self.epochs, verbose=0)
        return model

    def find_mislabeled(self) -> np.ndarray:
        """The label quality of `ki.find_mislabeled`."""
        found = ki.find_mislabeled(
            *(self.trained(), self.train, self.trusted),
            influence=INFLUENCE,
            epochs=self.epochs,
            seed=self.seed,
            verbose=0,
        )
        return found.quality

    def influence_scores(self) -> np.ndarray:
        """Minus the harm that a label does to the trusted ones."""
        model = self.trained()
        return -ki.influence_scores(
            model, self.train, self.trusted, influence=INFLUENCE
        )

    def cleanlab(self) -> np.ndarray:
        """The label quality by networks that did not see the label."""
        from cleanlab.rank import get_label_quality_scores

        x, given = self.train
        probabilities = np.empty((len(x), given.max() + 1))
        folds = StratifiedKFold(5, shuffle=True, random_state=self.seed)
        for kept, rest in folds.split(x, given):
            logits = self.trained(kept).predict(x[rest], 1000, verbose=0)
            probabilities[rest] = softmax(logits.astype(float), -1)
        return get_label_quality_scores(given, probabilities)

    def pydvl(self, peers: Peers) -> np.ndarray:
        """Minus the harm by pyDVL, with the features of the last layer.

        Args:
            peers: `Peers`, to ask.
        """
        model = self.trained()
        head = keras.Model(model.inputs, model.layers[-1].input)
        kernel, bias = model.layers[-1].get_weights()

        def features(x):
            found = head.predict(x, batch_size=1000, verbose=0)
            return np.concatenate([found, np.ones((len(x), 1), "f")], 1)

        problem = workloads.Problem(
            [np.concatenate([kernel, bias[None]])],
            *(features(self.train[0]), self.train[1]),
            (features(self.trusted[0]), self.trusted[1]),
        )
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "head.npz")
            workloads.write(problem, path)
            request = {"workload": path, "method": PYDVL, "memory": False}
            self.seconds_of_peer, scores = peers.ask(**request)
        return -np.array(scores)

    def methods(self, peers: Peers | None) -> dict:
        """Functions without arguments that give scores, by name."""
        methods = {
            OURS: self.find_mislabeled,
            CLEANLAB: self.cleanlab,
            SCORES: self.influence_scores,
        }
        if peers is not None:
            methods[PYDVL] = lambda: self.pydvl(peers)
        return methods

    def rows(self, peers: Peers | None) -> list[dict]:
        """What every method finds.

        Args:
            peers: `Peers`, to ask; or `None`.
        """
        rows, scores = [], {}
        wrong = np.count_nonzero(~self.right)
        for name, method in self.methods(peers).items():
            self.seconds_of_peer = 0.0
            start = time.process_time()
            scores[name] = method()
            seconds = time.process_time() - start + self.seconds_of_peer
            first = np.argsort(scores[name])[:wrong]
            rows.append(
                {
                    "method": name,
                    "AUROC": auroc(self.right, scores[name]),
                    "wrong among the first": np.mean(~self.right[first]),
                    "CPU seconds": seconds,
                }
            )
        if peers is not None:
            pair = np.corrcoef(scores[SCORES], scores[PYDVL])
            rows[-1]["correlation with ours"] = pair[0, 1]
        return rows


def table(rows: list[dict]) -> list[dict]:
    """Means and spreads over the seeds, one row a method.

    Args:
        rows: list of dictionaries, as `Found.rows` gives them.
    """
    groups = {}
    for row in rows:
        groups.setdefault(row["method"], []).append(row)
    return [
        {
            "method": method,
            "seeds": len(runs),
            "AUROC": _spread(runs, "AUROC"),
            "wrong among the first": _spread(runs, "wrong among the first"),
            "CPU seconds": _spread(runs, "CPU seconds", 0),
            "correlation with ours": _spread(runs, "correlation with ours", 5),
        }
        for method, runs in groups.items()
    ]


def _spread(runs, key, digits=3):
    values = [run[key] for run in runs if key in run]
    return harness.spread(values, digits) if values else None


def main():
    """Measures, prints the table and writes JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--peers-python", help="interpreter of the peers")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        peers = None
        if arguments.peers_python:
            settings = ["1", "1", "process_time"]
            peers = Peers(arguments.peers_python, settings)
            stack.enter_context(peers)
        tables = {}
        for scenario in SCENARIOS:
            rows = []
            for seed in range(arguments.seeds):
                found = Found(
                    scenario, seed, arguments.epochs, arguments.data_dir
                )
                rows += found.rows(peers)
            tables[scenario.name] = table(rows)
            harness.print_table(scenario.name, tables[scenario.name])
    harness.write_json(
        arguments.json, tables, seeds=arguments.seeds, epochs=arguments.epochs
    )


if __name__ == "__main__":
    main()
