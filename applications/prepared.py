import pathlib

import tensorflow_datasets as tfds


def prepared(source: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    """The builder of a data set that is on disk.

    Without a folder of their own, TensorFlow Datasets download what they do
    not have; a folder that is given is taken at its word.

    Args:
        source: str, the name of a data set.
        data_dir: str, the folder of TensorFlow Datasets, or `None`: its own
            default.

    Raises:
        ValueError: if the folder that is given does not hold the data set, or
            there is none of that name.
    """
    if data_dir is not None:
        folder = pathlib.Path(data_dir).expanduser()
        name = source.partition(":")[0]
        if not name or not any((folder / name).rglob("dataset_info.json")):
            found = sorted(path.parents[1].name for path in _infos(folder))
            raise ValueError(
                f"The folder {folder} holds no data set {source!r}. Set "
                "`data_dir` to a folder with it, prepared by TensorFlow "
                f"Datasets. Found there: {', '.join(found) or 'none'}."
            )
    builder = tfds.builder(source, data_dir=data_dir)
    builder.download_and_prepare()
    return builder


def _infos(folder):
    """The files that say what a data set without a configuration is."""
    return folder.glob("*/*/dataset_info.json")
