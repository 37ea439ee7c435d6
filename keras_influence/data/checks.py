"""What the data of a run must look like, and the errors if it does not."""

import keras
import numpy as np
import tensorflow as tf


def check_integer(name: str, value, minimum: int) -> None:
    """Raises unless `value` is an integer of at least `minimum`."""
    is_integer = isinstance(value, (int, np.integer))
    if not is_integer or isinstance(value, bool) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )


def check_examples(name: str, examples, forms: dict) -> None:
    """Raises unless `examples` is one of `forms`, consistent and not empty.

    Args:
        name: the argument that `examples` was given as.
        examples: tuple of nested arrays, or `tf.data.Dataset` of tuples of
            single examples.
        forms: dict, from the number of parts to how such a tuple is written.
    """
    streamed = isinstance(examples, tf.data.Dataset)
    parts = examples.element_spec if streamed else examples
    _check_form(name, parts, forms)
    (_check_dataset if streamed else _check_arrays)(name, examples)
    for part, ranks in zip(parts[1:], ((1, 2), (1,)), strict=False):
        for leaf in keras.tree.flatten(part):
            rank = tf.TensorShape(leaf.shape).rank
            if rank is not None and rank + streamed not in ranks:
                raise ValueError(
                    f"`{name}` must be {_either(forms.values())}, with `y` of "
                    "shape `(n,)` or `(n, k)` and `sample_weight` of shape "
                    "`(n,)`, `n` the number of examples. Received: "
                    f"{_describe(parts)}"
                )


def _check_form(name, parts, forms):
    if not isinstance(parts, tuple) or len(parts) not in forms:
        raise ValueError(
            f"`{name}` must be {_either(forms.values())}, or a "
            "`tf.data.Dataset` of such examples; several inputs go into one "
            f"dict `x`. Received: {name}={_describe(parts)}"
        )


def _check_arrays(name, parts):
    leaves = keras.tree.flatten(parts)
    for leaf in leaves:
        if len(getattr(leaf, "shape", ())) == 0:
            raise ValueError(
                f"`{name}` must hold arrays or tensors with one row an "
                "example; `np.asarray` makes one of a list. Received: a "
                f"{type(leaf).__name__} in {name}={_describe(parts)}"
            )
    lengths = {leaf.shape[0] for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"All arrays of `{name}` must have the same number of rows, at "
            f"least one. Received: {name}={_describe(parts)}"
        )


def _check_dataset(name, dataset):
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"`{name}` must be a finite dataset: it is repeated here, and an "
            "example's id is its place in it. Remove `.repeat()`."
        )
    if dataset.options().deterministic is False:
        raise ValueError(
            f"`{name}` must yield its examples in the same order every time, "
            "because an example's id is its place in the dataset. Received a "
            "dataset with the option `deterministic=False`."
        )
    shapes = [s.shape for s in keras.tree.flatten(dataset.element_spec)]
    if all(s.rank and s[0] is None for s in shapes):
        raise ValueError(
            f"`{name}` must be a dataset of single examples of a known shape. "
            f"Received: {_describe(dataset.element_spec)}. Call `.unbatch()` "
            "if it is batched, else resize, pad or `tf.ensure_shape`."
        )
    if not any(True for _ in dataset.take(1)):
        raise ValueError(f"`{name}` must not be empty. Received: {dataset}")


def _either(forms):
    return " or ".join(f"`{form}`" for form in forms)


def _describe(parts):
    """The nest with a shape in place of every array."""
    if isinstance(parts, (tuple, list)):
        inner = ", ".join(_describe(part) for part in parts[:4])
        return f"({inner}{', ...' if len(parts) > 4 else ''})"
    if isinstance(parts, dict):
        return str({key: _describe(part) for key, part in parts.items()})
    shape = getattr(parts, "shape", None)
    return repr(parts) if shape is None else f"array of shape {shape}"
