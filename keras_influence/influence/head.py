"""Finding the linear head of a network: the last layer of Eq. 6."""

import contextlib
import functools
import warnings
import weakref
from collections.abc import Callable

import keras
import tensorflow as tf
from keras import ops

from keras_influence.influence.added_losses import added_losses, depend_on
from keras_influence.influence.tied_weights import check_records
from keras_influence.inlined import inlined
from keras_influence.keras_private import all_layers, mask_of
from keras_influence.layers import Recording, RecordingLayer, tapped
from keras_influence.stateless import check_derivatives

# The traces of every network that is alive.
_KEPT: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


class Head:
    """The last layer of a network, as an objective's parameters.

    Args:
        layer: a linear Dense layer.
        adds_losses: boolean, whether its outputs enter a loss that a layer
            of the network adds by itself. Defaults to `False`.
    """

    def __init__(self, layer: keras.layers.Dense, adds_losses: bool = False):
        self.layer = layer
        self.adds_losses = adds_losses

    @property
    def variables(self) -> list:
        """The kernel and, where there is one, the bias."""
        layer = self.layer
        return [layer.kernel] + ([layer.bias] if layer.use_bias else [])

    @property
    def width(self) -> int:
        """The number of features that enter the layer."""
        return self.variables[0].shape[0]

    @property
    def classes(self) -> int:
        """The number of logits."""
        return self.layer.compute_output_shape(self.variables[0].shape)[-1]

    def readout(self, outputs: tf.Tensor) -> tf.Tensor:
        """What the network's logits are of the layer's linear outputs."""
        if isinstance(self.layer, RecordingLayer):
            return self.layer.readout(outputs)
        return outputs

    def features(self, recording: Recording) -> tf.Tensor:
        """What entered the layer, `(n, features)` in the kernel's dtype."""
        calls = [r for r in recording.records if r.layer is self.layer]
        return self._entered([call.inputs for call in calls])

    def _entered(self, inputs):
        """The only inputs of a pass, which must be such as Eq. 6 wants."""
        if len(inputs) != 1 or len(inputs[0].shape) != 2:
            raise ValueError(
                "The last layer must be called once, on inputs of shape "
                f"(batch, features). Received: layer {self.layer.name!r} with "
                f"inputs of shapes {[tuple(x.shape) for x in inputs]}. "
                "Take `parameters='all'` for such a network."
            )
        return ops.cast(inputs[0], self.variables[0].dtype)

    def run(self, network: keras.Model, x) -> tf.Tensor:
        """What enters the layer in inference mode, a tensor as `features`."""
        with inlined(network), tapped(self.layer), Recording() as recording:
            network(x, training=False)
        return self.features(recording)


def symbolic_inputs(network: keras.Model):
    """What a network was built on, or `None` for a subclassed one."""
    if isinstance(network, keras.Sequential):
        return network.inputs[0]
    return network.input if hasattr(network, "inputs") else None


def build_for_training(network: keras.Model, inputs) -> None:
    """Builds the layers that only a pass of training calls, too.

    Args:
        network: a `keras.Model` of any kind.
        inputs: as of `find_head`.
    """
    _trace(functools.partial(network, training=True), inputs)


def trace_outputs(network: keras.Model, inputs) -> tuple[int, bool]:
    """What a network is to the influence of other layers than the last.

    Args:
        network: a built `keras.Model` of any kind.
        inputs: as of `find_head`.

    Returns:
        The number of logits, and whether layers add losses by themselves.

    Raises:
        ValueError: if the network has several outputs, they are
            probabilities, or derivatives do not reach a layer, or not by what
            it records.
    """
    found = []

    def trace(inputs):
        with inlined(network):
            output = network(inputs, training=True)
        _check_single(network, output)
        if (kind := _uncast(output).op.type) in ("Softmax", "Sigmoid"):
            _raise_no_logits(network, "its output", kind.lower())
        found.append((output.shape[-1], bool(added_losses(network))))

    _trace(trace, inputs)
    layers = all_layers(network)
    if any(isinstance(layer, RecordingLayer) for layer in layers):
        _trace(functools.partial(check_records, network), inputs)
    if not all(map(_says_all, layers)):
        check = functools.partial(check_derivatives, network)
        # Not `_trace`, within which nothing is recorded for derivatives.
        tf.function(check, autograph=False).get_concrete_function(
            _specs(inputs)
        )
    return found[-1]


def find_head(network: keras.Model, inputs) -> Head:
    """The Dense layer whose output is the network's output.

    Traces the network once, which computes nothing, and follows its output
    back through layers that do nothing but cast.

    Args:
        network: a built `keras.Model` of any kind.
        inputs: nest of tensors or `KerasTensor`s like the network's inputs.

    Returns:
        The `Head`.

    Raises:
        ValueError: if the network does not end in a linear Dense layer.
    """
    found = []

    def trace(inputs):
        found.append(_traced_head(network, inputs)[0])

    _trace(trace, inputs)
    return found[-1]


def trace_head(network: keras.Model, inputs) -> tuple[Head, Callable]:
    """A network's head, and what enters it: one trace for both.

    It is kept for as long as the network lives and is what it was: its
    configuration says so, and its variables are the same.

    Args:
        network: as of `find_head`.
        inputs: as of `find_head`.

    Returns:
        Tuple of the `Head` and a compiled function from inputs like these to
        a tensor `(n, features)`, as of `Head.run`.

    Raises:
        ValueError: as `find_head`, or if the head's inputs are none such.
    """
    heads = []

    def trace(inputs):
        head, entered = _traced_head(network, inputs)
        heads.append(head)
        return head._entered(entered)

    structure, spec = _structure(network), repr(inputs)
    before, kept = _KEPT.get(network, {}).get(spec, (None, None))
    if structure is not None and structure == before:
        return kept
    run = _trace(trace, inputs)
    if structure is not None:
        _KEPT.setdefault(network, {})[spec] = structure, (heads[-1], run)
    return heads[-1], run


def _structure(network):
    """What the trace of a network depends on, `None` where it hides that."""
    if not all(map(_says_all, all_layers(network))):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Nothing is saved.
        try:
            config = repr(network.get_config())
        except (NotImplementedError, TypeError, ValueError):
            return None
    # The trace keeps them: no other variable can get their place.
    return config, [id(v.value) for v in network.variables]


def _says_all(layer):
    """Whether no code of a user's decides what a layer does."""
    package = type(layer).__module__.partition(".")[0]
    known = package in ("keras", "keras_hub", "keras_nlp", "keras_influence")
    activation = getattr(layer, "activation", None)
    if activation is not None:
        known = known and activation.__module__.startswith("keras.")
    # What a layer was adapted to is in no configuration.
    hides = isinstance(layer, keras.layers.Lambda) or hasattr(layer, "adapt")
    return known and not hides


def _specs(inputs):
    return keras.tree.map_structure(
        lambda x: tf.TensorSpec(x.shape, x.dtype), inputs
    )


def _trace(function, inputs):
    with tf.init_scope():
        return tf.function(function, autograph=False).get_concrete_function(
            _specs(inputs)
        )


def _traced_head(network, inputs):
    """The head, and the inputs of all of its calls."""
    with inlined(network), _calls(_candidates(network)) as calls:
        output = network(inputs, training=False)
    _check_single(network, output)
    head = _source(output, calls)
    if not isinstance(head, keras.layers.Dense):
        last = "another layer" if head is None else f"layer {head.name!r}"
        raise ValueError(
            "Argument `network` must end in a Dense layer that gives the "
            "logits, `keras.layers.Dense` or "
            "`keras_influence.layers.BinaryLogits`: it is the last layer of "
            f"the influence. Received: network={network.name!r}, whose output "
            f"comes from {last}."
        )
    if head.activation is not keras.activations.linear:
        last = f"its last layer {head.name!r}"
        _raise_no_logits(network, last, head.activation.__name__)
    check_plain(head)
    calls = [call for call in calls if call[0] is head]
    outputs = [outputs for *_, outputs in calls]
    adds_losses = depend_on(added_losses(network), outputs)
    return Head(head, adds_losses), [inputs for _, inputs, _ in calls]


def _raise_no_logits(network, what, activation):
    raise ValueError(
        "Argument `network` must map inputs to logits. Received: "
        f"network={network.name!r}; {what} ends in {activation!r}. Give it "
        "`activation=None` and the loss `from_logits=True`."
    )


def _check_single(network, output):
    if not tf.is_tensor(output):
        raise ValueError(
            "Argument `network` must have a single output, the logits. "
            f"Received: network={network.name!r}, which has "
            f"{len(keras.tree.flatten(output))}, in a "
            f"{type(output).__name__}"
        )
    for layer in all_layers(network):
        if getattr(layer, "stateful", False):
            raise ValueError(
                "A layer with `stateful=True` goes on from what it saw last, "
                "so that nothing it gives is of one example: make it without. "
                f"Received: layer {layer.name!r}"
            )
    if mask_of(output) is not None:
        raise ValueError(
            "The network's output carries a mask, as of `mask_zero=True` or a "
            "`Masking` layer, and each of its positions would count: pool over "
            "time, or give the positions to leave out a label that the loss "
            "ignores (`ignore_class`) and make the network without a mask. "
            f"Received: network={network.name!r}"
        )


def check_plain(layer: keras.layers.Dense) -> None:
    """Raises where a head's outputs are not linear in a kernel of floats."""
    lora = getattr(layer, "lora_enabled", False)
    mode = getattr(layer, "quantization_mode", None)
    if lora or mode:
        raise ValueError(
            "The last layer must be plain: its kernel is what the influence "
            "is of. Enable LoRA in other layers, and quantize when training "
            f"has ended. Received: layer {layer.name!r} with "
            f"{'LoRA' if lora else f'quantization_mode={mode!r}'}"
        )


def _candidates(network):
    return [
        layer
        for layer in all_layers(network)
        if isinstance(layer, keras.layers.Activation)
        or type(layer) is keras.layers.Dense
        or (
            isinstance(layer, keras.layers.Dense)
            and isinstance(layer, RecordingLayer)
        )
    ]


@contextlib.contextmanager
def _calls(layers):
    """Collects `(layer, inputs, outputs)` of the layers' calls."""
    calls = []

    def listen(layer, call):
        @functools.wraps(call)
        def listening(inputs, *args, **kwargs):
            outputs = call(inputs, *args, **kwargs)
            calls.append((layer, inputs, outputs))
            return outputs

        return listening

    before = [(layer, vars(layer).get("call")) for layer in layers]
    for layer in layers:
        layer.call = listen(layer, layer.call)
    try:
        yield calls
    finally:
        for layer, call in before:
            vars(layer).pop("call")
            if call is not None:
                layer.call = call


def _source(output, calls):
    """The layer that a tensor comes from, casts skipped, or `None`."""
    for layer, inputs, outputs in reversed(calls):
        if _uncast(outputs) is _uncast(output):
            if isinstance(layer, keras.layers.Dense):
                return layer
            if layer.activation is not keras.activations.linear:
                return layer
            output = inputs
    return None


def _uncast(tensor):
    # Between layers of different precision Keras casts.
    while tensor.op.type in ("Cast", "Identity"):
        tensor = tensor.op.inputs[0]
    return tensor
