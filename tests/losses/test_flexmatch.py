import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_influence.losses import FlexMatch

CLASSES, EXAMPLES, TAU = 3, 12, 0.7


class Published:
    """Algorithm 1 of the paper, a loop an example."""

    def __init__(self, warmup):
        self.warmup = warmup
        self.kept = [-1] * EXAMPLES

    def step(self, weak, strong, index):
        status = [self.kept.count(c) for c in range(CLASSES)]
        highest = max(status)
        if self.warmup:
            highest = max(highest, self.kept.count(-1))
        beta = [s / highest if highest else 0.0 for s in status]
        losses, mask = [], []
        for q, p, n in zip(weak, strong, index, strict=True):
            label = int(q.argmax())
            losses.append(-np.log(p[label]))
            mask.append(q.max() >= TAU * beta[label] / (2 - beta[label]))
            if q.max() >= TAU:
                self.kept[n] = label
        return losses, mask


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_the_published_algorithm(seed, warmup):
    random = np.random.default_rng(seed)
    loss, published = FlexMatch(TAU, warmup), Published(warmup)
    loss.start(None, CLASSES, EXAMPLES)
    for _ in range(6):
        weak, strong = random.normal(size=(2, 5, CLASSES)).astype("f4") * 2
        index = random.permutation(EXAMPLES)[:5]
        logits = {"weak": weak, "strong": strong}
        loss.observe(logits, index)
        losses, mask = loss(logits)
        probabilities = scipy.special.softmax([weak, strong], -1)
        expected, kept = published.step(*probabilities, index)
        np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(mask, kept)
    np.testing.assert_array_equal(loss.state["labels"], published.kept)


def test_an_id_twice_counts_once():
    loss = FlexMatch(0.0)
    loss.start(None, CLASSES, EXAMPLES)
    random = np.random.default_rng(0)
    for index in ([3, 3, 1], [1, 3, 1], [0, 0, 0]):
        weak = random.normal(size=(3, CLASSES)).astype("f4")
        loss.observe({"weak": weak, "strong": weak}, np.array(index))
        labels = loss.state["labels"].numpy().astype(int)
        expected = np.bincount(labels + 1, minlength=CLASSES + 1)
        np.testing.assert_array_equal(loss.state["counts"], expected)


def test_a_step_reads_the_rows_of_its_batch_alone():
    loss = FlexMatch()
    loss.start(None, CLASSES, 1000)
    index = tf.constant([5, 7])

    @tf.function(autograph=False)
    def step(weak):
        loss.observe({"weak": weak, "strong": weak}, index)
        return loss({"weak": weak, "strong": weak})

    graph = step.get_concrete_function(tf.zeros((2, CLASSES))).graph
    outputs = [t for op in graph.get_operations() for t in op.outputs]
    assert not any(1000 in list(t.shape) for t in outputs if t.shape.rank)


def test_a_model_without_a_number_of_examples():
    with pytest.raises(ValueError, match="with `num_unlabeled`"):
        FlexMatch().start(None, CLASSES, None)
