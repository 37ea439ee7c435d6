"""Image data sets by name, or folders of images, as a `Task`."""

import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

import keras_influence as ki
from applications.prepared import prepared
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
        test: int, at most how many test images, the first ones. Defaults to
            `None`: all.
        balanced: bool, whether labelled and validation images are spread
            evenly over the classes. Defaults to `True`.
        known_classes: sequence of int, the only classes with labels, which
            become 0, 1, .. in this order. Defaults to `None`: all.
        mismatch: float in [0, 1], the share of the unlabelled images that are
            of other classes. It needs `unlabeled`. Defaults to `None`: all
            unlabelled images as they come.

    Raises:
        ValueError: if the data set is unknown or not in the folder given, has
            too few images, images of several sizes or files that are none.
    """
    (x, y, ids), (x_test, y_test, _), names = _load(source, data_dir)
    if known_classes is not None:
        y, y_test = (_renumbered(of, known_classes) for of in (y, y_test))
        names = names and [names[k] for k in known_classes]
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
        names=names,
    )


def _load(source, data_dir):
    """Images, labels and ids of both splits, and the classes' names."""
    if pathlib.Path(source).expanduser().is_dir():
        builder, name = tfds.ImageFolder(source), "image/filename"
    else:
        builder, name = prepared(source, data_dir), "tfds_id"
    for part, parts in (
        *(("image", builder.info.features), ("label", builder.info.features)),
        *(("train", builder.info.splits), ("test", builder.info.splits)),
    ):
        if part not in parts:
            raise ValueError(
                f"{source!r} must have images and labels, in the splits "
                f"`train` and `test`. It has no {part!r}, but {list(parts)}."
            )
    train, test = (_arrays(builder, split, name) for split in ("train", "test"))
    _check_sizes(*((id, x[0]) for x, _, (id, *_) in (train, test)))
    names = getattr(builder.info.features["label"], "names", None)
    return train, test, names


def _arrays(builder, split, name):
    """Images, labels and ids of a split."""
    several = None in builder.info.features["image"].shape
    part = builder.as_dataset(
        split=split,
        # One batch would fill up smaller images with zeros.
        batch_size=None if several else -1,
        read_config=tfds.ReadConfig(add_tfds_id=True),
    )
    rows = tfds.as_numpy(part)
    part = _stacked(rows, name, builder) if several else rows
    return part["image"], part["label"], part[name].astype(str)


def _stacked(rows, name, builder):
    """The rows of a data set whose images must turn out to be of one size."""
    parts = []
    try:
        for row in rows:
            parts.append(row)
            _check_sizes(*((r[name], r["image"]) for r in (parts[0], row)))
    except tf.errors.InvalidArgumentError as error:
        bad = _unreadable(builder) or "An image"
        raise ValueError(
            f"{bad} cannot be read as an image. Remove or replace it."
        ) from error
    return {key: np.stack([row[key] for row in parts]) for key in parts[0]}


def _check_sizes(first, other):
    """Refuses two images, each with its id, of different sizes."""
    (a, x), (b, y) = first, other
    if x.shape != y.shape:
        names = (n.decode() if isinstance(n, bytes) else n for n in (a, b))
        sizes = (" x ".join(map(str, image.shape[:2])) for image in (x, y))
        (a, b), (x, y) = names, sizes
        raise ValueError(
            f"All images must have one size. {a} has {x} pixels, {b} has {y}. "
            "Resize them first."
        )


def _unreadable(builder):
    """The first file of a folder that is no image."""
    decode = builder.info.features["image"].decode_example
    for path in sorted(pathlib.Path(builder.data_dir).glob("*/*/*")):
        try:
            if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
                decode(path.read_bytes())
        except tf.errors.OpError:
            return path
    return None


def _renumbered(y, known_classes):
    """Labels as places in `known_classes`, -1 for other classes."""
    known = np.array(known_classes)
    if known.ndim != 1 or not np.isin(known, y).all():
        raise ValueError(
            f"`known_classes` must list classes from 0 to {y.max()}. "
            f"Received: known_classes={known_classes}."
        )
    places = np.full(y.max() + 1, -1)
    places[known] = range(len(known))
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
