import inspect
import math
import numbers
import zlib
from collections.abc import Callable
from typing import cast

import keras
import numpy as np
import tensorflow as tf

from keras_influence.data.checks import check_integer
from keras_influence.data.examples import as_examples
from keras_influence.data.stream import stream

_LABELED = {2: "(x, y)", 3: "(x, y, sample_weight)"}
_UNLABELED = {1: "x", 2: "(x, y)"}


def semi_supervised(
    labeled: tuple | tf.data.Dataset,
    unlabeled,
    views: dict[str, Callable | None] | None = None,
    batch_size: int = 64,
    unlabeled_ratio: float = 7,
    seed: int = 0,
    start_step: int = 0,
    labeled_view: Callable | None = None,
    shuffle_buffer: int = 10_000,
) -> tf.data.Dataset:
    """Labelled and unlabelled batches side by side, one dict a step.

    The dataset is infinite, its batches are always full, and step `k` is a
    function of `seed` and `k`: a training that was stopped after `k` steps goes
    on with `start_step=k` as if nothing had happened. (A `Dataset` given here
    must yield its examples in the same order every time, and views must take a
    `seed`; see below.)

    Every unlabelled example has an id that stays with it through shuffling,
    views and prefetching: its row in the arrays, or its place in the `Dataset`.
    When there are fewer examples than a batch takes, ids come up repeatedly.

    A view is called on a batch of inputs. If its signature names a `seed`, it
    gets a stateless one, an `int32` tensor of shape `(2,)` that differs between
    steps and between views; other callables draw as they please, and a lambda
    hides a `seed` of another kind, such as that of `tf.image.random_crop`. If
    the signature names `training`, as Keras layers' do, it gets `True`.

    Args:
        labeled: tuple `(x, y)` or `(x, y, sample_weight)` of anything NumPy
            makes an array of, pandas objects by position, or sparse matrices,
            of which a batch's rows are made dense; or a finite
            `tf.data.Dataset` of single examples `(x, y)` or
            `(x, y, sample_weight)`. `x` may be a nest such as a dict of
            arrays; lists of arrays become tuples. `y` has shape `(n,)` or
            `(n, k)`.
        unlabeled: inputs `x`, or a tuple `(x, y)` if the examples come with
            labels that are not to be trusted; a finite `tf.data.Dataset` of
            either.
        views: dict from names to callables on a batch of inputs; `None` in
            place of a callable leaves the inputs as they are. Each view is
            drawn independently. Defaults to `None`: `{"original": None}`.
        batch_size: int, labelled examples a step. Defaults to `64`.
        unlabeled_ratio: int or float, unlabelled examples for each labelled
            one; times `batch_size` it must be a whole number. Defaults to `7`.
        seed: non-negative int. Defaults to `0`.
        start_step: int, number of steps to pass over. Defaults to `0`.
        labeled_view: callable like a view, for the labelled inputs. Defaults
            to `None`.
        shuffle_buffer: int, number of examples from which the next one is
            drawn when a `Dataset` is given; arrays are always shuffled
            completely. Defaults to `10_000`.

    Returns:
        A `tf.data.Dataset` of `{"labeled": (x, y), "unlabeled": {"views":
        {name: x}, "index": ids}}`, with `"sample_weight"` as the third of
        `"labeled"` and with `"label"` in `"unlabeled"` when these are given.
        `ids` are `int64` of shape `(batch_size * unlabeled_ratio,)`.

    Raises:
        ValueError: if sets are empty, their parts do not fit together, arrays
            have values that are missing or not finite, a `Dataset` does not
            repeat itself, or an argument is out of its range.
        tf.errors.InvalidArgumentError: when iterated, if a `Dataset` yields
            another example in the place of one that it yielded before.

    Example:
    >>> x, y = np.arange(10.0), np.arange(10) % 2
    >>> train = semi_supervised(
    ...     labeled=(x[:4], y[:4]),
    ...     unlabeled=x,
    ...     views={"weak": None, "strong": lambda x: -x},
    ...     batch_size=2,
    ...     unlabeled_ratio=3,
    ... )
    >>> batch = next(iter(train))["unlabeled"]
    >>> batch["views"]["strong"].shape
    TensorShape([6])
    >>> bool(np.all(x[batch["index"]] == batch["views"]["weak"]))
    True
    """
    views = {"original": None} if views is None else views
    labeled = as_examples("labeled", labeled, _LABELED)
    unlabeled = as_examples("unlabeled", unlabeled, _UNLABELED)
    check_integer("batch_size", batch_size, 1)
    check_integer("seed", seed, 0)
    check_integer("start_step", start_step, 0)
    check_integer("shuffle_buffer", shuffle_buffer, 1)
    _check_views(views, labeled_view)
    unlabeled_size = _unlabeled_size(batch_size, unlabeled_ratio)

    draw_labeled = _draw(labeled_view, _derive(seed, "labeled_view"))
    draws = {n: _draw(v, _derive(seed, f"view {n}")) for n, v in views.items()}

    def assemble(step, labeled, unlabeled):
        _, (x, *targets) = labeled
        index, (inputs, *label) = unlabeled
        drawn = {name: draw(inputs, step) for name, draw in draws.items()}
        batch = {"views": drawn, "index": index}
        if label:
            batch["label"] = label[0]
        return {
            "labeled": (draw_labeled(x, step), *targets),
            "unlabeled": batch,
        }

    def batches(name, examples, size):
        return stream(
            name,
            examples,
            size,
            _derive(seed, name),
            start_step,
            shuffle_buffer,
        )

    dataset = tf.data.Dataset.zip(
        tf.data.Dataset.counter(start_step),
        batches("labeled", labeled, batch_size),
        batches("unlabeled", unlabeled, unlabeled_size),
    ).map(assemble, tf.data.AUTOTUNE, deterministic=True)
    # TensorFlow's stubs know of no dictionaries here.
    spec = cast(dict, dataset.element_spec)
    _check_drawn("labeled_view", spec["labeled"][0], batch_size)
    for name, view in spec["unlabeled"]["views"].items():
        _check_drawn(f"view {name!r}", view, unlabeled_size)
    # What repeats in here hides it from `fit`.
    endless = tf.data.experimental.assert_cardinality(
        tf.data.INFINITE_CARDINALITY
    )
    dataset = dataset.prefetch(tf.data.AUTOTUNE).apply(endless)
    # For `fit` to compare with the model's; `None` is not known.
    setattr(dataset, "num_unlabeled", _count(unlabeled))  # noqa: B010
    return dataset


def _count(examples):
    """How many examples there are, `None` where that is not known."""
    if isinstance(examples, tf.data.Dataset):
        count = int(examples.cardinality())
        return count if count > 0 else None
    return keras.tree.flatten(examples)[0].shape[0]


def _unlabeled_size(batch_size, ratio):
    in_range = isinstance(ratio, numbers.Real) and 0 < float(ratio) < math.inf
    size = batch_size * ratio if in_range else math.nan
    if not in_range or not math.isclose(size, round(size)):
        raise ValueError(
            "`unlabeled_ratio` times `batch_size` must be a whole number of "
            "examples, at least one. Received: "
            f"unlabeled_ratio={ratio!r}, batch_size={batch_size}"
        )
    return round(size)


def _check_views(views, labeled_view):
    if not isinstance(views, dict) or not views:
        raise ValueError(
            "`views` must be a dict from names to callables (or `None`) with "
            f"at least one entry. Received: views={views}"
        )
    for name, view in {**views, "labeled_view": labeled_view}.items():
        if not isinstance(name, str):
            raise ValueError(
                f"Names in `views` must be strings. Received: {name!r}"
            )
        if view is not None and not callable(view):
            raise ValueError(
                "A view must be a callable on a batch of inputs, or `None`. "
                f"Received: {name}={view!r}"
            )


def _check_drawn(name, spec, size):
    for leaf in keras.tree.flatten(spec):
        shape = getattr(leaf, "shape", tf.TensorShape([]))
        if not shape[:1].is_compatible_with([size]):
            raise ValueError(
                "A view must return the batch of inputs that it was given, "
                f"here {size} examples. Received: {name} returned {leaf}"
            )


def _derive(seed, name):
    """A seed of 31 bits for one purpose, independent of the others'."""
    entropy = [int(seed), zlib.crc32(name.encode())]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def _draw(view, seed):
    """`view` as a function of a batch of inputs and the step."""
    if view is None:
        return lambda inputs, step: inputs
    accepted = _parameters(view)

    def draw(inputs, step):
        arguments = {
            "seed": tf.stack([seed, tf.cast(step, "int32")]),
            "training": True,
        }
        named = {k: v for k, v in arguments.items() if k in accepted}
        return view(inputs, **named)

    return draw


def _parameters(view):
    call = view.call if isinstance(view, keras.layers.Layer) else view
    try:
        return inspect.signature(call).parameters
    except ValueError:  # Some builtins have no signature.
        return ()
