"""Which estimator, and which sum of its scores, finds wrong labels?

    python -m benchmarks.estimators --data-dir PATH [--seeds 3] [--json PATH]

Fashion-MNIST, 40 % of the given labels wrong, weights constant: every score of
every example is summed up in four ways. The table has the AUROC of right
against wrong labels by each sum, mean over seeds. Labels that judge are those
of the validation set or all; `held out` judges by as many labels as train, none
of which ever does, which is what cross-fitting could reach at best.
"""

import argparse
import copy
import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from sklearn.metrics import roc_auc_score

import keras_influence as ki
from benchmarks import harness
from benchmarks.effect_tasks import flipped, make, network
from keras_influence.solvers import Exact


class Sums(ki.optimizers.RowOptimizer):
    """Sums up the scores of every example and leaves its weight alone."""

    slot_names = ("total", "signs", "average", "squares")

    def update_rows(
        self, values, gradients, learning_rate, total, signs, average, squares
    ):
        """One more score of every row, in units of its batch's."""
        g = gradients / ops.sqrt(ops.mean(gradients**2))
        return (
            values,
            total + g,
            signs + ops.sign(g),
            0.9 * average + 0.1 * g,
            squares + g**2,
        )

    def sums(self) -> dict:
        """Every example's scores, summed up in four ways."""
        slots = self.variables[-len(self.slot_names) :]
        total, signs, average, squares = (v.numpy() for v in slots)
        return {
            "sum": total,
            "sum of signs": signs,
            "average as in M-Adam": average,
            "t statistic": total / np.sqrt(np.maximum(squares, 1e-12)),
        }


class Averaged(Exact):
    """Averages the solution over the updates so far, nine parts to one."""

    average = None

    def solve(self, operator, vector):
        """The average with this update's direction in it."""
        solution = super().solve(operator, vector)
        if self.average is None:
            with tf.init_scope():
                self.average = tf.Variable(tf.zeros(operator.size))
        direction = solution.vector / tf.norm(solution.vector)
        usable = solution.valid & tf.reduce_all(tf.math.is_finite(direction))
        new = 0.9 * self.average + 0.1 * direction
        self.average.assign(tf.where(usable, new, self.average))
        return solution._replace(vector=tf.identity(self.average))


@dataclasses.dataclass(frozen=True)
class Estimator:
    """One row of the table.

    Args:
        name: string, as the table shows it.
        influence: dictionary of arguments of `ki.Influence`.
        trains: `"labels"` or `"all"`, the trusted labels in training.
        judges: `"validation"`, `"all"` or `"held out"`.
        sizes: pair of integers, labels and validation labels.
    """

    name: str
    influence: dict
    trains: str = "all"
    judges: str = "all"
    sizes: tuple = (200, 1000)


MARGIN = {"outer": "margin"}
FEW = {"sizes": (50, 50)}

ESTIMATORS = [
    Estimator("loss", {}),
    Estimator("margin", MARGIN),
    Estimator("damping 0.001", {"solver": Exact(1e-3, "largest_eigenvalue")}),
    Estimator("damping 0.1", {"solver": Exact(0.1, "largest_eigenvalue")}),
    Estimator(
        "averaged over steps", {"solver": Averaged(0.01, "largest_eigenvalue")}
    ),
    Estimator("outer product", {"curvature": "outer_product"}),
    Estimator("identity", {"curvature": None}),
    Estimator("identity, all layers", {"parameters": "all", "curvature": None}),
    Estimator("loss, labels apart", {}, "labels", "validation"),
    Estimator("margin, labels apart", MARGIN, "labels", "validation"),
    Estimator("loss, 100 labels", {}, **FEW),
    Estimator("margin, 100 labels", MARGIN, **FEW),
    Estimator("loss, 100 + 100 held out", {}, judges="held out", **FEW),
    Estimator("margin, 100 + 100 held out", MARGIN, judges="held out", **FEW),
    Estimator("loss, 50 + 50 apart", {}, "labels", "validation", **FEW),
]


def aurocs(estimator: Estimator, seed: int, data_dir, steps: int) -> dict:
    """AUROC of every sum, for one estimator and seed.

    Args:
        estimator: `Estimator`.
        seed: integer.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
        steps: integer, training steps.
    """
    scenario = flipped("fashion_mnist", 0.4, sizes=estimator.sizes, steps=steps)
    task = make(scenario, seed, data_dir)
    parts = zip(task.labeled, task.validation, strict=True)
    labels = {
        "labels": task.labeled,
        "validation": task.validation,
        "all": tuple(np.concatenate(pair) for pair in parts),
        "held out": tuple(part[: sum(estimator.sizes)] for part in task.test),
    }
    keras.utils.set_random_seed(seed)
    sums = Sums(1.0)
    # `Averaged` has a state, which is not the next run's.
    influence = ki.Influence(**copy.deepcopy(estimator.influence))
    model = ki.InfluenceModel(
        network(scenario, task),
        len(task.unlabeled),
        weight_network=None,
        initial_weight=1.0,
    )
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps, alpha=0.01)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        unlabeled_loss=ki.losses.GivenLabels(),
        weight_optimizer=sums,
        influence=influence,
        validation_set=labels[estimator.judges],
        inner_steps=2,
    )
    train = ki.data.semi_supervised(
        labels[estimator.trains],
        (task.unlabeled, task.given),
        batch_size=16,
        seed=seed,
    )
    model.fit(train, steps_per_epoch=steps, verbose=0)
    return {
        name: float(roc_auc_score(task.harmful, values))
        for name, values in sums.sums().items()
    }


def main():
    """Measures, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    rows = []
    for estimator in ESTIMATORS:
        runs = [
            aurocs(estimator, seed, arguments.data_dir, arguments.steps)
            for seed in range(arguments.seeds)
        ]
        means = {k: float(np.mean([run[k] for run in runs])) for k in runs[0]}
        rows.append({"estimator": estimator.name} | means)
        print(rows[-1])
    harness.report("AUROC of wrong labels", rows, arguments.json)


if __name__ == "__main__":
    main()
