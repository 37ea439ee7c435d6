"""Settings of an `InfluenceModel` that belong together."""

from keras_influence.influence.influence import Influence
from keras_influence.models import choices
from keras_influence.optimizers import Evidence, MAdam
from keras_influence.weighting import WeightNetwork

PRESETS = {
    "recommended": lambda: {
        "influence": choices.influence(None),
        "weight_optimizer": MAdam(0.01),
        "inner_steps": 2,
    },
    "single_weights": lambda: {
        "influence": choices.influence(None),
        "weight_optimizer": Evidence(2.0),
        "inner_steps": 2,
    },
    "paper": lambda: {
        "influence": Influence.preset("last_layer"),
        "weight_optimizer": MAdam(0.01),
        "inner_steps": 100,
        "validation_reuse": 1,
    },
}

MODELS = {
    "recommended": lambda: {"weight_network": WeightNetwork()},
    "single_weights": lambda: {"weight_network": None},
    "paper": lambda: {
        "weight_network": None,
        "initial_weight": 1.0,
        "max_weight": None,
    },
}


def preset(name: str, of: str = "compile", **overrides) -> dict:
    """Arguments that say how the weights are learned.

    `"recommended"` is what did best in `benchmarks/effect.py`, and what an
    `InfluenceModel` does of its own accord. `"single_weights"` learns one
    number for every example; let the weights start at the constant weight
    that you would take. Use every trusted label twice with both: pass all of
    them as the labelled data and as `validation_set`. `"paper"` is exact.

    Args:
        name: `"recommended"`, `"single_weights"` or `"paper"`.
        of: `"compile"` for arguments of `InfluenceModel.compile`, `"model"`
            for those of `InfluenceModel` itself. Defaults to `"compile"`.
        **overrides: arguments to set otherwise.

    Returns:
        A dictionary with `influence`, `weight_optimizer`, `inner_steps` and,
        where it is to be exact, `validation_reuse`; or with `weight_network`
        and what goes with it.

    Raises:
        ValueError: if `name` or `of` is unknown.

    Example:

    >>> preset("recommended")["inner_steps"]
    2
    >>> preset("paper", of="model")
    {'weight_network': None, 'initial_weight': 1.0, 'max_weight': None}

    Reference: section 4 and appendix D of "Not All Unlabeled Data are Equal"
    for `"paper"`.
    """
    presets = {"compile": PRESETS, "model": MODELS}
    if of not in presets or name not in presets[of]:
        raise ValueError(
            f"Argument `name` must be one of {list(PRESETS)}, and `of` one of "
            f"{list(presets)}. Received: name={name!r}, of={of!r}"
        )
    return {**presets[of][name](), **overrides}
