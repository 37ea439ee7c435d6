"""All that is used of Keras' private parts, hence `keras<3.16`.

Keras has no public names for these; each says what would replace it.
"""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import reduce_per_replica


def all_layers(model: keras.Model) -> list:
    """Every layer of a model, nested ones too, itself included.

    `keras.Model.layers` has the outermost only.
    """
    return list(model._flatten_layers())


def replace_layer(
    model: keras.Model, name: str, layer: keras.layers.Layer | None
) -> None:
    """Sets an attribute of a model that holds a layer, or `None`.

    Keras keeps the one before among the model's layers.

    Args:
        model: a `keras.Model`.
        name: string, the attribute's name.
        layer: the `keras.layers.Layer` or `None`.
    """
    model._tracker.untrack(getattr(model, name, None))
    setattr(model, name, layer)


def step_on_data(
    model: keras.Model, step: Callable, jit_compile: bool
) -> Callable:
    """A training step as a function of a batch, compiled as Keras would.

    `keras.Model.make_train_function` knows only `train_step(data)`.

    Args:
        model: a compiled model.
        step: function from a batch, of one replica, to logs.
        jit_compile: boolean, whether XLA compiles it.
    """

    @tf.autograph.experimental.do_not_convert
    def on_data(data):
        strategy = model.distribute_strategy
        logs = strategy.run(_reducing_if_needed, args=(step, data))
        return reduce_per_replica(logs, strategy, reduction="auto")

    if model.run_eagerly:
        return on_data
    return tf.function(on_data, reduce_retracing=True, jit_compile=jit_compile)


def steps_on_iterator(model: keras.Model, step: Callable) -> Callable:
    """`steps_per_execution` steps as a function of an iterator.

    As `step_on_data`, in the way of Keras' own `make_train_function`.
    """
    return model._make_function(functools.partial(_reducing_if_needed, step))


def _reducing_if_needed(step, data):
    """A step on a replica, without reducing gradients where it is alone.

    An optimizer reduces them by a `tf.custom_gradient`, whose derivative
    TensorFlow registers for ever, and with it the trace and all it captured.
    """
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        replica.all_reduce = lambda reduce_op, value, options=None: value
    return step(data)


def symbolic_build(model: keras.Model, iterator, data_batch) -> None:
    """Builds a model under a strategy, on the batch of one replica.

    Keras' own takes the mean of what the replicas have, which several workers
    cannot do with dictionaries: keras-team/keras#20585.
    """
    if model._distribute_strategy is None:
        return
    strategy = model.distribute_strategy
    if iterator is not None:
        for _, _, batches in iterator:
            data_batch = next(batches)
            break
    data_batch = keras.tree.map_structure(
        lambda part: strategy.experimental_local_results(part)[0], data_batch
    )
    with strategy.scope():
        model._symbolic_build(data_batch=data_batch)


def reducible(strategy: tf.distribute.Strategy, logs: dict) -> dict:
    """The logs of a step in the shape that Keras can reduce.

    Over several workers it takes the mean along axis 0: keras-team/keras#20585.
    """
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return logs
    return {name: tf.reshape(value, (1,)) for name, value in logs.items()}


def batches_seen(optimizer: keras.optimizers.Optimizer) -> int:
    """How often an optimizer was applied, a number that is read from it.

    `iterations` does not count the batches whose gradients it accumulated.
    """
    return int(_inner(optimizer)._iterations.numpy())


def accumulation_steps(optimizer: keras.optimizers.Optimizer) -> int:
    """How many batches make a step of an optimizer."""
    return _inner(optimizer).gradient_accumulation_steps or 1


def scales_loss(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether an optimizer takes back steps that overflow."""
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def _inner(optimizer):
    scaled = scales_loss(optimizer)
    return optimizer.inner_optimizer if scaled else optimizer


def loss_tracker(model: keras.Model) -> keras.metrics.Mean:
    """The metric `loss` of a compiled model, which `train_step` updates."""
    return model._loss_tracker


def loss_weights(model: keras.Model) -> Any:
    """The `loss_weights` that a model was compiled with, or `None`."""
    compiled = getattr(model, "_compile_config", None)
    return compiled and compiled.config.get("loss_weights")


def metric_variables(model: keras.Model) -> list:
    """The variables of the metrics that a model was compiled with."""
    metrics = model._compile_metrics
    return [] if metrics is None else metrics.variables


def input_specs(model: keras.Model, data) -> Any:
    """The labelled inputs that a `tf.data.Dataset` holds, as `tf.TensorSpec`s.

    `None` where it does not say, and under a strategy, where Keras builds a
    model itself.

    Args:
        model: a compiled model.
        data: what `fit` got.
    """
    if model._distribute_strategy:
        return None
    match getattr(data, "element_spec", None):
        case {"labeled": (x, *_)}:
            leaves = keras.tree.flatten(x)
            dense = all(isinstance(leaf, tf.TensorSpec) for leaf in leaves)
            return x if dense else None


def build_metrics(model: keras.Model, data, classes: int) -> None:
    """Makes the metrics of a compiled model before its first step.

    Keras makes them within its trace, after which TensorFlow traces it again.

    Args:
        model: a compiled model.
        data: what `fit` got; a `tf.data.Dataset` says what it holds.
        classes: integer, the width of its logits.
    """
    metrics = model._compile_metrics
    if metrics is None or metrics.built or model._distribute_strategy:
        return
    match getattr(data, "element_spec", None):
        case {"labeled": (_, tf.TensorSpec() as y, *_)}:
            labels = keras.KerasTensor(y.shape, y.dtype.name)
            metrics.build(labels, keras.KerasTensor((None, classes)))


def own_frozen(layer: keras.layers.Layer) -> list:
    """What would be trained of a layer itself, had nobody frozen it.

    `non_trainable_variables` has batch statistics too.
    """
    return [v for v in layer._trainable_variables if not v.trainable]


def mask_of(outputs: tf.Tensor) -> tf.Tensor | None:
    """The mask that a layer's outputs carry, which Keras' losses apply."""
    return getattr(outputs, "_keras_mask", None)


def variable_place(
    optimizer: keras.optimizers.Optimizer, variable: keras.Variable
) -> int:
    """The place of a variable among those that an optimizer was built on."""
    return optimizer._get_variable_index(variable)


def own_statistics(network: keras.Model) -> list:
    """What the layers of a network keep track of, such as batch statistics.

    `non_trainable_variables` has the kernels of frozen layers too.
    """
    return [
        variable
        for layer in all_layers(network)
        if layer.trainable
        for variable in layer._non_trainable_variables
        if "float" in variable.dtype
    ]
