import functools
import zlib

import keras
import numpy as np

import keras_influence as ki
from applications.checks import check
from applications.own import results
from applications.own.data import OwnData
from applications.own.held_out import HeldOut, dense
from applications.own.loss import GivenOr
from applications.own.network import own_network
from applications.progress import ShortProgress
from applications.recipe import build, known
from applications.run_state import RunState
from keras_influence.callbacks import WeightHistory

ALONE, ALIKE, LEARNED = VARIANTS = (
    *("trusted labels alone", "every example alike", "learned weights"),
)
FINAL = "on all trusted labels"


class OwnExperiment:
    """A user's data: trainings that leave out a fold, and one that does not.

    Args:
        recipe: dict, as `applications.recipe.resolve` gives it.
        seed: int, seed of all draws and of every training.
        command: str, what starts the run. Defaults to `None`.

    Raises:
        ValueError: if the data or the network are not as they must be.
    """

    def __init__(self, recipe: dict, seed: int, command: str | None = None):
        self.recipe = recipe
        self.seed = seed
        self.command = command
        names = {
            known(name, VARIANTS, "variant") for name in recipe["variants"]
        }
        # What the report is about comes last, after what it is compared with.
        self.variants = sorted(names | {LEARNED}, key=VARIANTS.index)
        check(recipe)
        data: OwnData = build("dataset", recipe["dataset"], seed=seed)
        self.data = data
        self.folds = data.folds(recipe["folds"], seed)
        self.others = np.flatnonzero(~data.trusted)
        batch = recipe["batch_size"] * recipe["unlabeled_ratio"]
        self.steps_per_epoch = max(1, round(len(self.others) / batch))
        # What settings do not fit together is known before any training.
        self._model_and_batches(LEARNED, np.flatnonzero(data.trusted), 0)

    def run(self, directory, progress: RunState) -> list[dict]:
        """Trains, and writes the results.

        Args:
            directory: path, where they go.
            progress: `RunState`, what was done before the run was stopped.

        Returns:
            One row of results for each training.
        """
        progress.check_data(self.seed, self._fingerprint())
        for name, reason in self.data.skipped[:5]:
            print(f"Left out: {name}: {reason}")
        print(results.in_words(self.data))
        rows = [
            progress.row(variant, self.seed, fold)
            or self._cross_check(progress, variant, fold)
            for variant in self.variants
            for fold in range(self.recipe["folds"])
        ]
        final = progress.row(FINAL, self.seed)
        return [*rows, final or self._final(directory, progress, rows)]

    def _cross_check(self, progress, variant, fold):
        """Trains without a fold of the trusted labels, and looks at it."""
        data = self.data
        trusted = np.flatnonzero((self.folds >= 0) & (self.folds != fold))
        tested = np.flatnonzero(self.folds == fold)
        held_out = HeldOut(data.x[tested])
        checkpoint = progress.checkpoint(variant, self.seed, fold)
        checkpoint.follow(held_out, "probabilities")
        print(f"\n{variant}, {fold + 1} of {self.recipe['folds']}")
        self.fit(variant, trusted, [held_out, checkpoint], checkpoint.epochs)
        (probabilities,) = held_out.probabilities
        right = probabilities.argmax(1) == data.labels[tested]
        row = {
            **{"variant": variant, "seed": self.seed, "fold": fold},
            "test_accuracy": float(right.mean()),
            "tested": len(tested),
            "seconds": sum(log["seconds"] for log in checkpoint.logs),
        }
        progress.finish(row)
        return row

    def _final(self, directory, progress, rows):
        """Trains on every trusted label, and writes what was found."""
        history = WeightHistory(
            every=max(1, self.recipe["epochs"] * self.steps_per_epoch // 60)
        )
        checkpoint = progress.checkpoint(FINAL, self.seed)
        checkpoint.follow(history, "steps", "weights", "quantiles")
        print(f"\n{FINAL}")
        trusted = np.flatnonzero(self.data.trusted)
        model = self.fit(
            LEARNED, trusted, [history, checkpoint], checkpoint.epochs
        )
        tested = {
            variant: self._tested(progress, rows, variant)
            for variant in self.variants
        }
        results.write(
            directory,
            model,
            self.data,
            self.others,
            tested=tested,
            history=checkpoint.logs,
            weight_history=history,
            settings=self._settings(),
            command=self.command,
        )
        weights = model.example_weights
        row = {
            **{"variant": FINAL, "seed": self.seed},
            "weight_mean": float(weights.mean()),
            "weight_min": float(weights.min()),
            "weight_max": float(weights.max()),
            "weight_std": float(weights.std()),
            "seconds": sum(log["seconds"] for log in checkpoint.logs),
        }
        progress.finish(row)
        return row

    def _settings(self):
        settings = {"seed": self.seed, **self.recipe}
        del settings["description"]
        return settings

    def _tested(self, progress, rows, variant):
        """Probabilities and labels of all folds of a variant."""
        parts, labels = [], []
        for row in rows:
            if row["variant"] == variant:
                lists = progress.lists(row)
                parts += list(lists["HeldOut.probabilities"])
                labels.append(self.data.labels[self.folds == row["fold"]])
        return np.concatenate(parts), np.concatenate(labels)

    def fit(
        self,
        variant: str,
        trusted: np.ndarray,
        callbacks: list,
        epochs_done: int = 0,
    ) -> keras.Model:
        """Trains a variant on some of the trusted labels.

        Args:
            variant: str, one of `VARIANTS`.
            trusted: int array, the rows of these labels.
            callbacks: list of Keras callbacks.
            epochs_done: int, how many were trained before. Defaults to `0`.

        Returns:
            The network, or the `InfluenceModel` of it.
        """
        model, batches = self._model_and_batches(variant, trusted, epochs_done)
        model.fit(
            batches,
            epochs=self.recipe["epochs"],
            initial_epoch=epochs_done,
            steps_per_epoch=self.steps_per_epoch,
            callbacks=[ShortProgress(), *callbacks],
            shuffle=False,
        )
        return model

    def _model_and_batches(self, variant, trusted, epochs_done):
        data, others = self.data, self.others
        labeled = data.x[trusted], data.labels[trusted]
        batches = ki.data.semi_supervised(
            labeled=labeled,
            unlabeled=(data.x[others], data.labels[others]),
            views=self._views(),
            batch_size=self.recipe["batch_size"],
            unlabeled_ratio=self.recipe["unlabeled_ratio"],
            seed=self.seed,
            start_step=epochs_done * self.steps_per_epoch,
            labeled_view=data.views.get("weak"),
        )
        if variant == ALONE:
            model = self._network()
            batches = batches.map(lambda batch: batch["labeled"])
            model.compile(**self._compiled())
        else:
            model = self._influence_model(variant, labeled)
        return model, batches

    def _influence_model(self, variant, labeled):
        learned = variant == LEARNED
        # Defaults, which are what is recommended.
        alike = {"initial_weight": 1.0, "weight_network": None}
        model = ki.InfluenceModel(
            self._network(), len(self.others), **({} if learned else alike)
        )
        model.compile(
            **self._compiled(),
            unlabeled_loss=self._loss(),
            validation_set=(dense(labeled[0]), labeled[1]) if learned else None,
            inner_steps=self.recipe["inner_steps"] if learned else None,
        )
        return model

    def _compiled(self):
        return {
            "optimizer": build("optimizer", self.recipe["optimizer"]),
            "loss": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True
            ),
            "metrics": ["accuracy"],
        }

    @property
    def _given(self):
        """Boolean array: which of the others came with a label."""
        return self.data.labels[self.others] >= 0

    def _loss(self):
        if self._given.all():
            return ki.losses.GivenLabels()
        other = getattr(ki.losses, self.data.consistency)
        return GivenOr(other(confidence=self.recipe["confidence"]))

    def _views(self):
        """The strong view is for examples without a label alone."""
        views = self.data.views
        if self._given.all() and "strong" in views:
            return {"weak": views["weak"]}
        return views

    def _network(self):
        keras.utils.set_random_seed(self.seed)
        shape = tuple(self.data.x.shape[1:])
        return own_network(self.recipe["network"], shape, self.data.class_names)

    def _fingerprint(self):
        data = self.data
        x = getattr(data.x, "data", data.x)
        parts = x, data.labels, data.trusted, "\n".join(data.ids).encode()
        contiguous = map(np.ascontiguousarray, parts[:3])
        return functools.reduce(
            lambda number, part: zlib.crc32(part, number),
            [*contiguous, parts[3]],
            0,
        )
