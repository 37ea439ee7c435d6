import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_influence.data import semi_supervised, stream
from tests.cases.streams import take

Dataset = tf.data.Dataset


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        keras.tree.map_structure(np.testing.assert_array_equal, batch, other)


def images(n):
    """Images whose every pixel is their own index."""
    return np.broadcast_to(np.arange(n)[:, None, None, None], (n, 4, 4, 1))


def jitter(x, seed):
    """Noise below a half: `round` takes it off again."""
    noise = tf.random.stateless_uniform(tf.shape(x), seed, -0.4, 0.4)
    return tf.cast(x, "float32") + noise


def unknown_size(dataset):
    return dataset.filter(lambda *example: True)


KINDS = {
    "arrays": lambda *arrays: arrays if len(arrays) > 1 else arrays[0],
    "datasets": lambda *a: Dataset.from_tensor_slices(a if a[1:] else a[0]),
}
KINDS["datasets of unknown size"] = lambda *a: unknown_size(
    KINDS["datasets"](*a)
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(
    n_labeled=st.integers(1, 12),
    n_unlabeled=st.integers(1, 30),
    batch_size=st.integers(1, 9),
    unlabeled_size=st.integers(1, 40),
    seed=st.integers(0, 2**40),
    buffer=st.integers(1, 40),
)
def test_ids_stay_with_their_examples(
    kind, n_labeled, n_unlabeled, batch_size, unlabeled_size, seed, buffer
):
    x, u = images(n_labeled), images(n_unlabeled)
    dataset = semi_supervised(
        KINDS[kind](x, np.arange(n_labeled) % 3),
        KINDS[kind](u, 2 * np.arange(n_unlabeled)),
        views={"same": None, "weak": jitter, "mirrored": lambda x: -x},
        batch_size=batch_size,
        unlabeled_ratio=unlabeled_size / batch_size,
        seed=seed,
        shuffle_buffer=buffer,
    )
    steps = 2 + 2 * max(n_labeled // batch_size, n_unlabeled // unlabeled_size)
    seen = []
    for batch in take(dataset, min(steps, 20)):
        x, y = batch["labeled"]
        assert x.shape == (batch_size, 4, 4, 1)
        np.testing.assert_array_equal(x[:, 0, 0, 0] % 3, y)
        unlabeled = batch["unlabeled"]
        index, views = unlabeled["index"], unlabeled["views"]
        assert index.shape == (unlabeled_size,)
        assert index.dtype == "int64"
        pixels = np.broadcast_to(
            index[:, None, None, None], (unlabeled_size, 4, 4, 1)
        )
        np.testing.assert_array_equal(unlabeled["label"], 2 * index)
        np.testing.assert_array_equal(views["same"], pixels)
        np.testing.assert_array_equal(np.round(views["weak"]), pixels)
        np.testing.assert_array_equal(views["mirrored"], -pixels)
        seen.extend(index)
    # Every example once an epoch, over the borders of batches.
    for epoch in range(len(seen) // n_unlabeled):
        of_epoch = seen[epoch * n_unlabeled : (epoch + 1) * n_unlabeled]
        assert sorted(of_epoch) == list(range(n_unlabeled))


@pytest.mark.parametrize(
    "kind",
    [
        "arrays",
        pytest.param("datasets", marks=pytest.mark.slow),
        "datasets of unknown size",
    ],
)
@settings(max_examples=6, deadline=None)
@given(
    start_step=st.integers(1, 15),
    n=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_start_step_goes_on_where_a_run_stopped(kind, start_step, n, seed):
    def stream(start_step=0):
        return semi_supervised(
            KINDS[kind](images(n), np.arange(n)),
            KINDS[kind](images(n + 3)),
            views={"weak": jitter, "strong": jitter},
            labeled_view=jitter,
            batch_size=4,
            unlabeled_ratio=2.5,
            seed=seed,
            start_step=start_step,
            shuffle_buffer=7,
        )

    tf.random.set_seed(start_step)
    whole = take(stream(), start_step + 3)
    tf.random.set_seed(start_step + 1)  # The global seed plays no part.
    assert_same(take(stream(start_step), 3), whole[start_step:])


def test_the_stream_of_a_seed_is_known():
    """Another process, on another day, must see it too to go on."""
    x = np.arange(50)
    seen = []
    for kind in ("arrays", "datasets"):
        train = semi_supervised(
            KINDS[kind](x, x), KINDS[kind](x), {"weak": jitter}, 2, 3, seed=3
        )
        (batch,) = take(train, 1)
        seen.append(batch["unlabeled"]["index"].tolist())
        noise = batch["unlabeled"]["views"]["weak"] - seen[-1]
        seen.append((1000 * noise).round().tolist())
    noise = [70, 161, -306, 224, -203, 69]
    assert seen == [
        [25, 3, 32, 0, 20, 18],
        noise,
        [15, 33, 37, 24, 16, 29],
        noise,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_iterating_again_starts_the_same_stream_again(kind):
    x = images(20)
    dataset = semi_supervised(
        KINDS[kind](x, np.arange(20)), KINDS[kind](x), {"weak": jitter}, 5
    )
    assert_same(take(dataset, 4), take(dataset, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_and_epochs_shuffle_differently(kind):
    def order(seed):
        dataset = semi_supervised(
            KINDS[kind](images(30), np.arange(30)),
            KINDS[kind](images(30)),
            batch_size=30,
            unlabeled_ratio=1,
            seed=seed,
        )
        batches = take(dataset, 2)
        labeled = [b["labeled"][1] for b in batches]
        return labeled + [b["unlabeled"]["index"] for b in batches]

    orders = [tuple(o) for seed in (0, 1) for o in order(seed)]
    assert len(set(orders)) == len(orders) == 8


def test_arrays_are_shuffled_uniformly():
    n, epochs = 6, 3000
    x = np.arange(n)
    dataset = semi_supervised(
        (x, x), x, batch_size=1, unlabeled_ratio=n * epochs
    )
    index = take(dataset, 1)[0]["unlabeled"]["index"].reshape(epochs, n)
    for place in range(n):
        counts = np.bincount(index[:, place], minlength=n)
        # Five standard deviations of a binomial count.
        np.testing.assert_allclose(
            counts, epochs / n, atol=5 * np.sqrt(epochs / n * (1 - 1 / n))
        )
    assert len({tuple(order) for order in index}) > 650  # Of 720.


def test_views_and_steps_are_drawn_independently():
    def noise(x, seed):
        return tf.random.stateless_normal((len(x), 100), seed)

    x = np.zeros((40, 1))
    dataset = semi_supervised(
        (x, np.zeros(40)),
        x,
        views={"weak": noise, "strong": noise},
        labeled_view=noise,
        batch_size=40,
        unlabeled_ratio=1,
    )
    draws = []
    for batch in take(dataset, 3):
        draws.append(batch["labeled"][0])
        draws.extend(batch["unlabeled"]["views"].values())
    correlation = np.corrcoef([d.ravel() for d in draws])
    np.testing.assert_allclose(correlation, np.eye(9), atol=0.1)


def test_a_views_draws_do_not_depend_on_the_other_views():
    x = images(10)
    both = {"weak": jitter, "strong": jitter}
    (with_both,) = take(semi_supervised((x, np.arange(10)), x, both, 2), 1)
    only = {"strong": jitter}
    (alone,) = take(semi_supervised((x, np.arange(10)), x, only, 2), 1)
    np.testing.assert_array_equal(
        with_both["unlabeled"]["views"]["strong"],
        alone["unlabeled"]["views"]["strong"],
    )


def test_keras_layers_are_views_and_train():
    x = np.random.default_rng(0).random((20, 8, 8, 3), "float32")
    dataset = semi_supervised(
        (x, np.arange(20)),
        x,
        views={
            "same": None,
            "flip": keras.layers.RandomFlip("horizontal"),
            "noise": keras.Sequential([keras.layers.GaussianNoise(0.1)]),
        },
        labeled_view=keras.layers.GaussianNoise(0.1),
        batch_size=20,
        unlabeled_ratio=1,
    )
    (batch,) = take(dataset, 1)
    index, views = batch["unlabeled"]["index"], batch["unlabeled"]["views"]
    flipped = [
        np.allclose(view, x[i][:, ::-1])
        for i, view in zip(index, views["flip"], strict=True)
    ]
    same = [
        np.allclose(view, x[i])
        for i, view in zip(index, views["flip"], strict=True)
    ]
    assert sum(flipped) + sum(same) == 20
    assert 0 < sum(flipped) < 20
    assert 0.05 < np.std(views["noise"] - views["same"]) < 0.2
    assert 0.05 < np.std(batch["labeled"][0] - x[batch["labeled"][1]]) < 0.2


def test_inputs_may_be_nested():
    n = 9
    x = {
        "token_ids": np.arange(n)[:, None] + np.zeros((1, 5), "int32"),
        "text": np.array([str(i) for i in range(n)]),
        "more": [np.arange(n), (np.arange(n),)],
    }
    dataset = semi_supervised(
        (x, np.eye(n)),
        x,
        views={
            "same": None,
            "next": lambda x: {**x, "token_ids": x["token_ids"] + 1},
        },
        batch_size=3,
        unlabeled_ratio=2,
    )
    for batch in take(dataset, 4):
        inputs, y = batch["labeled"]
        np.testing.assert_array_equal(y, np.eye(n)[inputs["more"][1][0]])
        index = batch["unlabeled"]["index"]
        same, other = batch["unlabeled"]["views"].values()
        if same["token_ids"][0, 0] != index[0]:
            same, other = other, same
        assert "label" not in batch["unlabeled"]
        np.testing.assert_array_equal(same["token_ids"][:, 0], index)
        np.testing.assert_array_equal(other["token_ids"][:, 0], index + 1)
        np.testing.assert_array_equal(same["text"].astype(int), index)
        np.testing.assert_array_equal(same["more"][0], index)
        np.testing.assert_array_equal(same["more"][1][0], index)


@pytest.mark.parametrize("kind", KINDS)
def test_sample_weights_stay_with_their_examples(kind):
    x, y = np.arange(10), np.arange(10) % 2
    dataset = semi_supervised(KINDS[kind](x, y, x / 10), x, batch_size=4)
    for batch in take(dataset, 5):
        inputs, _, sample_weight = batch["labeled"]
        np.testing.assert_allclose(sample_weight, inputs / 10)


def test_batch_shapes_are_static():
    x = images(5)
    for kind in KINDS.values():
        spec = semi_supervised(
            kind(x, np.arange(5)), kind(x), {"weak": jitter}, 8, 0.25
        ).element_spec
        assert spec["labeled"][0].shape == (8, 4, 4, 1)
        assert spec["unlabeled"]["views"]["weak"].shape == (2, 4, 4, 1)
        assert spec["unlabeled"]["index"].shape == (2,)


def test_large_datasets_are_streamed():
    read = []

    def examples():
        for i in range(10**6):
            read.append(i)
            yield i

    dataset = Dataset.from_generator(
        examples, output_signature=tf.TensorSpec((), "int64")
    )
    x = np.arange(4)
    train = semi_supervised((x, x), dataset, batch_size=2, shuffle_buffer=50)
    take(train, 2)
    assert len(read) < 5000


def test_a_real_data_set(tfds_dir):
    import tensorflow_datasets as tfds

    data = tfds.load(
        "fashion_mnist",
        split="train[:300]",
        data_dir=tfds_dir,
        as_supervised=True,
    )
    in_order = [image.numpy() for image, _ in data]
    train = semi_supervised(data.take(20), data, batch_size=16)
    for batch in take(train, 5):
        index = batch["unlabeled"]["index"]
        for i, image in zip(
            index, batch["unlabeled"]["views"]["original"], strict=True
        ):
            np.testing.assert_array_equal(image, in_order[i])


def test_it_feeds_fit():
    class Model(keras.Sequential):
        def train_step(self, data):
            seen.append(data["unlabeled"]["views"]["original"].shape)
            x, y = data["labeled"]
            return super().train_step((x, y))

    seen = []
    x, y = np.random.default_rng(0).random((30, 4), "float32"), np.arange(30)
    model = Model([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    train = semi_supervised((x, y % 2), x, batch_size=6, unlabeled_ratio=0.5)
    model.fit(train, epochs=2, steps_per_epoch=3, shuffle=False, verbose=0)
    assert seen
    assert set(seen) == {(3, 4)}


def test_an_order_without_an_array_of_all_ids(monkeypatch):
    monkeypatch.setattr(stream, "SHUFFLED_AT_ONCE", 0)
    n = 50

    def ids(start_step=0, seed=0, steps=20):
        train = semi_supervised(
            (images(n), np.arange(n)),
            np.arange(n),
            batch_size=4,
            unlabeled_ratio=2.5,
            seed=seed,
            start_step=start_step,
        )
        return [b["unlabeled"]["index"] for b in take(train, steps)]

    epochs = np.reshape(ids(), (4, n))
    for epoch in epochs:
        assert sorted(epoch) == list(range(n))
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert ids(seed=1)[0].tolist() != epochs[0, :10].tolist()
    np.testing.assert_array_equal(
        ids(7, steps=13), np.reshape(epochs, (20, 10))[7:]
    )


def test_the_order_of_many_ids_has_no_pattern():
    """Neighbours in an epoch, and places over epochs, are independent."""
    n = 2**21 + 3
    (first, second) = stream._ids_of_many(n, 100_000, 1, 0).take(2)
    (other,) = stream._ids_of_many(n, 100_000, 2, 0).take(1)
    for one, two in ((first[1:], first[:-1]), (first, second), (first, other)):
        counts = np.bincount(((one - two).numpy() % n) * 100 // n)
        expected = len(one) / 100
        # 5 standard deviations of chi squared with 99 degrees of freedom.
        assert np.sum((counts - expected) ** 2 / expected) < 99 + 5 * 198**0.5
