"""Arguments of losses that are refused."""

import math

import numpy as np


def check_positive(**numbers: float) -> None:
    """Raises unless the arguments are positive and finite."""
    for name, number in numbers.items():
        if not 0 < number < math.inf:
            raise ValueError(
                f"`{name}` must be positive and finite. "
                f"Received: {name}={number}"
            )


def check_not_negative(**numbers: float) -> None:
    """Raises unless the arguments are at least 0 and finite."""
    for name, number in numbers.items():
        if not 0 <= number < math.inf:
            raise ValueError(
                f"`{name}` must be at least 0 and finite. "
                f"Received: {name}={number}"
            )


def check_momentum(momentum: float) -> None:
    """Raises unless `momentum` is that of an average."""
    if not 0 <= momentum < 1:
        raise ValueError(
            "`momentum` must be in the range [0, 1). "
            f"Received: momentum={momentum}"
        )


def check_steps(name: str, steps: int) -> None:
    """Raises unless an argument is a positive integer."""
    if not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(
            f"`{name}` must be a positive integer. Received: {name}={steps!r}"
        )


def check_confidence(confidence: float) -> None:
    """Raises unless `confidence` is a probability."""
    if not 0 <= confidence <= 1:
        raise ValueError(
            "`confidence` must be in the range [0, 1]. "
            f"Received: confidence={confidence}"
        )


def check_pair(views) -> tuple[str, str]:
    """`views` as a tuple; raises unless it names two different views."""
    views = (views,) if isinstance(views, str) else tuple(views)
    names = all(isinstance(view, str) for view in views)
    if not names or len(views) != 2 or views[0] == views[1]:
        raise ValueError(
            "`views` must name two different views, by strings. Received: "
            f"views={views}"
        )
    return views
