"""Real and synthetic data, each as one `Task`."""

import dataclasses

import numpy as np
import sklearn.datasets
import sklearn.model_selection
import tensorflow_datasets as tfds

import keras_influence as ki
from applications.images import images
from applications.own.images import own_images
from applications.own.tables import own_table
from applications.own.texts import own_texts
from applications.prepared import prepared
from applications.task import Task
from applications.text import texts

__all__ = [
    "digits",
    "fashion_mnist",
    "images",
    "own_images",
    "own_table",
    "own_texts",
    "texts",
    "two_moons",
    "two_strips",
]


def digits(
    seed: int,
    labeled: int = 50,
    validation: int = 150,
    test: int = 400,
    wrong_labels: float | None = None,
    foreign_classes: int = 0,
) -> Task:
    """Handwritten digits of 8 x 8 pixels from scikit-learn.

    Args:
        seed: int, seed of all draws.
        labeled: int, number of trusted labels. Defaults to `50`.
        validation: int, size of the validation set. Defaults to `150`.
        test: int, size of the test set. Defaults to `400`.
        wrong_labels: float, share of wrong labels among those given to the
            other images. Defaults to `None`: no labels are given.
        foreign_classes: int, the last so many classes occur among the
            unlabelled images only. Defaults to `0`.
    """
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).astype("float32") / 16
    x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(
        x, y, test_size=test, random_state=seed, stratify=y
    )
    task = _without_classes(
        (x_train, y_train),
        (x_test, y_test),
        (labeled, validation),
        foreign_classes,
        seed,
    )
    return _with_labels(task, wrong_labels, seed)


def fashion_mnist(
    seed: int,
    data_dir: str | None = None,
    labeled: int = 200,
    validation: int = 1000,
    wrong_labels: float | None = None,
    foreign_classes: int = 0,
) -> Task:
    """Fashion-MNIST from TensorFlow Datasets.

    Args:
        seed: int, seed of all draws.
        data_dir: str, the folder of TensorFlow Datasets. Defaults to `None`:
            its own default.
        labeled: int, number of trusted labels. Defaults to `200`.
        validation: int, size of the validation set. Defaults to `1000`.
        wrong_labels: float, share of wrong labels among those given to the
            other images. Defaults to `None`: no labels are given.
        foreign_classes: int, the last so many classes occur among the
            unlabelled images only. Defaults to `0`.
    """
    builder = prepared("fashion_mnist", data_dir)
    parts = builder.as_dataset(
        split=["train", "test"], batch_size=-1, as_supervised=True
    )
    train, test = (
        (x.astype("float32") / 255, y) for x, y in tfds.as_numpy(parts)
    )
    task = _without_classes(
        train, test, (labeled, validation), foreign_classes, seed
    )
    names = builder.info.features["label"].names
    task = dataclasses.replace(task, names=names)
    return _with_labels(task, wrong_labels, seed)


def two_moons(
    seed: int,
    labeled: int = 6,
    validation: int = 20,
    test: int = 1000,
    unlabeled: int = 300,
    noise: float = 0.1,
) -> Task:
    """Two interleaved half circles in the plane.

    Args:
        seed: int, seed of all draws.
        labeled: int, number of labelled points. Defaults to `6`.
        validation: int, size of the validation set. Defaults to `20`.
        test: int, size of the test set. Defaults to `1000`.
        unlabeled: int, number of unlabelled points. Defaults to `300`.
        noise: float, standard deviation of the points' distance from the half
            circles. Defaults to `0.1`.
    """
    x, y = sklearn.datasets.make_moons(
        labeled + validation + unlabeled + test, noise=noise, random_state=seed
    )
    return _plane(x - [0.5, 0.25], y, (labeled, validation), test, seed)


def two_strips(
    seed: int,
    labeled: int = 4,
    validation: int = 20,
    test: int = 1000,
    unlabeled: int = 300,
    noise: float = 0.3,
) -> Task:
    """Two parallel strips in the plane; a straight line separates them.

    Args:
        seed: int, seed of all draws.
        labeled: int, number of labelled points. Defaults to `4`.
        validation: int, size of the validation set. Defaults to `20`.
        test: int, size of the test set. Defaults to `1000`.
        unlabeled: int, number of unlabelled points. Defaults to `300`.
        noise: float, standard deviation of the points' distance from the
            middle of their strip; the strips are 2 apart. Defaults to `0.3`.
    """
    random = np.random.default_rng(seed)
    n = labeled + validation + unlabeled + test
    y = random.permutation(n) % 2
    across = 2 * y - 1 + noise * random.normal(size=n)
    along = random.uniform(-2, 2, n)
    x = np.stack([across, along], axis=1)
    return _plane(x, y, (labeled, validation), test, seed)


def _plane(x, y, sizes, test, seed):
    x, y = x.astype("float32"), y.astype("int64")
    train, test = (x[test:], y[test:]), (x[:test], y[:test])
    return _without_classes(train, test, sizes, 0, seed)


def _without_classes(train, test, sizes, foreign_classes, seed):
    """Divides the data; the last classes keep no labels and no test images."""
    (x, y), (x_test, y_test) = train, test
    classes = y.max() + 1 - foreign_classes
    if not 2 <= classes <= y.max() + 1:
        raise ValueError(
            f"`foreign_classes` must leave two of the {y.max() + 1} classes. "
            f"Received: foreign_classes={foreign_classes}."
        )
    truth = np.where(y < classes, y, -1)
    labeled, validation, unlabeled = ki.data.split(truth, *sizes, seed=seed)
    known = y_test < classes
    return Task(
        labeled=(x[labeled], truth[labeled]),
        validation=(x[validation], truth[validation]),
        test=(x_test[known], y_test[known]),
        unlabeled=x[unlabeled],
        truth=truth[unlabeled],
        harmful=truth[unlabeled] < 0 if foreign_classes else None,
    )


def _with_labels(task, wrong_labels, seed):
    """Gives the unlabelled examples labels of which some are wrong."""
    if wrong_labels is None:
        return task
    if not 0 <= wrong_labels <= 1:
        raise ValueError(
            "`wrong_labels` must be a share between 0 and 1. "
            f"Received: wrong_labels={wrong_labels}."
        )
    random = np.random.default_rng(seed)
    n, classes = len(task.truth), task.labeled[1].max() + 1
    wrong = random.permutation(n) < round(wrong_labels * n)
    harmful = wrong | (task.truth < 0)
    other = (task.truth + random.integers(1, classes, n)) % classes
    given = np.where(harmful, other, task.truth)
    return dataclasses.replace(task, given=given, harmful=harmful)
