"""Every experiment as a plain dictionary; nothing is configured elsewhere.

A dictionary with a `name` stands for the class or function of that name, the
other keys for its arguments: `{"name": "SGD", "learning_rate": 0.03}`.

A name says method, data set and number of labels. What can be had of every one
is an axis: `VARIANTS`, by `--set variant=NAME`, and `SCALES`.
"""

from applications.presets.digits import DIGITS, DIGITS_METHODS
from applications.presets.fashion_mnist import FASHION_MNIST
from applications.presets.images import IMAGES, SMALL_IMAGES
from applications.presets.images import SOURCES as IMAGE_SOURCES
from applications.presets.images import VARIANTS as IMAGE_VARIANTS
from applications.presets.own import OWN
from applications.presets.synthetic import LINEAR, TWO_MOONS
from applications.presets.text import SMALL_TEXT, TEXT
from applications.presets.text import SOURCES as TEXT_SOURCES
from applications.presets.text import VARIANTS as TEXT_VARIANTS

__all__ = [
    *("GROUPS", "LETTERS", "PRESETS", "SCALES", "SOURCES", "TRAININGS"),
    "VARIANTS",
]

# What a run trains, one after the other, unless its recipe leaves some out.
TRAININGS = (
    *("supervised only", "labels + validation"),
    *("constant weight", "learned weights"),
)

GROUPS = {
    "your own data": OWN,
    "minutes, no download": {
        "digits": DIGITS,
        **DIGITS_METHODS,
        "two_moons": TWO_MOONS,
        "linear": LINEAR,
    },
    "minutes": {"fashion_mnist": FASHION_MNIST},
    "images, days on a GPU or `--scale small`": IMAGES,
    "texts, hours on a GPU or `--scale small`": TEXT,
}

PRESETS = {
    name: recipe for group in GROUPS.values() for name, recipe in group.items()
}

# Where values come from; the others are this project's.
SOURCES = IMAGE_SOURCES | TEXT_SOURCES
LETTERS = {
    "A": "the paper's appendix",
    "S": "its authors' code",
    "U": "UDA's public code",
    "U19": "the same in November 2019",
    "F": "FixMatch's public code",
    "B": "USB's public code",
}

# What a variant sets, as tuples `(value, source)`; the first is the default.
VARIANTS = IMAGE_VARIANTS | TEXT_VARIANTS

# What a smaller scale sets, by the preset; the others are small as they are.
SCALES = {"small": SMALL_IMAGES | SMALL_TEXT}
