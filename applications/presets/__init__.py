"""Every experiment as a plain dictionary; nothing is configured elsewhere.

A dictionary with a `name` stands for the class or function of that name, the
other keys for its arguments: `{"name": "SGD", "learning_rate": 0.03}`.
"""

from applications.presets.digits import DIGITS, DIGITS_FIXMATCH
from applications.presets.fashion_mnist import FASHION_MNIST
from applications.presets.images import IMAGES, SMALL_IMAGES, SOURCES
from applications.presets.synthetic import LINEAR, TWO_MOONS

__all__ = ["PRESETS", "SCALES", "SOURCES"]

PRESETS = {
    "digits": DIGITS,
    "digits_fixmatch": DIGITS_FIXMATCH,
    "fashion_mnist": FASHION_MNIST,
    "two_moons": TWO_MOONS,
    "linear": LINEAR,
    **IMAGES,
}

# What a smaller scale sets, by the preset; the others are small as they are.
SCALES = {"small": SMALL_IMAGES}
