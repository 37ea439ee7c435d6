"""Recording per-example activations and output gradients (design idea 2)."""

import contextlib
import dataclasses
import functools
import threading

import keras
import tensorflow as tf
from keras import ops

_active = threading.local()
_tapping = threading.Lock()
_HALF = ("float16", "bfloat16")


@dataclasses.dataclass
class Record:
    """One call of a layer: what entered its linear map and what left it.

    Args:
        layer: the layer that was called.
        inputs: tensor of shape `(batch, ...)`, the input `a` of the map.
        outputs: tensor of shape `(batch, ...)`, its output `z`.
    """

    layer: keras.layers.Layer
    inputs: tf.Tensor
    outputs: tf.Tensor


class Recording:
    """Context in which recording layers keep their inputs and outputs.

    A recording belongs to one thread, hence to one trace: replicas that trace
    in threads of their own do not see each other's records. Outside any
    recording, a recording layer does nothing that its stock layer does not.
    A layer that is called twice leaves two records; its gradient is their sum.

    Example:

    >>> from keras_influence.layers import Dense
    >>> layer = Dense(3)
    >>> with Recording() as recording:
    ...     _ = layer(np.ones((2, 5), "float32"))
    >>> [tuple(r.inputs.shape) for r in recording.records]
    [(2, 5)]
    """

    def __init__(self):
        self.records = []

    def __enter__(self):
        self._outer = getattr(_active, "recording", None)
        _active.recording = self
        return self

    def __exit__(self, *exception):
        _active.recording = self._outer


def is_recording() -> bool:
    """Whether a `Recording` is active in this thread."""
    return getattr(_active, "recording", None) is not None


def record(layer, inputs, outputs) -> None:
    """Keeps one call of `layer` in the active `Recording`, if there is one."""
    if is_recording():
        _active.recording.records.append(Record(layer, inputs, outputs))


@contextlib.contextmanager
def tapped(*layers: keras.layers.Layer):
    """Context in which stock layers record their calls, weights and name kept.

    Outside it they are what they were.

    Args:
        *layers: layers whose output is linear in their parameters. A
            `RecordingLayer` records anyway.

    Example:

    >>> layer = keras.layers.Dense(3)
    >>> with tapped(layer), Recording() as recording:
    ...     outputs = layer(np.ones((2, 5), "float32"))
    >>> recording.records[0].outputs is outputs
    True
    """
    stock = [x for x in layers if not isinstance(x, RecordingLayer)]
    with _tapping:
        for layer in stock:
            _tap(layer)
    try:
        yield
    finally:
        with _tapping:
            for layer in stock:
                _untap(layer)


def _tap(layer):
    # Replicas trace in threads, all with the same layer.
    if hasattr(layer.call, "taps"):
        layer.call.taps += 1
        return
    call = layer.call

    @functools.wraps(call)
    def tap(inputs, *args, **kwargs):
        outputs = call(inputs, *args, **kwargs)
        record(layer, inputs, outputs)
        return outputs

    vars(tap).update(taps=1, before=vars(layer).get("call"))
    layer.call = tap


def _untap(layer):
    tap = layer.call
    tap.taps -= 1
    if not tap.taps:
        del layer.call
        if tap.before is not None:
            layer.call = tap.before


def full_precision(primitive):
    """Lets a primitive see half-precision tensors as float32.

    Records are in the layer's compute dtype; sums over positions and
    parameters need more digits than float16 and bfloat16 have.
    """

    @functools.wraps(primitive)
    def with_full_precision(self, *args):
        return primitive(self, *keras.tree.map_structure(_widen, args))

    return with_full_precision


def _widen(x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    return ops.cast(x, "float32") if dtype in _HALF else x


@keras.saving.register_keras_serializable(package="keras_influence")
class RecordingLayer(keras.layers.Layer):
    """Base class of layers that are linear in their parameters.

    Subclass it and write `linear`; `features` and `readout` where the layer
    does something before or after its linear map:

        outputs = readout(linear(features(inputs), *parameters))

    With the features `a` of an example and the gradient `δ` of its loss at
    `z = linear(a, *parameters)`, everything about that example's gradient `g`
    follows, because `⟨g, V⟩ = ⟨δ, linear(a, *V)⟩` for every `V` of the
    parameters' shapes.

    Example:

    >>> class Scale(RecordingLayer):
    ...     def build(self, input_shape):
    ...         self.scale = self.add_weight(shape=input_shape[-1:])
    ...
    ...     def linear(self, features, scale):
    ...         return features * scale
    >>> Scale()(np.ones((2, 5), "float32")).shape
    TensorShape([2, 5])

    Reference: section 3.2 and appendix B of "Not All Unlabeled Data are Equal".
    """

    @property
    def parameters(self) -> list:
        """The variables that `linear` takes, in its order; all by default."""
        return self.weights

    def features(self, inputs, **kwargs):
        """What enters the linear map; takes the arguments of `call`.

        Keras passes `training` and `mask` to layers whose `call` names them:
        a subclass that needs them overrides `call` with that signature.
        """
        return inputs

    def linear(self, features, *parameters):
        """The linear map: `(batch, ...)` features to `(batch, ...)` outputs."""
        raise NotImplementedError(
            f"`{type(self).__name__}` must implement "
            "`linear(features, *parameters)`."
        )

    def readout(self, outputs):
        """What follows the linear map, such as an activation."""
        return outputs

    def call(self, inputs, **kwargs):
        """Runs the layer; keeps features and outputs while recording."""
        features = self.features(inputs, **kwargs)
        outputs = self.linear(features, *self.parameters)
        record(self, features, outputs)
        return self.readout(outputs)

    def enable_lora(self, *args, **kwargs):
        """Refused: the output is not linear in low-rank factors."""
        raise ValueError(
            "A recording layer needs an output that is linear in its "
            "parameters, which LoRA's is not. Use the stock layer of "
            f"`{type(self).__name__}` for LoRA. Received: name={self.name!r}"
        )

    @full_precision
    def dot(self, features, gradients, vector: list) -> tf.Tensor:
        """Dot product of every example's gradient with one vector.

        Args:
            features: tensor of shape `(batch, ...)`, as recorded.
            gradients: tensor of the outputs' shape, each example's own loss
                gradient at its outputs.
            vector: list of tensors of the parameters' shapes.

        Returns:
            Tensor of shape `(batch,)`: `⟨g_n, vector⟩`.
        """
        return ops.sum(_rows(gradients * self.linear(features, *vector)), 1)

    @full_precision
    def per_example_gradients(self, features, gradients) -> list:
        """Every example's gradient, written out.

        Args:
            features: tensor of shape `(batch, ...)`, as recorded.
            gradients: tensor of the outputs' shape.

        Returns:
            List of tensors of shape `(batch, *parameter.shape)`.

        Reference: appendix B, "Convolutional Layer".
        """
        # The gradient of a linear map does not depend on where it is taken.
        parameters = [
            ops.zeros(p.shape, gradients.dtype) for p in self.parameters
        ]

        def gradient(example):
            features, gradients = example
            with tf.GradientTape() as tape:
                tape.watch(parameters)
                outputs = self.linear(features[None], *parameters)
            return tape.gradient(outputs, parameters, gradients[None])

        return tf.vectorized_map(gradient, (features, gradients))

    @full_precision
    def gram(self, features, gradients, other_features, other_gradients):
        """Dot products between the gradients of two sets of examples.

        Args:
            features: tensor of shape `(n, ...)`, as recorded.
            gradients: tensor of the outputs' shape, `(n, ...)`.
            other_features: tensor of shape `(m, ...)`.
            other_gradients: tensor of shape `(m, ...)`.

        Returns:
            Tensor of shape `(n, m)`: `⟨g_i, g_j⟩`.
        """
        ours = self.per_example_gradients(features, gradients)
        theirs = self.per_example_gradients(other_features, other_gradients)
        return sum(map(inner_products, ours, theirs))


def inner_products(x, y):
    """`(n, m)` inner products of the examples of `x` with those of `y`."""
    return ops.matmul(_rows(x), ops.transpose(_rows(y)))


def _rows(x):
    return ops.reshape(x, (ops.shape(x)[0], -1))
