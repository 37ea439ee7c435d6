import warnings

import keras

from keras_influence.keras_private import all_layers, own_frozen
from keras_influence.layers.convolution import Conv2D, DepthwiseConv2D
from keras_influence.layers.dense import Dense
from keras_influence.layers.einsum_dense import EinsumDense
from keras_influence.layers.embedding import Embedding
from keras_influence.layers.normalization import (
    BatchNormalization,
    LayerNormalization,
)
from keras_influence.layers.recording_layer import RecordingLayer

_RECORDING = {
    keras.layers.BatchNormalization: BatchNormalization,
    keras.layers.Conv2D: Conv2D,
    keras.layers.Dense: Dense,
    keras.layers.DepthwiseConv2D: DepthwiseConv2D,
    keras.layers.EinsumDense: EinsumDense,
    keras.layers.Embedding: Embedding,
    keras.layers.LayerNormalization: LayerNormalization,
}


def recording_clone(model: keras.Model) -> keras.Model:
    """Clones a model with its layers replaced by recording ones.

    Stock `BatchNormalization`, `Conv2D`, `Dense`, `DepthwiseConv2D`,
    `EinsumDense`, `Embedding` and `LayerNormalization` layers are replaced,
    in nested functional and sequential models too. Weights are copied; names,
    `trainable` and dtype policies are kept. Layers of any other class,
    subclasses of the above included, stay as they are; a warning names those
    that have trainable weights, since these are not recorded. Layers that were
    adapted, such as `Normalization` and `TextVectorization`, are shared.

    Args:
        model: a built functional or sequential model. A subclass of one comes
            back as a plain one, as from `keras.models.clone_model`.

    Returns:
        A new model with weights of its own.

    Raises:
        ValueError: if `model` is a subclassed model, whose layers cannot be
            replaced from outside, or is not built.

    Example:

    >>> model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    >>> clone = recording_clone(model)
    >>> isinstance(clone.layers[0], Dense)
    True
    """
    _check(model)
    clone, copies = _cloned(model, _recording_copy)
    for layer, copy in copies:
        _copy_state(layer, copy, {id(v) for v in layer.weights})
    _warn_of_unrecorded([copy for _, copy in copies])
    return clone


def untrained_clone(model: keras.Model) -> keras.Model:
    """Clones a model with trainable parameters that start anew.

    What training does not change is as it was: frozen weights, of layers that
    have others too, and what preprocessing layers were adapted to, which are
    shared.

    Args:
        model: a built `keras.Model`.

    Raises:
        ValueError: if `model` is a subclassed model that holds such layers,
            which cannot be reached from outside.
    """
    if _has_graph(model):
        clone, copies = _cloned(model, _copy)
        for layer, copy in copies:
            _copy_state(layer, copy, {id(v) for v in _frozen(layer)})
        return clone
    held = [
        layer.name
        for layer in all_layers(model)
        if _is_adapted(layer) or not layer.trainable or own_frozen(layer)
    ]
    if held:
        raise ValueError(
            "A subclassed model is made anew from its configuration, which "
            "does not tell what is in frozen and in adapted layers: make it a "
            "functional or `Sequential` model. Received: "
            f"model={model.name!r} with the layers {held}"
        )
    return keras.models.clone_model(model)


def _cloned(model, copy):
    """The clone, and the pairs of layers and copies that are not shared."""
    copies, shared = [], []

    def copied(layer):
        if _is_adapted(layer):
            shared.append((layer, layer.trainable))
            return layer
        copies.append((layer, copy(layer)))
        return copies[-1][1]

    clone = keras.models.clone_model(
        model, clone_function=copied, recursive=True
    )
    _copy_trainable(model, clone)
    for layer, trainable in shared:
        layer.trainable = trainable
    return clone, [pair for pair in copies if isinstance(pair[0], keras.Layer)]


def _is_adapted(layer):
    """Whether it holds what neither its configuration nor its weights tell."""
    return hasattr(layer, "adapt")


def _frozen(layer):
    """All of frozen layers in it, and frozen weights of the others."""
    return [
        variable
        for part in all_layers(layer)
        for variable in (own_frozen(part) if part.trainable else part.variables)
    ]


def _check(model):
    if not _has_graph(model):
        raise ValueError(
            "`recording_clone` needs a functional or `Sequential` model. A "
            "subclassed model creates its layers itself: use "
            "`keras_influence.layers` there, or leave the model as it is. "
            f"Received: model={model} (of type {type(model)})"
        )
    if not model.built:
        raise ValueError(
            "`recording_clone` needs a built model, so that there are "
            "weights to copy. Call it on data or `build` it first. "
            f"Received: model={model}"
        )


def _has_graph(layer):
    return isinstance(layer, (keras.Sequential, keras.Function))


def _recording_copy(layer):
    kind = _RECORDING.get(type(layer)) if _is_linear(layer) else None
    return _copy(layer, kind)


def _copy(layer, kind=None):
    if type(layer) is keras.layers.Lambda:
        # Safe mode guards against foreign files; this function is at hand.
        return type(layer).from_config(layer.get_config(), safe_mode=False)
    return (kind or type(layer)).from_config(layer.get_config())


def _is_linear(layer):
    return not (
        getattr(layer, "lora_enabled", False)
        or getattr(layer, "quantization_mode", None)
    )


def _copy_trainable(model, clone):
    # From the outside in, because setting it on a model sets its layers'.
    clone.trainable = model.trainable
    for layer in filter(_has_graph, model.layers):
        _copy_trainable(layer, clone.get_layer(layer.name))


def _copy_state(layer, copy, chosen):
    """Copies the weights with these ids, and what is trainable of all."""
    copy.trainable = layer.trainable
    for ours, theirs in zip(copy.weights, layer.weights, strict=True):
        if id(theirs) in chosen:
            ours.assign(theirs)
        ours.trainable = theirs.trainable


def _warn_of_unrecorded(layers):
    names = [
        f"'{layer.name}' ({type(layer).__name__})"
        for layer in layers
        if layer.trainable_weights and not isinstance(layer, RecordingLayer)
    ]
    if names:
        warnings.warn(
            "`recording_clone` has no recording layer for "
            f"{', '.join(names)}. They work as before, but their parameters "
            "are not recorded: scores that include them use forward mode.",
            stacklevel=3,
        )
