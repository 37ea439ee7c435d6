"""A folder of images of any size, and a table of labels."""

import dataclasses
import pathlib
import unicodedata

import keras
import numpy as np
import pandas as pd
from PIL import Image, ImageOps

import keras_influence as ki
from applications.own.data import OwnData
from applications.own.records import Records, read_records
from keras_influence.data.checks import check_integer

SUFFIXES = (
    *(".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"),
    # Where Pillow does not read them, they are named as left out.
    *(".avif", ".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg"),
)
# What a network of a few layers can make use of, and a minute pays for.
LARGEST = 64


def own_images(
    seed: int,
    folder: str = "",
    labels: str = "",
    id: str = "file",
    label: str = "label",
    trusted: str = "trusted",
    trusted_share: float | None = None,
    size: int | None = None,
    flip: bool = True,
    strict: bool = False,
) -> OwnData:
    """Images in a folder; those that the table does not name have no label.

    Args:
        seed: int, seed of all draws.
        folder: str, the folder. Folders in it are searched too.
        labels: str, path of the table, CSV or Parquet.
        id: str, its column of paths in the folder. Defaults to `"file"`.
        label: str, its column of labels. Defaults to `"label"`.
        trusted: str, its column that says which labels somebody has checked.
            Defaults to `"trusted"`.
        trusted_share: float, the share of labels to trust where there is no
            such column. Defaults to `None`.
        size: int, the pixels of a side that the network sees. Defaults to
            `None`: of most images, at most 64.
        flip: bool, whether a mirrored image is of the same class. Defaults to
            `True`.
        strict: bool, whether a file that cannot be read is an error. Defaults
            to `False`: it is left out.
    """
    root = pathlib.Path(folder).expanduser()
    if not folder or not root.is_dir():
        raise ValueError(
            "`folder` must be a folder of images, as `--set folder=PHOTOS`. "
            f"Received: folder={folder!r}."
        )
    if size is not None:
        check_integer("size", size, 4)
    if not labels:
        raise ValueError(
            "Say which table has the labels, as `--set labels=labels.csv`."
        )
    records = read_records(labels, id, label, trusted, trusted_share, seed)
    found = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and path.is_file()
    )
    records = _with_paths_of(found, records, labels)
    records = _with_unnamed(records, found)
    images, skipped = [], []
    for name in records.ids:
        try:
            images.append(_read(root / name, size or LARGEST))
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as e:
            is_there = (root / name).is_file()
            reason = _reason(e) if is_there else "not in the folder"
            skipped.append((str(name), reason))
            images.append(None)
    _check(skipped, images, strict, root)
    kept = np.array([image is not None for image in images])
    images = [image for image in images if image is not None]
    if size is None:
        size = min(LARGEST, int(np.median([max(i.size) for i in images])))
    resize = keras.layers.Resizing(
        size, size, crop_to_aspect_ratio=True, antialias=True
    )
    # As the layer does it, and much faster one by one.
    x = np.stack(
        [
            ImageOps.fit(i, (size, size), Image.Resampling.BILINEAR)
            for i in images
        ]
    )
    return OwnData(
        records.take(kept),
        x,
        x,
        lambda network: _complete(network, resize),
        views=_views(flip, size),
        consistency="FixMatch",
        skipped=skipped,
    )


def _with_paths_of(found, records, path):
    """Paths as the folder has them: `a/b.png` for `./a/b.png`."""
    names = {_plain(name): name for name in found}
    plain = map(_plain, records.ids.tolist())
    ids = [names.get(name, names.get(name.strip(), name)) for name in plain]
    again = pd.Index(ids).duplicated()
    if again.any():
        raise ValueError(
            f"{path} must name each image once. Received: "
            f"{np.array(ids)[again][0]!s} more than once."
        )
    return dataclasses.replace(records, ids=np.array(ids, str))


def _plain(name):
    """A path by which those of other systems are the same.

    These separate folders by backslashes, or write an accent by itself.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    return pathlib.PurePosixPath(name).as_posix()


def _with_unnamed(records, found):
    """The rows of the table, then the images that it does not name."""
    unnamed = sorted(set(found) - set(records.ids))
    if not set(found) & set(records.ids):
        example = found[0] if found else "no image at all"
        raise ValueError(
            "The table names no image of the folder: its first row is "
            f"{str(records.ids[0])!r}, the folder has {example!r}. Give paths "
            "from the folder on, with suffix, and set `id` to their column."
        )
    more = len(unnamed)
    return Records(
        np.concatenate([records.ids, np.array(unnamed, str)]),
        np.concatenate([records.labels, np.full(more, "")]),
        np.concatenate([records.trusted, np.zeros(more, bool)]),
        pd.DataFrame(index=range(len(records.ids) + more)),
    )


def _read(path, size):
    """An image upright, in colours, and not much larger than needed."""
    with Image.open(path) as image:
        # Pillow has 16-bit PNGs as 32 bits, depending on its version.
        wide = image.mode.startswith("I;16") or image.format == "PNG"
        # Of a large JPEG, a smaller one is decoded.
        image.draft("RGB", (2 * size, 2 * size))
        image = ImageOps.exif_transpose(image)
        if image.mode[0] in "IF":
            # More than 8 bits a pixel, which a conversion would clip.
            image = Image.fromarray(_gray(image, wide))
        if "A" in image.mode or "transparency" in image.info:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert("RGB")
    return image


def _gray(image, wide):
    """Numbers of any range as 8 bits: of `wide` ones, 16 bits are the range."""
    values = np.nan_to_num(np.asarray(image, "float64"))
    low, high = values.min(), values.max()
    if wide:
        low, high = 0, 65535
    elif low >= 0 and high <= 255:
        low, high = 0, 1 if high <= 1 else 255
    values = (values - low) / max(high - low, 1e-12)
    return np.round(255 * values).clip(0, 255).astype("uint8")


def _complete(network, resize):
    pixels = keras.Input((None, None, 3), name="pixels")
    # By its own default it trains, and then the network in the model does.
    resized = resize(pixels, training=False)
    return keras.Model(pixels, network(resized))


def _views(flip, size):
    weak = ki.augmentation.WeakAugment(flip=flip, shift=max(1, size // 8))
    cutout = ki.augmentation.Cutout(size=max(1, size // 2))

    # `RandAugment` would take most of the minutes of so small a network.
    def strong(images, seed):
        return cutout(weak(images, seed=seed), seed=seed + 1)

    return {"weak": weak, "strong": strong}


def _reason(error):
    return str(error).partition("\n")[0][:200] or type(error).__name__


def _check(skipped, images, strict, root):
    if skipped and (strict or len(skipped) == len(images)):
        name, reason = skipped[0]
        raise ValueError(
            f"{len(skipped)} images cannot be read, {name} the first: "
            f"{reason}. Remove or replace them"
            f"{', or leave `strict` out to skip them' if strict else ''}. "
            f"Folder: {root}."
        )
