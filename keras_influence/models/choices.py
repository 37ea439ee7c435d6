from keras_influence.influence.influence import Influence
from keras_influence.losses import UnlabeledLoss
from keras_influence.optimizers import RowOptimizer


def check_choices(unlabeled_loss, weight_optimizer, influence) -> None:
    """Raises unless `compile` was given what it can learn weights with.

    Args:
        unlabeled_loss: an `UnlabeledLoss`.
        weight_optimizer: a `RowOptimizer`.
        influence: an `Influence`.
    """
    if not isinstance(unlabeled_loss, UnlabeledLoss):
        raise ValueError(
            "Argument `unlabeled_loss` must be a "
            "`keras_influence.losses.UnlabeledLoss`. Received: "
            f"unlabeled_loss={unlabeled_loss!r}"
        )
    if not isinstance(weight_optimizer, RowOptimizer):
        raise ValueError(
            "Argument `weight_optimizer` must be a "
            "`keras_influence.optimizers.RowOptimizer`, such as `MAdam`: "
            "other optimizers move the weights of examples that are not "
            f"in the batch. Received: weight_optimizer={weight_optimizer!r}"
        )
    if not isinstance(influence, Influence):
        raise ValueError(
            "Argument `influence` must be a `keras_influence.Influence`. "
            f"Received: influence={influence!r}"
        )
