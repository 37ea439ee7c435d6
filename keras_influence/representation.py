"""How configurable objects print themselves."""

import inspect


def representation(instance) -> str:
    """The call that makes an equal object.

    Shown are the arguments that differ from the constructor's defaults, as
    `get_config` has them; objects within show themselves, functions their
    names. An object's own `name` is left out.

    Args:
        instance: an object with a method `get_config`.

    Returns:
        A string such as `"FixMatch(confidence=0.9)"`.

    Example:
    >>> representation(keras.optimizers.schedules.CosineDecay(0.5, 100))
    'CosineDecay(initial_learning_rate=0.5, decay_steps=100)'
    """
    config = instance.get_config()
    constructor = inspect.signature(type(instance).__init__)
    shown = []
    for name, parameter in constructor.parameters.items():
        if name == "name" or name not in config:
            continue
        value = _text(_given(instance, name, config[name]))
        if value != repr(parameter.default):
            shown.append(f"{name}={value}")
    return f"{type(instance).__name__}({', '.join(shown)})"


def _given(instance, name, value):
    """The argument itself where the configuration has it serialised."""
    if isinstance(value, (dict, list)):
        attributes = vars(instance)
        return attributes.get(name, attributes.get(f"_{name}", value))
    return value


def _text(value):
    if inspect.isroutine(value):
        return value.__name__
    plain = type(value).__repr__ is object.__repr__
    if plain and hasattr(value, "get_config"):
        return representation(value)
    return repr(value)
