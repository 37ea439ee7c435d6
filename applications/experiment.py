import time

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

import keras_influence as ki
from applications.boundary import DecisionBoundary, plot_boundaries
from applications.recipe import build
from keras_influence.callbacks import WeightReport


class Experiment:
    """One recipe with one seed: the data and four trainings on it.

    The trainings start from the same weights, draw the same labelled batches
    and take the same number of steps.

    Args:
        recipe: dict, as `applications.recipe.resolve` gives it.
        seed: int, seed of the data and of every training.

    Raises:
        ValueError: where the recipe does not fit together; before any
            training starts.
    """

    def __init__(self, recipe: dict, seed: int):
        self.recipe = recipe
        self.seed = seed
        self.steps = recipe["epochs"] * recipe["steps_per_epoch"]
        warmup_steps = recipe["weights"]["warmup_steps"]
        for name in ("epochs", "steps_per_epoch"):
            if recipe[name] < 1:
                raise ValueError(
                    f"`{name}` must be positive. Received: {recipe[name]}."
                )
        if warmup_steps >= self.steps:
            raise ValueError(
                "`weights.warmup_steps` must be less than `epochs` times "
                f"`steps_per_epoch`, here {self.steps}, or no weight is ever "
                f"learned. Received: {warmup_steps}."
            )
        self.task = build("dataset", recipe["dataset"], seed=seed)
        self.views = {
            name: build(name, view) for name, view in recipe["views"].items()
        }
        self._rehearse()

    def run(self, directory) -> list[dict]:
        """Trains the four variants, one after the other.

        Args:
            directory: path, where the pictures and the weights go.

        Returns:
            One row of results for each variant.
        """
        task = self.task
        both = [
            np.concatenate(parts)
            for parts in zip(task.labeled, task.validation, strict=True)
        ]
        rows = [
            self._supervised("supervised only", self._network(), task.labeled),
            self._supervised("labels + validation", self._network(), both),
        ]
        weights = WeightReport(
            directory,
            inputs=task.unlabeled,
            labels=_labels(task),
            harmful=self._harmful,
            every=max(1, self.steps // 100),
        )
        inner_steps = self.recipe["weights"]["inner_steps"]
        variants = {
            "constant weight": (None, []),
            "learned weights": (inner_steps, [weights]),
        }
        boundaries = {}
        for variant, (inner_steps, callbacks) in variants.items():
            if task.unlabeled.shape[1:] == (2,):
                boundary = DecisionBoundary(task)
                boundaries[variant] = boundary.snapshots
                callbacks.append(boundary)
            rows.append(self._semi_supervised(variant, inner_steps, callbacks))
        if boundaries:
            max_weight = self.recipe["weights"]["max_weight"]
            figure = plot_boundaries(task, boundaries, max_weight)
            figure.savefig(directory / "boundary.png", dpi=120)
        return rows

    def _rehearse(self):
        """Takes one batch as far as the loss: what does not fit shows here."""
        model = self._influence_model(self.recipe["weights"]["inner_steps"])
        batch = next(iter(self._batches()))["unlabeled"]
        logits = {name: model.network(x) for name, x in batch["views"].items()}
        model.unlabeled_loss(logits, batch.get("label"))

    def _supervised(self, variant, network, labeled):
        network.compile(
            optimizer=build("optimizer", self.recipe["optimizer"]),
            loss=_cross_entropy(),
            metrics=["accuracy"],
        )
        train = ki.data.semi_supervised(
            labeled=tuple(labeled),
            unlabeled=self.task.unlabeled,
            batch_size=self.recipe["batch_size"],
            unlabeled_ratio=1,
            seed=self.seed,
            labeled_view=self.views.get("weak"),
        ).map(lambda batch: batch["labeled"])
        seconds = self._fit(variant, network, train)
        return self._row(variant, network, seconds)

    def _semi_supervised(self, variant, inner_steps, callbacks):
        model = self._influence_model(inner_steps)
        seconds = self._fit(variant, model, self._batches(), callbacks)
        row = self._row(variant, model.network, seconds)
        harmful = self._harmful(model)
        return row | _weight_statistics(model.example_weights, harmful)

    def _harmful(self, model):
        """Which unlabelled examples should have lost weight."""
        task = self.task
        if task.harmful is not None:
            return task.harmful
        return _predict(model.network, task.unlabeled) != task.truth

    def _batches(self):
        task = self.task
        unlabeled = task.unlabeled
        if task.given is not None:
            unlabeled = unlabeled, task.given
        return ki.data.semi_supervised(
            labeled=task.labeled,
            unlabeled=unlabeled,
            views=self.views or None,
            batch_size=self.recipe["batch_size"],
            unlabeled_ratio=self.recipe["unlabeled_ratio"],
            seed=self.seed,
            labeled_view=self.views.get("weak"),
        )

    def _network(self):
        keras.utils.set_random_seed(self.seed)
        x, y = self.task.labeled
        return build(
            "network",
            self.recipe["network"],
            input_shape=x.shape[1:],
            classes=int(y.max()) + 1,
        )

    def _influence_model(self, inner_steps):
        recipe = self.recipe
        weights = recipe["weights"]
        model = ki.InfluenceModel(
            self._network(),
            num_unlabeled=len(self.task.unlabeled),
            initial_weight=weights["initial_weight"],
            max_weight=weights["max_weight"],
        )
        model.compile(
            optimizer=build("optimizer", recipe["optimizer"]),
            loss=_cross_entropy(),
            unlabeled_loss=build("unlabeled_loss", recipe["unlabeled_loss"]),
            weight_optimizer=build(
                "weight_optimizer", recipe["weight_optimizer"]
            ),
            influence=_influence(recipe["influence"]),
            validation_set=self.task.validation,
            inner_steps=inner_steps,
            warmup_steps=weights["warmup_steps"],
            metrics=["accuracy"],
        )
        return model

    def _fit(self, variant, model, train, callbacks=()):
        print(f"\n{variant}, seed {self.seed}")
        start = time.perf_counter()
        model.fit(
            train,
            epochs=self.recipe["epochs"],
            steps_per_epoch=self.recipe["steps_per_epoch"],
            callbacks=list(callbacks),
            shuffle=False,
        )
        return time.perf_counter() - start

    def _row(self, variant, network, seconds):
        row = {"variant": variant, "seed": self.seed}
        for name in ("test", "validation"):
            x, y = getattr(self.task, name)
            accuracy = np.mean(_predict(network, x) == y)
            row[f"{name}_accuracy"] = float(accuracy)
        return row | {"seconds": seconds}


def _labels(task):
    """What the pictures say about each unlabelled example."""
    if task.given is not None:
        return task.given
    return [c if c >= 0 else "foreign" for c in task.truth.tolist()]


def _cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _influence(component):
    choices = dict(component)
    if "solver" in choices:
        choices["solver"] = build("solver", choices["solver"])
    if "name" in choices:
        return ki.Influence.preset(**choices)
    return ki.Influence(**choices)


def _predict(network, x, batch_size=1024):
    """The classes that a network gives to an array of inputs."""
    starts = range(0, len(x), batch_size)
    logits = [network(x[i : i + batch_size], training=False) for i in starts]
    return np.concatenate([np.argmax(batch, axis=-1) for batch in logits])


def _weight_statistics(weights, harmful):
    """The table's columns about weights; AUROC of good against harmful."""
    auroc = None
    if 0 < harmful.sum() < len(harmful) and np.ptp(weights) > 0:
        auroc = float(roc_auc_score(~harmful, weights))
    return {
        "weight_mean": float(weights.mean()),
        "weight_min": float(weights.min()),
        "weight_max": float(weights.max()),
        "weight_std": float(weights.std()),
        "harmful": int(harmful.sum()),
        "auroc": auroc,
    }
