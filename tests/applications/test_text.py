import contextlib
import csv
import pathlib
import tempfile

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from applications import text, text_sources
from applications.bert import bert_tokenizer
from applications.text_views import TfIdf, back_translation, original, tfidf
from applications.tokens import clean_html

SMALL = {"labeled": 4, "validation": 4, "sequence_length": 16}


def reviews(n):
    """Rows with a class, but for every third row after the first ten."""
    for k in range(n):
        label = "" if k > 10 and k % 3 == 0 else ["bad", "good"][k % 2]
        yield {
            "key": f"r{k}",
            "review": f"Review {k}, 1st.<br /> " + "word " * (k % 7),
            "stars": label,
        }


def write(path, rows, encoding="utf-8"):
    rows = list(rows)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


@pytest.fixture
def files(tmp_path):
    return {
        "source": write(tmp_path / "train.csv", reviews(40)),
        "test_source": write(tmp_path / "test.csv", list(reviews(10))),
        "text": "review",
        "label": "stars",
        "id": "key",
        "cache_dir": str(tmp_path / "cache"),
        "min_characters": 30,
        **SMALL,
    }


def words(tokenizer, x):
    return list(tokenizer.detokenize(x["token_ids"]))


def test_csv_files(files, capsys):
    task = text.texts(0, **files)
    printed = capsys.readouterr().out
    rows = list(reviews(40))
    names = {row["key"]: row for row in rows}
    # Unlabelled texts are those that are long enough.
    short = [
        row
        for row in rows
        if not row["stars"] and len(clean_html(row["review"])) < 30
    ]
    assert 0 < len(short) < sum(not row["stars"] for row in rows)
    assert f"{len(short)} texts without a label are left out" in printed
    assert len(task.splits["unlabeled"]) == 40 - 4 - len(short)
    assert set(task.splits["unlabeled"]).isdisjoint(r["key"] for r in short)
    classes = [names[key]["stars"] for key in task.splits["unlabeled"]]
    numbers = {"bad": 0, "good": 1, "": -1}
    assert task.truth.tolist() == [numbers[name] for name in classes]
    for _, y in (task.labeled, task.validation):
        assert sorted(y) == [0, 0, 1, 1]
    assert task.test[1].tolist() == [0, 1] * 5
    assert task.class_names == ["bad", "good"]
    assert [task.name(k) for k in (1, -1)] == ["good", "unknown"]


def test_a_file_needs_another_to_test_on(files):
    with pytest.raises(ValueError, match="set `test_source`"):
        text.texts(0, **{**files, "test_source": "test"})


def test_rows_of_all_parts_fit_together(files):
    task = text.texts(0, **files)
    tokenizer = bert_tokenizer()
    number = {f"review {k}," for k in range(40)}
    assert set(task.unlabeled) == {"token_ids", "segment_ids", "padding_mask"}
    for found, whole in zip(
        words(tokenizer, task.unlabeled), task.texts, strict=True
    ):
        start = " ".join(whole.lower().split()[:2])
        assert start in number
        assert start.rstrip(",") + " ," in found.replace("[CLS] ", "")
    held_out = words(tokenizer, task.validation[0])
    trained = words(tokenizer, task.labeled[0])
    unlabeled = words(tokenizer, task.unlabeled)
    assert set(held_out).isdisjoint(unlabeled)
    assert set(trained) <= set(unlabeled)
    assert len(task.test[0]["token_ids"]) == 10


def test_rows_are_numbered_without_an_id_column(files):
    task = text.texts(0, **files | {"id": None})
    assert set(task.splits["unlabeled"]) <= {str(k) for k in range(40)}


def test_the_seed_selects(files):
    first, again, other = (
        text.texts(seed, **files).labeled[0]["token_ids"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.slow
def test_imdb_reviews(tfds_dir, tmp_path):
    task = text.texts(0, data_dir=tfds_dir, cache_dir=str(tmp_path))
    assert np.bincount(task.labeled[1]).tolist() == [10, 10]
    assert np.bincount(task.validation[1]).tolist() == [10, 10]
    assert task.labeled[0]["token_ids"].shape == (20, 128)
    assert task.test[0]["token_ids"].shape == (1000, 128)
    assert (
        len(task.texts) == len(task.truth) == len(set(task.splits["unlabeled"]))
    )
    # All labelled reviews but those for validation; long ones of the others.
    assert (task.truth >= 0).sum() == 4000 - 20
    lengths = np.array([len(review) for review in task.texts])
    assert lengths[task.truth < 0].min() >= 500
    assert lengths.min() < 500
    assert 7000 < (task.truth < 0).sum() < 8000
    assert not any("<br" in review for review in task.texts)
    strong = tfidf(task)
    batch = {name: array[:64] for name, array in task.unlabeled.items()}
    changed = strong(batch, seed=(0, 1))["token_ids"] != batch["token_ids"]
    assert 0.6 < changed.numpy()[batch["padding_mask"]].mean() < 0.75


def test_back_translations(files, tmp_path):
    pairs = [
        {
            "id": row["key"],
            "original": row["review"],
            "translated": "Critique " + row["review"][7:],
        }
        for row in reviews(40)
        if row["key"] != "r1"
    ]
    path = write(tmp_path / "pairs.csv", pairs)
    task = text.texts(0, **files, translations=path)
    tokenizer = bert_tokenizer()
    rows = zip(
        task.splits["unlabeled"],
        words(tokenizer, task.unlabeled),
        words(tokenizer, task.translated),
        strict=True,
    )
    for key, before, after in rows:
        expected = before.replace("review", "critique")
        assert after == (before if key == "r1" else expected)


def test_views_start_from_back_translations(files, tmp_path):
    pairs = [
        {"id": row["key"], "original": row["review"], "translated": "A film."}
        for row in reviews(40)
    ]
    for pair in pairs:
        pair["translated"] += pair["original"][7:]
    path = write(tmp_path / "pairs.csv", pairs)
    task = text.texts(0, **files, translations=path)
    inputs = task.source
    np.testing.assert_equal(original()(inputs), task.unlabeled)
    np.testing.assert_equal(original()(task.unlabeled), task.unlabeled)
    np.testing.assert_equal(back_translation(task)(inputs), task.translated)
    strong = tfidf(task, token_prob=0.0)(inputs, seed=(0, 1))
    np.testing.assert_array_equal(
        strong["token_ids"], task.translated["token_ids"]
    )
    assert (strong["token_ids"] != task.unlabeled["token_ids"]).numpy().any()


def test_views_without_back_translations(files):
    task = text.texts(0, **files)
    assert task.source is task.unlabeled
    strong = tfidf(task, token_prob=0.0)(task.source, seed=(0, 1))
    np.testing.assert_array_equal(
        strong["token_ids"], task.unlabeled["token_ids"]
    )
    with pytest.raises(ValueError, match=r"Set `dataset\.translations`"):
        back_translation(task)


def test_the_statistics_of_replacement_are_saved(files, tmp_path):
    task = text.texts(0, **files)
    view = tfidf(task)
    view.save(tmp_path)
    loaded = TfIdf(keras.saving.load_model(tmp_path / "tfidf.keras"))
    expected = view(task.source, seed=(0, 1))["token_ids"]
    assert (expected != task.unlabeled["token_ids"]).numpy().any()
    np.testing.assert_array_equal(
        loaded(task.source, seed=(0, 1))["token_ids"], expected
    )


def test_numbers_of_texts(files):
    task = text.texts(0, **files | {"unlabeled": 12, "test": 6})
    assert len(task.texts) == len(task.truth) == 12
    assert {len(x) for x in task.unlabeled.values()} == {12}
    assert len(task.test[1]) == 6
    other = text.texts(1, **files | {"unlabeled": 12, "test": 6})
    assert task.texts != other.texts
    np.testing.assert_equal(task.test, other.test)
    ids = task.splits
    assert set(ids["validation"]).isdisjoint(ids["unlabeled"] + ids["labeled"])


def test_empty_texts_are_left_out(files, tmp_path):
    rows = list(reviews(40))
    rows[3]["review"] = " <br /> "
    files["source"] = write(tmp_path / "empty.csv", rows)
    with pytest.warns(UserWarning, match=r"1 texts .* left out: r3$"):
        task = text.texts(0, **files)
    assert "r3" not in task.splits["unlabeled"]


def test_all_texts_are_empty(files, tmp_path):
    rows = [row | {"review": ""} for row in reviews(40)]
    files["source"] = write(tmp_path / "empty.csv", rows)
    with pytest.raises(ValueError, match="no text that is not empty"):
        text.texts(0, **files)


@pytest.mark.parametrize("column", ["text", "label", "id"])
def test_columns_are_missing(files, column):
    with pytest.raises(ValueError, match=r"train\.csv has no column 'what'"):
        text.texts(0, **files | {column: "what"})


@pytest.mark.parametrize("column", ["text", "label"])
def test_features_are_missing(tfds_dir, column):
    with pytest.raises(ValueError, match=r"no feature 'what'; it has \['te"):
        text.texts(0, data_dir=tfds_dir, **{column: "what"})


def test_splits_are_missing(tfds_dir):
    with pytest.raises(ValueError, match=r"no split 'dev'; it has \['tr"):
        text.texts(0, data_dir=tfds_dir, test_source="dev")


@pytest.mark.parametrize("label", ["awful", ""])
def test_test_labels_that_training_lacks(files, tmp_path, label):
    rows = list(reviews(10))
    rows[5]["stars"] = label
    files["test_source"] = write(tmp_path / "foreign.csv", rows)
    with pytest.raises(ValueError, match=rf"in the test file also \['{label}"):
        text.texts(0, **files)


def test_test_labels_that_are_not_known(monkeypatch):
    train = text_sources.Texts(["a", "b"], ["A", "B"], np.array([0, 1]))
    test = text_sources.Texts(["c"], ["C"], np.array([-1]))
    monkeypatch.setattr(text, "read_texts", lambda *_: (train, test))
    with pytest.raises(ValueError, match=r"test labels \[-1\]"):
        text.texts(0, "reviews")


def test_too_few_labels(files):
    with pytest.raises(ValueError, match="Class 0 has"):
        text.texts(0, **files | {"labeled": 100})


def test_bytes_that_are_not_utf8(files, tmp_path):
    rows = list(reviews(40))
    rows[4]["review"] = "Un navet dénué d'intérêt"
    files["source"] = write(tmp_path / "latin.csv", rows, "latin-1")
    with pytest.raises(ValueError, match=r"latin\.csv, line 6 is not UTF-8"):
        text.texts(0, **files)


def test_byte_order_mark(files, tmp_path):
    expected = text.texts(0, **files).splits
    path = write(tmp_path / "marked.csv", reviews(40), "utf-8-sig")
    assert text.texts(0, **files | {"source": path}).splits == expected


@pytest.mark.parametrize("line", ["r40,good", "r40,a film, a mess,bad"])
def test_rows_of_another_width(files, line):
    with open(files["source"], "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"line 42: the row must have 3"):
        text.texts(0, **files)


def test_ids_that_occur_twice(files):
    with open(files["source"], "a") as file:
        file.write("r4,A film.,good\n")
    with pytest.raises(ValueError, match=r"'key' of .* unique"):
        text.texts(0, **files)


def test_texts_of_any_length(files, tmp_path):
    rows = list(reviews(40))
    rows[3]["review"] = "long " * 50_000
    files["source"] = write(tmp_path / "long.csv", rows)
    task = text.texts(0, **files)
    assert len(task.splits["unlabeled"]) > 20
    columns = ("review", "stars", "key")
    train, _ = text_sources.read_texts(
        files["source"], files["test_source"], None, *columns
    )
    assert len(train.texts[3]) == 250_000


def test_lines_that_end_in_carriage_returns(files):
    path = pathlib.Path(files["source"])
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\r"))
    with pytest.raises(ValueError, match=r"train\.csv, line .* must end in"):
        text.texts(0, **files)


def test_columns_of_one_name(files):
    path = pathlib.Path(files["source"])
    path.write_text(path.read_text().replace("stars", "review", 1))
    with pytest.raises(ValueError, match="has 2 columns 'review'"):
        text.texts(0, **files)


def test_token_ids_that_were_damaged(files, tmp_path):
    expected = text.texts(0, **files).unlabeled
    (*_, file) = (tmp_path / "cache").iterdir()
    for data in (b"", b"PK\x03\x04", file.read_bytes()[:200]):
        file.write_bytes(data)
        np.testing.assert_equal(text.texts(0, **files).unlabeled, expected)
    assert all(f.suffix == ".npz" for f in (tmp_path / "cache").iterdir())


def random_csv(content):
    """Either texts of a class or none each, or a sentence on what is wrong."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "random.csv")
        path.write_bytes(content)
        with contextlib.suppress(ValueError):
            train, test = text_sources.read_texts(
                str(path), str(path), None, "text", "label", None
            )
            assert len(train.ids) == len(train.texts) == len(train.labels)
            assert train.labels.max() >= 1
            assert test.labels.min() >= 0


CELLS = st.text(st.one_of(st.characters(), st.sampled_from('",\n\r\0ab')))
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=3).map(",".join))
CONTENTS = st.one_of(
    st.binary(),
    ROWS.map(lambda rows: "\n".join(["text,label", *rows])).map(
        lambda content: content.encode(errors="surrogatepass")
    ),
)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(CONTENTS)
def test_random_csv_files(content):
    random_csv(content)


@pytest.mark.slow
@settings(
    max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck)
)
@given(CONTENTS)
def test_many_random_csv_files(content):
    random_csv(content)
