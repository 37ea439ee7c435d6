import csv

import numpy as np
import pytest
from PIL import Image

from applications.images import _load, images
from applications.task import write_splits


@pytest.fixture(scope="module")
def task(tfds_dir):
    return images(
        0, "cifar10", tfds_dir, labeled=40, validation=64, unlabeled=300
    )


@pytest.fixture
def folder(tmp_path):
    """Images whose red channel is their number, 10 a class and split."""
    for split in ("train", "test"):
        for label in ("ant", "bee", "cat", "dog"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(10):
                color = (i, 50 * ["ant", "bee", "cat", "dog"].index(label), 0)
                image = Image.new("RGB", (8, 6), color)
                image.save(tmp_path / split / label / f"{i}.png")
    return tmp_path


def test_sets_of_cifar10(task):
    labeled, validation, unlabeled = (
        set(task.splits[name])
        for name in ("labeled", "validation", "unlabeled")
    )
    assert (len(labeled), len(validation), len(unlabeled)) == (40, 64, 300)
    assert not validation & (labeled | unlabeled)
    assert task.unlabeled.shape == (300, 32, 32, 3)
    assert task.unlabeled.dtype == "uint8"
    assert np.bincount(task.labeled[1]).tolist() == [4] * 10
    assert len(task.test[1]) == 2000
    assert task.harmful is None
    assert task.class_names[:2] == ["airplane", "automobile"]


def test_an_id_names_the_same_image_whatever_the_seed(task, tfds_dir):
    other = images(5, "cifar10", tfds_dir, labeled=40, validation=64, test=100)
    place = {name: i for i, name in enumerate(other.splits["unlabeled"])}
    shared = [i for i, x in enumerate(task.splits["unlabeled"]) if x in place]
    assert len(shared) > 250
    for i in shared:
        j = place[task.splits["unlabeled"][i]]
        np.testing.assert_array_equal(task.unlabeled[i], other.unlabeled[j])
    assert set(other.splits["labeled"]) <= set(place)
    assert len(other.unlabeled) == 12_000 - 64
    assert len(other.test[1]) == 100


def test_a_folder_of_images_and_their_files(folder):
    task = images(0, str(folder), labeled=8, validation=4)
    assert len(task.unlabeled) == 36
    rows = zip(
        task.splits["unlabeled"], task.unlabeled, task.truth, strict=True
    )
    for path, image, label in rows:
        np.testing.assert_array_equal(image, np.asarray(Image.open(path)))
        assert image[0, 0, 1] == 50 * label


@pytest.mark.parametrize("mismatch", [0.0, 0.25, 1.0])
def test_a_share_of_the_unlabelled_images_is_foreign(folder, mismatch):
    task = images(
        *(0, str(folder)),
        **{"labeled": 4, "validation": 2, "unlabeled": 12},
        **{"known_classes": [3, 1], "mismatch": mismatch},
    )
    assert task.harmful.sum() == round(12 * mismatch)
    np.testing.assert_array_equal(task.harmful, task.truth < 0)
    for x, y in (task.labeled, task.validation, task.test):
        np.testing.assert_array_equal(x[:, 0, 0, 1], np.array([150, 50])[y])
    assert task.class_names == ["dog", "bee"]
    assert len(task.test[1]) == 20
    assert not set(task.splits["validation"]) & set(task.splits["unlabeled"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mismatch": 1.5}, "between 0 and 1.*mismatch=1.5"),
        ({"unlabeled": None}, "needs a number"),
        ({"unlabeled": 50}, "25 images of one kind are needed, there are 20"),
    ],
)
def test_bad_mismatches(folder, settings, message):
    arguments = {"unlabeled": 12, "mismatch": 0.5, "known_classes": [0, 1]}
    with pytest.raises(ValueError, match=message):
        images(
            *(0, str(folder)), labeled=4, validation=2, **arguments | settings
        )


def test_unknown_data_sets(tmp_path):
    with pytest.raises(ValueError, match="cifar1000"):
        images(0, "cifar1000", str(tmp_path))


def test_splits_join_weights_to_files(folder, tmp_path):
    task = images(0, str(folder), labeled=8, validation=4)
    write_splits(task, tmp_path)
    with (tmp_path / "splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 + 4 + 36
    ids = [row["id"] for row in rows if row["set"] == "unlabeled"]
    assert ids == list(task.splits["unlabeled"])
    assert [row["index"] for row in rows][-1] == "35"


@pytest.mark.parametrize("split", ["train", "test"])
def test_images_of_several_sizes(folder, split):
    odd = folder / split / "bee" / "odd.png"
    Image.new("RGB", (9, 7)).save(odd)
    with pytest.raises(ValueError, match="must have one size") as error:
        images(0, str(folder), labeled=8, validation=4)
    message = str(error.value)
    assert f"{odd} has 7 x 9" in message
    assert ".png has 6 x 8" in message


def test_splits_of_two_sizes(folder):
    for path in folder.glob("test/*/*"):
        Image.new("RGB", (9, 7)).save(path)
    with pytest.raises(ValueError, match="must have one size"):
        _load(str(folder), None)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_image(folder, data):
    bad = folder / "train" / "cat" / "bad.png"
    bad.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.png cannot be read"):
        _load(str(folder), None)


def test_a_folder_without_a_test_split(folder):
    (folder / "test").rename(folder / "dev")
    with pytest.raises(ValueError, match=r"has no 'test', but \['dev', 'tr"):
        _load(str(folder), None)


@pytest.mark.parametrize("known", [[0, 99], [-1], 3, [0.5]])
def test_classes_that_are_not_there(folder, known):
    with pytest.raises(ValueError, match="`known_classes` must list"):
        images(0, str(folder), labeled=4, validation=2, known_classes=known)


def test_ids_that_a_spreadsheet_would_run(folder, tmp_path):
    task = images(0, str(folder), labeled=8, validation=4)
    ids = task.splits["labeled"].astype(object)
    task.splits["labeled"] = np.array(["=1+1", *ids[1:]], object)
    write_splits(task, tmp_path)
    with (tmp_path / "splits.csv").open() as file:
        assert next(csv.DictReader(file))["id"] == "'=1+1"
