"""Recorded layers as matrix products, which is how K-FAC sees them."""

import dataclasses
import functools
import math
from collections.abc import Callable

from keras import ops

from keras_influence.layers import Conv2D, DepthwiseConv2D, RecordingLayer
from keras_influence.layers.contraction import Contraction


@dataclasses.dataclass
class MatrixForm:
    """Parameters of a layer as the matrices `V` of

        z[n, t, g] = a[n, t, g] @ V[g]

    for row `n`, position `t` and group `g`, so that a row's gradient is
    `Σ_t a[n, t, g] δ[n, t, g]ᵀ`. A bias is the last row of `V`, its input 1.

    Args:
        layer: a `RecordingLayer`.
        parameters: list of its parameters that `V` holds, the kernel first.
        axes: three strings: the letters of the kernel's axes that are groups,
            inputs and outputs.
        letters: list with a string for every parameter, its axes.
        sizes: dictionary from letters to the sizes of the axes.
        factors: function from the layer, its features and its output
            gradients to `a` and `δ`, without a bias's 1.
    """

    layer: RecordingLayer
    parameters: list
    axes: tuple
    letters: list
    sizes: dict
    factors: Callable | None

    def rows(self, features, gradients):
        """`a` and `δ` of shape `(rows, positions, groups, inputs | outputs)`.

        Args:
            features: tensor of shape `(rows, ...)`, as recorded.
            gradients: tensor of the outputs' shape.
        """
        assert self.factors is not None  # that of a head has its own
        a, delta = self.factors(self.layer, features, gradients)
        if len(self.parameters) == 2:
            a = ops.concatenate([a, ops.ones_like(a[..., :1])], axis=-1)
        return a, delta

    def matrix(self, tensors: list):
        """Tensors like `parameters` as `V`, `(groups, inputs, outputs)`."""
        groups, _, outputs = map(self._size, self.axes)
        parts = []
        for tensor, letters in zip(tensors, self.letters, strict=True):
            tensor = ops.reshape(tensor, [self.sizes[c] for c in letters])
            tensor = ops.einsum(f"{letters}->{self._order(letters)}", tensor)
            parts.append(ops.reshape(tensor, (groups, -1, outputs)))
        return ops.concatenate(parts, axis=1)

    def tensors(self, matrix) -> list:
        """The inverse of `matrix`."""
        inputs = self._size(self.axes[1])
        tensors = []
        for part, letters, parameter in zip(
            (matrix[:, :inputs], matrix[:, inputs:]),
            self.letters,
            self.parameters,
            strict=False,
        ):
            order = self._order(letters)
            part = ops.reshape(part, [self.sizes[c] for c in order])
            part = ops.einsum(f"{order}->{letters}", part)
            tensors.append(ops.reshape(part, parameter.shape))
        return tensors

    def _size(self, letters):
        return math.prod(self.sizes[c] for c in letters)

    def _order(self, letters):
        return "".join(c for c in "".join(self.axes) if c in letters)


def matrix_forms(layer: RecordingLayer, variables: list) -> list:
    """`MatrixForm`s that hold a layer's parameters in scope.

    Kernel and bias of a dense, einsum or convolutional layer share one form.
    Every other parameter has a form in which each entry is a group of its own,
    with matrices of 1 by 1.

    Args:
        layer: a `RecordingLayer`.
        variables: list of the scope's variables.
    """
    scope = {id(v) for v in variables}
    left = [p for p in layer.parameters if id(p) in scope]
    forms = []
    if left and left[0] is getattr(layer, "kernel", None):
        if isinstance(layer, (Conv2D, DepthwiseConv2D)):
            forms.append(_convolution(layer, left))
        elif isinstance(layer, Contraction):
            forms.append(_contraction(layer, left))
    held = {id(p) for form in forms for p in form.parameters}
    return forms + [_entries(layer, p) for p in left if id(p) not in held]


def _convolution(layer, parameters):
    """The matrix of a group of channels sees all of its patches.

    Reference: Grosse and Martens, "A Kronecker-factored approximate Fisher
    matrix for convolution layers", 2016.
    """
    height, width, *channels = layer.kernel.shape
    outputs = math.prod(channels)
    inputs = 1 if isinstance(layer, DepthwiseConv2D) else channels[0]
    outputs //= inputs * layer.groups
    return MatrixForm(
        layer,
        parameters,
        axes=("g", "hwc", "f"),
        letters=["hwcgf", "gf"][: len(parameters)],
        sizes=dict(
            zip(
                "hwcgf",
                (height, width, inputs, layer.groups, outputs),
                strict=True,
            )
        ),
        factors=_patches,
    )


def _patches(layer, features, gradients):
    if layer.data_format == "channels_first":
        features = ops.moveaxis(features, 1, -1)
        gradients = ops.moveaxis(gradients, 1, -1)
    a = ops.swapaxes(layer._patches(features), 2, 3)
    *shape, places, channels = ops.shape(a)
    a = ops.reshape(a, (*shape, places * channels))
    outputs = gradients.shape[-1] // layer.groups
    return a, ops.reshape(gradients, (*shape, outputs))


def _contraction(layer, parameters):
    """Letters of the kernel that inputs and outputs share are groups."""
    inputs, rest = layer.equation.replace("...", "").split(",")
    kernel, outputs = rest.split("->")
    sizes = dict(zip(kernel, layer.kernel.shape, strict=True))
    both = [c for c in kernel if c in inputs and c in outputs]
    summed = [c for c in kernel if c not in outputs]
    produced = [c for c in kernel if c not in inputs]
    axes = tuple("".join(axis) for axis in (both, summed, produced))
    letters = [kernel, "".join(c for c in outputs if c in kernel)]
    # Only a bias with an entry for every output is a row of the matrix.
    shape = tuple(sizes[c] for c in letters[1])
    joins = outputs.endswith(letters[1])
    parameters = parameters[:1] + [
        p for p in parameters[1:] if joins and p.shape == shape
    ]
    return MatrixForm(
        layer,
        parameters,
        axes,
        letters[: len(parameters)],
        sizes,
        functools.partial(_arranged, axes),
    )


def _arranged(axes, layer, features, gradients):
    inputs, kernel, outputs = layer._subscripts(len(features.shape))
    shared = [c for c in inputs if c in outputs and c not in kernel]
    groups, summed, produced = axes

    def arrange(tensor, letters, last):
        parts = [shared[:1], shared[1:], groups, last]
        order = "".join(c for part in parts for c in part)
        tensor = ops.einsum(f"{letters}->{order}", tensor)
        sizes = dict(zip(order, ops.shape(tensor), strict=True))
        shape = [math.prod(sizes[c] for c in part) for part in parts]
        return ops.reshape(tensor, shape)

    return (
        arrange(features, inputs, summed),
        arrange(gradients, outputs, produced),
    )


def _entries(layer, parameter):
    return MatrixForm(
        layer,
        [parameter],
        axes=("e", "", ""),
        letters=["e"],
        sizes={"e": math.prod(parameter.shape)},
        factors=functools.partial(_explicit, parameter),
    )


def _explicit(parameter, layer, features, gradients):
    """The explicit gradients for `a` and 1 for `δ`."""
    explicit = layer.per_example_gradients(features, gradients)
    place = [id(p) for p in layer.parameters].index(id(parameter))
    shape = (-1, 1, math.prod(parameter.shape), 1)
    a = ops.reshape(explicit[place], shape)
    return a, ops.ones_like(a)
