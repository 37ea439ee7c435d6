"""Settings of `InfluenceModel.compile` that belong together."""

from keras_influence.influence.influence import Influence
from keras_influence.optimizers import Evidence, MAdam

PRESETS = {
    "recommended": lambda: {
        "influence": Influence(),
        "weight_optimizer": MAdam(0.01),
        "inner_steps": 2,
    },
    "single_weights": lambda: {
        "influence": Influence(),
        "weight_optimizer": Evidence(2.0),
        "inner_steps": 2,
    },
    "paper": lambda: {
        "influence": Influence.preset("last_layer"),
        "weight_optimizer": MAdam(0.01),
        "inner_steps": 100,
    },
}


def preset(name: str, **overrides) -> dict:
    """Arguments of `InfluenceModel.compile` for how the weights are learned.

    `"recommended"` is what did best in `benchmarks/effect.py`, for an
    `InfluenceModel` with `weight_network=WeightNetwork()` and
    `initial_weight=0.1` for given labels, 1 for pseudo-labels.
    `"single_weights"` is for one without a weight network; let its weights
    start at the constant weight that you would take. Use every trusted label
    twice with both: pass all of them as the labelled data and as
    `validation_set`.

    Args:
        name: `"recommended"`, `"single_weights"` or `"paper"`.
        **overrides: arguments to set otherwise.

    Returns:
        A dictionary with `influence`, `weight_optimizer` and `inner_steps`.

    Raises:
        ValueError: if `name` is unknown.

    Example:

    >>> preset("recommended")["inner_steps"]
    2
    >>> preset("paper", inner_steps=10)["inner_steps"]
    10

    Reference: section 4 and appendix D of "Not All Unlabeled Data are Equal"
    for `"paper"`.
    """
    if name not in PRESETS:
        raise ValueError(
            f"Argument `name` must be one of {list(PRESETS)}. "
            f"Received: name={name!r}"
        )
    return {**PRESETS[name](), **overrides}
