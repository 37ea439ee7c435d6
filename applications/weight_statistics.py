import numpy as np
from sklearn.metrics import roc_auc_score


def weight_statistics(
    weights: np.ndarray, harmful: np.ndarray, judged: np.ndarray
) -> dict:
    """The table's columns about weights; AUROC of good against harmful.

    Args:
        weights: float array of shape `(n,)`.
        harmful: boolean array, which of the judged examples do harm.
        judged: boolean array of shape `(n,)`, of which that is known.
    """
    auroc = None
    if 0 < harmful.sum() < len(harmful) and np.ptp(weights[judged]) > 0:
        auroc = float(roc_auc_score(~harmful, weights[judged]))
    return {
        "weight_mean": float(weights.mean()),
        "weight_min": float(weights.min()),
        "weight_max": float(weights.max()),
        "weight_std": float(weights.std()),
        "unlabeled": len(weights),
        "harmful": int(harmful.sum()),
        "auroc": auroc,
    }
