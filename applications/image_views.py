"""The views of UDA and of FixMatch, of images with values 0 to 255."""

from collections.abc import Sequence

import tensorflow as tf
from keras import ops

from keras_influence import augmentation


class Chain:
    """Augmentations one after the other, as float32 images.

    Args:
        layers: the `keras_influence.augmentation` layers, in their order.
    """

    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, images, seed):
        """Augments a batch.

        Args:
            images: tensor of shape `(n, h, w, c)`.
            seed: int32 tensor of shape `(2,)`.
        """
        # Float images keep a fill value that is not a whole gray level.
        images = ops.cast(images, "float32")
        seeds = tf.random.split(seed, len(self.layers))
        for i, layer in enumerate(self.layers):
            images = layer(images, seed=seeds[i])
        return images


class LearnedCTAugment(Chain):
    """A weak view, then CTAugment.

    Args:
        weak: a `WeakAugment`.
        ct_augment: a `CTAugment`.
        learned: bool, whether its rates are to be learned in training.
    """

    def __init__(self, weak, ct_augment, learned):
        super().__init__(weak, ct_augment)
        self.weak = weak
        self.ct_augment = ct_augment
        self.learned = learned


def weak_augment(flip: bool = True, shift: int = 4):
    """Mirrors half of the images and shifts all.

    Args:
        flip: bool, whether to mirror. Defaults to `True`.
        shift: int, the farthest shift in pixels. Defaults to `4`.

    Returns:
        A function of a batch of images and a seed.
    """
    return Chain(augmentation.WeakAugment(flip, shift))


def rand_augment(
    flip: bool = True,
    shift: int = 4,
    num_ops: int = 2,
    variant: str = "uda",
    cutout: int = 16,
    fill: Sequence[float] | None = None,
):
    """RandAugment with Cutout and a weak view of its own.

    Args:
        flip: bool, whether to mirror. Defaults to `True`.
        shift: int, the farthest shift in pixels. Defaults to `4`.
        num_ops: int, operations drawn for an image. Defaults to `2`.
        variant: `"uda"`, where the weak view comes last, or `"fixmatch"`,
            where it comes first. Defaults to `"uda"`.
        cutout: int, side of the blank square in pixels. Defaults to `16`.
        fill: sequence of floats from 0 to 255, one a channel, the color of
            the blank square. Defaults to `None`: mid-gray.

    Returns:
        A function of a batch of images and a seed.
    """
    weak = augmentation.WeakAugment(flip, shift)
    strong = augmentation.RandAugment(num_ops, variant, cutout, fill)
    return Chain(strong, weak) if variant == "uda" else Chain(weak, strong)


def ct_augment(
    flip: bool = True,
    shift: int = 4,
    depth: int = 2,
    decay: float = 0.99,
    threshold: float = 0.8,
    cutout: int = 16,
    learned: bool = True,
):
    """CTAugment with Cutout after a weak view of its own.

    Args:
        flip: bool, whether to mirror. Defaults to `True`.
        shift: int, the farthest shift in pixels. Defaults to `4`.
        depth: int, operations drawn for an image. Defaults to `2`.
        decay: float, decay of the average of a rate. Defaults to `0.99`.
        threshold: float, bins are drawn from if their rate is at least this
            share of the best bin's. Defaults to `0.8`.
        cutout: int, side of the gray square in pixels. Defaults to `16`.
        learned: bool, whether the rates are learned in training. Defaults to
            `True`.

    Returns:
        A function of a batch of images and a seed.
    """
    return LearnedCTAugment(
        augmentation.WeakAugment(flip, shift),
        augmentation.CTAugment(depth, decay, threshold, cutout),
        learned,
    )
