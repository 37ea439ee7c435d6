import numpy as np
import pytest
import tensorflow as tf

from keras_influence.data import semi_supervised

Dataset = tf.data.Dataset

X, Y = np.zeros((6, 4)), np.zeros(6, "int64")
RAGGED = tf.ragged.constant([[1], [1, 2]])
TEXTS = ["a", "b"] * 3


def dataset_of_batches():
    examples = Dataset.from_tensor_slices((X, np.arange(6)))
    return examples.batch(2, drop_remainder=True)


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("`labeled` must be `\\(x, y\\)`", {"labeled": X}),
        ("pad", {"unlabeled": Dataset.from_tensor_slices(RAGGED)}),
        ("pad", {"unlabeled": RAGGED}),
        ("numbers", {"labeled": Dataset.from_tensor_slices((X, TEXTS))}),
        ("unbatch", {"labeled": dataset_of_batches()}),
        ("`labeled` must be `\\(x, y\\)`", {"labeled": (X, Y, Y, Y)}),
        ("`labeled` must be", {"labeled": Dataset.from_tensor_slices(X)}),
        ("`unlabeled` must be `x` or", {"unlabeled": (X, Y, Y)}),
        ("same number of rows", {"labeled": (X, Y[:5])}),
        ("same number of rows", {"labeled": ({"a": X, "b": X[:5]}, Y)}),
        ("same number of rows", {"unlabeled": (X, Y[:5])}),
        ("at least one", {"labeled": (X[:0], Y[:0])}),
        ("at least one", {"unlabeled": X[:0]}),
        ("at least one", {"unlabeled": {}}),
        ("one row an example", {"unlabeled": None}),
        ("one row an example", {"unlabeled": (x for x in X)}),
        ("`np.stack`", {"labeled": (list(X), Y)}),
        ("`y` of `labeled` must be numbers", {"labeled": (X, Y.astype(str))}),
        ("`sample_weight` of `labeled` must not", {"labeled": (X, Y, Y - 1)}),
        ("`x` of `unlabeled` must be finite", {"unlabeled": X + np.nan}),
        ("with `y` of shape", {"labeled": (X, X[:, :, None])}),
        ("with `y` of shape", {"unlabeled": (X, X[:, :, None])}),
        ("`sample_weight` of shape", {"labeled": (X, Y, X)}),
        (
            "with `y` of shape",
            {"labeled": Dataset.from_tensor_slices((Y, X[:, :, None]))},
        ),
        (
            "must not be empty",
            {"unlabeled": Dataset.from_tensor_slices(X).take(0)},
        ),
        (
            "must not be empty",
            {
                "unlabeled": Dataset.from_tensor_slices(X).filter(
                    lambda _: False
                )
            },
        ),
        ("repeat", {"unlabeled": Dataset.from_tensor_slices(X).repeat()}),
        ("unbatch", {"unlabeled": Dataset.from_tensor_slices(X).batch(2)}),
        ("unbatch", {"labeled": Dataset.from_tensor_slices((X, Y)).batch(2)}),
        ("`batch_size` must be an integer", {"batch_size": 0}),
        ("`batch_size` must be an integer", {"batch_size": 2.0}),
        ("`seed` must be an integer", {"seed": -1}),
        ("`start_step` must be an integer", {"start_step": -1}),
        ("`shuffle_buffer` must be an integer", {"shuffle_buffer": 0}),
        ("whole number", {"unlabeled_ratio": 0}),
        ("whole number", {"unlabeled_ratio": -1}),
        ("whole number", {"unlabeled_ratio": 0.1}),
        ("whole number", {"unlabeled_ratio": float("nan")}),
        ("whole number", {"unlabeled_ratio": "7"}),
        ("whole number", {"unlabeled_ratio": float("inf")}),
        ("`views` must be a dict", {"views": {}}),
        ("`views` must be a dict", {"views": [None]}),
        ("must be strings", {"views": {1: None}}),
        ("must be a callable", {"views": {"weak": 3}}),
        ("must be a callable", {"labeled_view": "flip"}),
        ("'weak' returned", {"views": {"weak": lambda x: x[0]}}),
        ("'weak' returned", {"views": {"weak": lambda x: tf.reduce_sum(x)}}),
        ("'weak' returned", {"views": {"weak": lambda x: None}}),
        ("labeled_view returned", {"labeled_view": lambda x: x[:1]}),
    ],
)
def test_bad_arguments_are_named(message, arguments):
    arguments = {"labeled": (X, Y), "unlabeled": X, "batch_size": 2} | arguments
    with pytest.raises(ValueError, match=message):
        semi_supervised(**arguments)
