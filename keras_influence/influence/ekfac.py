import functools

from keras import ops

from keras_influence.influence.factored_gradients import (
    FactoredGradients,
    eigenvectors,
)
from keras_influence.solvers import Operator


class EKFAC(Operator):
    """Gauss-Newton of each layer, diagonal in a Kronecker-factored basis.

    With the gradients `G_n = Σ_t a_nt δ_ntᵀ` of a layer's matrix, the
    eigenvectors `Q_A` of `Σ_n w_n Σ_t a_nt a_ntᵀ` and `Q_S` of
    `Σ_n w_n Σ_t δ_nt δ_ntᵀ`, a block of the curvature is

        (Q_A ⊗ Q_S) diag(Λ) (Q_A ⊗ Q_S)ᵀ,  Λ = Σ_n w_n (Q_Aᵀ G_n Q_S)²

    Views of an example and further calls of a layer count as positions `t`.
    Layers are independent. Kernel and bias of dense, einsum and convolutional
    layers share a block, with one pair of bases a group of channels; any
    other parameter of a recording layer is kept by its diagonal.

    The `δ` are not those of the losses but random ones, drawn once an
    example: `δ = W_n^½ ε` at the outputs, with random signs `ε` and `W_n` the
    Hessian of the loss, less what makes it indefinite. Their covariance is
    `W_n`, as is that of softmax gradients with labels sampled from the
    predictions. So this approximates Gauss-Newton (for softmax, Fisher)
    instead of the empirical Fisher matrix. The draw is the same every time,
    whatever batches the examples come in.

    The Hessian of regularisers enters `Λ` by its diagonal in that basis. It
    is taken as diagonal in the parameters, as that of L1 and L2 is.

    A layer with `d` inputs and `o` outputs costs eigendecompositions of sizes
    `d` and `o`, and explicit gradients of a batch where it has positions.

    Args:
        objective: an `Objective` of the last layer or of recording layers; a
            streamed one takes two passes over the data.

    Raises:
        ValueError: if a variable in scope belongs to no recording layer.

    Reference: Grosse et al., "Studying large language model generalization
    with influence functions", 2023; George et al., "Fast approximate natural
    gradient descent in a Kronecker-factored eigenbasis", 2018.
    """

    def __init__(self, objective):
        super().__init__(objective.size, objective.dtype)

        def total(method, *bases):
            return objective.sums(
                lambda part, first, *bases: method(
                    FactoredGradients(part, first), *bases
                ),
                *bases,
            )

        bases = [eigenvectors(m) for m in total(FactoredGradients.moments)]
        self.bases = list(zip(bases[::2], bases[1::2], strict=True))
        self.eigenvalues = total(FactoredGradients.eigenvalues, *bases)
        blocks = FactoredGradients(objective.one_batch(), 0).blocks
        self.blocks = [(block.form, block.places) for block in blocks]
        self.objective = objective

    def matvec(self, vector):
        """Into the basis, times the eigenvalues, and back."""
        return self._in_basis(ops.multiply, vector)

    def trace(self):
        """The sum of the eigenvalues."""
        return sum(ops.sum(values) for values in self.eigenvalues)

    def materialize(self):
        """This operator: its eigendecomposition is at hand."""
        return self

    def inverse(self, damping):
        """Into the basis, divided by the eigenvalues, and back.

        NaN where the damped operator is not positive definite.
        """

        def divide(x, eigenvalues):
            damped = eigenvalues + damping
            return x / ops.where(damped > 0, damped, float("nan"))

        return functools.partial(self._in_basis, divide)

    def _in_basis(self, function, vector):
        tensors = self.objective.unflatten(vector)
        for (form, places), (basis_a, basis_s), eigenvalues in zip(
            self.blocks, self.bases, self.eigenvalues, strict=True
        ):
            matrix = form.matrix([tensors[place] for place in places])
            matrix = ops.swapaxes(basis_a, 1, 2) @ matrix @ basis_s
            matrix = function(matrix, eigenvalues)
            matrix = basis_a @ matrix @ ops.swapaxes(basis_s, 1, 2)
            for place, tensor in zip(places, form.tensors(matrix), strict=True):
                tensors[place] = tensor
        return self.objective.flatten(tensors)
