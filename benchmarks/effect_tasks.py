"""Tasks in which unlabelled examples are unequal, on real data."""

import dataclasses

import numpy as np
import tensorflow_datasets as tfds
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import keras_influence as ki
from applications.networks import convolutional, mlp
from applications.task import Task
from applications.views import shift, shift_noise_cutout


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One row group of the table.

    Args:
        name: string, as the table shows it.
        data: string, a TFDS data set or `"digits"`.
        wrong: float, share of the given labels that are wrong, or `None`
            where no labels are given.
        by_class: boolean, whether wrong labels are the next class, else any
            other. Defaults to `False`.
        labeler: integer, the number of other examples that a linear
            classifier learns from, which then gives the labels; or `None`.
            Defaults to `None`.
        foreign: float, share of the unlabelled images from classes without a
            label. Defaults to `0.0`.
        unlabeled_loss: string, `"GivenLabels"`, `"FixMatch"`, `"UDA"` or
            `"PseudoLabel"`. Defaults to `"GivenLabels"`.
        sizes: pair of integers, labels and validation labels. Defaults to
            `(200, 1000)`.
        steps: integer, training steps. Defaults to `2000`.
    """

    name: str
    data: str
    wrong: float | None = None
    by_class: bool = False
    labeler: int | None = None
    foreign: float = 0.0
    unlabeled_loss: str = "GivenLabels"
    sizes: tuple = (200, 1000)
    steps: int = 2000

    @property
    def has_given_labels(self) -> bool:
        """Whether unlabelled examples come with labels, right or wrong."""
        return self.wrong is not None or self.labeler is not None

    @property
    def compares_views(self) -> bool:
        """Whether the unlabelled loss compares two views of an example."""
        return self.unlabeled_loss in ("FixMatch", "UDA")


def flipped(data, wrong, by_class=False, **arguments):
    """Labels of which some are wrong."""
    kind = "by class" if by_class else "at random"
    name = f"{data}, {wrong:.0%} of labels wrong {kind}"
    if not wrong:
        name = f"{data}, clean labels"
    return Scenario(name, data, wrong, by_class, **arguments)


def weakly_labeled(data, labeler, **arguments):
    """Labels of a classifier that learned from few: it errs systematically."""
    name = f"{data}, labels by a classifier that saw {labeler}"
    return Scenario(name, data, labeler=labeler, **arguments)


def mismatched(data, foreign, unlabeled_loss, **arguments):
    """Unlabelled images of which some are of other classes."""
    return Scenario(
        f"{data}, {unlabeled_loss}, {foreign:.0%} foreign",
        data,
        foreign=foreign,
        unlabeled_loss=unlabeled_loss,
        **{"sizes": (60, 240), "steps": 800, **arguments},
    )


def self_trained(data, foreign, sizes):
    """Few labels train, and the network labels the rest, sure or not."""
    train, judge = sizes
    name = f"{data}, pseudo-labels, {train} labels train, {judge} judge"
    if foreign:
        name += f", {foreign:.0%} foreign"
    return Scenario(
        name,
        data,
        foreign=foreign,
        unlabeled_loss="PseudoLabel",
        sizes=sizes,
        steps=1500,
    )


REVIEWS = {"sizes": (100, 400), "steps": 1000}
SMALL_IMAGES = {"sizes": (400, 1000), "steps": 1200}
UNLABELED_LOSSES = ("FixMatch", "UDA")
FOREIGN = (0.0, 0.3, 0.6)

SCENARIOS = [
    *(flipped("fashion_mnist", wrong) for wrong in (0.0, 0.2, 0.4, 0.6)),
    *(flipped("fashion_mnist", w, by_class=True) for w in (0.2, 0.4, 0.6)),
    *(flipped("cifar10", w, **SMALL_IMAGES) for w in (0.0, 0.2, 0.4, 0.6)),
    *(
        flipped("cifar10", wrong, by_class=True, **SMALL_IMAGES)
        for wrong in (0.2, 0.4, 0.6)
    ),
    *(flipped("imdb_reviews", w, **REVIEWS) for w in (0.0, 0.2, 0.4)),
    weakly_labeled("fashion_mnist", 50),
    weakly_labeled("imdb_reviews", 50, **REVIEWS),
    *(
        mismatched("fashion_mnist", foreign, loss)
        for loss in UNLABELED_LOSSES
        for foreign in FOREIGN
    ),
    *(
        mismatched("cifar10", foreign, loss, sizes=(300, 600))
        for loss in UNLABELED_LOSSES
        for foreign in FOREIGN
    ),
    *(
        self_trained(data, foreign, (6, 60))
        for data in ("digits", "fashion_mnist")
        for foreign in (0.0, 0.6)
    ),
]


def make(scenario: Scenario, seed: int, data_dir: str | None) -> Task:
    """The data of a scenario.

    Args:
        scenario: `Scenario`.
        seed: integer, seed of all draws.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
    """
    readers = {"imdb_reviews": _read_text, "digits": _read_digits}
    read = readers.get(scenario.data, _read_images)
    (x, y), (x_test, y_test) = read(scenario.data, data_dir)
    classes = y.max() + 1 if scenario.has_given_labels else 6
    truth = np.where(y < classes, y, -1)
    labeled, validation, rest = ki.data.split(truth, *scenario.sizes, seed=seed)
    random = np.random.default_rng(seed)
    rest = _mixed(random.permutation(rest), truth, scenario, random)
    given = None
    if scenario.labeler is not None:
        taught, rest = rest[: scenario.labeler], rest[scenario.labeler :]
        given = _by_labeler(scenario, x, y, taught, rest, seed)
    elif scenario.wrong is not None:
        given = _with_errors(truth[rest], classes, scenario, random)
    native = y_test < classes
    return Task(
        labeled=(x[labeled], y[labeled]),
        validation=(x[validation], y[validation]),
        test=(x_test[native], y_test[native]),
        unlabeled=x[rest],
        truth=truth[rest],
        given=given,
        harmful=None if given is None else given != truth[rest],
    )


def network(scenario: Scenario, task: Task):
    """A small network for the inputs of a scenario."""
    shape = task.unlabeled.shape[1:]
    classes = int(task.labeled[1].max()) + 1
    if scenario.data == "cifar10" or scenario.compares_views:
        return convolutional(shape, classes)
    units = (64,) if len(shape) == 1 else (512, 64)
    return mlp(shape, classes, units=units)


def views(scenario: Scenario) -> dict | None:
    """The views that the unlabelled loss compares."""
    if not scenario.compares_views:
        return None
    return {"weak": shift(1), "strong": shift_noise_cutout(2, 0.2, 5)}


def _mixed(rows, truth, scenario, random, most=8000):
    """Rows of which a share is foreign, in random order."""
    if scenario.has_given_labels:
        return rows
    native, foreign = rows[truth[rows] >= 0], rows[truth[rows] < 0]
    count = min(round(scenario.foreign * most), len(foreign))
    if count:
        share = scenario.foreign
        native = native[: round(count / share * (1 - share))]
    rows = np.concatenate([native[:most], foreign[:count]])
    return random.permutation(rows)


def _with_errors(truth, classes, scenario, random):
    wrong = random.permutation(len(truth)) < round(scenario.wrong * len(truth))
    by = 1 if scenario.by_class else random.integers(1, classes, len(truth))
    return np.where(wrong, (truth + by) % classes, truth)


def _by_labeler(scenario, x, y, taught, rest, seed):
    """What a linear classifier that learned from a few examples says."""
    flat = x.reshape(len(x), -1)
    labeler = LogisticRegression(max_iter=5000, random_state=seed)
    return labeler.fit(flat[taught], y[taught]).predict(flat[rest])


def _read_images(name, data_dir):
    """Images at half their size, so that two cores are enough."""
    return [(_halved(x), y) for x, y in load(name, data_dir)]


def _read_digits(name, data_dir):
    """scikit-learn's, 500 of them for testing."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    x, x_test, y, y_test = train_test_split(x, y, test_size=500, random_state=0)
    return (x, y), (x_test, y_test)


def _read_text(name, data_dir):
    """Words as TF-IDF features."""
    (x, y), (x_test, y_test) = load(name, data_dir)
    words = TfidfVectorizer(max_features=2000, sublinear_tf=True)
    x = words.fit_transform(t.decode() for t in x)
    x_test = words.transform(t.decode() for t in x_test)
    # Rows of norm 1 in 2,000 dimensions: scaled, so that layers see numbers.
    return [
        (20 * part.toarray().astype("float32"), labels)
        for part, labels in ((x, y), (x_test, y_test))
    ]


def load(name: str, data_dir: str | None) -> list:
    """The training and test examples of a TFDS data set, as arrays.

    Args:
        name: string.
        data_dir: string, the folder of TensorFlow Datasets, or `None`.
    """
    return tfds.as_numpy(
        tfds.load(
            name,
            split=["train", "test"],
            data_dir=data_dir,
            batch_size=-1,
            as_supervised=True,
        )
    )


def _halved(images):
    n, height, width, channels = images.shape
    pairs = images.reshape(n, height // 2, 2, width // 2, 2, channels)
    return pairs.mean((2, 4)).astype("float32") / 255
