"""Fashion-MNIST from TensorFlow Datasets."""

from applications.presets.digits import DIGITS

FASHION_MNIST = DIGITS | {
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
    "epochs": 10,
    "steps_per_epoch": 300,
}
