import keras
import tensorflow as tf
from keras import ops

from keras_influence.augmentation.geometry import pixels_at
from keras_influence.augmentation.image import ImageAugmentation
from keras_influence.data.checks import check_integer


@keras.saving.register_keras_serializable(package="keras_influence")
class WeakAugment(ImageAugmentation):
    """Mirrors and shifts by whole pixels, one draw an image.

    Half of the images are mirrored left to right. Then each is shifted by up
    to `shift` pixels along both axes; what comes in is the reflection of the
    image at its border (pad by reflection, crop at random). Values are moved,
    never computed, so any dtype and any range will do.

    Args:
        flip: bool, whether to mirror; `False` for SVHN, where a mirrored digit
            is no digit. Defaults to `True`.
        shift: int, the farthest shift in pixels. Defaults to `4`.
        seed: int, where draws without a seed start. Defaults to `None`.

    Example:
    >>> weak = WeakAugment()
    >>> images = np.random.uniform(size=(8, 32, 32, 3)).astype("float32")
    >>> weak(images).shape
    TensorShape([8, 32, 32, 3])

    In a pipeline, on batches, with a seed a batch so that it can be repeated:

    >>> import tensorflow as tf
    >>> batches = tf.data.Dataset.from_tensor_slices(images).batch(4)
    >>> seeds = tf.data.Dataset.random(0, rerandomize_each_iteration=True)
    >>> views = tf.data.Dataset.zip(batches, seeds.batch(2, True)).map(
    ...     lambda images, seed: weak(images, seed=seed))
    >>> views.element_spec.shape
    TensorShape([None, 32, 32, 3])

    Reference: section 2.3 of [FixMatch](https://arxiv.org/abs/2001.07685).
    """

    def __init__(self, flip: bool = True, shift: int = 4, seed=None, **kwargs):
        super().__init__(seed=seed, **kwargs)
        check_integer("shift", shift, 0)
        self.flip = flip
        self.shift = shift

    def augment(self, images, seed):
        """Mirrors and shifts every image."""
        n, h, w, _ = ops.shape(images)
        if any(isinstance(s, int) and s <= self.shift for s in (h, w)):
            raise ValueError(
                "`shift` must be smaller than the images. Received: "
                f"shift={self.shift}, images of shape {images.shape}"
            )
        down, across, mirrored = ops.unstack(
            tf.random.stateless_uniform((n, 3), seed)[:, :, None], axis=1
        )
        rows = self._shifted(h, down)
        columns = self._shifted(w, across)
        if self.flip:
            columns = ops.where(mirrored < 0.5, w - 1 - columns, columns)
        return pixels_at(images, rows[:, :, None], columns[:, None, :])

    def _shifted(self, length, draw):
        """Source of every place after a shift, `(n, length)`."""
        shift = ops.cast(draw * (2 * self.shift + 1), "int32") - self.shift
        place = ops.abs(ops.arange(length, dtype="int32") + shift)
        return length - 1 - ops.abs(length - 1 - place)

    def get_config(self):
        """The arguments of this layer."""
        return {**super().get_config(), "flip": self.flip, "shift": self.shift}
