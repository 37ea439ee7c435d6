"""Own data; the settings that have no value must be given."""

_TRUST = {
    "label": "label",
    "trusted": "trusted",
    "trusted_share": None,
}

_TRAINING = {
    "folds": 3,
    "epochs": 20,
    "batch_size": 32,
    "unlabeled_ratio": 2.0,
    "optimizer": {"name": "Adam", "learning_rate": 0.001},
    "confidence": 0.95,
    "inner_steps": 2,
    "variants": [
        *["trusted labels alone", "every example alike", "learned weights"]
    ],
    "seeds": [0],
}

OWN_IMAGES = {
    "description": "Your images: --set folder=PHOTOS --set labels=labels.csv.",
    "dataset": {
        **{"name": "own_images", "folder": "", "labels": "", "id": "file"},
        **_TRUST,
        **{"size": None, "flip": True, "strict": False},
    },
    "network": {"name": "small_convolutional", "width": 16, "dropout": 0.3},
    **_TRAINING,
    "epochs": 15,
}

OWN_TEXTS = {
    "description": "Your texts: --set file=reviews.csv --set text=COLUMN "
    "--set label=COLUMN.",
    "dataset": {
        **{"name": "own_texts", "file": "", "text": "text", "id": ""},
        **_TRUST,
        "words": 20_000,
    },
    "network": {"name": "bag_of_words", "units": 32, "dropout": 0.5},
    **_TRAINING,
    "epochs": 30,
}

OWN_TABLE = {
    "description": "Your table: --set file=customers.csv --set label=COLUMN.",
    "dataset": {
        **{"name": "own_table", "file": "", "id": ""},
        **_TRUST,
        **{"ignore": "", "categories": ""},
    },
    "network": {"name": "mlp", "units": [64], "dropout": 0.3},
    **_TRAINING,
}

OWN = {
    "own_images": OWN_IMAGES,
    "own_texts": OWN_TEXTS,
    "own_table": OWN_TABLE,
}
