import math
import string

from keras import ops

from keras_influence.layers.affine import Affine
from keras_influence.layers.recording_layer import (
    full_precision,
    inner_products,
)


class Contraction(Affine):
    """Layers whose kernel meets the features in one einsum, `self.equation`.

    The gradient of a kernel in `abc,cd->abd` is `abc,abd->acd`: an einsum
    itself. Letters that inputs and outputs share and the kernel lacks (here
    `b`) are *positions*, over which an example's gradient sums.
    """

    def apply_kernel(self, features, kernel):
        """The einsum of features and kernel."""
        return ops.einsum(self.equation, features, kernel)

    @full_precision
    def per_example_gradients(self, features, gradients):
        """The einsum of features and output gradients: no loop."""
        inputs, kernel, outputs = self._subscripts(len(features.shape))
        equation = f"{inputs},{outputs}->{inputs[0]}{kernel}"
        kernel_gradients = ops.einsum(equation, features, gradients)
        return [kernel_gradients, *self._bias_gradients(gradients)]

    @full_precision
    def gram(self, features, gradients, other_features, other_gradients):
        """Compares all pairs of positions where gradients cost more.

        For `T` positions, `d` inputs and `o` outputs a pair of examples costs
        `T²(d + o)` through `Σ_ts ⟨a_t, a'_s⟩⟨δ_t, δ'_s⟩`, and `d·o` through
        explicit gradients.

        Reference: [Bu et al., 2022](https://arxiv.org/abs/2205.10683).
        """
        if not self._pairs_are_cheaper(features, gradients):
            return super().gram(
                features, gradients, other_features, other_gradients
            )
        inputs, kernel, outputs = self._subscripts(len(features.shape))
        unused = _unused(inputs + kernel + outputs)
        prime = {c: unused[i] for i, c in enumerate(inputs) if c not in kernel}
        positions = [c for c in inputs if c in outputs and c not in kernel]
        both = [c for c in kernel if c in inputs and c in outputs]
        pairs = "".join(p for c in positions for p in (c, prime[c]))
        pairs += "".join(both)

        def compare(letters, x, y):
            primed = letters.translate(str.maketrans(prime))
            return ops.einsum(f"{letters},{primed}->{pairs}", x, y)

        products = compare(inputs, features, other_features)
        products *= compare(outputs, gradients, other_gradients)
        kernels = ops.sum(products, axis=range(2, len(pairs)))
        ours = self._bias_gradients(gradients)
        theirs = self._bias_gradients(other_gradients)
        return kernels + sum(map(inner_products, ours, theirs))

    def _subscripts(self, rank):
        """Letters of inputs, kernel and outputs, `...` spelled out."""
        inputs, rest = self.equation.split(",")
        kernel, outputs = rest.split("->")
        elided = rank - len(inputs.replace("...", ""))
        elided = _unused(self.equation)[:elided]
        return [s.replace("...", elided) for s in (inputs, kernel, outputs)]

    def _bias_gradients(self, gradients):
        """Output gradients, summed over what the bias broadcasts along."""
        if self.bias is None:
            return []
        rank, shape = len(gradients.shape), self.bias.shape
        broadcast = (1,) * (rank - 1 - len(shape)) + shape
        axes = [i for i, size in enumerate(broadcast, start=1) if size == 1]
        summed = ops.sum(gradients, axis=axes)
        return [ops.reshape(summed, (-1, *shape))]

    def _pairs_are_cheaper(self, features, gradients):
        inputs, kernel, outputs = self._subscripts(len(features.shape))
        sizes = dict(zip(inputs, features.shape, strict=True))
        sizes |= zip(outputs, gradients.shape, strict=True)
        positions = [c for c in inputs[1:] if c in outputs and c not in kernel]
        if None in (sizes[c] for c in positions):
            return False

        def size(letters):
            return math.prod(sizes[c] for c in letters)

        entering = size([c for c in kernel if c in inputs])
        leaving = size([c for c in kernel if c in outputs])
        return size(positions) ** 2 * (entering + leaving) <= size(kernel)


def _unused(subscripts):
    return "".join(c for c in string.ascii_letters if c not in subscripts)
