import re

import keras
import numpy as np
import pandas as pd
import pytest

from applications.own.results import in_words
from applications.own.tables import own_table

N = 12


def write(folder, **columns):
    table = {
        "label": ["yes", "no"] * (N // 2),
        "trusted": [True] * 6 + [False] * 6,
        "age": [str(20 + k) for k in range(N - 1)] + [""],
        "town": ["Bonn", "Ulm", ""] * (N // 3),
        **columns,
    }
    path = folder / "a.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return str(path)


def test_numbers_and_categories(tmp_path):
    data = own_table(0, write(tmp_path))
    assert data.x.shape[0] == N
    ages = [column for column in data.x.T if len(np.unique(column)) > 3]
    assert len(ages) == 1
    np.testing.assert_allclose(ages[0].mean(), 0, atol=1e-5)
    # The last age is not known: the median.
    assert ages[0][-1] == pytest.approx(np.median(ages[0][:-1]))
    towns = data.x[:, [len(np.unique(c)) == 2 for c in data.x.T]]
    np.testing.assert_array_equal(towns.sum(1), 1)
    assert list(data.shown.columns) == ["age", "town"]


def test_numbers_that_are_categories(tmp_path):
    zips = ["53111", "89073"] * (N // 2)
    path = write(tmp_path, zip=zips)
    narrow = own_table(0, path, ignore="zip").x.shape[1]
    assert own_table(0, path).x.shape[1] == narrow + 1
    assert own_table(0, path, categories=" zip ").x.shape[1] >= narrow + 2


def test_texts_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("applications.own.tables.VALUES", 5)
    data = own_table(0, write(tmp_path, name=[f"name {k}" for k in range(N)]))
    reason = "a column of 12 different texts, as 'name 0'"
    assert data.skipped == [("name", reason)]
    assert "name" not in data.shown


def test_the_finished_network_takes_rows(tmp_path):
    data = own_table(0, write(tmp_path))
    network = keras.Sequential(
        [keras.Input(data.x.shape[1:]), keras.layers.Dense(2)]
    )
    model = data.complete(network)
    found = model.predict(
        {
            "age": np.array([[20.0], [21.0]], "float32"),
            "town": keras.ops.convert_to_tensor([["Bonn"], ["Ulm"]]),
        },
        verbose=0,
    )
    expected = network.predict(data.x[:2], verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_categories_that_a_line_cannot_hold_can_be_saved(tmp_path):
    towns = ["Bonn"] * 4 + ["Ulm"] * 4 + ["Bad\nEms"] * 3 + [""]
    data = own_table(0, write(tmp_path, town=towns), ignore="age")
    network = keras.Sequential(
        [keras.Input(data.x.shape[1:]), keras.layers.Dense(2)]
    )
    data.complete(network).save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    inputs = {"town": keras.ops.convert_to_tensor(towns)[:, None]}
    found = loaded.predict(inputs, verbose=0)
    expected = network.predict(data.x, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("unknown", ["", " NA ", "n/a", "NaN", "null", "-"])
def test_a_number_that_is_not_known_is_the_median(tmp_path, unknown):
    ages = [*(str(20 + k) for k in range(N - 1)), unknown]
    data = own_table(0, write(tmp_path, age=ages))
    same = own_table(0, write(tmp_path, age=[*ages[:-1], "25"]))
    np.testing.assert_allclose(data.x, same.x, atol=1e-5)
    network = keras.Sequential(
        [keras.Input(data.x.shape[1:]), keras.layers.Dense(2)]
    )
    data.complete(network).save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    inputs = {
        "age": np.array([[np.nan], [25.0]], "float32"),
        "town": keras.ops.convert_to_tensor([["Bonn"], ["Bonn"]]),
    }
    missing, median = loaded.predict(inputs, verbose=0)
    np.testing.assert_array_equal(missing, median)


@pytest.mark.parametrize("other", ["1,234", "12a", "1e39", "inf"])
def test_a_number_that_is_none(tmp_path, other):
    ages = [*(str(20 + k) for k in range(N - 1)), other]
    path = write(tmp_path, age=ages)
    with pytest.raises(ValueError, match=f"'age' of .* are not: '{other}'"):
        own_table(0, path)
    assert own_table(0, path, ignore="age").x.shape[1] == 4
    assert own_table(0, path, categories="age").x.shape[1] > N


@pytest.mark.parametrize(
    "numbers",
    [
        1_700_000_000 + np.arange(N),  # seconds
        20_240_101 + np.arange(N),
        10.0**24 * np.arange(1, N + 1),
    ],
)
def test_numbers_beyond_float32(tmp_path, numbers):
    path = write(tmp_path, stamp=numbers)
    with pytest.raises(ValueError, match=r"'stamp' of .* are too large for"):
        own_table(0, path)
    for setting in ("categories", "ignore"):
        own_table(0, path, **{setting: "stamp"})
    own_table(0, write(tmp_path, stamp=numbers / numbers.max() - 1))


def test_a_constant_column(tmp_path):
    own_table(0, write(tmp_path, stamp=[1_700_000_000] * N))


def test_a_name_that_keras_does_not_take(tmp_path):
    path = write(tmp_path, **{"a/b": ["1"] * N})
    with pytest.raises(ValueError, match="Rename the column 'a/b'"):
        own_table(0, path)
    assert own_table(0, path, ignore="a/b").x.shape[0] == N


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"ignore": "agee"}, "`ignore` names a column"),
        ({"categories": "zip"}, "`categories` names a column"),
        ({"ignore": "age,town"}, "no column of numbers or categories"),
        ({"label": "target"}, "no column 'target'"),
    ],
)
def test_careless_settings(tmp_path, arguments, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        own_table(0, write(tmp_path), **arguments)


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["€4.21", "€ 5", "-6 €", "0.5€"], [4.21, 5, -6, 0.5]),
        (["1.3%", "2 %", "NA", "+.5%"], [1.3, 2, 1.3, 0.5]),
        (["1,042.50", "7", "-2,000,000", "$12"], [1042.5, 7, -2e6, 12]),
    ],
)
def test_numbers_as_people_write_them(tmp_path, cells, values):
    data = own_table(0, write(tmp_path, price=cells * (N // 4)), ignore="age")
    found = data.x[:, [len(np.unique(c)) > 2 for c in data.x.T]][:, 0]
    values = np.array(values * (N // 4))
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cells", ["12,34", "1.2.3", "4%%", "v1"])
def test_what_is_no_number_is_a_category(tmp_path, cells):
    path = write(tmp_path, code=[cells, "x"] * (N // 2))
    assert own_table(0, path).shown["code"][0] == cells


@pytest.mark.parametrize("date", ["2024-01-31", "31.1.24", "1/31/2024 09:00"])
def test_dates_are_left_out(tmp_path, date):
    path = write(tmp_path, day=[date, ""] * (N // 2))
    data = own_table(0, path)
    ((name, reason),) = data.skipped
    assert (name, list(data.shown)) == ("day", ["age", "town"])
    assert "such as days" in reason
    assert "day" in own_table(0, path, categories="day").shown


@pytest.mark.parametrize(
    ("labels", "alike"),
    [(["yes", "no", "Yes", "no"], "Yes, yes"), (["0", "1", "1.0"], "1, 1.0")],
)
def test_classes_that_may_be_the_same(tmp_path, labels, alike):
    labels = labels * (N // len(labels))
    data = own_table(0, write(tmp_path, label=labels))
    assert f"Classes that may be the same: {alike}." in in_words(data)
    assert "may be the same" not in in_words(own_table(0, write(tmp_path)))


def test_what_columns_are_taken_for(tmp_path):
    data = own_table(0, write(tmp_path, kg=[f"{k} kg" for k in range(N)]))
    assert (
        "Columns that are numbers: age; categories (and how many): town (3), "
        "kg (12)."
    ) in in_words(data)


def test_a_class_with_few_trusted_labels(tmp_path):
    words = in_words(own_table(0, write(tmp_path)))
    assert "too few to learn or to judge them by: no (3), yes (3)." in words


def test_labels_that_were_drawn(tmp_path):
    path = write(tmp_path)
    assert "nobody has checked them" not in in_words(own_table(0, path))
    drawn = own_table(0, path, trusted="", trusted_share=0.5, ignore="trusted")
    assert "nobody has checked them" in in_words(drawn)


@pytest.mark.parametrize("codes", [("7", "9"), ("seven", "nine")])
def test_a_column_that_knows_the_labels(tmp_path, codes):
    random = np.random.RandomState(0)
    given = random.choice(["yes", "no", ""], 60)
    known = np.where(given == "yes", codes[0], codes[1])
    known[given == ""] = ""
    other = np.where(random.rand(60) < 0.9, known, codes[1])
    table = pd.DataFrame(
        {
            "label": given,
            "trusted": (np.arange(60) < 30) & (given != ""),
            "known": known,
            "other": other,
        }
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    words = in_words(own_table(0, str(tmp_path / "a.csv")))
    assert "Every value of the column 'known' has one label" in words
    assert "'other'" not in words


@pytest.mark.parametrize("name", ["label", "trusted"])
@pytest.mark.parametrize("setting", ["ignore", "categories"])
def test_columns_that_are_no_inputs(tmp_path, setting, name):
    with pytest.raises(ValueError, match=f"`{setting}` names .* no input"):
        own_table(0, write(tmp_path), **{setting: name})


@pytest.mark.parametrize("cells", [["45,678", "3,100"], ["3,1", "0,25", "4"]])
def test_commas_that_may_be_anything(tmp_path, cells):
    path = write(tmp_path, pay=cells * (N // len(cells)))
    with pytest.raises(ValueError, match=r"'pay' .* thousands or decimals"):
        own_table(0, path)
    assert "pay" in own_table(0, path, categories="pay").shown
