"""UDA on texts with a pretrained BERT.

Values and their sources are told as for images:

    A    the paper's appendix
    U    UDA's public code, its recipe for IMDb on one GPU

A and U train on a published list of twenty reviews. The data set does not come
with it, so here a seed draws the labelled reviews, evenly over the classes. U's
strong view is a back-translation, for which `dataset.translations` needs a
file; without one it is U's other augmentation, TF-IDF word replacement.

Its small scale fits two cores: a small BERT, of which only the last layers are
trained, the ends of few reviews, and few steps. They leave U's annealing,
which drops a labelled review as soon as the network is a little surer of it
than chance, no time, so there is none.

UDA can collapse: a network that gives every text the same class is perfectly
consistent, and the labels hold nothing against it once their loss is near 0.
The small BERT collapsed with a threshold, of 0.6 or of 0.8, within 70 steps,
and not without one: what passes it first is of the class that happens to lead,
and the undecided texts, which would balance it, do not count. Sharpened targets
alone made its predictions swing. The recipes here have neither, and a run warns
when its network gives all validation texts the same class.
"""

from applications.presets.tables import as_recipe, sources_of

A = "A: section D"
HERE = "this project"

BASE = {
    "description": ("UDA with BERT; {labeled} reviews.", HERE),
    "dataset.name": ("texts", HERE),
    "dataset.source": ("imdb_reviews", A),
    "dataset.test_source": ("test", "U"),
    "dataset.data_dir": (None, HERE),
    "dataset.text": ("text", "the data set's"),
    "dataset.label": ("label", "the data set's"),
    "dataset.id": (None, "the data set's"),
    "dataset.labeled": (20, A),
    "dataset.validation": (20, A),
    "dataset.unlabeled": (None, f"{A}: all but V"),
    "dataset.test": (None, "U: all"),
    "dataset.min_characters": (500, "U"),
    "dataset.preset": ("bert_base_en_uncased", "U"),
    "dataset.sequence_length": (128, "U"),
    "dataset.translations": (None, HERE),
    "dataset.cache_dir": (None, HERE),
    "network.name": ("bert", A),
    "network.dropout": (0.1, "U"),
    "network.pooling": ("pooled", "U"),
    "network.trained_layers": (None, "U: all"),
    "views.weak.name": ("original", "U"),
    "views.strong.name": ("tfidf", f"{HERE}: see above"),
    "views.strong.token_prob": (0.7, HERE),
    "epochs": (10, f"{A}: 10k steps"),
    "steps_per_epoch": (1000, f"{A}: 10k steps"),
    "precision": ("float32", f"{HERE}: a Keras dtype policy"),
    "batch_size": (8, A),
    "unlabeled_ratio": (4.0, f"{A}: 32"),
    "optimizer.name": ("Adam", A),
    "optimizer.learning_rate": (2e-5, A),
    "optimizer.epsilon": (1e-6, "U"),
    "optimizer.global_clipnorm": (1.0, "U"),
    "schedule.name": ("WarmupLinear", "U"),
    "schedule.warmup_steps": (1000, "U"),
    "unlabeled_loss.name": ("UDA", A),
    "unlabeled_loss.temperature": (None, "U: unset"),
    "unlabeled_loss.confidence": (None, "U: unset"),
    "unlabeled_loss.entropy_weight": (0.0, "U: off"),
    "unlabeled_loss.annealing": ("linear", "U"),
    "unlabeled_loss.annealing_steps": (10_000, "U: all steps"),
    "influence.parameters": ("last_layer", "the paper's own choice"),
    "influence.curvature": ("hessian", "the paper's own choice"),
    "influence.solver.name": ("Exact", "the paper's own choice"),
    "influence.solver.damping": (1e-3, f"{HERE}: no L2 makes H definite"),
    "influence.outer": ("loss", "Eq. 6"),
    "weights.initial_weight": (1.0, A),
    "weights.max_weight": (None, "none in A"),
    "weights.warmup_steps": (1000, A),
    "weights.inner_steps": (5, A),
    "weights.validation_draw": (20, f"{A}: all of V"),
    "weight_optimizer.name": ("MAdam", A),
    "weight_optimizer.learning_rate": (0.01, A),
    "weight_optimizer.bias_correction": ("global", "A: algorithm 2"),
    "variants": (["learned weights"], HERE),
    "seeds": ([0], HERE),
}

CONSTANT = {"variants": (["constant weight"], HERE)}

# Minutes on two cores.
SMALL = {
    # Seen three times, so that what a weight has learned is used.
    "dataset.unlabeled": 320,
    "dataset.preset": "minilm",
    "dataset.sequence_length": 64,
    "network.pooling": "mean",
    "network.trained_layers": 2,
    "epochs": 4,
    "steps_per_epoch": 30,
    "unlabeled_ratio": 1.0,
    "optimizer.learning_rate": 1e-4,
    "schedule.warmup_steps": 20,
    "unlabeled_loss.annealing": None,
    "unlabeled_loss.annealing_steps": None,
    "weights.warmup_steps": 20,
    "weights.inner_steps": 1,
    "weight_optimizer.learning_rate": 0.2,
    "variants": ["supervised only", "constant weight", "learned weights"],
    "seeds": [0, 1, 2],
}

ANY = {
    "description": ("UDA with a small BERT on any data set or CSV file.", HERE),
    "dataset.test": (2000, HERE),
    "seeds": ([0], HERE),
}

TABLES = {
    "uda_imdb_20": BASE,
    "uda_text": BASE
    | {path: (value, HERE) for path, value in SMALL.items()}
    | ANY,
}

TEXT = {name: as_recipe(table) for name, table in TABLES.items()}
SOURCES = {name: sources_of(table) for name, table in TABLES.items()}
VARIANTS = {"uda_imdb_20": {"learned": {}, "constant": CONSTANT}}
SMALL_TEXT = {"uda_imdb_20": SMALL}
