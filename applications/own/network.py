"""The network of a run on a user's data."""

import importlib

import keras

from applications.recipe import build


def own_network(
    component: dict, input_shape: tuple, class_names: list[str]
) -> keras.Model:
    """A network of `applications.networks`, or the user's.

    Args:
        component: dict; its `name` is one of those, the path of a `.keras`
            file, or `module:function` with the arguments `input_shape` and
            `classes`.
        input_shape: tuple of int, the shape of one input.
        class_names: list of strings.

    Raises:
        ValueError: if it does not fit the data.
    """
    name, classes = component["name"], len(class_names)
    if name.endswith(".keras"):
        network = keras.saving.load_model(name, compile=False)
    elif ":" in name:
        module, _, function = name.partition(":")
        make = getattr(importlib.import_module(module), function, None)
        if make is None:
            raise ValueError(f"Module {module} has no {function!r}: {name!r}.")
        network = make(input_shape=input_shape, classes=classes)
    else:
        arguments = {"input_shape": input_shape, "classes": classes}
        network = build("network", component, **arguments)
    if not isinstance(network, keras.Model):
        raise ValueError(
            f"`network` must give a Keras model. Received: {name}."
        )
    _check(name, network, input_shape, class_names)
    return network


def _check(name, network, input_shape, class_names):
    takes = getattr(network, "input_shape", None)
    if takes is not None and not all(
        a in (None, b) for a, b in zip(takes[1:], input_shape, strict=True)
    ):
        raise ValueError(
            f"`network` {name!r} takes inputs of shape {takes[1:]}, the data "
            f"have {input_shape}; for images, set `size`."
        )
    gives = network.compute_output_shape((None, *input_shape))
    if gives[-1] != len(class_names):
        raise ValueError(
            f"`network` {name!r} must give a logit for each of the "
            f"{len(class_names)} classes {class_names[:10]}. It gives "
            f"{gives[-1]}."
        )
