import numpy as np
from sklearn.metrics import roc_auc_score


def weight_statistics(
    weights: np.ndarray,
    quality: np.ndarray,
    harmful: np.ndarray,
    judged: np.ndarray,
) -> dict:
    """The table's columns about weights; AUROC of good against harmful.

    Args:
        weights: float array of shape `(n,)`.
        quality: float array of shape `(n,)`, the label quality, which ranks
            good against harmful; below 0.5 an example is doubted.
        harmful: boolean array, which of the judged examples do harm.
        judged: boolean array of shape `(n,)`, of which that is known.
    """
    auroc = rightly = None
    quality = np.nan_to_num(quality[judged], nan=0.5)
    doubted = quality < 0.5
    if 0 < harmful.sum() < len(harmful) and np.ptp(weights[judged]) > 0:
        auroc = float(roc_auc_score(~harmful, quality))
        rightly = float(harmful[doubted].mean()) if doubted.any() else None
    return {
        "weight_mean": float(weights.mean()),
        "weight_min": float(weights.min()),
        "weight_max": float(weights.max()),
        "weight_std": float(weights.std()),
        "unlabeled": len(weights),
        "judged": int(judged.sum()),
        "harmful": int(harmful.sum()),
        "doubted": int(doubted.sum()),
        "doubted_rightly": rightly,
        "auroc": auroc,
    }
