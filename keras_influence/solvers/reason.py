import enum
from typing import Any

from keras import ops


class Reason(enum.IntEnum):
    """How a solve ended; the text says it in words.

    Up to `TOLERANCE_NOT_REACHED` the solution may be used.

    Example:
    >>> solvers.Reason(3).name
    'NOT_POSITIVE_DEFINITE'
    >>> solvers.Reason.DIVERGED.text
    'the iteration diverged: raise the damping or take smaller steps'
    """

    text: str

    def __new__(cls, value: int, text: str):
        """A member with its text."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    OK = 0, "solved"
    TOLERANCE_NOT_REACHED = (
        1,
        "the iterations ended above the tolerance: the solution is rougher "
        "than asked for",
    )
    NOT_FINITE = (
        2,
        "the curvature, the gradient or the solution is not finite: look for "
        "NaN or overflow in the losses",
    )
    NOT_POSITIVE_DEFINITE = (
        3,
        "the curvature is not positive definite: raise the damping",
    )
    DIVERGED = (
        4,
        "the iteration diverged: raise the damping or take smaller steps",
    )
    FAILED = 5, "the solver reports that it failed"
    NOT_CONVERGED = (
        6,
        "the iterations came to no solution: raise the damping or, of `Exact`, "
        "`max_dense`",
    )


def as_reason(outcome):
    """What `solve_damped` returned as an integer scalar tensor.

    Args:
        outcome: a `Reason`, an integer scalar tensor with one, or a boolean,
            `False` for `Reason.FAILED`.
    """
    if isinstance(outcome, Reason):
        # Keras knows no dtype of an enum.
        outcome = outcome.value
    outcome = ops.convert_to_tensor(outcome)
    if outcome.dtype == "bool":
        return reason_if(~outcome, Reason.FAILED)
    return ops.cast(outcome, "int32")


def reason_if(condition: Any, reason: Any, otherwise: Any = Reason.OK):
    """One reason or another, as an integer scalar tensor.

    Args:
        condition: boolean scalar tensor.
        reason: a `Reason` or integer scalar tensor, where it is true.
        otherwise: the same, where it is false. Defaults to `Reason.OK`.
    """
    return ops.where(condition, as_reason(reason), as_reason(otherwise))
