"""Every experiment as a plain dictionary; nothing is configured elsewhere.

A dictionary with a `name` stands for the class or function of that name, the
other keys for its arguments: `{"name": "SGD", "learning_rate": 0.03}`.
"""

from applications.presets.digits import DIGITS, DIGITS_FIXMATCH
from applications.presets.fashion_mnist import FASHION_MNIST
from applications.presets.images import IMAGES, SMALL_IMAGES
from applications.presets.images import SOURCES as IMAGE_SOURCES
from applications.presets.own import OWN
from applications.presets.synthetic import LINEAR, TWO_MOONS
from applications.presets.text import SOURCES as TEXT_SOURCES
from applications.presets.text import TEXT

__all__ = ["PRESETS", "SCALES", "SOURCES"]

PRESETS = {
    **OWN,
    "digits": DIGITS,
    "digits_fixmatch": DIGITS_FIXMATCH,
    "fashion_mnist": FASHION_MNIST,
    "two_moons": TWO_MOONS,
    "linear": LINEAR,
    **IMAGES,
    **TEXT,
}

SOURCES = IMAGE_SOURCES | TEXT_SOURCES

# What a smaller scale sets, by the preset; the others are small as they are.
SCALES = {"small": SMALL_IMAGES}
