import numpy as np
import pytest
import tensorflow as tf

from keras_influence.models.batch import Batch


def element(**unlabeled):
    return {
        "labeled": (
            {"a": np.array([[1.0], [2.0]]), "b": np.array([1, 2])},
            np.array([0, 1]),
        ),
        "unlabeled": {
            "views": {
                name: {
                    "a": np.full((3, 1), place, "float32"),
                    "b": np.full(3, place),
                }
                for name, place in (("weak", 10), ("strong", 20))
            },
            "index": np.array([7, 5, 7]),
            **unlabeled,
        },
    }


def test_one_pass_over_labelled_examples_and_views():
    batch = Batch.from_data(element())
    inputs = batch.inputs()
    rows = [1, 2, 10, 10, 10, 20, 20, 20]
    np.testing.assert_array_equal(inputs["a"][:, 0], rows)
    np.testing.assert_array_equal(inputs["b"], rows)
    assert inputs["a"].dtype == "float64"
    labeled, views = batch.split(inputs["b"])
    np.testing.assert_array_equal(labeled, [1, 2])
    assert list(views) == ["weak", "strong"]
    np.testing.assert_array_equal(views["strong"], [20, 20, 20])


def test_rows_stacked_by_example():
    batch = Batch.from_data(element())
    labeled, unlabeled = batch.stack(batch.inputs()["a"])
    assert (labeled.shape, unlabeled.shape) == ((2, 1, 1), (3, 2, 1))
    np.testing.assert_array_equal(unlabeled[1, :, 0], [10, 20])


def test_what_may_be_absent():
    batch = Batch.from_data(element())
    assert batch.sample_weight is None
    assert batch.label is None
    data = element(label=np.array([0, 1, 0]))
    data["labeled"] = (*data["labeled"], np.array([1.0, 0.0]))
    batch = Batch.from_data(data)
    np.testing.assert_array_equal(batch.sample_weight, [1, 0])
    np.testing.assert_array_equal(batch.label, [0, 1, 0])


@pytest.mark.parametrize(
    "data",
    [
        (tf.zeros((2, 3)), tf.zeros(2)),
        {"labeled": (tf.zeros((2, 3)), tf.zeros(2))},
        {"labeled": (tf.zeros((2, 3)), tf.zeros(2)), "unlabeled": tf.zeros(2)},
    ],
)
def test_data_of_another_form(data):
    with pytest.raises(ValueError, match="InfluenceModel` trains on batches"):
        Batch.from_data(data)


def one_input(labeled, unlabeled):
    return Batch.from_data(
        {
            "labeled": (labeled, np.zeros(len(labeled))),
            "unlabeled": {
                "views": {"original": unlabeled},
                "index": np.arange(len(unlabeled)),
            },
        }
    ).inputs()


@pytest.mark.parametrize(
    ("labeled", "unlabeled", "dtype"),
    [
        ("int64", "float32", "float32"),
        ("float32", "int64", "float32"),
        ("uint8", "float32", "float32"),
        ("bool", "float16", "float16"),
        ("uint8", "int32", "int32"),
        ("float32", "float64", "float64"),
    ],
)
def test_types_are_promoted_and_never_cut(labeled, unlabeled, dtype):
    whole = np.array([[1.0, 0.0]])
    parts = np.array([[0.25, 0.75]]) * (1 if "float" in unlabeled else 4)
    found = one_input(whole.astype(labeled), parts.astype(unlabeled))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, [whole[0], parts[0]])


def test_texts_stay_and_do_not_mix_with_numbers():
    texts = np.array(["a", "b"])
    assert one_input(texts, texts[:1]).numpy().tolist() == [b"a", b"b", b"a"]
    with pytest.raises(ValueError, match="must be strings where one is"):
        one_input(texts, np.zeros(1))


PAIR = [np.zeros((2, 3)), np.zeros((2, 1))]


@pytest.mark.parametrize(
    ("labeled", "unlabeled"),
    [
        (PAIR[0], PAIR),
        (PAIR, tuple(PAIR)),
        (PAIR[0], PAIR[1]),
        ({"a": PAIR[0]}, {"b": PAIR[0]}),
    ],
)
def test_inputs_that_are_not_alike(labeled, unlabeled):
    batch = Batch(labeled, [0, 1], None, {"weak": unlabeled}, [0, 1], None)
    with pytest.raises(ValueError, match=r"same structure and shapes.*'weak'"):
        batch.inputs()


def test_ragged_inputs():
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    batch = Batch(ragged, [0, 1], None, {"weak": ragged}, [0, 1], None)
    with pytest.raises(ValueError, match="`to_tensor"):
        batch.inputs()


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("label", np.array([1]), "'label' for each of its 3"),
        ("index", np.array([0, 1]), "'weak' for each of its 2"),
        ("index", np.array([0.0, 1.0, 2.0]), "type int32 or int64"),
        ("index", np.array([0, 1, 2], "uint8"), "type int32 or int64"),
        ("index", np.zeros((3, 2), int), r"of shape \(n,\)"),
    ],
)
def test_unlabelled_parts_that_do_not_fit(part, value, message):
    with pytest.raises(ValueError, match=message):
        Batch.from_data(element(**{part: value}))


def test_no_unlabelled_examples():
    data = element(index=np.zeros(0, int))
    views = data["unlabeled"]["views"]
    for name, view in views.items():
        views[name] = {k: v[:0] for k, v in view.items()}
    with pytest.raises(ValueError, match="at least one unlabelled example"):
        Batch.from_data(data)


@pytest.mark.parametrize("place", [0, 1])
def test_labelled_parts_that_do_not_fit(place):
    data = element()
    parts = [np.array([0, 1]), np.array([1.0, 0.0])]
    parts[place] = parts[place][:1]
    data["labeled"] = (data["labeled"][0], *parts)
    name = ("'y'", "'sample_weight'")[place]
    with pytest.raises(ValueError, match=f"{name} for each of its 2"):
        Batch.from_data(data)


def test_numbers_in_a_column():
    data = element(index=np.array([[7], [5], [7]]))
    data["labeled"] = (*data["labeled"], np.array([[1.0], [0.5]]))
    batch = Batch.from_data(data)
    np.testing.assert_array_equal(batch.index, [7, 5, 7])
    np.testing.assert_array_equal(batch.sample_weight, [1, 0.5])
