"""From a preset's name and `--set key=value` to the recipe of one run."""

import ast
import copy
import difflib
import importlib
import inspect
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence

from applications.presets import (
    PRESETS,
    SCALES,
    SOURCES,
    TRAININGS,
    VARIANTS,
)
from applications.presets.tables import described

# Where the names inside a recipe are looked up.
ROOMS = {
    "dataset": "applications.datasets",
    "network": "applications.networks",
    "optimizer": "keras.optimizers",
    "schedule": "applications.schedules",
    "unlabeled_loss": "keras_influence.losses",
    "weight_network": "keras_influence",
    "weight_optimizer": "keras_influence.optimizers",
    "influence": "keras_influence",
    "solver": "keras_influence.solvers",
    "weak": "applications.views",
    "strong": "applications.views",
}

# In those rooms, but no choices: bases of others, and helpers.
NO_CHOICE = {
    *("Optimizer", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"),
    *("deserialize", "get", "serialize"),
    *("UnlabeledLoss", "RowOptimizer", "Solver", "Operator", "DenseOperator"),
    *("Solution", "Influence", "InfluenceModel", "influence_scores", "preset"),
}

# Where values come from that state nothing else.
HERE = "this project"

# Components that `--set NAME=none` takes away.
OPTIONAL = ("weight_network", "schedule")


def resolve(
    name: str, settings: Sequence[str] = (), scale: str | None = None
) -> dict:
    """A preset's recipe with the user's settings in place of its defaults.

    Args:
        name: str, the name of a preset.
        settings: `"key=value"` strings, applied in order; `"variant=NAME"`,
            for presets that have variants, before them. A key is a path with
            dots, such as `"optimizer.learning_rate"`, or its last part where
            only one path ends that way. The value takes the type of the
            default. A whole component may be replaced by another's name, as
            in `"optimizer=Adam"` or, for a method of the paper's table A1,
            `"influence=lorraine"`; its arguments can be set after that. For
            a recipe of images or texts, `"dataset=NAME"` may name any data
            set.
        scale: `"small"`, for a run of minutes on a small machine; presets
            that take no longer anyway stay as they are. Defaults to `None`.

    Returns:
        The recipe: a dictionary of plain values.

    Raises:
        ValueError: for an unknown name or key, or a value of a wrong type.
    """
    *_, (_, recipe) = _stages(name, settings, scale)
    return recipe | {"description": described(recipe)}


def sources(
    name: str, settings: Sequence[str] = (), scale: str | None = None
) -> dict[str, str]:
    """Where each value of a resolved recipe comes from, by its path.

    Args:
        name: str, as of `resolve`.
        settings: as of `resolve`. Defaults to `()`.
        scale: as of `resolve`. Defaults to `None`.
    """
    found, before = {}, {}
    for stated, recipe in _stages(name, settings, scale):
        now = {k: v for k, v in paths(recipe) if not isinstance(v, dict)}
        found |= {
            path: stated if isinstance(stated, str) else stated.get(path, HERE)
            for path, value in now.items()
            if path not in before or value != before[path]
        }
        before = now
    return {path: found[path] for path in before}


def variant(name: str, settings: Sequence[str] = ()) -> str | None:
    """The variant that settings ask for, or `None` for the default.

    Args:
        name: str, the name of a preset.
        settings: as of `resolve`. Defaults to `()`.
    """
    asked = [
        value.strip()
        for key, _, value in (setting.partition("=") for setting in settings)
        if key.strip() == "variant" and name in VARIANTS
    ]
    return known(asked[-1], VARIANTS[name], "variant") if asked else None


def _stages(name, settings, scale):
    """A recipe as it is put together, each time with its values' sources."""
    recipe = copy.deepcopy(PRESETS[_known_preset(name)])
    recipe.setdefault("variants", list(TRAININGS))
    yield SOURCES.get(name, {}), recipe
    recipe = copy.deepcopy(recipe)
    chosen = variant(name, settings)
    changes = VARIANTS[name][chosen] if chosen else {}
    for path, (value, _) in changes.items():
        _replace(recipe, path, value)
    yield {path: source for path, (_, source) in changes.items()}, recipe
    recipe = copy.deepcopy(recipe)
    if scale is not None:
        scaled = SCALES[known(scale, SCALES, "scale")].get(name, {})
        for path, value in scaled.items():
            # Which trainings there are is the variant's to say.
            if path != "variants" or path not in changes:
                _replace(recipe, path, value)
    yield f"--scale {scale}", recipe
    recipe = copy.deepcopy(recipe)
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"`--set` takes key=value. Received: {setting!r}.")
        if key.strip() != "variant" or name not in VARIANTS:
            _set(recipe, key.strip(), value.strip())
    yield "--set", recipe


def _known_preset(name):
    """The name; else how what once had it is spelled now."""
    stem, _, last = name.rpartition("_")
    if name not in PRESETS and last in VARIANTS.get(stem, ()):
        raise ValueError(f"{name!r} is `{stem} --set variant={last}` now.")
    if name not in PRESETS and stem in SCALES.get(last, ()):
        raise ValueError(f"{name!r} is `{stem} --scale {last}` now.")
    return known(name, PRESETS, "preset")


def build(kind: str, component: dict, **offered):
    """Calls what a component of a recipe names.

    Args:
        kind: str, the component's key in `ROOMS`.
        component: dict, a `name` and keyword arguments.
        **offered: further keyword arguments, what the recipe cannot hold;
            passed on are those that the component takes.
    """
    arguments = dict(component)
    called = _find(kind, arguments.pop("name"))
    taken = inspect.signature(called).parameters
    offered = {k: v for k, v in offered.items() if k in taken}
    return called(**offered | arguments)


def known(name: str, names: Iterable[str], what: str) -> str:
    """Returns `name` if it is one of `names`; else says which are nearest."""
    names = list(dict.fromkeys(names))
    if name not in names:
        raise ValueError(f"Unknown {what} {name!r}. {nearest(name, names)}")
    return name


def nearest(name: str, names: Iterable[str]) -> str:
    """What may have been meant by a name that is none of `names`."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {_either(near)}?"
    return f"Known: {', '.join(names)}."


def _set(recipe, key, value):
    *parents, leaf = _path(recipe, key).split(".")
    node = recipe
    for part in parents:
        node = node[part]
    if leaf in node:
        default = node[leaf]
    else:
        default = _arguments(parents[-1], node)[leaf]
    if leaf == "dataset" and _is_source(value, default):
        default["source"] = value
    elif value.lower() == "none" and _may_be_none(parents, node, leaf):
        node[leaf] = None
    elif leaf == "optimizer":
        node[leaf] = _another_optimizer(value, default)
    elif leaf in ROOMS:
        node[leaf] = {"name": value}
    elif not isinstance(default, dict):
        node[leaf] = _parse(key, value, default)
    elif not default:
        raise ValueError(f"`{key}` is empty here, and nothing of it is set.")
    else:
        raise ValueError(
            f"`{key}` is a group of settings: set one of "
            f"{_either(f'{key}.{name}' for name in default)}."
        )


def _replace(recipe, path, value):
    """Replaces a value where the recipe has that path."""
    *parents, leaf = path.split(".")
    for part in parents:
        recipe = recipe.get(part, {})
    if leaf in recipe:
        recipe[leaf] = copy.deepcopy(value)


def _is_source(value, component):
    """Whether a data set's name means what this component reads.

    Fashion-MNIST is a data set of its own, for networks of few units, and one
    of images as any other.
    """
    room = importlib.import_module(ROOMS["dataset"])
    other = value in room.__all__ and value != "fashion_mnist"
    return "source" in component and not other


def _may_be_none(parents, node, leaf):
    """Whether a setting can be taken away."""
    if leaf in OPTIONAL:
        return True
    if parents == ["weights"]:
        return leaf in ("initial_weight", "max_weight")
    if leaf == "name" or not parents or parents[-1] not in ROOMS:
        return False
    default = _parameters(parents[-1], node).get(leaf)
    return default is not None and (
        default.default is None or "None" in str(default.annotation)
    )


def _another_optimizer(name, before):
    """An optimizer that averages weights as the one of before does."""
    kept = {k: before[k] for k in ("use_ema", "ema_momentum") if k in before}
    return {"name": name} | kept


def _path(recipe, key):
    """The full path that `key` stands for."""
    known_paths = dict(paths(recipe))
    matches = [p for p in known_paths if p.endswith(f".{key}")]
    if key in known_paths or len(matches) == 1:
        return key if key in known_paths else matches[0]
    if matches:
        raise ValueError(f"`{key}` could be {_either(matches)}. Say which.")
    parent, _, leaf = key.rpartition(".")
    component = known_paths.get(parent)
    if isinstance(component, dict) and leaf in _arguments(parent, component):
        return key
    flat = (path.rpartition(".")[2] for path in known_paths)
    return known(key, [*flat, *known_paths], "setting")


def paths(recipe: dict, prefix: str = "") -> Iterator[tuple]:
    """The paths of a recipe's values and groups, each with what it holds.

    Args:
        recipe: dict, as `resolve` gives it.
        prefix: str, what every path starts with. Defaults to `""`.
    """
    for key, value in recipe.items():
        yield prefix + key, value
        if isinstance(value, dict):
            yield from paths(value, f"{prefix}{key}.")


def _arguments(path, component):
    """What the named component could be given, and the defaults."""
    kind = path.rpartition(".")[2]
    if kind not in ROOMS:
        return {}
    parameters = _parameters(kind, component)
    return {name: p.default for name, p in parameters.items()}


def _parameters(kind, component):
    # An influence without a name, or with a preset's, takes the same choices.
    name = "Influence" if kind == "influence" else component["name"]
    return inspect.signature(_find(kind, name)).parameters


def takes(kind: str, component: dict, name: str) -> bool:
    """Whether what a component names has an argument.

    Args:
        kind: str, the component's key in `ROOMS`.
        component: dict, a `name` and keyword arguments.
        name: str, the name of the argument.
    """
    return name in _parameters(kind, component)


def argument(kind: str, component: dict, name: str):
    """An argument of a component, or its default.

    Args:
        kind: str, as of `takes`.
        component: dict, as of `takes`.
        name: str, as of `takes`.
    """
    default = _parameters(kind, component)[name].default
    return component.get(name, default)


def _find(kind, name):
    room = importlib.import_module(ROOMS[kind])
    if kind == "influence":
        return room.Influence
    names = [
        name
        for name in getattr(room, "__all__", dir(room))
        if name[0] != "_"
        and name not in NO_CHOICE
        and callable(getattr(room, name))
    ]
    return getattr(room, known(name, names, kind))


def _parse(key, value, default):
    """Reads `value` as the type of the default; as a literal without one."""
    if isinstance(default, list | tuple) and default:
        return [_parse(key, v.strip(), default[0]) for v in value.split(",")]
    try:
        if isinstance(default, bool):
            return {"true": True, "false": False}[value.lower()]
        if isinstance(default, int | float | str):
            parsed = type(default)(value)
            if parsed == parsed:
                return parsed
            raise ValueError("not a number")
    except (KeyError, ValueError):
        kind = {bool: "true or false", int: "a whole number"}.get(
            type(default), "a number"
        )
        raise ValueError(
            f"`{key}` takes {kind}, such as {default}. Received: {value!r}."
        ) from None
    return _literal(value)


def _literal(value):
    """A plain literal of Python, or the text itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = ast.literal_eval(value)
        # As it comes back from a file, so that recipes can be compared.
        return json.loads(json.dumps(parsed, allow_nan=False))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError):
        return value


def _either(names):
    *most, last = (str(name) for name in names)
    return f"{', '.join(most)} or {last}" if most else last
