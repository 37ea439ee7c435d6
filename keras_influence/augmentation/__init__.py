"""Augmentation, one draw an example, batched and in graph for `tf.data`."""

from keras_influence.augmentation import color, filters, geometry
from keras_influence.augmentation.back_translation import (
    BackTranslations,
    read_back_translations,
)
from keras_influence.augmentation.ct_augment import CTAugment
from keras_influence.augmentation.cutout import Cutout
from keras_influence.augmentation.rand_augment import RandAugment
from keras_influence.augmentation.tfidf_replacement import TfIdfReplacement
from keras_influence.augmentation.weak_augment import WeakAugment

__all__ = [
    "BackTranslations",
    "CTAugment",
    "Cutout",
    "RandAugment",
    "TfIdfReplacement",
    "WeakAugment",
    "color",
    "filters",
    "geometry",
    "read_back_translations",
]
