"""Influence in a whole pretrained BERT."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_influence as ki
from applications.bert import bert, bert_tokenizer
from applications.text import TextTask
from applications.text_views import tfidf
from applications.tokens import bert_inputs, encode
from keras_influence.influence.objective import Term
from keras_influence.influence.scope import VariablesScope

pytestmark = pytest.mark.slow

LENGTH = 16
SHAPE = dict.fromkeys(("token_ids", "segment_ids", "padding_mask"), (LENGTH,))
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
TEXTS = [
    "A splendid film.",
    "Not worth a single cent.",
    "Dull, dull, dull! I fell asleep twice.",
    "I laughed, I cried, and I watched it again.",
    "The plot is thin but the cast is a joy.",
    "Two hours of my life that I will not get back.",
    "Beautiful pictures, and music to match.",
    "The book was better.",
    "Its jokes are older than its actors.",
    "See it in a cinema if you can.",
    "Flat, loud and far too long.",
    "A quiet masterpiece.",
]
LABELS = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1])


@pytest.fixture(scope="module")
def reviews():
    tokenizer = bert_tokenizer()
    return bert_inputs(encode(TEXTS, tokenizer, LENGTH), tokenizer)


def rows(x, start, stop):
    return {name: array[start:stop] for name, array in x.items()}


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    network = bert(SHAPE, 2)
    # At its start the head hardly passes a gradient on to the backbone.
    head = network.get_layer("logits")
    head.kernel.assign(20 * head.kernel)
    return network


def gradient(network, x, y):
    with tf.GradientTape() as tape:
        loss = LOSS(y, network(x, training=False))
    variables = network.trainable_variables
    return [
        tf.convert_to_tensor(g).numpy().ravel()
        for g in tape.gradient(loss, [v.value for v in variables])
        if g is not None
    ]


def test_whole_network_scores_are_products_of_gradients(network, reviews):
    train = rows(reviews, 0, 8), LABELS[:8]
    validation = rows(reviews, 8, 12), LABELS[8:]
    influence = ki.Influence(parameters="all", curvature=None)
    scores = ki.influence_scores(
        network, train, validation, loss=LOSS, influence=influence
    )
    v = gradient(network, *validation)
    expected = []
    for k in range(8):
        g = gradient(network, rows(reviews, k, k + 1), LABELS[k : k + 1])
        products = [np.dot(a, b) for a, b in zip(g, v, strict=True)]
        expected.append(-sum(products) / 8)
    assert np.std(expected) > 1e-4
    np.testing.assert_allclose(
        scores, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
    )


def test_whole_network_scores_hold_no_gradient_an_example(network, reviews):
    """What the graph holds an example is its activations."""
    variables = network.trainable_variables
    labels = tf.constant(LABELS)
    terms = [
        Term(
            lambda z: keras.losses.sparse_categorical_crossentropy(
                labels, z[:, 0], from_logits=True
            ),
            tf.ones(len(LABELS)),
        )
    ]

    @tf.function
    def derivatives(*vector):
        scope = VariablesScope(network, variables)
        objective = scope.objective(reviews, terms)
        flat = tf.concat([tf.reshape(v, [-1]) for v in vector], axis=0)
        return objective.directional_derivatives(flat)

    specs = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
    graph = derivatives.get_concrete_function(*specs).graph
    shapes = [
        tuple(tensor.shape)
        for operation in graph.get_operations()
        for tensor in operation.outputs
        if tensor.shape.rank and tensor.shape[0] == len(LABELS)
    ]
    widest = network.get_layer("bert_backbone").intermediate_dim
    activations = len(LABELS) * LENGTH * widest
    assert max(map(np.prod, shapes)) == activations


def test_last_layer_keeps_nothing_but_pooled_features(network, reviews):
    with ki.layers.Recording() as recording:
        network(reviews, training=True)
    (record,) = recording.records
    assert record.layer is network.get_layer("logits")
    assert record.inputs.shape == (len(TEXTS), 384)


@pytest.fixture(params=["mixed_bfloat16", "mixed_float16"])
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


class Watched(ki.solvers.Exact):
    """Keeps the precision of the systems that it solves."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dtypes = set()

    def solve(self, operator, vector):
        solution = super().solve(operator, vector)
        self.dtypes |= {operator.dtype, vector.dtype.name}
        return solution


def test_learns_weights_in_fit_in_half_precision(reviews, policy):
    network = bert(SHAPE, 2, trained_layers=1)
    labeled = rows(reviews, 0, 4), LABELS[:4]
    validation = rows(reviews, 8, 12), LABELS[8:]
    unlabeled = rows(reviews, 0, 8)
    task = TextTask(
        labeled=labeled,
        validation=validation,
        test=validation,
        unlabeled=unlabeled,
        truth=LABELS[:8],
        texts=TEXTS[:8],
        tokenizer=bert_tokenizer(),
        preset="minilm",
    )
    train = ki.data.semi_supervised(
        labeled=labeled,
        unlabeled=unlabeled,
        views={"weak": None, "strong": tfidf(task)},
        batch_size=2,
        unlabeled_ratio=2,
    )
    solver = Watched(damping=1e-3)
    model = ki.InfluenceModel(network, num_unlabeled=8)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=LOSS,
        unlabeled_loss=ki.losses.UDA(annealing="linear", annealing_steps=4),
        weight_optimizer=ki.optimizers.MAdam(0.01),
        influence=ki.Influence(solver=solver),
        validation_set=tf.data.Dataset.from_tensor_slices(validation),
        inner_steps=2,
    )
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (policy == "mixed_float16")
    before = [v.numpy() for v in network.trainable_variables]
    history = model.fit(train, epochs=1, steps_per_epoch=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    for old, new in zip(before, network.trainable_variables, strict=True):
        assert new.dtype == "float32"
        assert np.isfinite(new.numpy()).all()
        # A bias of all keys alike has no gradient.
        assert (new.numpy() != old).any() or "key/bias" in new.path
    assert solver.dtypes == {"float32"}
    weights = model.example_weights
    assert weights.dtype == "float32"
    assert (weights != 1).any()
    assert np.isfinite(weights).all()
