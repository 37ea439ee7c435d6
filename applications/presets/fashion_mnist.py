"""Fashion-MNIST from TensorFlow Datasets."""

FASHION_MNIST = {
    "description": "Fashion-MNIST; 40 % of the given labels are wrong.",
    "dataset": {
        "name": "fashion_mnist",
        "data_dir": None,
        "labeled": 200,
        "validation": 1000,
        "wrong_labels": 0.4,
        "foreign_classes": 0,
    },
    "network": {"name": "convolutional", "filters": [16, 32], "dropout": 0.0},
    "views": {},
    "epochs": 10,
    "steps_per_epoch": 300,
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
        },
        "outer": "loss",
    },
    "weights": {
        "initial_weight": 0.1,
        "max_weight": 2.0,
        "warmup_steps": 0,
        "inner_steps": 2,
        "share_labels": True,
    },
    "weight_network": {"name": "WeightNetwork", "residual": False},
    "weight_optimizer": {"name": "MAdam", "learning_rate": 0.01},
    "seeds": [0],
}
