"""Handwritten digits of 8 x 8 pixels, inside scikit-learn: no download."""

DIGITS = {
    "description": "Handwritten digits; 40 % of the given labels are wrong.",
    "dataset": {
        "name": "digits",
        "labeled": 50,
        "validation": 150,
        "test": 400,
        "wrong_labels": 0.4,
        "foreign_classes": 0,
    },
    "network": {"name": "mlp", "units": [64], "dropout": 0.0},
    "views": {},
    "epochs": 5,
    "steps_per_epoch": 200,
    "batch_size": 16,
    "unlabeled_ratio": 7.0,
    "optimizer": {
        "name": "SGD",
        "learning_rate": 0.03,
        "momentum": 0.9,
        "nesterov": True,
    },
    "unlabeled_loss": {"name": "GivenLabels"},
    "influence": {
        "parameters": "last_layer",
        "curvature": "hessian",
        "solver": {
            "name": "Exact",
            "damping": 0.01,
            "relative_to": "largest_eigenvalue",
            "tolerance": 0.02,
        },
        "outer": "loss",
    },
    "weights": {
        "initial_weight": 0.1,
        "max_weight": 2.0,
        "warmup_steps": 0,
        # As good as every second step at half the rate, over 16 seeds.
        "inner_steps": 4,
        "share_labels": True,
    },
    "weight_network": {"name": "WeightNetwork", "residual": False},
    "weight_optimizer": {"name": "MAdam", "learning_rate": 0.02},
    "seeds": [0],
}

DIGITS_FIXMATCH = DIGITS | {
    "description": "Digits without labels, two classes foreign; FixMatch.",
    "dataset": {
        "name": "digits",
        "labeled": 40,
        "validation": 160,
        "test": 400,
        "wrong_labels": None,
        "foreign_classes": 2,
    },
    "network": {
        "name": "convolutional",
        "filters": [16, 32],
        "dropout": 0.0,
    },
    "views": {
        "weak": {"name": "shift", "pixels": 1},
        "strong": {
            "name": "shift_noise_cutout",
            "pixels": 1,
            "noise": 0.1,
            "size": 2,
        },
    },
    "weights": DIGITS["weights"] | {"initial_weight": 1.0, "inner_steps": 1},
    "weight_optimizer": {"name": "MAdam", "learning_rate": 0.01},
    "unlabeled_loss": {"name": "FixMatch", "confidence": 0.8},
}


def _unlabeled(loss, **changes):
    """The same digits with another loss."""
    return DIGITS_FIXMATCH | changes | {"unlabeled_loss": loss}


DIGITS_METHODS = {
    "digits_fixmatch": DIGITS_FIXMATCH,
    "digits_flexmatch": _unlabeled(
        {"name": "FlexMatch", "confidence": 0.8, "warmup": True},
        description="Digits without labels; FlexMatch: thresholds by class.",
    ),
    "digits_freematch": _unlabeled(
        {"name": "FreeMatch", "momentum": 0.99, "fairness_weight": 0.01},
        description="Digits without labels; FreeMatch: thresholds that adapt.",
    ),
    "digits_softmatch": _unlabeled(
        {"name": "SoftMatch", "momentum": 0.99, "alignment": True},
        description="Digits without labels; SoftMatch: a soft mask.",
    ),
    "digits_mean_teacher": _unlabeled(
        {"name": "MeanTeacher", "momentum": 0.99, "ramp_up_steps": 200},
        description="Digits without labels; a mean teacher.",
        weights=DIGITS_FIXMATCH["weights"]
        | {"initial_weight": 5.0, "max_weight": 10.0},
        # The squared distance is not convex in the logits.
        influence=DIGITS["influence"] | {"curvature": "outer_product"},
    ),
    "digits_vat": _unlabeled(
        {"name": "VAT", "epsilon": 1.0, "entropy_weight": 0.0, "view": "weak"},
        description="Digits without labels; VAT: adversarial changes.",
        views={"weak": DIGITS_FIXMATCH["views"]["weak"]},
    ),
}
