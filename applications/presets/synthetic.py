"""Points in the plane: the decision boundary can be watched as it moves."""

from applications.presets.digits import DIGITS

TWO_MOONS = {
    "description": "Two moons; pseudo-labels. Pictures of the boundary.",
    "dataset": {
        "name": "two_moons",
        "labeled": 6,
        "validation": 20,
        "test": 1000,
        "unlabeled": 300,
        "noise": 0.1,
    },
    "network": {"name": "mlp", "units": [32, 32], "dropout": 0.0},
    "views": {},
    "epochs": 15,
    "steps_per_epoch": 150,
    "batch_size": 6,
    "unlabeled_ratio": 10.0,
    "optimizer": {
        "name": "SGD",
        "learning_rate": 0.01,
        "momentum": 0.9,
        "nesterov": True,
    },
    "unlabeled_loss": {"name": "PseudoLabel", "confidence": 0.5},
    "influence": DIGITS["influence"],
    "weights": {
        "initial_weight": 1.0,
        "max_weight": 2.0,
        "warmup_steps": 0,
        "inner_steps": 1,
    },
    "weight_optimizer": {"name": "MAdam", "learning_rate": 0.1},
    "seeds": [0],
}

LINEAR = TWO_MOONS | {
    "description": "Two strips, a linear network; pictures of the boundary.",
    "dataset": {
        "name": "two_strips",
        "labeled": 2,
        "validation": 20,
        "test": 1000,
        "unlabeled": 300,
        "noise": 0.3,
    },
    "network": {"name": "linear"},
    # A draw whose two labelled points mislead.
    "seeds": [2],
}
