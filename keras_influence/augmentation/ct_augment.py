import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_influence.augmentation import color, filters, geometry
from keras_influence.augmentation.cutout import cutout
from keras_influence.augmentation.image import (
    ImageAugmentation,
    assert_scale,
    check_value_range,
    dequantize,
    quantize,
)
from keras_influence.augmentation.switch import switch
from keras_influence.data.checks import check_integer


@keras.saving.register_keras_serializable(package="keras_influence")
class CTAugment(ImageAugmentation):
    """CTAugment: learns how strong each operation may be, one draw an image.

    Every image gets `depth` of 19 operations, drawn with replacement, then a
    square is cut out. The range of an operation's parameter is divided into
    bins (17; 8 for posterize). A bin's rate says how close the network's
    prediction stays to the label when images are augmented from that bin; only
    bins whose rate is near the best one's are drawn from.

    The rates are learned from *probes*: weakly augmented labelled images that
    `probe` augments from bins drawn uniformly. Pass the network's predictions
    on them to `update`. The rates are non-trainable weights: make the layer an
    attribute of the model to have them saved and restored with it. A `tf.data`
    pipeline reads them anew for every batch, so a pipeline that was built
    before training sees the rates as they are, save what is prefetched.

    Args:
        depth: int, operations drawn for an image. Defaults to `2`.
        decay: float in (0, 1), decay of the moving average of a rate. Defaults
            to `0.99`.
        threshold: float in [0, 1], bins are drawn from if their rate is at
            least this share of the best bin's. Defaults to `0.8`.
        cutout: int, side in pixels of the last square, mid-gray; 0 for none.
            Defaults to `16`.
        value_range: pair of numbers, the values of black and white. Float
            images are rounded to 256 levels between them; integer images need
            `(0, 255)`. Defaults to `(0, 255)`.
        seed: int, where draws without a seed start. Defaults to `None`.

    Example:
    >>> strong = CTAugment(value_range=(-1, 1))
    >>> images = np.random.uniform(-1, 1, (8, 32, 32, 3)).astype("float32")
    >>> strong(images).shape
    TensorShape([8, 32, 32, 3])

    One training step's probe; `predictions` come from the (averaged) network
    in inference mode on `probes`:

    >>> labels = np.arange(8)
    >>> probes, drawn = strong.probe(images)
    >>> predictions = keras.ops.softmax(np.random.normal(size=(8, 10)))
    >>> strong.update(drawn, labels, predictions)
    >>> strong.named_rates["posterize"][0].shape
    (8,)

    Reference: section 2.3 of [ReMixMatch](https://arxiv.org/abs/1911.09785)
    and section 2.3 of [FixMatch](https://arxiv.org/abs/2001.07685).
    """

    def __init__(
        self,
        depth: int = 2,
        decay: float = 0.99,
        threshold: float = 0.8,
        cutout: int = 16,
        value_range=(0, 255),
        seed=None,
        **kwargs,
    ):
        super().__init__(seed=seed, **kwargs)
        check_integer("depth", depth, 1)
        check_integer("cutout", cutout, 0)
        if not (0.0 < decay < 1.0 and 0.0 <= threshold <= 1.0):
            raise ValueError(
                "`decay` must lie between 0 and 1, `threshold` in [0, 1]. "
                f"Received: decay={decay}, threshold={threshold}"
            )
        self.depth = depth
        self.decay = decay
        self.threshold = threshold
        self.cutout = cutout
        self.value_range = check_value_range(value_range)
        # XLA knows no partitions of unknown size.
        self.supports_jit = False
        # `tf.data` runs on the CPU and can only reach variables there.
        with tf.device("CPU:0"):
            self.rates = self.add_weight(
                shape=(*_SIZES.shape, _MOST),
                initializer="ones",
                trainable=False,
                dtype="float32",
                autocast=False,
                aggregation="mean",
                name="rates",
            )

    @property
    def named_rates(self) -> dict:
        """Rates by operation: a list with one numpy array a parameter."""
        rates = ops.convert_to_numpy(self.rates)
        return {
            name: [rates[i, j, :size] for j, size in enumerate(bins)]
            for i, (name, (bins, _)) in enumerate(_OPERATIONS.items())
        }

    def augment(self, images, seed):
        """Applies `depth` operations from bins of high rates, cuts out."""
        seed, bin_seed, cut_seed = tf.unstack(tf.random.split(seed, 3))
        chosen, offsets, places = self._draw(images, seed)
        odds = ops.take(self._odds(), chosen, axis=0)
        bins = tf.random.stateless_categorical(
            ops.log(ops.reshape(odds, (-1, odds.shape[-1]))), 1, bin_seed
        )
        bins = ops.cast(ops.reshape(bins, ops.shape(offsets)), "float32")
        values = (bins + offsets) / ops.take(_SIZES, chosen, axis=0)
        levels = self._apply(images, chosen, values, places)
        center = tf.random.stateless_uniform(
            (ops.shape(images)[0], 2), cut_seed
        )
        levels = cutout(levels, self.cutout, center, 127)
        return dequantize(levels, self.value_range, images.dtype)

    def probe(self, images: tf.Tensor, seed: tf.Tensor | None = None) -> tuple:
        """Augments labelled images to learn the rates from.

        Args:
            images: tensor of shape `(n, h, w, c)`, weakly augmented.
            seed: int32 tensor of shape `(2,)`, as for calls. Defaults to
                `None`.

        Returns:
            The augmented images, and what was drawn for them: a dictionary of
            int32 tensors, `"operations"` of shape `(n, depth)` and `"bins"` of
            shape `(n, depth, 2)`. Hand it to `update`.
        """
        images = ops.convert_to_tensor(images)
        chosen, values, places = self._draw(images, self.next_seed(seed))
        levels = self._apply(images, chosen, values, places)
        bins = values * ops.take(_SIZES, chosen, axis=0) * 0.999
        drawn = {"operations": chosen, "bins": ops.cast(bins, "int32")}
        return dequantize(levels, self.value_range, images.dtype), drawn

    def update(self, drawn: dict, labels, probabilities) -> None:
        """Moves the rates of the probed bins.

        With the closeness `q = 1 - ½ ‖probabilities - onehot(label)‖₁` of a
        probe, `rate ← decay · rate + (1 - decay) · q` for every bin it was
        drawn from, probe after probe. Probes whose prediction is not finite
        are passed over.

        Args:
            drawn: dictionary, as returned by `probe`.
            labels: int tensor of shape `(n,)`, the classes.
            probabilities: float tensor of shape `(n, classes)`, predicted.
        """
        probabilities = ops.cast(probabilities, "float32")
        if len(probabilities.shape) != 2 or len(ops.shape(labels)) != 1:
            raise ValueError(
                "`update` expects labels of shape (n,) and probabilities of "
                "shape (n, classes). Received shapes "
                f"{ops.shape(labels)} and {probabilities.shape}."
            )
        truth = ops.one_hot(labels, probabilities.shape[1])
        distance = ops.sum(ops.abs(probabilities - truth), axis=1)
        closeness = 1.0 - 0.5 * distance
        operations, bins = drawn["operations"], drawn["bins"]
        parameters = 2 * operations[..., None] + np.arange(2, dtype="int32")
        cells = parameters * _MOST + bins
        closeness = closeness[:, None, None] * ops.ones_like(cells, "float32")
        self._average(ops.ravel(cells), ops.ravel(closeness))

    def _average(self, cells, closeness):
        """Moving average at flat indices, as if taken one by one."""
        finite = ops.isfinite(closeness)
        closeness = ops.where(finite, closeness, 0.0)
        cells = ops.where(finite, cells, -1)
        same = ops.cast(cells[:, None] == cells, "float32")
        later = ops.sum(ops.triu(same, 1), axis=1)
        gains = (1.0 - self.decay) * self.decay**later * closeness
        count = len(_OPERATIONS) * 2 * _MOST
        visits = ops.segment_sum(ops.ones_like(gains), cells, count)
        gains = ops.segment_sum(gains, cells, count)
        rates = ops.ravel(self.rates) * self.decay**visits + gains
        self.rates.assign(ops.reshape(rates, self.rates.shape))

    def _odds(self):
        """How likely each bin is, up to a factor; 0 past the last one."""
        # The constant keeps all rates from being zero.
        rates = self.rates + (1.0 - self.decay)
        rates = ops.where(np.arange(_MOST) < _SIZES[..., None], rates, 0.0)
        rates = rates / ops.max(rates, axis=-1, keepdims=True)
        return ops.where(rates < self.threshold, 0.0, rates)

    def _draw(self, images, seed):
        """Operations `(n, depth)`, parameters and places `(n, depth, 2)`."""
        shape = (ops.shape(images)[0], self.depth, 5)
        draws = tf.random.stateless_uniform(shape, seed)
        chosen = ops.cast(draws[:, :, 0] * len(_OPERATIONS), "int32")
        return chosen, draws[:, :, 1:3], draws[:, :, 3:]

    def _apply(self, images, chosen, values, places):
        """Applies the operations in turn; returns uint8 levels."""
        images = assert_scale(images, self.value_range)
        levels = quantize(images, self.value_range)
        branches = [function for _, function in _OPERATIONS.values()]
        for i in range(self.depth):
            levels = switch(
                chosen[:, i], branches, levels, values[:, i], places[:, i]
            )
        return levels

    def get_config(self):
        """The arguments of this layer."""
        return {
            **super().get_config(),
            "depth": self.depth,
            "decay": self.decay,
            "threshold": self.threshold,
            "cutout": self.cutout,
            "value_range": self.value_range,
        }


def _blended(operation):
    """Between the images and their full transformation."""
    return lambda x, v, _: color.blend(x, operation(x), v[:, 0])


def _enhanced(operation):
    return lambda x, v, _: operation(x, 0.1 + 1.9 * v[:, 0])


def _geometric(operation, largest, axis=None):
    """Both directions, up to `largest`; times the length of `axis`, if any."""

    def moved(images, values, _):
        length = 1 if axis is None else ops.shape(images)[axis]
        length = ops.cast(length, "float32") * largest
        return operation(images, (2.0 * values[:, 0] - 1.0) * length)

    return moved


def _cut(images, values, places):
    shorter = ops.cast(ops.minimum(*ops.shape(images)[1:3]), "float32")
    size = 1 + ops.cast(values[:, 0] * shorter * 0.499, "int32")
    # The original box reaches equally far to both sides.
    return cutout(images, size // 2 * 2, places, 127)


# Bins of every parameter, and the operation on (images, values in [0, 1) of
# shape (n, 2), places of shape (n, 2)).
_OPERATIONS = {
    "autocontrast": ((17,), _blended(color.autocontrast)),
    "blur": ((17,), _blended(filters.blur)),
    "brightness": ((17,), _enhanced(color.brightness)),
    "color": ((17,), _enhanced(color.color)),
    "contrast": ((17,), _enhanced(color.contrast)),
    "cutout": ((17,), _cut),
    "equalize": ((17,), _blended(color.equalize)),
    "invert": ((17,), _blended(color.invert)),
    "identity": ((), lambda x, v, _: x),
    "posterize": (
        (8,),
        lambda x, v, _: color.posterize(
            x, 1 + ops.cast(v[:, 0] * 7.999, "int32")
        ),
    ),
    "rescale": (
        (17, 6),
        lambda x, v, _: geometry.rescale(
            x, 0.25 * v[:, 0], ops.cast(v[:, 1] * 5.99, "int32")
        ),
    ),
    "rotate": (
        (17,),
        lambda x, v, _: geometry.rotate(x, ops.round(90 * v[:, 0] - 45)),
    ),
    "sharpness": ((17,), _enhanced(filters.sharpness)),
    "shear_x": ((17,), _geometric(geometry.shear_x, 0.3)),
    "shear_y": ((17,), _geometric(geometry.shear_y, 0.3)),
    "smooth": ((17,), _blended(filters.smooth)),
    "solarize": (
        (17,),
        lambda x, v, _: color.solarize(x, ops.cast(v[:, 0] * 255.999, "int32")),
    ),
    "translate_x": ((17,), _geometric(geometry.translate_x, 0.3, axis=2)),
    "translate_y": ((17,), _geometric(geometry.translate_y, 0.3, axis=1)),
}

# A parameter that an operation does not have gets one bin, which means nothing.
_SIZES = np.array([(*b, 1, 1)[:2] for b, _ in _OPERATIONS.values()], "float32")
_MOST = int(_SIZES.max())
