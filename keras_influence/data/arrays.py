"""Whatever holds one row an example, as arrays."""

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.sparse_rows import SparseRows, to_dense

# Labels of these types cannot hold -1, or are none that losses compare.
WIDER: dict[str, str] = {
    **dict.fromkeys(("bool", "int8", "int16", "uint8", "uint16"), "int32"),
    **dict.fromkeys(("uint32", "uint64"), "int64"),
}


def as_arrays(nest, name: str, owner: str):
    """A nest of arrays from one of anything that NumPy makes an array of.

    Args:
        nest: dicts and tuples of arrays, tensors, pandas objects (taken by
            position), sparse matrices, `SparseRows`, or lists of numbers or
            strings; other lists become tuples.
        name: what the nest is called in an error, such as `"x"`.
        owner: the argument that it belongs to.

    Returns:
        The nest with `np.ndarray`s and `SparseRows`.

    Raises:
        ValueError: if a leaf is no array of numbers or strings, or not
            finite.
    """
    if isinstance(nest, dict):
        parts = nest.items()
        return {k: as_arrays(v, f"{name}[{k!r}]", owner) for k, v in parts}
    scalars = isinstance(nest, list) and all(
        np.isscalar(leaf) or leaf is None for leaf in keras.tree.flatten(nest)
    )
    if isinstance(nest, (list, tuple)) and not scalars:
        parts = enumerate(nest)
        return tuple(as_arrays(v, f"{name}[{i}]", owner) for i, v in parts)
    name = f"`{name}` of `{owner}`"
    array = _as_array(name, nest)
    _check_finite(name, array)
    return array


def as_labels(nest, name: str, owner: str):
    """Labels as arrays, integers wide enough to be compared with -1."""
    arrays = as_arrays(nest, name, owner)
    name = f"`{name}` of `{owner}`"
    return keras.tree.map_structure(lambda y: _as_label(name, y), arrays)


def as_sample_weight(weights, name: str, owner: str) -> np.ndarray:
    """Weights of shape `(n,)`, none of them negative."""
    weights = as_arrays(weights, name, owner)
    name = f"`{name}` of `{owner}`"
    if not isinstance(weights, np.ndarray) or weights.dtype.kind in "USTO":
        raise ValueError(
            f"{name} must be an array of numbers of shape `(n,)`. "
            f"Received: {weights!r}"
        )
    if weights.dtype.kind in "biu":
        weights = weights.astype("float32")
    if weights.ndim == 2 and weights.shape[1] == 1:
        weights = weights[:, 0]
    rows = np.flatnonzero((weights < 0).reshape(len(weights), -1).any(1))
    if rows.size:
        raise ValueError(
            f"{name} must not be negative. Received: negative weights in "
            f"{_places(rows)}"
        )
    return weights


def is_missing(value) -> bool:
    """Whether this stands for no value: None, NaN or pandas' NA."""
    if isinstance(value, (float, np.floating)):
        return bool(np.isnan(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _as_array(name, leaf):
    if isinstance(leaf, SparseRows):
        return leaf
    if hasattr(leaf, "tocsr") or isinstance(leaf, tf.sparse.SparseTensor):
        if len(leaf.shape) != 2:
            raise ValueError(
                f"{name} must be a sparse matrix of two dimensions. Received "
                f"one of shape {leaf.shape}; make it dense."
            )
        return SparseRows(leaf)
    if isinstance(leaf, tf.RaggedTensor):
        raise ValueError(
            f"{name} must have examples of one shape. Received: a "
            "`tf.RaggedTensor`; pad it with `.to_tensor()`."
        )
    if np.ma.is_masked(leaf):
        raise ValueError(
            f"{name} must have a value everywhere. Received: a masked array; "
            "`.filled()` gives it values."
        )
    try:
        array = np.asarray(leaf)
        if isinstance(leaf, list) and array.dtype.kind in "SU":
            # NumPy makes texts of all else that is among them.
            array = np.array(leaf, dtype=object)
        array = _from_objects(name, array) if array.dtype == "O" else array
        tf.as_dtype(array.dtype)
    except (TypeError, ValueError) as error:
        if str(error).startswith("`"):
            raise
        raise ValueError(
            f"{name} must be an array of numbers or strings, with rows of "
            f"one shape. Received: {type(leaf).__name__} ({error})"
        ) from error
    if array.dtype.kind == "c":
        raise ValueError(
            f"{name} must be real numbers or strings. Received: complex ones"
        )
    if array.ndim == 0:
        raise ValueError(
            f"{name} must hold arrays, tensors, data frames or lists, with "
            f"one row an example. Received: {leaf!r}"
        )
    return array


def _from_objects(name, array):
    """An array of objects as one of numbers, or with nothing but strings."""
    values = array.ravel().tolist()
    if array.ndim == 0 or all(isinstance(v, (str, bytes)) for v in values):
        return array
    missing = [i for i, v in enumerate(values) if is_missing(v)]
    if missing:
        rows = np.unique(np.array(missing) // (array.size // len(array)))
        raise ValueError(
            f"{name} must have a value everywhere. Received: none in "
            f"{_places(rows)}"
        )
    if any(isinstance(v, (str, bytes)) for v in values):
        raise ValueError(
            f"{name} must hold numbers or strings. Received: both in one array"
        )
    return np.asarray(array.tolist())


def _check_finite(name, array):
    values = array.values if isinstance(array, SparseRows) else array
    if not tf.as_dtype(values.dtype).is_floating:
        return
    # A part at a time: the array of truth values is never large.
    size = max(1, len(values) * 2**22 // max(values.size, 1))
    for start in range(0, len(values), size):
        finite = np.isfinite(values[start : start + size])
        if not finite.all():
            bad = np.flatnonzero(~finite.reshape(len(finite), -1).all(1))
            where = f" in {_places(start + bad)}"
            raise ValueError(
                f"{name} must be finite: one NaN would spoil the network and "
                "every weight. Received: NaN or infinity"
                f"{'' if values is not array else where}. Drop these examples "
                "or fill in values."
            )


def _as_label(name, y):
    y = to_dense(y)
    if y.dtype.kind in "USTO":
        raise ValueError(
            f"{name} must be numbers. Received: strings; "
            "`np.unique(y, return_inverse=True)` numbers them."
        )
    wider = y.astype(WIDER.get(y.dtype.name, y.dtype.name), copy=False)
    if y.dtype == "uint64" and (wider < 0).any():
        raise ValueError(f"{name} must be below 2**63. Received: {y.max()}")
    return wider


def _places(rows):
    first = ", ".join(str(row) for row in rows[:5])
    return f"rows {first}{', ...' if len(rows) > 5 else ''}"
