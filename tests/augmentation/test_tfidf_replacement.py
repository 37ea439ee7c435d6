import math

import keras
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import keras_influence as ki
from keras_influence.augmentation.tfidf_replacement import TfIdfReplacement

PAD, START, END = 0, 1, 2
SPECIAL = (PAD, START, END)
SIZE, LENGTH = 12, 9
DOCUMENTS = [[3, 4, 5, 3], [3, 6, 7], [8, 4, 4, 4, 9], [3, 5, 10, 8, 3, 3]]


def inputs(documents):
    """Documents of words as a batch with special tokens and padding."""
    rows = [[START, *words, END] for words in documents]
    rows = [row + [PAD] * (LENGTH - len(row)) for row in rows]
    token_ids = np.array(rows, "int32")
    return {
        "token_ids": token_ids,
        "segment_ids": np.zeros_like(token_ids),
        "padding_mask": token_ids != PAD,
    }


def statistics(documents):
    """idf and S, word by word."""
    words = {w for words in documents for w in words}
    idf = {
        w: math.log(len(documents) / sum(w in words for words in documents))
        for w in words
    }
    total = {
        w: sum(d.count(w) / len(d) * idf[w] for d in documents if d)
        for w in words
    }
    return idf, total


def replacement_probabilities(words, idf, token_prob):
    """The formula for one document, token by token."""
    s = [words.count(w) / len(words) * idf[w] for w in words]
    missing = [max(s) - s_i for s_i in s]
    if sum(missing) == 0:
        return [0.0] * len(words)
    return [
        min(token_prob * len(words) * m / sum(missing), 1.0) for m in missing
    ]


def choice_probabilities(total):
    """How likely each token is drawn, an array over the vocabulary."""
    missing = {w: max(total.values()) - s for w, s in total.items()}
    if sum(missing.values()) == 0:
        missing = dict.fromkeys(missing, 1.0)
    chosen = np.zeros(SIZE)
    chosen[list(missing)] = list(missing.values())
    return chosen / chosen.sum()


def adapted(documents=DOCUMENTS, token_prob=0.5, **arguments):
    layer = TfIdfReplacement(SIZE, SPECIAL, token_prob, **arguments)
    layer.adapt(inputs(documents))
    return layer


WORDS = st.lists(st.integers(3, SIZE - 1), max_size=LENGTH - 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=6).filter(any), st.floats(0, 1))
def test_agrees_with_the_formula(documents, token_prob):
    layer = adapted(documents, token_prob)
    idf, total = statistics(documents)
    expected = np.zeros((len(documents), LENGTH))
    for row, words in zip(expected, documents, strict=True):
        row[1 : 1 + len(words)] = replacement_probabilities(
            words, idf, token_prob
        )
    actual = layer.replacement_probabilities(inputs(documents))
    np.testing.assert_allclose(actual, expected, rtol=2e-4, atol=1e-5)
    chosen = np.diff(layer.cumulative.numpy(), prepend=0)
    np.testing.assert_allclose(
        chosen, choice_probabilities(total), atol=2e-6, rtol=1e-4
    )


def test_draws_follow_the_probabilities():
    layer = adapted(token_prob=0.4)
    words = DOCUMENTS[3]
    drawn = layer(inputs([words] * 10_000), seed=(3, 4))["token_ids"].numpy()
    idf, total = statistics(DOCUMENTS)
    chosen = choice_probabilities(total)
    replaced = replacement_probabilities(words, idf, 0.4)
    for place, (word, chance) in enumerate(zip(words, replaced, strict=True)):
        expected = chance * chosen
        expected[word] += 1 - chance
        found = np.bincount(drawn[:, place + 1], minlength=SIZE)
        possible = expected > 0
        assert found[~possible].sum() == 0
        if chance > 0:
            result = scipy.stats.chisquare(
                found[possible], 10_000 * expected[possible]
            )
            assert result.pvalue > 1e-3


def test_tokens_are_drawn_for_independently():
    layer = adapted([[3], [4], [9]], token_prob=0.2)
    batch = inputs([[9, 9, 9, 3, 4]] * 10_000)
    changed = layer(batch, seed=(0, 1))["token_ids"] != batch["token_ids"]
    pairs = np.histogram2d(*changed.numpy()[:, [4, 5]].T, bins=2)[0]
    assert scipy.stats.chi2_contingency(pairs).pvalue > 1e-3


def test_never_touches_special_tokens_or_padding():
    layer = adapted(token_prob=1.0)
    batch = inputs([*DOCUMENTS, [], [11] * 7])
    fixed = np.isin(batch["token_ids"], SPECIAL)
    for seed in range(20):
        drawn = layer(batch, seed=(seed, 0))
        assert set(drawn) == set(batch)
        tokens = drawn["token_ids"].numpy()
        np.testing.assert_array_equal(tokens[fixed], batch["token_ids"][fixed])
        assert not np.isin(tokens[~fixed], SPECIAL).any()
        np.testing.assert_array_equal(
            drawn["padding_mask"], batch["padding_mask"]
        )


def test_words_that_the_padding_mask_hides_do_not_count():
    layer = adapted(token_prob=1.0)
    batch, shorter = inputs(DOCUMENTS), inputs([d[:2] for d in DOCUMENTS])
    batch["padding_mask"] = np.tile(np.arange(LENGTH) < 3, (len(DOCUMENTS), 1))
    np.testing.assert_array_equal(
        layer.replacement_probabilities(batch),
        layer.replacement_probabilities(shorter),
    )
    drawn = layer(batch, seed=(0, 1))["token_ids"].numpy()
    np.testing.assert_array_equal(drawn[:, 3:], batch["token_ids"][:, 3:])


def test_the_same_seed_gives_the_same_tokens():
    layer, batch = adapted(), inputs(DOCUMENTS * 8)
    first, again, other = (
        layer(batch, seed=s)["token_ids"].numpy()
        for s in ((1, 2), (1, 2), (1, 3))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_without_a_seed_every_call_draws_anew():
    batch = inputs(DOCUMENTS * 8)
    draws = []
    for _ in range(2):
        layer = adapted(seed=5)
        draws.append([layer(batch)["token_ids"].numpy() for _ in range(2)])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0][0] != draws[0][1]).any()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_in_a_graph(jit_compile):
    layer = adapted(token_prob=1.0)
    batch = inputs([*DOCUMENTS, [7, 7, 7], []])
    graph = tf.function(
        lambda x, seed: layer(x, seed=seed)["token_ids"],
        jit_compile=jit_compile,
    )
    seed = tf.constant([1, 2])
    first, again = (graph(batch, seed).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    fixed = layer.replacement_probabilities(batch).numpy() == 0
    np.testing.assert_array_equal(first[fixed], batch["token_ids"][fixed])
    assert (first[~fixed] != batch["token_ids"][~fixed]).mean() > 0.4
    assert set(first[~fixed]) <= set(range(3, 11))
    if not jit_compile:
        expected = layer(batch, seed=seed)["token_ids"]
        np.testing.assert_array_equal(first, expected)


def test_as_a_view():
    batch = inputs(DOCUMENTS * 3)
    train = ki.data.semi_supervised(
        labeled=(batch, np.arange(12) % 2),
        unlabeled=batch,
        views={"weak": None, "strong": adapted(token_prob=1.0)},
        batch_size=2,
        unlabeled_ratio=4,
    )
    first, again = (next(iter(train))["unlabeled"]["views"] for _ in range(2))
    assert first["weak"].keys() == first["strong"].keys()
    changed = first["weak"]["token_ids"] != first["strong"]["token_ids"]
    assert changed.numpy().any()
    np.testing.assert_array_equal(
        first["strong"]["token_ids"], again["strong"]["token_ids"]
    )


def test_saves_and_loads_its_statistics(tmp_path):
    layer, batch = adapted(seed=3), inputs(DOCUMENTS)
    expected = layer(batch, seed=(1, 2))["token_ids"]
    keras.saving.save_model(layer, tmp_path / "layer.keras")
    loaded = keras.saving.load_model(tmp_path / "layer.keras")
    assert loaded.get_config() == layer.get_config()
    actual = loaded(batch, seed=(1, 2))["token_ids"]
    np.testing.assert_array_equal(actual, expected)


def test_saves_and_loads_inside_a_model(tmp_path):
    batch = inputs(DOCUMENTS)
    x = {
        name: keras.Input((LENGTH,), dtype=array.dtype.name, name=name)
        for name, array in batch.items()
    }
    model = keras.Model(x, adapted(token_prob=1.0)(x))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    drawn = loaded(batch, training=True)["token_ids"].numpy()
    assert (drawn != batch["token_ids"]).any()
    kept = loaded(batch, training=False)["token_ids"]
    np.testing.assert_array_equal(kept, batch["token_ids"])


def test_half_precision_does_not_matter():
    expected = adapted()(inputs(DOCUMENTS), seed=(1, 2))["token_ids"]
    layer = adapted(dtype="mixed_float16")
    assert layer.idf.dtype == "float32"
    actual = layer(inputs(DOCUMENTS), seed=(1, 2))["token_ids"]
    np.testing.assert_array_equal(actual, expected)


def test_needs_statistics():
    layer = TfIdfReplacement(SIZE, SPECIAL)
    with pytest.raises(ValueError, match="Call `adapt`"):
        layer(inputs(DOCUMENTS))


@pytest.mark.parametrize(
    ("documents", "size", "message"),
    [([[], []], SIZE, "neither special"), ([[5, 11]], 11, "from 5 to 11")],
)
def test_data_that_cannot_be_learned_from(documents, size, message):
    layer = TfIdfReplacement(size, SPECIAL)
    with pytest.raises(ValueError, match=message):
        layer.adapt(inputs(documents))


@pytest.mark.parametrize("token_prob", [-0.1, 1.1])
def test_token_prob_is_a_share(token_prob):
    with pytest.raises(ValueError, match=f"token_prob={token_prob}"):
        TfIdfReplacement(SIZE, token_prob=token_prob)


def test_a_seed_is_two_integers():
    with pytest.raises(ValueError, match=r"\(2,\)"):
        adapted()(inputs(DOCUMENTS), seed=(1, 2, 3))
