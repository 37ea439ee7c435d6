"""What the data of a run must look like, and the errors if it does not."""

from typing import Any, overload

import keras
import tensorflow as tf

from keras_influence.data.arrays import (
    WIDER,
    as_arrays,
    as_labels,
    as_sample_weight,
)

_PARTS = (
    ("x", as_arrays),
    ("y", as_labels),
    ("sample_weight", as_sample_weight),
)


@overload
def as_examples(
    name: str,
    examples: tf.data.Dataset,
    forms: dict[int, str],
    inputs: Any = ...,
) -> tf.data.Dataset: ...


@overload
def as_examples(
    name: str, examples: tuple, forms: dict[int, str], inputs: Any = ...
) -> tuple: ...


def as_examples(
    name: str, examples: Any, forms: dict[int, str], inputs: Any = None
) -> tuple | tf.data.Dataset:
    """Examples in one of the forms that are documented, whatever they were.

    Args:
        name: the argument that `examples` was given as.
        examples: tuple of nests of anything array-like, or a
            `tf.data.Dataset` of single examples; `x` stands for `(x,)`.
        forms: dict, from the number of parts to how such a tuple is written.
        inputs: nest of symbolic tensors, what the network was built on, which
            tells a sequence with a label at each place from a batch. Defaults
            to `None`: not known.

    Returns:
        Tuple of nests of `np.ndarray`s and `SparseRows` with as many rows, or
        `tf.data.Dataset` of tuples of dense tensors.

    Raises:
        ValueError: if it is none of the forms, not consistent, or empty.
    """
    if isinstance(examples, tf.data.Dataset):
        examples = _dataset(name, examples, forms, inputs)
        _check_ranks(name, examples.element_spec, forms, 1)
        return examples
    parts = examples if isinstance(examples, tuple) else (examples,)
    _check_form(name, parts, forms)
    parts = tuple(
        convert(part, part_name, name)
        for part, (part_name, convert) in zip(parts, _PARTS, strict=False)
    )
    _check_lengths(name, parts)
    _check_ranks(name, parts, forms, 0)
    return parts


def _check_form(name, parts, forms):
    if not isinstance(parts, tuple) or len(parts) not in forms:
        raise ValueError(
            f"`{name}` must be {_either(forms.values())}, or a "
            "`tf.data.Dataset` of such examples; several inputs go into one "
            f"dict `x`. Received: {name}={_describe(parts)}"
        )


def _check_lengths(name, parts):
    leaves = keras.tree.flatten(parts)
    lengths = {leaf.shape[0] for leaf in leaves}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            f"`{name}` must hold at least one example, and the same number of "
            "rows in all its arrays, as many labels as inputs; `np.stack` "
            "makes one array of a list of examples. Received: "
            f"{name}={_describe(parts)}"
        )


def _check_ranks(name, parts, forms, streamed):
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


def _dataset(name, dataset, forms, inputs):
    spec = dataset.element_spec
    if not isinstance(spec, tuple):
        dataset, spec = dataset.map(lambda x: (x,)), (spec,)
    _check_form(name, spec, forms)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            f"`{name}` must be a finite dataset. Received one that repeats "
            "without end: remove `.repeat()`."
        )
    leaves = keras.tree.flatten(spec)
    if any(isinstance(s, tf.RaggedTensorSpec) for s in leaves):
        raise ValueError(
            f"`{name}` must have examples of one shape. Received: a dataset "
            f"of `tf.RaggedTensor`s, {spec}; pad them, as with `.to_tensor()`, "
            "in a `.map` before."
        )
    if all(s.shape.rank and s.shape[0] is None for s in leaves):
        _refuse_batches(name, spec)
    if any(s.dtype == tf.string for s in keras.tree.flatten(spec[1:])):
        raise ValueError(
            f"`y` of `{name}` must be numbers. Received: strings, {spec}; "
            "`keras.layers.StringLookup` numbers them in a `.map` before."
        )
    dataset = dataset.map(lambda *parts: _converted(name, *parts))
    if not _is_one(dataset.element_spec[0], inputs):
        _check_unbatched(name, dataset)
    return dataset


def _converted(name, x, *targets):
    """One example: inputs dense, labels wide, a weight not negative."""

    def dense(leaf):
        is_sparse = isinstance(leaf, tf.sparse.SparseTensor)
        return tf.sparse.to_dense(leaf) if is_sparse else leaf

    def wide(leaf):
        return tf.cast(leaf, WIDER.get(leaf.dtype.name) or leaf.dtype)

    x, *targets = keras.tree.map_structure(dense, (x, *targets))
    y = [keras.tree.map_structure(wide, y) for y in targets[:1]]
    if len(targets) < 2:
        return (x, *y)
    weight = targets[1]
    if not weight.dtype.is_floating:
        weight = tf.cast(weight, "float32")
    if weight.shape == [1]:
        weight = tf.squeeze(weight, 0)
    valid = tf.reduce_all((weight >= 0) & tf.math.is_finite(weight))
    message = f"Sample weights of `{name}` must be finite and not negative."
    check = tf.debugging.Assert(valid, [message, "Received:", weight])
    with tf.control_dependencies([check]):
        return x, *y, tf.identity(weight)


def _is_one(x, inputs):
    """Whether it is known that this is what one row of `inputs` is."""
    if inputs is None:
        return False
    leaves, inputs = keras.tree.flatten(x), keras.tree.flatten(inputs)
    return len(leaves) == len(inputs) and all(
        tf.TensorShape(i.shape).is_compatible_with([None, *leaf.shape])
        for leaf, i in zip(leaves, inputs, strict=True)
    )


def _check_unbatched(name, dataset):
    """Batches of a known size look like examples with one-hot labels."""
    x, *targets = dataset.element_spec
    if not targets or not isinstance(targets[0], tf.TensorSpec):
        return
    shape, leaves = targets[0].shape, keras.tree.flatten(x)
    if not targets[0].dtype.is_integer or shape.rank != 1 or shape == [1]:
        return
    if all(s.shape.rank and s.shape[0] == shape[0] for s in leaves):
        for _, y, *_ in dataset.take(16).as_numpy_iterator():
            if y.min() < 0 or y.max() != 1 or y.sum() != 1:
                _refuse_batches(name, dataset.element_spec)


def _refuse_batches(name, spec):
    raise ValueError(
        f"`{name}` must be a dataset of single examples of a known shape. "
        f"Received: {_describe(spec)}. Call `.unbatch()` if it is batched, "
        "else resize, pad or `tf.ensure_shape`."
    )


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
