"""UDA, FixMatch and others on images, and where unlabelled ones are unequal.

A recipe is put together from tables that say, for the path of each setting,
its value and where it comes from:

    A    the paper's appendix
    S    its authors' code, where that departs from the appendix
    U    UDA's public code
    U19  the same in November 2019, whose settings the appendix quotes
    F    FixMatch's public code
    B    USB's public code, for the methods that came after

What of S no setting expresses: the last layer's bias is left out, the whole
batch moves where M-Adam leaves rows without a gradient alone, the gradient is
that of the strong view's loss without the mask, and validation images pass
through batch normalisation in training mode.
"""

from applications.presets.tables import as_recipe, sources_of

A = "A: section D"
HERE = "this project"

SHARED = {
    "dataset.name": ("images", HERE),
    "dataset.source": ("cifar10", HERE),
    "dataset.data_dir": (None, HERE),
    "dataset.labeled": (4000, "the preset's name"),
    "dataset.validation": (1024, A),
    "dataset.unlabeled": (None, "U, F: the training split; A: less V"),
    "dataset.test": (None, "the test split"),
    "dataset.balanced": (True, HERE),
    "dataset.known_classes": (None, "all"),
    "dataset.mismatch": (None, "none"),
    "network.name": ("wide_resnet", "U, F"),
    "network.depth": (28, "U, F: WRN-28-2"),
    "network.width": (2, "U, F: WRN-28-2"),
    "network.momentum": (None, "the variant's"),
    "views.weak.name": ("weak_augment", "U, F"),
    "views.weak.flip": (True, "U, F"),
    "views.weak.shift": (4, "U, F"),
    "views.strong.flip": (True, "U, F"),
    "views.strong.shift": (4, "U, F"),
    "views.strong.cutout": (16, "U, F"),
    "batch_size": (64, A),
    "optimizer.name": ("SGD", A),
    "optimizer.learning_rate": (0.03, A),
    "optimizer.momentum": (0.9, "U, F"),
    "optimizer.nesterov": (True, "U, F"),
    "influence.parameters": ("last_layer", "the paper's own choice"),
    "influence.curvature": ("hessian", "the paper's own choice"),
    "influence.solver.name": ("Exact", "the paper's own choice"),
    "influence.solver.damping": (1e-3, f"{HERE}: softmax's H is singular"),
    "influence.outer": ("loss", "Eq. 6"),
    "weights.initial_weight": (1.0, A),
    "weights.max_weight": (None, "none in A"),
    "weights.validation_draw": (1024, f"{A}: all of V"),
    "weight_optimizer.name": ("MAdam", A),
    "weight_optimizer.learning_rate": (0.01, A),
    "weight_optimizer.bias_correction": ("global", "A: algorithm 2"),
    "variants": (["learned weights"], HERE),
    "seeds": ([0], HERE),
    "precision": ("float32", f"{HERE}: a Keras dtype policy"),
}

UDA = {
    "description": ("UDA; {labeled} labels of {source}.", HERE),
    **SHARED,
    "network.variant": ("uda", "U19"),
    "network.weight_decay": (5e-4, "U19"),
    "network.mean": ([125.307, 122.950, 113.865], "U: CIFAR-10's"),
    "network.deviation": ([62.993, 62.089, 66.705], "U: CIFAR-10's"),
    "views.strong.name": ("rand_augment", "U19"),
    "views.strong.variant": ("uda", "U19"),
    "views.strong.num_ops": (2, "U19"),
    "views.strong.fill": ([125.307, 122.950, 113.865], "U: the mean"),
    "epochs": (400, f"{A}: 400k steps"),
    "steps_per_epoch": (1000, f"{A}: 400k steps"),
    "median_epochs": (1, HERE),
    "unlabeled_ratio": (5.0, f"{A}: 320"),
    "schedule.name": ("warmup_cosine", "U19"),
    "schedule.warmup_steps": (20_000, "U19"),
    "schedule.alpha": (0.004, "U19"),
    "unlabeled_loss.name": ("UDA", A),
    "unlabeled_loss.temperature": (None, "U19: unset"),
    "unlabeled_loss.confidence": (None, "U19: unset"),
    "unlabeled_loss.entropy_weight": (0.0, "U19: off"),
    "unlabeled_loss.annealing": (None, "U19: unset"),
    "unlabeled_loss.annealing_steps": (None, "U19: unset"),
    "weights.warmup_steps": (20_000, A),
    "weights.inner_steps": (100, A),
}

UDA_250 = {
    "network.weight_decay": (7e-4, "U19: 250 labels"),
    "unlabeled_loss.temperature": (0.9, "U19: 250 labels"),
    "unlabeled_loss.confidence": (0.8, "U19: 250 labels"),
    # A weight multiplies the entropy too, in U19 a coefficient of its own.
    "unlabeled_loss.entropy_weight": (0.02, "U19: 250 labels; 0.1 / 5"),
    "unlabeled_loss.annealing": ("log", "U19: 250 labels"),
    "unlabeled_loss.annealing_steps": (400_000, "U19: all steps"),
    "weights.initial_weight": (5.0, f"{A}: 250 labels"),
    # Entropy is concave in logits that are undecided: H is indefinite, and so
    # is Gauss-Newton, which a linear layer makes the same. Table A1's Larsen
    # et al. is positive semi-definite whatever the loss.
    "influence.curvature": ("outer_product", "A: table A1; H is indefinite"),
}

FIXMATCH = {
    "description": ("FixMatch; {labeled} labels of {source}.", HERE),
    **SHARED,
    "network.variant": ("fixmatch", "F"),
    "network.weight_decay": (5e-4, "F"),
    "network.mean": (127.5, "F: images in [-1, 1]"),
    "network.deviation": (127.5, "F: images in [-1, 1]"),
    "views.strong.name": ("ct_augment", "F"),
    "views.strong.depth": (2, "F"),
    "views.strong.decay": (0.99, "F"),
    "views.strong.threshold": (0.8, "F"),
    "views.strong.learned": (True, "F"),
    "epochs": (1024, A),
    "steps_per_epoch": (1024, "F: 2^16 labelled images an epoch"),
    "median_epochs": (20, "F"),
    "unlabeled_ratio": (7.0, f"{A}: 448"),
    "optimizer.use_ema": (True, "F"),
    "optimizer.ema_momentum": (0.999, "F"),
    "schedule.name": ("SevenSixteenthsCosine", "F"),
    "unlabeled_loss.name": ("FixMatch", A),
    "unlabeled_loss.confidence": (0.95, "F"),
    "weights.warmup_steps": (0, "none in A"),
    "weights.inner_steps": (512, A),
}


def _like_fixmatch(description, **loss):
    """FixMatch's recipe with another loss.

    Args:
        description: str.
        **loss: the settings of the loss, tuples `(value, source)`.
    """
    kept = {
        path: value
        for path, value in FIXMATCH.items()
        if not path.startswith("unlabeled_loss.")
    }
    text = f"{description}; {{labeled}} labels of {{source}}."
    changed = {f"unlabeled_loss.{name}": value for name, value in loss.items()}
    return kept | {"description": (text, HERE)} | changed


MATCHES = {
    "flexmatch": _like_fixmatch(
        "FlexMatch: thresholds by class",
        name=("FlexMatch", HERE),
        confidence=(0.95, "B"),
        warmup=(True, "B"),
    ),
    "freematch": _like_fixmatch(
        "FreeMatch: thresholds that adapt",
        name=("FreeMatch", HERE),
        momentum=(0.999, "B"),
        fairness_weight=(0.001, "B: 250 labels"),
    ),
    "softmatch": _like_fixmatch(
        "SoftMatch: a soft mask",
        name=("SoftMatch", HERE),
        momentum=(0.999, "B"),
        deviations=(2.0, "B"),
        alignment=(True, "B"),
    ),
    "mean_teacher": _like_fixmatch(
        "Mean teacher",
        name=("MeanTeacher", HERE),
        momentum=(0.999, "B"),
        ramp_up_steps=(419_430, "B: 0.4 of all steps"),
    )
    | {
        "unlabeled_ratio": (1.0, "B"),
        "weights.initial_weight": (5.0, "B: 50, for the mean of 10 classes"),
        # The squared distance is not convex in the logits.
        "influence.curvature": ("outer_product", "A: table A1"),
    },
    "vat": _like_fixmatch(
        "VAT: adversarial changes",
        name=("VAT", HERE),
        epsilon=(380.0, "B: 6, of pixels with a deviation of 1"),
        entropy_weight=(0.2, "B: 0.06 beside 0.3"),
        view=("weak", HERE),
    )
    | {
        "unlabeled_ratio": (1.0, "B"),
        "weights.initial_weight": (0.3, "B"),
        # Of the entropy, as with UDA.
        "influence.curvature": ("outer_product", "A: table A1"),
    },
}
# VAT changes the weak view itself.
MATCHES["vat"] = {
    path: value
    for path, value in MATCHES["vat"].items()
    if not path.startswith("views.strong.")
}

AUTHORS = {
    "views.strong.learned": (False, "S"),
    "influence.solver.damping": (1.0, "S: L2 with coefficient 1"),
    "weights.max_weight": (2.0, "S"),
    "weights.validation_draw": (448, "S"),
    "weight_optimizer.bias_correction": ("per_example", "S"),
}

CONSTANT = {"variants": (["constant weight"], HERE)}

SVHN = {
    "dataset.source": ("svhn_cropped", "the preset's name"),
    "views.weak.flip": (False, "U, F: CIFAR-10 only"),
    "views.strong.flip": (False, "U, F: CIFAR-10 only"),
}

SVHN_UDA = {
    **SVHN,
    "dataset.balanced": (False, "U: the first of a shuffle"),
    "network.mean": ([111.609, 113.161, 120.565], "U: SVHN's"),
    "network.deviation": ([50.498, 51.259, 50.244], "U: SVHN's"),
    "views.strong.fill": ([111.609, 113.161, 120.565], "U: the mean"),
}

MISMATCH = {
    "description": ("FixMatch; {source}, half of it foreign.", HERE),
    "dataset.labeled": (2400, "Oliver et al. 2018: 400 a class"),
    "dataset.unlabeled": (20_000, HERE),
    "dataset.known_classes": ([2, 3, 4, 5, 6, 7], "Oliver et al.: animals"),
    "dataset.mismatch": (0.5, "Oliver et al. 2018: one of five"),
}

FASHION = {
    "dataset.source": ("fashion_mnist", "the preset's name"),
    "dataset.known_classes": ([0, 1, 2, 3, 4, 6], f"{HERE}: clothes"),
    "views.weak.flip": (False, HERE),
    "views.strong.flip": (False, HERE),
}

# Minutes on two cores: a run to look at, not one to report.
SMALL = {
    "dataset.validation": 256,
    "dataset.unlabeled": 4000,
    "dataset.test": 1000,
    "network.depth": 10,
    "network.width": 1,
    "network.momentum": 0.9,
    "epochs": 4,
    "steps_per_epoch": 100,
    "median_epochs": 1,
    "batch_size": 32,
    "unlabeled_ratio": 2.0,
    "optimizer.ema_momentum": 0.98,
    "schedule.warmup_steps": 25,
    "unlabeled_loss.annealing_steps": 800,
    "unlabeled_loss.momentum": 0.98,
    "unlabeled_loss.ramp_up_steps": 200,
    "weights.initial_weight": 1.0,
    "weights.warmup_steps": 100,
    "weights.inner_steps": 10,
    "weights.validation_draw": 256,
}

COMPARED = {
    "variants": [
        *["supervised only", "labels + validation"],
        *["constant weight", "learned weights"],
    ]
}


def _tables():
    """Every preset as one table."""
    methods = {"uda": UDA, "fixmatch": FIXMATCH, **MATCHES}
    data = {("uda", "svhn"): SVHN_UDA, ("fixmatch", "svhn"): SVHN}
    sizes = {
        ("uda", "cifar10"): (250, 1000, 4000),
        ("uda", "svhn"): (250, 1000),
        ("fixmatch", "cifar10"): (40, 250, 1000, 4000),
        ("fixmatch", "svhn"): (250, 1000),
        **{(method, "cifar10"): (250,) for method in MATCHES},
    }
    for (method, source), labels in sizes.items():
        for labeled in labels:
            table = methods[method] | data.get((method, source), {})
            if method == "uda" and labeled == 250:
                table |= UDA_250
            table |= {"dataset.labeled": (labeled, "the preset's name")}
            yield f"{method}_{source}_{labeled}", table
    yield "cifar10_mismatch", FIXMATCH | MISMATCH
    yield "fashion_mnist_mismatch", FIXMATCH | MISMATCH | FASHION


def _small(recipe):
    """What the small scale sets in a recipe."""
    small = SMALL | COMPARED
    if recipe["unlabeled_loss"].get("confidence") is not None:
        # So short a training is seldom sure.
        small |= {"unlabeled_loss.confidence": 0.5}
    if recipe["unlabeled_loss"]["name"] == "UDA":
        small |= {"epochs": 8}
    if recipe["unlabeled_loss"]["name"] == "MeanTeacher":
        small |= {"weights.initial_weight": 5.0}
    return small


IMAGES = {name: as_recipe(table) for name, table in _tables()}
SOURCES = {name: sources_of(table) for name, table in _tables()}
VARIANTS = {
    name: {"learned": {}, "constant": CONSTANT}
    | ({"authors": AUTHORS} if name.startswith("fixmatch") else {})
    for name in IMAGES
}
SMALL_IMAGES = {name: _small(recipe) for name, recipe in IMAGES.items()}
