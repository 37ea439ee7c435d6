"""Gradients with the Gauss-Newton covariance, as `a` and `δ` of matrices."""

import math
from typing import NamedTuple, NoReturn

import tensorflow as tf
from keras import ops

from keras_influence.influence import derivatives
from keras_influence.influence.last_layer import LastLayerObjective
from keras_influence.influence.matrix_form import MatrixForm, matrix_forms
from keras_influence.influence.output_hessian import OutputHessian
from keras_influence.influence.recorded_gradients import scope_records
from keras_influence.layers import Recording, RecordingLayer
from keras_influence.solvers.operator import eigh


class Block(NamedTuple):
    """The gradients `Σ_t a_nt δ_ntᵀ` of some parameters.

    Args:
        form: the `MatrixForm` of the parameters.
        places: list of their places in the scope.
        a: list with a tensor `(n, t, groups, inputs)` for every term.
        delta: list with a tensor `(n, t, groups, outputs)` for every term.
    """

    form: MatrixForm
    places: list
    a: list
    delta: list


class FactoredGradients:
    """One random gradient `g_n` an example with `E[g_n g_nᵀ] = J_nᵀ W_n J_n`.

    Views of an example and further calls of a layer are positions `t`.

    Args:
        objective: a `LastLayerObjective`, or a `NetworkObjective` whose layers
            in scope are all recording ones.
        first: integer, the place of the objective's first example among all:
            an example's draw does not depend on the batch that it is in.
    """

    def __init__(self, objective, first):
        self.objective = objective
        of_head = isinstance(objective, LastLayerObjective)
        blocks = _head_block if of_head else _network_blocks
        self.blocks = list(blocks(objective, first))

    def moments(self) -> list:
        """Every block's `Σ_n w_n Σ_t a aᵀ`, then `Σ_n w_n Σ_t δ δᵀ`."""
        return [
            sum(
                ops.einsum("ntgi,ntgj->gij", _scaled(x, term.weights), x)
                for x, term in zip(xs, self.objective.terms, strict=True)
            )
            for block in self.blocks
            for xs in (block.a, block.delta)
        ]

    def eigenvalues(self, *bases) -> list:
        """Every block's `Σ_n w_n (Q_Aᵀ G_n Q_S)²` and the regularisers'.

        Args:
            *bases: `Q_A`, then `Q_S`, of every block.
        """
        pairs = zip(bases[::2], bases[1::2], strict=True)
        penalty = self._penalty()
        return [
            self._squares(block, *pair)
            + _rotated_diagonal(
                block.form.matrix([penalty[i] for i in block.places]), *pair
            )
            for block, pair in zip(self.blocks, pairs, strict=True)
        ]

    def _squares(self, block, basis_a, basis_s):
        total = 0.0
        for term, a, delta in zip(
            self.objective.terms, block.a, block.delta, strict=True
        ):
            a = ops.einsum("ntgi,gij->ntgj", a, basis_a)
            delta = ops.einsum("ntgi,gij->ntgj", delta, basis_s)
            if a.shape[1] == 1:  # (a δᵀ)² = a² (δ²)ᵀ: no explicit gradient
                a, delta = a**2, delta**2
                a = _scaled(a, term.weights)
                total += ops.einsum("ntgi,ntgo->gio", a, delta)
            else:
                gradients = ops.einsum("ntgi,ntgo->ngio", a, delta)
                total += ops.sum(_scaled(gradients**2, term.weights), 0)
        return total

    def _penalty(self):
        """The diagonal of the regularisers' Hessian, which has no more."""
        parameters = self.objective.parameters
        if self.objective.regularization is None:
            return [ops.zeros_like(p) for p in parameters]
        ones = [ops.ones_like(p) for p in parameters]
        return derivatives.hvp(self.objective.penalty, parameters, ones)


def eigenvectors(matrices):
    """Eigenvectors of `(..., size, size)`; NaN where these are not finite."""
    return eigh(matrices)[1]


def _head_block(objective, first):
    kernel = objective.shapes[0]
    form = MatrixForm(
        layer=None,
        parameters=objective.parameters,
        axes=("", "i", "o"),
        letters=["io", "o"][: len(objective.parameters)],
        sizes=dict(zip("io", kernel, strict=True)),
        factors=None,
    )
    outputs = objective.outputs(objective.parameters)
    yield Block(
        form,
        list(range(len(objective.parameters))),
        [a[:, :, None] for a in objective.features],
        [delta[:, :, None] for delta in _directions(objective, outputs, first)],
    )


def _network_blocks(objective, first):
    variables = objective.variables
    with (
        tf.GradientTape(watch_accessed_variables=False) as tape,
        Recording() as recording,
    ):
        tape.watch(objective.parameters)
        outputs = objective.outputs(objective.parameters)
    records = scope_records(variables, recording, objective.rows)
    if records is None:
        _raise_unrecorded(variables, recording)
    deltas = tape.gradient(
        outputs,
        [record.outputs for record in records],
        output_gradients=_directions(objective, outputs, first),
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    places = {id(v): place for place, v in enumerate(variables)}
    for layer in {id(r.layer): r.layer for r in records}.values():
        for form in matrix_forms(layer, variables):
            calls = [
                form.rows(record.inputs, delta)
                for record, delta in zip(records, deltas, strict=True)
                if record.layer is layer
            ]
            yield Block(
                form,
                [places[id(p)] for p in form.parameters],
                *(_by_term(objective, x) for x in zip(*calls, strict=True)),
            )


def _by_term(objective, calls):
    """Rows `(rows, t, ...)` as `(n, views · t, ...)` for every term."""
    rows = ops.cast(ops.concatenate(calls, axis=1), objective.dtype)
    terms = []
    for x in objective.stack(rows):
        size, views, positions, *shape = ops.shape(x)
        terms.append(ops.reshape(x, (size, views * positions, *shape)))
    return terms


def _directions(objective, outputs, first):
    """`W_n^½ ε` at the outputs of every term, with random signs `ε`."""
    directions = []
    for place, (term, z) in enumerate(
        zip(objective.terms, outputs, strict=True)
    ):
        noise = ops.reshape(
            _signs(first, ops.shape(z)[0], math.prod(z.shape[1:]), place),
            ops.shape(z),
        )
        noise = ops.cast(noise, z.dtype)
        directions.append(_root_product(term, z, noise))
    return directions


def _signs(first, examples, entries, key):
    """Random signs `(examples, entries)`, of examples from `first` on."""
    counts = -(-entries // 4)  # Philox draws four numbers a count.
    low = ops.cast(first, "uint64") * counts
    bits = tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=ops.stack([examples, 4 * counts]),
        key=ops.full((1,), key, "uint64"),
        counter=ops.stack([low, ops.zeros_like(low)]),
        alg=1,
        dtype="int32",
    )
    return ops.where(bits[:, :entries] < 0, -1, 1)


def _root_product(term, outputs, noise):
    """A root of `W_n = ∂²l_n/∂z²`, less negative eigenvalues, times noise."""
    # Logits of several positions are averaged over them.
    if term.softmax is True and len(outputs.shape) == 3:
        p = ops.softmax(outputs)
        scaled = ops.sqrt(p) * noise
        return scaled - p * ops.sum(scaled, -1, keepdims=True)
    if len(outputs.shape) != 3:
        raise ValueError(
            "`curvature='ekfac'` takes one row of logits an example: pool over "
            "time, or take `'gauss_newton'`. Received: logits of shape "
            f"{(outputs.shape[0], *outputs.shape[2:])}"
        )
    shape = ops.shape(outputs)
    size, entries = shape[0], math.prod(shape[1:])
    blocks = OutputHessian(term, outputs).dense()
    eigenvalues, basis = eigh(ops.reshape(blocks, (size, entries, entries)))
    noise = ops.reshape(noise, (size, entries))
    noise = ops.sqrt(ops.maximum(eigenvalues, 0.0)) * noise
    return ops.reshape(tf.linalg.matvec(basis, noise), shape)


def _scaled(x, weights):
    """Every example times its weight."""
    return x * ops.reshape(weights, (-1, *[1] * (len(x.shape) - 1)))


def _rotated_diagonal(matrix, basis_a, basis_s):
    """The diagonal, in these bases, of a matrix that is diagonal itself."""
    return ops.swapaxes(basis_a, 1, 2) ** 2 @ matrix @ basis_s**2


def _raise_unrecorded(variables, recording) -> NoReturn:
    recorded = {
        id(p)
        for record in recording.records
        if isinstance(record.layer, RecordingLayer)
        for p in record.layer.parameters
    }
    missing = [v.path for v in variables if id(v) not in recorded]
    raise ValueError(
        "`curvature='ekfac'` needs recording layers, called on one row for "
        "every row of the network's inputs, for all variables in scope. Make "
        "the network with `keras_influence.layers.recording_clone(model)`, or "
        "leave other layers out of `parameters`. Received: "
        f"{missing or [v.path for v in variables]}"
    )
