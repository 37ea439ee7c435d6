import functools
import html.parser
import itertools
import re

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

import keras_influence as ki
from tests.cases import reports
from tests.cases.models import draw


class Page(html.parser.HTMLParser):
    """The tags of a page, its headings, and the text outside of them."""

    VOID = ("meta", "link", "img", "path", "rect", "use")

    def __init__(self, path):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.words = " ".join(" ".join(self.text).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["title"]):
            self.text.append(data)


def page(tmp_path, training, **arguments):
    model, (x, y), *_ = training
    arguments = {"examples": x, "labels": y, **arguments}
    path = ki.report(model, tmp_path / "new" / "report.html", **arguments)
    found = Page(path)
    assert not found.open
    return found


def test_everything_at_once(training, tmp_path):
    model, _, history, weight_history = training
    test = draw(20, 3)
    found = page(
        tmp_path,
        training,
        ids=[f"file <{k}>" for k in range(30)],
        class_names=reports.CLASSES,
        test=test,
        baselines={"trusted labels alone": 0.25},
        history=history,
        weight_history=weight_history,
        summary="The <first> experiment.",
        settings={"seed": 7, "optimizer": {"name": "SGD"}},
        command="python train.py --name '<x>'",
        gallery=5,
    )
    headings = [tag for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert headings.count("h1") == 1
    levels = [int(tag[1]) for tag in headings]
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert sum(tag == "svg" for tag, _ in found.tags) == 6
    assert [tag for tag, _ in found.tags].count("li") >= 10
    accuracy = np.mean(
        model.network.predict(test[0], verbose=0).argmax(1) == test[1]
    )
    for text in (
        *("12 trusted labels", "30 other examples", f"{accuracy:.1%}"),
        *("25.0%", "The <first> experiment.", "--name '<x>'", "seed 7"),
        *("optimizer.name SGD", keras.__version__, ki.__version__),
        *("GivenLabels()", "file <", "<script>alert(1)</script>"),
    ):
        assert text in found.words, text


def test_nothing_is_loaded_and_nothing_runs(training, tmp_path):
    found = page(
        tmp_path,
        training,
        class_names=reports.CLASSES,
        shown=reports.texts(),
        title="</title><script>alert(2)</script>",
    )
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "iframe", "object", "b"}
    for tag, attributes in found.tags:
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href", "xlink:href"):
            target = attributes.get(name) or "#"
            assert target.startswith(("data:", "#")), (tag, target)


@pytest.mark.parametrize("given", [None, np.linspace(1, 2, 30)])
def test_the_ends_of_the_order(training, tmp_path, given):
    """By the model's label quality, or by weights that are given."""
    model, (x, y), *_ = training
    weights, quality = model.example_weights, model.label_quality
    if given is not None:
        weights, quality = given, given / (given + given.mean() / 2)
    found = page(tmp_path, training, weights=given, gallery=2)
    cards = re.findall(r"weight ([\d.]+) id (\d+)", found.words)
    logits = model.network.predict(x, verbose=0)
    likely = np.array(keras.ops.softmax(logits))[np.arange(30), y]
    order = np.lexsort((likely, quality.round(2)))
    ids = [*order[:2], *order[:-3:-1]]
    assert cards == [(f"{weights[i]:.2f}", str(i)) for i in ids]
    doubted = np.count_nonzero(quality < 0.5)
    assert f"given labels that are doubted {doubted}" in found.words


@pytest.mark.parametrize("labeled", [0, 12, 30])
def test_given_labels_are_what_can_be_wrong(training, tmp_path, labeled):
    _, (_, y), *_ = training
    given = np.where(np.arange(30) < labeled, y, -1)
    weights = np.linspace(2, 0, 30)  # the others are less believed
    found = page(tmp_path, training, labels=given, weights=weights, gallery=8)
    shown = [int(i) for i in re.findall(r"weight [\d.]+ id (\d+)", found.words)]
    quality = weights / (weights + weights.mean() / 2)
    if labeled:
        assert max(shown) < labeled
        assert "The given labels of lowest quality" in found.words
        assert f"labels that are doubted {sum(quality[:labeled] < 0.5)}" in (
            found.words
        )
    else:
        assert max(shown) == 29
        assert "None had a label that could be wrong" in found.words


@pytest.mark.parametrize("shown", ["texts", "images"])
def test_examples_as_people_see_them(training, tmp_path, shown):
    examples = getattr(reports, shown)()
    found = page(tmp_path, training, shown=examples, gallery=30)
    cards = [tag for tag, _ in found.tags if tag in ("img", "blockquote")]
    assert len(cards) == 30
    if shown == "texts":
        assert all(
            f"<b>Review</b> {k} 'quoted'" in found.words for k in range(30)
        )
    for tag, attributes in found.tags:
        if tag == "img":
            assert attributes["alt"]


def test_what_is_known_to_be_harmful(training, tmp_path):
    harmful = np.arange(30) < 2
    found = page(
        tmp_path, training, harmful=harmful, weights=np.arange(30.0) + 1
    )
    cards = [attributes for tag, attributes in found.tags if tag == "li"]
    assert sum(card.get("class") == "harmful" for card in cards) == 2
    assert found.words.count("known harmful") == 2


def test_without_labels(training, tmp_path):
    found = page(tmp_path, training, labels=None)
    assert "none of which had a label" in found.words
    assert "given" not in found.words
    assert "Results" not in found.words


def test_probabilities_of_cross_validation(training, tmp_path):
    y = np.array([0, 1, 2, 0])
    probabilities = np.eye(3)[[0, 1, 2, 1]]
    found = page(
        tmp_path, training, test=(None, y), test_probabilities=probabilities
    )
    assert "right on 4 trusted labels held out 75.0%" in found.words
    assert "Mean distance: 25.0%" in found.words


def test_any_network_with_weights(training, tmp_path):
    model, (x, y), *_ = training
    path = ki.report(
        model.network, tmp_path / "a.html", x, y, weights=np.ones(30)
    )
    assert "trusted labels and from 30 other" in Page(path).words


def test_series_are_read_by_place(training, tmp_path):
    """As `DataFrame.sample` leaves them, with numbers of other rows."""
    x, y = draw(30, 1)
    order = np.random.default_rng(0).permutation(30)
    texts, ids = ([f"{n} {k}" for k in range(30)] for n in ("text", "id"))
    pages = [
        page(
            tmp_path,
            training,
            examples=x,
            labels=y,
            shown=of(texts),
            ids=of(ids),
            harmful=of(list(y == 0)),
        ).text
        for of in (list, functools.partial(pd.Series, index=order + 100))
    ]
    assert pages[0] == pages[1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"examples": np.zeros((29, 4))}, "29 examples, weights of shape"),
        ({"labels": np.full(30, 3)}, "below 3"),
        ({"labels": np.zeros((30, 3))}, "shape `(n,)`"),
        ({"labels": np.zeros(29, int)}, "`labels` must have one row"),
        ({"labels": np.array(["a"] * 30)}, "`labels` must have an integer"),
        ({"test": (None, ["a", "b"])}, "`test` must have an integer"),
        ({"test": (None, [0, 3])}, "classes below 3"),
        ({"test": (None, [-1, 0])}, "classes below 3. Received"),
        ({"test": draw(9, 3)[0]}, "`test` must be a tuple (x, y)"),
        ({"test": (draw(9, 3)[0], draw(8, 3)[1])}, "`test` must have shape"),
        (
            {"test": (None, [0]), "test_probabilities": [[5.0, -1.0, 0.0]]},
            "`test_probabilities` must have probabilities",
        ),
        ({"baselines": 0.91}, "`baselines` must be a dict"),
        ({"baselines": {"a": 0.9, "b": 91.0}}, "'b': 91.0}"),
        ({"baselines": {"a": "95%"}}, "`baselines` must be a dict"),
        ({"baselines": {"with learned weights": 0.9}}, "the model itself"),
        (
            {"test": (None, [0]), "test_probabilities": [[np.nan, 0.5, 0.5]]},
            "`test_probabilities` must have probabilities",
        ),
        ({"test_probabilities": [[1.0, 0.0, 0.0]]}, "pass `test=(None, y)`"),
        ({"labels": np.full(30, 2**63, "uint64")}, "below 3"),
        ({"weights": np.full(30, np.nan)}, "`weights` must be finite"),
        ({"weights": np.full(30, -1.0)}, "`weights` must be finite"),
        ({"gallery": -1}, "`gallery` must be an integer"),
        ({"gallery": 2.5}, "`gallery` must be an integer"),
        ({"harmful": ["no"] * 30}, "`harmful` must have one row"),
        ({"harmful": [3, 7]}, "`harmful` must have one row"),
        ({"shown": {"a": range(30), "b": [1]}}, "`shown` must have one row"),
        ({"history": [1, 2]}, "`history` must be what `fit` returned"),
        ({"history": {"loss": 0.5}}, "`history` must be what `fit` returned"),
        ({"weight_history": ki.callbacks.WeightHistory()}, "of a `fit`"),
        ({"settings": [1]}, "`settings` must be a dict"),
        ({"class_names": {0: "a", 1: "b", 2: "c"}}, "a list in their order"),
        ({"ids": ["a"]}, "`ids` must have one row"),
        ({"shown": {"a": [1]}}, "`shown` must have one row"),
        ({"class_names": ["a"]}, "must name the 3 classes"),
        (
            {"test": (None, [0, 1]), "test_probabilities": [[1.0, 0.0, 0.0]]},
            "`test_probabilities` must have shape",
        ),
    ],
)
def test_arguments_that_do_not_fit(training, tmp_path, arguments, expected):
    with pytest.raises(ValueError, match=re.escape(expected)):
        page(tmp_path, training, **arguments)


@pytest.mark.parametrize("kind", ["bool", "uint64", "object", "float32"])
def test_labels_of_any_type(training, tmp_path, kind):
    _, (_, y), *_ = training
    y = np.minimum(y, 1)
    pages = [
        page(
            tmp_path, training, labels=labels, test=(draw(9, 3)[0], labels[:9])
        )
        for labels in (y, y.astype(kind), y.astype(kind)[:, None])
    ]
    assert pages[0].text == pages[1].text == pages[2].text


@pytest.mark.parametrize(
    "kind", ["csr_matrix", "csc_matrix", "coo_matrix", "csr_array", "tensor"]
)
def test_sparse_examples(training, tmp_path, kind):
    """What is not zero is shown."""
    _, (x, y), *_ = training
    x = np.where(np.arange(4) == 2, 0, x).astype("float32")
    if kind == "tensor":
        sparse = tf.sparse.from_dense(x)
    else:
        sparse = getattr(scipy.sparse, kind)(x)
    found = page(tmp_path, training, examples=sparse, labels=y)
    cells = [tag for tag, _ in found.tags if tag == "dt"]
    assert cells
    dense = page(tmp_path, training, examples=x, labels=y)
    weights = [
        re.findall(r"weight [\d.]+ id \d+", p.words) for p in (found, dense)
    ]
    assert weights[0] == weights[1]


def test_a_network_without_weights(training, tmp_path):
    model, (x, y), *_ = training
    with pytest.raises(ValueError, match="weights of shape None"):
        ki.report(model.network, tmp_path / "a.html", x, y)
