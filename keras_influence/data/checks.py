"""Arguments that are numbers."""

import numpy as np


def check_integer(name: str, value, minimum: int) -> None:
    """Raises unless `value` is an integer of at least `minimum`."""
    is_integer = isinstance(value, (int, np.integer))
    if not is_integer or isinstance(value, bool) or value < minimum:
        raise ValueError(
            f"`{name}` must be an integer of at least {minimum}. "
            f"Received: {name}={value!r}"
        )
