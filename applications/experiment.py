import contextlib

import keras
import numpy as np

import keras_influence as ki
from applications import page
from applications.boundary import (
    DecisionBoundary,
    kept_snapshots,
    plot_boundaries,
)
from applications.checks import check, check_task
from applications.collapse import CollapseWarning, largest_share, predicted
from applications.ct_rates import CTAugmentRates
from applications.image_views import LearnedCTAugment
from applications.presets import TRAININGS
from applications.progress import ShortProgress
from applications.recipe import argument, build, known
from applications.run_state import RunState
from applications.task import Task, fingerprint, write_splits
from applications.text_views import TfIdf
from applications.weight_statistics import weight_statistics
from keras_influence.callbacks import WeightReport

SUPERVISED = TRAININGS[:2]


class Experiment:
    """One recipe with one seed: the data and the trainings on it.

    The trainings start from the same weights, draw the same labelled batches
    and take the same number of steps.

    Args:
        recipe: dict, as `applications.recipe.resolve` gives it.
        seed: int, seed of the data and of every training.
        task: `Task`, the data. Defaults to `None`: the recipe's.
        command: str, what starts the run. Defaults to `None`.

    Raises:
        ValueError: where the recipe does not fit together; before any
            training starts.
    """

    def __init__(
        self,
        recipe: dict,
        seed: int,
        task: Task | None = None,
        command: str | None = None,
    ):
        self.recipe = recipe
        self.command = command
        self.seed = seed
        self.steps = recipe["epochs"] * recipe["steps_per_epoch"]
        check(recipe)
        names = [
            known(name, TRAININGS, "variant")
            for name in recipe.get("variants", TRAININGS)
        ]
        # The page about the last one compares it with the others.
        self.variants = sorted(names, key=TRAININGS.index)
        if task is None:
            task = build("dataset", recipe["dataset"], seed=seed)
        check_task(task)
        self.task = task
        self._rehearse()

    def run(self, directory, progress: RunState) -> list[dict]:
        """Trains the variants of the recipe, one after the other.

        Args:
            directory: path, where the pictures and the weights go.
            progress: `RunState`, what was done before the run was stopped.

        Returns:
            One row of results for each variant.
        """
        task = self.task
        progress.check_data(self.seed, fingerprint(task))
        if task.splits is not None:
            write_splits(task, directory)
        rows = []
        for variant in self.variants:
            row = progress.row(variant, self.seed)
            if row is None:
                checkpoint = progress.checkpoint(variant, self.seed)
                row = self._train(variant, directory, checkpoint, rows)
                progress.finish(row)
            rows.append(row)
        boundaries = {
            row["variant"]: kept_snapshots(progress.lists(row))
            for row in rows
            if self._is_planar and row["variant"] not in SUPERVISED
        }
        if boundaries:
            max_weight = self.recipe["weights"]["max_weight"]
            figure = plot_boundaries(task, boundaries, max_weight)
            figure.savefig(directory / "boundary.png", dpi=120)
        return rows

    @property
    def _is_planar(self):
        return np.shape(self.task.unlabeled)[1:] == (2,)

    def _train(self, variant, directory, checkpoint, rows):
        """Trains one variant and returns its row of results."""
        if variant in SUPERVISED:
            return self._supervised(variant, checkpoint)
        callbacks = [CollapseWarning(self.task.validation[0])]
        checkpoint.follow(callbacks[0], "shares")
        learned = variant == "learned weights"
        if learned:
            callbacks.append(self._report(directory))
            checkpoint.follow(callbacks[-1], "steps", "weights", "quantiles")
        if self._is_planar:
            callbacks.append(DecisionBoundary(self.task))
            checkpoint.follow(callbacks[-1], *DecisionBoundary.KEPT)
        model, row = self._semi_supervised(
            variant, directory, checkpoint, callbacks
        )
        if variant == self.variants[-1]:
            page.write(
                directory / "report.html",
                model,
                self.task,
                [*rows, row],
                history=checkpoint.logs,
                weight_history=callbacks[1] if learned else None,
                settings={"seed": self.seed, **self.recipe},
                command=self.command,
            )
        return row

    def influence_model(self, learned: bool = True) -> ki.InfluenceModel:
        """The compiled model of a training.

        Args:
            learned: bool, whether it learns the weights. Defaults to `True`.
        """
        recipe = self.recipe
        weights = recipe["weights"]
        network = self._network()
        with self._precision():
            model = ki.InfluenceModel(
                network,
                num_unlabeled=len(self.task.truth),
                initial_weight=weights["initial_weight"],
                max_weight=weights["max_weight"],
                weight_network=self._weight_network() if learned else None,
            )
        model.compile(
            optimizer=self._optimizer(),
            loss=_cross_entropy(),
            unlabeled_loss=build("unlabeled_loss", recipe["unlabeled_loss"]),
            weight_optimizer=build(
                "weight_optimizer", recipe["weight_optimizer"]
            ),
            influence=_influence(recipe["influence"]),
            validation_set=(
                self._every_label if self._shares else self.task.validation
            ),
            inner_steps=weights["inner_steps"] if learned else None,
            warmup_steps=weights["warmup_steps"],
            validation_draw=weights.get("validation_draw", 256),
            metrics=["accuracy"],
        )
        return model

    def views(self) -> dict:
        """The views of the unlabelled data by name, in their first state."""
        return {
            name: build(name, view, task=self.task)
            for name, view in self.recipe["views"].items()
        }

    def batches(self, views: dict, start_step: int = 0):
        """The batches of a training, a `tf.data.Dataset`.

        Args:
            views: dict, as `views` gives it.
            start_step: int, the step that they start at. Defaults to `0`.
        """
        task = self.task
        unlabeled = task.source
        if task.given is not None:
            unlabeled = unlabeled, task.given
        return ki.data.semi_supervised(
            labeled=self._every_label if self._shares else task.labeled,
            unlabeled=unlabeled,
            views=views or None,
            batch_size=self.recipe["batch_size"],
            unlabeled_ratio=self.recipe["unlabeled_ratio"],
            seed=self.seed,
            start_step=start_step,
            labeled_view=views.get("weak"),
        )

    def rates(self, views: dict, directory) -> list:
        """The callback that learns the rates of CTAugment, if the recipe does.

        Args:
            views: dict, as `views` gives it.
            directory: path, where the rates go.
        """
        return [
            CTAugmentRates(
                view,
                self.task.labeled,
                directory,
                batch_size=self.recipe["batch_size"],
                seed=self.seed,
            )
            for view in views.values()
            if isinstance(view, LearnedCTAugment) and view.learned
        ]

    @property
    def _shares(self):
        """Whether every trusted label both trains and judges."""
        return self.recipe["weights"].get("share_labels", False)

    @property
    def _every_label(self):
        return keras.tree.map_structure(
            lambda *both: np.concatenate(both),
            self.task.labeled,
            self.task.validation,
        )

    def _report(self, directory):
        task = self.task
        return WeightReport(
            directory,
            inputs=task.shown,
            example_ids=task.splits and task.splits["unlabeled"],
            labels=_labels(task),
            harmful=self._harmful if task.judged.all() else None,
            every=max(1, self.steps // 100),
        )

    def _rehearse(self):
        """Takes a few rows as far as the loss: what does not fit shows here."""
        model = self.influence_model()
        batch = next(iter(self.batches(self.views())))["unlabeled"]
        batch = keras.tree.map_structure(lambda x: x[:2], batch)
        loss, network = model.unlabeled_loss, model.network
        label = batch.get("label")
        views, label = loss.prepare(network, batch["views"], label, step=0)
        loss({name: network(x) for name, x in views.items()}, label, step=0)

    def _supervised(self, variant, checkpoint):
        task = self.task
        labeled = task.labeled
        if variant == "labels + validation":
            labeled = self._every_label
        network = self._network()
        network.compile(
            optimizer=self._optimizer(),
            loss=_cross_entropy(),
            metrics=["accuracy"],
        )
        train = ki.data.semi_supervised(
            labeled=labeled,
            unlabeled=task.unlabeled,
            batch_size=self.recipe["batch_size"],
            unlabeled_ratio=1,
            seed=self.seed,
            start_step=self._steps_done(checkpoint),
            labeled_view=self.views().get("weak"),
        ).map(lambda batch: batch["labeled"])
        return self._fit(variant, network, train, checkpoint)

    def _steps_done(self, checkpoint):
        return checkpoint.epochs * self.recipe["steps_per_epoch"]

    def _semi_supervised(self, variant, directory, checkpoint, callbacks):
        model = self.influence_model(learned=variant == "learned weights")
        views = self.views()
        for view in views.values():
            if isinstance(view, TfIdf):
                view.save(directory)
        callbacks = [*callbacks, *self.rates(views, directory)]
        train = self.batches(views, self._steps_done(checkpoint))
        row = self._fit(variant, model, train, checkpoint, callbacks)
        harmful, judged = self._harmful(model), self.task.judged
        statistics = weight_statistics(
            model.example_weights, model.label_quality, harmful, judged
        )
        statistics["harm_known"] = self.task.harmful is not None
        return model, row | statistics

    def _harmful(self, model):
        """Which of the judged examples should have lost weight."""
        task = self.task
        if task.harmful is not None:
            return task.harmful
        if not task.judged.any():
            return np.zeros(0, bool)
        x = keras.tree.map_structure(lambda x: x[task.judged], task.unlabeled)
        return predicted(model.network, x) != task.truth[task.judged]

    @contextlib.contextmanager
    def _precision(self):
        """The recipe's dtype policy, for what is made inside."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.recipe.get("precision", before))
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def _network(self):
        keras.utils.set_random_seed(self.seed)
        x, y = self.task.labeled
        with self._precision():
            return build(
                "network",
                self.recipe["network"],
                input_shape=keras.tree.map_structure(lambda x: x.shape[1:], x),
                classes=int(y.max()) + 1,
                preset=getattr(self.task, "preset", None),
            )

    def _weight_network(self):
        component = self.recipe.get("weight_network")
        return component and build("weight_network", component)

    def _optimizer(self):
        component = dict(self.recipe["optimizer"])
        if schedule := self.recipe.get("schedule"):
            component["learning_rate"] = build(
                "schedule",
                schedule,
                learning_rate=argument("optimizer", component, "learning_rate"),
                steps=self.steps,
            )
        return build("optimizer", component)

    def _fit(self, variant, model, train, checkpoint, callbacks=()):
        """Trains and returns the row of results."""
        print(f"\n{variant}, seed {self.seed}")
        median_epochs = self.recipe.get("median_epochs")
        if self.recipe["optimizer"].get("use_ema"):
            callbacks = [*callbacks, keras.callbacks.SwapEMAWeights()]
        model.fit(
            train,
            epochs=self.recipe["epochs"],
            initial_epoch=checkpoint.epochs,
            steps_per_epoch=self.recipe["steps_per_epoch"],
            callbacks=[
                ShortProgress(tested=bool(median_epochs)),
                *callbacks,
                checkpoint,
            ],
            shuffle=False,
            validation_data=self.task.test if median_epochs else None,
            validation_batch_size=500,
        )
        row = self._row(variant, getattr(model, "network", model))
        if median_epochs:
            last = checkpoint.logs[-median_epochs:]
            accuracies = [log["val_accuracy"] for log in last]
            row["last_accuracy"] = row["test_accuracy"]
            row["test_accuracy"] = float(np.median(accuracies))
            row["median_epochs"] = len(last)
        seconds = sum(log["seconds"] for log in checkpoint.logs)
        return row | {"seconds": seconds}

    def _row(self, variant, network):
        row = {"variant": variant, "seed": self.seed}
        for name in ("test", "validation"):
            x, y = getattr(self.task, name)
            classes = predicted(network, x)
            row[f"{name}_accuracy"] = float(np.mean(classes == y))
            row[f"{name}_largest_class"] = largest_share(classes)
        return row


def _labels(task):
    """What the pictures say about each unlabelled example."""
    labels = task.truth if task.given is None else task.given
    return [task.name(label) for label in labels.tolist()]


def _cross_entropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _influence(component):
    choices = dict(component)
    if "solver" in choices:
        choices["solver"] = build("solver", choices["solver"])
    if "name" in choices:
        return ki.Influence.preset(**choices)
    return ki.Influence(**choices)
