import pathlib
import re

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from applications.own.images import own_images


def picture(size=(20, 20), mode="RGB", left=(255, 0, 0), right=(0, 0, 255)):
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, right)
    image.paste(left, (0, 0, size[0] // 2, size[1]))
    return image.convert(mode)


@pytest.fixture
def folder(tmp_path):
    """A function that writes pictures and a table of labels."""
    root = tmp_path / "photos"

    def write(pictures, labels=None):
        for name, image in pictures.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
        names = list(pictures)
        table = pd.DataFrame(
            {
                "file": names,
                "label": labels or ["ab"[k % 2] for k in range(len(names))],
                "trusted": [k < 2 for k in range(len(names))],
            }
        )
        table.to_csv(tmp_path / "labels.csv", index=False)
        return {"folder": str(root), "labels": str(tmp_path / "labels.csv")}

    return write


def test_images_of_any_kind(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # To be turned by a quarter, clockwise.
    turned = picture((30, 20)).rotate(90, expand=True)
    turned.info["exif"] = exif.tobytes()
    pictures = {
        "a.png": picture(),
        "b.JPG": picture((40, 20)),
        "deep/er/c.Jpeg": picture((20, 60)),
        "palette.gif": picture(mode="P"),
        "alpha.png": picture(mode="RGBA"),
        "grey.webp": picture(mode="L"),
        "one.bmp": picture(mode="1"),
        "cmyk.tiff": picture(mode="CMYK"),
        "sixteen.png": Image.fromarray(np.full((20, 20), 40_000, "uint16")),
    }
    arguments = folder(pictures)
    turned.save(f"{arguments['folder']}/turned.jpg", exif=exif, quality=95)
    data = own_images(0, **arguments, size=20)
    assert data.x.shape == (10, 20, 20, 3)
    assert data.x.dtype == "uint8"
    rows = dict(zip(data.ids, data.x.astype(int), strict=True))
    for name in ("a.png", "b.JPG", "deep/er/c.Jpeg", "alpha.png", "turned.jpg"):
        left, right = rows[name][:, 3].mean(0), rows[name][:, -4].mean(0)
        assert left[0] > 200, name
        assert left[2] < 50, name
        assert right[2] > 200, name
    assert np.all(abs(rows["sixteen.png"] - 40_000 / 257) <= 1)
    # The table does not name it: it has no label.
    assert data.labels[data.ids == "turned.jpg"].tolist() == [-1]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("float32", 0, 1),
        ("float32", 0, 255),
        ("float32", -3, 2),
        ("int32", 0, 255),
        ("int32", 0, 70_000),
        ("uint16", 0, 65_535),
    ],
)
def test_more_than_eight_bits(folder, dtype, low, high):
    ramp = np.linspace(low, high, 400).reshape(20, 20)
    image = Image.fromarray(ramp.astype(dtype))
    arguments = folder({f"{k}.tif": image for k in range(3)})
    found = own_images(0, **arguments, size=20).x[0, ..., 0].astype(int)
    expected = np.linspace(0, 255, 400).reshape(20, 20)
    assert np.abs(found - expected).max() <= 2


def test_paths_that_are_written_otherwise(folder):
    arguments = folder({f"{k}.png": picture() for k in range(4)})
    path = pathlib.Path(arguments["labels"])
    path.write_text(path.read_text().replace("1.png", "./1.png"))
    assert own_images(0, **arguments).ids.tolist() == [
        *("0.png", "1.png", "2.png", "3.png")
    ]
    path.write_text(path.read_text().replace("2.png", "1.png"))
    with pytest.raises(ValueError, match=r"once. Received: 1\.png"):
        own_images(0, **arguments)


def test_paths_of_other_systems(folder):
    """Backslashes, and accents that are written by themselves."""
    names = ["deep/0.png", "u\u0308.png", "\u00f6.png", "plain.png"]
    arguments = folder(dict.fromkeys(names, picture()))
    path = pathlib.Path(arguments["labels"])
    text = path.read_text().replace("deep/", "deep\\")
    text = text.replace("u\u0308", "\u00fc").replace("\u00f6", "o\u0308")
    path.write_text(text)
    data = own_images(0, **arguments)
    assert sorted(data.ids.tolist()) == sorted(names)
    assert (data.labels >= 0).all()


def test_blanks_around_paths(folder):
    arguments = folder({"a.png": picture(), "b c.png": picture()}, ["a", "b"])
    path = pathlib.Path(arguments["labels"])
    table = pd.read_csv(path)
    table["file"] = "  " + table["file"] + " "
    table.loc[2] = [" d.png", "a", False]
    table.to_csv(path, index=False)
    # One with a blank in its name is itself.
    picture().save(f"{arguments['folder']}/ d.png")
    data = own_images(0, **arguments)
    assert sorted(data.ids) == [" d.png", "a.png", "b c.png"]
    assert data.labels[data.ids == " d.png"] == [0]


def test_what_is_transparent_is_white(folder):
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    data = own_images(
        0, **folder({"a.png": clear, "b.png": clear, "c.png": clear})
    )
    assert np.all(data.x == 255)


def test_the_size_of_most(folder):
    sizes = [(16, 12)] * 3 + [(300, 200)]
    pictures = {f"{k}.png": picture(size) for k, size in enumerate(sizes)}
    assert own_images(0, **folder(pictures)).x.shape[1:] == (16, 16, 3)
    large = {f"{k}.png": picture((300, 200)) for k in range(4)}
    assert own_images(0, **folder(large)).x.shape[1:] == (64, 64, 3)


def test_what_cannot_be_read_is_named_and_left_out(folder):
    arguments = folder({f"{k}.png": picture() for k in range(5)})
    root = pathlib.Path(arguments["folder"])
    data = (root / "1.png").read_bytes()
    (root / "2.png").write_bytes(data[: len(data) // 2])
    (root / "broken.jpg").write_bytes(b"no image")
    (root / "notes.txt").write_text("no image either")
    (root / "phone.HEIC").write_bytes(b"of a kind that Pillow does not read")
    with open(arguments["labels"], "a") as file:
        file.write("gone.png,a,False\n")
    data = own_images(0, **arguments)
    reasons = dict(data.skipped)
    assert set(reasons) == {"2.png", "broken.jpg", "gone.png", "phone.HEIC"}
    assert reasons["gone.png"] == "not in the folder"
    assert data.ids.tolist() == ["0.png", "1.png", "3.png", "4.png"]
    assert len(data.x) == len(data.labels) == 4
    with pytest.raises(ValueError, match=r"4 images cannot be read, 2\.png"):
        own_images(0, **arguments, strict=True)


def test_the_finished_network_takes_images_as_they_are(folder):
    import keras

    data = own_images(
        0, **folder({f"{k}.png": picture() for k in range(3)}), size=10
    )
    network = keras.Sequential(
        [keras.Input((10, 10, 3)), keras.layers.Flatten()]
    )
    image = np.asarray(picture((40, 20)))
    found = data.complete(network).predict(image[None], verbose=0)
    assert found.shape == (1, 300)
    expected = own_images(
        0, **folder({f"{k}.png": picture((40, 20)) for k in range(3)}), size=10
    )
    np.testing.assert_allclose(found[0], expected.x[0].ravel(), atol=3)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"folder": ""}, "`folder` must be a folder of images"),
        ({"folder": "/no/such"}, "Received: folder='/no/such'"),
        ({"labels": ""}, "`--set labels=labels.csv`"),
        ({"size": 0}, "`size` must be an integer of at least 4"),
        ({"size": "abc"}, "size='abc'"),
        ({"id": "label", "label": "file"}, "unique"),
    ],
)
def test_careless_settings(folder, changes, expected):
    arguments = folder({f"{k}.png": picture() for k in range(3)})
    with pytest.raises((ValueError, OSError), match=re.escape(expected)):
        own_images(0, **{**arguments, **changes})


def test_a_table_of_other_names(folder, tmp_path):
    arguments = folder({f"{k}.png": picture() for k in range(3)})
    (tmp_path / "labels.csv").write_text("file,label,trusted\nx/0,a,1\n1,b,1\n")
    with pytest.raises(
        ValueError, match=r"first row is 'x/0', the folder has '0.png'"
    ):
        own_images(0, **arguments)


def test_all_trusted(folder):
    arguments = folder({f"{k}.png": picture() for k in range(2)})
    with pytest.raises(ValueError, match="nothing whose weight"):
        own_images(0, **arguments)


def test_the_finished_network_does_not_drop_out(folder, tmp_path):
    """However it is called: `Resizing` says by default that it trains."""
    data = own_images(0, **folder({f"{k}.png": picture() for k in range(4)}))
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(data.x.shape[1:]),
            *(layers.Flatten(), layers.Dropout(0.5), layers.Dense(2)),
        ]
    )
    data.complete(network).save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    pixels = np.random.RandomState(0).randint(0, 256, (2, 30, 20, 3))
    expected = loaded.predict(pixels, verbose=0)
    np.testing.assert_allclose(loaded(pixels), expected, rtol=1e-5)
    training = loaded(pixels, training=True)
    assert not np.allclose(training, expected, rtol=1e-2)
