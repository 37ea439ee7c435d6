"""What learned weights are compared with: one training each."""

import time

import keras
import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import keras_influence as ki
from benchmarks.effect_tasks import Scenario, network, views
from keras_influence.models.presets import preset

GRID = (0.1, 0.3, 1.0)

# Single weights start from the best constant one; 0 would say "never".
LEAST_START = 0.05

# Labels of others are not believed at first; a network's own come late anyway.
START = {"GivenLabels": 0.1, "FixMatch": 1.0, "UDA": 1.0, "PseudoLabel": 1.0}


def best_constant(rows: dict) -> float:
    """The constant weight that did best on the validation set, 0 included.

    Args:
        rows: dictionary from names of methods to their rows.
    """
    names = {0.0: "supervised only"}
    names |= {w: f"constant weight {w}" for w in GRID}
    return max(names, key=lambda w: rows[names[w]]["validation"])


class Reweighted(ki.losses.UnlabeledLoss):
    """Another loss, times a weight that needs no learning.

    Args:
        loss: the `UnlabeledLoss`.
        rule: function from its losses and logits to weights.
        warmup_steps: integer, steps in which every weight is 1.
    """

    def __init__(self, loss, rule, warmup_steps):
        self.loss = loss
        self.rule = rule
        self.warmup_steps = warmup_steps
        self.views = loss.views
        self.requires_labels = loss.requires_labels

    def call(self, logits, labels=None, step=None):
        """The loss times the weight of its example."""
        losses, mask = self.loss(logits, labels, step)
        weights = ops.stop_gradient(self.rule(losses, logits))
        weights = ops.where(step < self.warmup_steps, 1.0, weights)
        return weights * losses, mask


def by_confidence(losses, logits):
    """The probability of the label that the loss asks for."""
    return ops.exp(-losses)


def by_small_loss(share):
    """1 for the `share` of the batch with the smallest losses, else 0."""

    def rule(losses, logits):
        size = ops.cast(ops.shape(losses)[0], "float32")
        kept = ops.cast(ops.round(share * size), "int32")
        order = ops.argsort(ops.argsort(losses))
        return ops.cast(order < kept, losses.dtype)

    return rule


class Trainings:
    """The methods on one task; those that need each other share.

    Args:
        scenario: the `Scenario`.
        task: its `Task`.
        seed: integer.
    """

    def __init__(self, scenario: Scenario, task, seed: int):
        self.scenario = scenario
        self.task = task
        self.seed = seed
        self.harmful_share = 0.5
        if task.harmful is not None:
            self.harmful_share = task.harmful.mean()

    def rows(self, done: dict):
        """One result after the other, those in `done` left out.

        Args:
            done: dictionary from names of methods to their rows.
        """
        done = dict(done)
        methods = {
            "supervised only": lambda: self.train(0.0),
            "labels + validation": lambda: self.train(0.0, share=True),
            **{f"constant weight {w}": lambda w=w: self.train(w) for w in GRID},
            "constant weight, all labels": lambda: self.train(
                best_constant(done), share=True
            ),
            "by confidence, all labels": lambda: self.train(
                share=True, rule=by_confidence
            ),
            "by small loss, all labels": lambda: self.train(
                share=True, rule=by_small_loss(1 - self.harmful_share)
            ),
            "learned, paper's step": lambda: self.train(
                **preset("paper", inner_steps=2)
            ),
            "learned, single weights": lambda: self.train(
                max(best_constant(done), LEAST_START),
                share=True,
                **preset("single_weights"),
            ),
            "learned, recommended": lambda: self.train(
                START[self.scenario.unlabeled_loss],
                share=True,
                weight_network=ki.WeightNetwork,
                **preset("recommended"),
            ),
        }
        if self.scenario.unlabeled_loss == "PseudoLabel":
            methods["learned, recommended, labels apart"] = lambda: self.train(
                START["PseudoLabel"],
                weight_network=ki.WeightNetwork,
                **preset("recommended"),
            )
        for name, method in methods.items():
            if name not in done:
                start = time.perf_counter()
                row = {"scenario": self.scenario.name, "method": name}
                row |= {"seed": self.seed} | method()
                done[name] = row | {"seconds": time.perf_counter() - start}
                yield done[name]

    def fit(
        self,
        weight: float = 1.0,
        share: bool = False,
        rule=None,
        weight_network=None,
        max_weight: float = 2.0,
        kept: np.ndarray | None = None,
        **learning,
    ) -> tuple:
        """Trains once.

        Args:
            weight: float, the initial weight. Defaults to `1.0`.
            share: boolean, whether validation labels are trained on too, and
                labels judge too. Defaults to `False`.
            rule: a rule of `Reweighted`, or `None`. Defaults to `None`.
            weight_network: function that makes a `WeightNetwork`, after the
                seed is set; or `None`. Defaults to `None`.
            max_weight: float, the upper bound of a weight. Defaults to `2.0`.
            kept: array of places, which unlabelled examples train; or `None`
                for all. Defaults to `None`.
            **learning: arguments of `compile`; none keeps weights constant.

        Returns:
            Pair of the `InfluenceModel` and the list of its test accuracies
            after every tenth of the steps.
        """
        task, scenario = self.task, self.scenario
        keras.utils.set_random_seed(self.seed)
        every = [
            np.concatenate(parts)
            for parts in zip(task.labeled, task.validation, strict=True)
        ]
        kept = slice(None) if kept is None else kept
        unlabeled = task.unlabeled[kept]
        if task.given is not None:
            unlabeled = unlabeled, task.given[kept]
        train = ki.data.semi_supervised(
            tuple(every) if share else task.labeled,
            unlabeled,
            views=views(scenario),
            batch_size=16,
            unlabeled_ratio=7,
            seed=self.seed,
        )
        model = ki.InfluenceModel(
            network(scenario, task),
            num_unlabeled=len(task.unlabeled[kept]),
            initial_weight=weight,
            max_weight=max_weight,
            weight_network=weight_network and weight_network(),
        )
        loss = _unlabeled_loss(scenario)
        if rule is not None:
            loss = Reweighted(loss, rule, scenario.steps // 10)
        rate = keras.optimizers.schedules.CosineDecay(
            2e-3, scenario.steps, alpha=0.01
        )
        model.compile(
            optimizer=keras.optimizers.Adam(rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            unlabeled_loss=loss,
            validation_set=tuple(every) if share else task.validation,
            **(learning or {"inner_steps": None}),
        )
        curve = []
        after_a_tenth = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: curve.append(
                accuracy(model.network, *task.test)
            )
        )
        model.fit(
            train,
            epochs=10,
            steps_per_epoch=scenario.steps // 10,
            callbacks=[after_a_tenth],
            verbose=0,
        )
        return model, curve

    def train(self, *args, **kwargs) -> dict:
        """What one training ended with; arguments as of `fit`."""
        model, curve = self.fit(*args, **kwargs)
        return {**self._results(model), "curve": curve}

    def _results(self, model):
        task, built, weights = self.task, model.network, model.example_weights
        row = {
            part: accuracy(built, *getattr(task, part))
            for part in ("test", "validation")
        }
        logits = built.predict(task.unlabeled, batch_size=1000, verbose=0)
        labels = logits.argmax(-1) if task.given is None else task.given
        harmful = labels != task.truth
        scores = self._free_scores(built, logits, labels)
        if model.schedule.learns:
            scores["weight"] = weights
            scores["label quality"] = quality = model.label_quality
            for name, part in (("harmful", harmful), ("other", ~harmful)):
                if part.any():
                    row[f"{name} weight"] = float(weights[part].mean())
            row["doubted"] = int(np.count_nonzero(quality < 0.5))
            row["harmful"] = int(np.count_nonzero(harmful))
        for name, score in scores.items():
            row[f"AUROC of {name}"] = auroc(~harmful, score)
        return row

    def _free_scores(self, built, logits, labels):
        """What tells good from harmful examples without any influence."""
        log = logits - np.logaddexp.reduce(logits, -1, keepdims=True)
        head = keras.Model(built.inputs, built.layers[-1].input)

        def features(x):
            return head.predict(x, batch_size=1000, verbose=0)

        x, y = self.task.validation
        neighbors = KNeighborsClassifier(10).fit(features(x), y)
        shares = neighbors.predict_proba(features(self.task.unlabeled))
        rows = np.arange(len(labels))
        return {
            "confidence": np.exp(log.max(-1)),
            "small loss": log[rows, labels],
            "neighbors": shares[rows, labels],
        }


def _unlabeled_loss(scenario):
    confidence = {"FixMatch": 0.9, "PseudoLabel": 0.5}
    name = scenario.unlabeled_loss
    arguments = {"confidence": confidence[name]} if name in confidence else {}
    return getattr(ki.losses, name)(**arguments)


def accuracy(built, x, y):
    logits = built.predict(x, batch_size=1000, verbose=0)
    return float(np.mean(logits.argmax(-1) == y))


def auroc(good, score):
    if good.all() or not good.any():
        return None
    return float(roc_auc_score(good, score))
