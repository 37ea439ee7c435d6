"""Image data sets by name, or folders of images, as a `Task`."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow_datasets as tfds

import keras_influence as ki
from applications.task import Task


def images(
    seed: int,
    source: str,
    data_dir: str | None = None,
    labeled: int = 4000,
    validation: int = 1024,
    unlabeled: int | None = None,
    test: int | None = None,
    balanced: bool = True,
    known_classes: Sequence[int] | None = None,
    mismatch: float | None = None,
) -> Task:
    """Images of a classification data set, `uint8`, with stable ids.

    As in UDA and FixMatch the labelled images are among the unlabelled ones;
    the validation images are not.

    Args:
        seed: int, seed of all draws.
        source: str, the name of an image data set of TensorFlow Datasets with
            the splits `train` and `test`, such as `"cifar10"`; or the path of
            a folder with images of one size, `train/CLASS/x.png` and
            `test/CLASS/x.png`.
        data_dir: str, the folder of TensorFlow Datasets. Defaults to `None`:
            its own default.
        labeled: int, number of trusted labels. Defaults to `4000`.
        validation: int, size of the validation set. Defaults to `1024`.
        unlabeled: int, number of unlabelled images, drawn. Defaults to
            `None`: all but the validation images.
        test: int, number of test images, the first ones. Defaults to `None`:
            all.
        balanced: bool, whether labelled and validation images are spread
            evenly over the classes. Defaults to `True`.
        known_classes: sequence of int, the only classes with labels, which
            become 0, 1, .. in this order. Defaults to `None`: all.
        mismatch: float in [0, 1], the share of the unlabelled images that are
            of other classes. It needs `unlabeled`. Defaults to `None`: all
            unlabelled images as they come.

    Raises:
        ValueError: if the data set is unknown or has too few images.
    """
    (x, y, ids), (x_test, y_test, _) = _load(source, data_dir)
    if known_classes is not None:
        y, y_test = (_renumbered(of, known_classes) for of in (y, y_test))
    known = np.flatnonzero(y_test >= 0)[:test]
    rows = ki.data.split(
        *(y, labeled, validation),
        unlabeled=unlabeled if mismatch is None else None,
        seed=seed,
        balanced=balanced,
        include_labeled=True,
    )._asdict()
    if mismatch is not None:
        rows["unlabeled"] = _mixed(
            rows["unlabeled"], y, unlabeled, mismatch, seed
        )
    truth = y[rows["unlabeled"]]
    return Task(
        labeled=(x[rows["labeled"]], y[rows["labeled"]]),
        validation=(x[rows["validation"]], y[rows["validation"]]),
        test=(x_test[known], y_test[known]),
        unlabeled=x[rows["unlabeled"]],
        truth=truth,
        harmful=None if mismatch is None else truth < 0,
        splits={name: ids[of_set] for name, of_set in rows.items()},
    )


def _load(source, data_dir):
    """Images, labels and ids of the training and of the test split."""
    arguments = {"split": ["train", "test"], "batch_size": -1}
    if pathlib.Path(source).expanduser().is_dir():
        builder = tfds.ImageFolder(source)
        parts, name = builder.as_dataset(**arguments), "image/filename"
    else:
        config = tfds.ReadConfig(add_tfds_id=True)
        arguments |= {"data_dir": data_dir, "read_config": config}
        parts, name = tfds.load(source, **arguments), "tfds_id"
    return [
        (part["image"], part["label"], part[name].astype(str))
        for part in tfds.as_numpy(parts)
    ]


def _renumbered(y, known_classes):
    """Labels as places in `known_classes`, -1 for other classes."""
    places = np.full(y.max() + 1, -1)
    places[list(known_classes)] = range(len(known_classes))
    return places[y]


def _mixed(rows, y, size, mismatch, seed):
    """`size` rows, a share `mismatch` of which has no known class."""
    if size is None or not 0 <= mismatch <= 1:
        raise ValueError(
            "`mismatch` must be a share between 0 and 1, and needs a number of "
            f"images. Received: mismatch={mismatch}, unlabeled={size}."
        )
    rows = np.random.RandomState(seed).permutation(rows)
    foreign = round(mismatch * size)
    counts = {True: foreign, False: size - foreign}
    parts = [rows[(y[rows] < 0) == kind] for kind in counts]
    for part, count in zip(parts, counts.values(), strict=True):
        if len(part) < count:
            raise ValueError(
                f"{count} images of one kind are needed, there are "
                f"{len(part)}. Received: mismatch={mismatch}, "
                f"unlabeled={size}."
            )
    kept = zip(parts, counts.values(), strict=True)
    return np.sort(np.concatenate([part[:count] for part, count in kept]))
