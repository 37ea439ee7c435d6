"""PyTorch peers as a server: one call on request, in their own environment.

`benchmarks.peers` starts it, reads the names of the methods, and then asks,
one JSON object a line, for `{"workload", "method", "memory"}`, the workload a
name or the path of a file of `benchmarks.workloads.write`. It answers with
the seconds of one call, its scores, and where asked its peak memory.
"""

import contextlib
import copy
import functools
import itertools
import json
import logging
import os
import sys
import tempfile
import time
import warnings

import torch
from torch import nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.functional import cross_entropy

from benchmarks import workloads
from benchmarks.memory import peak_growth


def last_layer(problem) -> dict:
    """Functions that score a linear head, by the name of the method.

    pyDVL's inner parts are used where its public calls would solve for every
    validation example instead of for their mean.
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from pydvl.influence.torch import functional, operator
    from pydvl.influence.torch.base import TorchBatch, TorchGradientProvider
    from pydvl.influence.torch.preconditioner import NystroemPreconditioner

    kernel = torch.tensor(problem.parameters[0])
    model = nn.Linear(*kernel.shape, bias=False)
    model.weight = nn.Parameter(kernel.T.contiguous())
    train = (torch.tensor(problem.x), torch.tensor(problem.y))
    validation = tuple(map(torch.tensor, problem.validation))

    def validation_gradient():
        model.zero_grad()
        cross_entropy(model(validation[0]), validation[1]).backward()
        return model.weight.grad.flatten()

    def scores(solution):
        parameters = {"weight": model.weight.detach()}
        provider = TorchGradientProvider(model, cross_entropy, parameters)
        products = provider.jacobian_prod(
            TorchBatch(*train), solution.reshape(1, -1)
        )
        return -products[0]

    def direct():
        matrix = functional.hessian(model, cross_entropy, [train])
        solver = operator.DirectSolveOperator(
            matrix, workloads.DAMPING, in_place_regularization=True
        )
        return scores(solver.apply(validation_gradient()))

    def conjugate_gradient(preconditioner=None):
        gradient = validation_gradient()
        hessian = operator.HessianOperator(model, cross_entropy, [train])
        if preconditioner is not None:
            preconditioner.fit(hessian, workloads.DAMPING)
        solver = operator.CgOperator(
            hessian,
            workloads.DAMPING,
            rtol=0.0,
            # Its tolerance is absolute and squared.
            atol=float(workloads.TOLERANCE * gradient.norm()) ** 0.5,
            maxiter=1000,
            preconditioner=preconditioner,
        )
        return scores(solver.apply(gradient))

    class Classification(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits, labels = model(batch[0]), batch[1]
            if sample:
                labels = torch.distributions.Categorical(logits=logits).sample()
            return cross_entropy(logits, labels, reduction="sum")

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    def ekfac():
        # It freezes the parameters.
        network = nn.Sequential(copy.deepcopy(model))
        prepared = prepare_model(network, Classification())
        sets = [torch.utils.data.TensorDataset(*d) for d in (train, validation)]
        sizes = [len(labels) for _, labels in (train, validation)]
        with tempfile.TemporaryDirectory() as folder:
            analyzer = Analyzer(
                "head",
                prepared,
                Classification(),
                output_dir=folder,
                disable_tqdm=True,
            )
            analyzer.fit_all_factors(
                "factors",
                sets[0],
                per_device_batch_size=sizes[0],
                factor_args=FactorArguments(strategy="ekfac"),
            )
            analyzer.compute_pairwise_scores(
                "scores",
                "factors",
                sets[1],
                sets[0],
                per_device_query_batch_size=sizes[1],
                per_device_train_batch_size=sizes[0],
                score_args=ScoreArguments(
                    damping_factor=workloads.DAMPING,
                    aggregate_query_gradients=True,
                ),
            )
            pairs = analyzer.load_pairwise_scores("scores")
        return -pairs["all_modules"][0] / sizes[1]

    methods = {
        "pyDVL, CG": conjugate_gradient,
        "pyDVL, CG + Nyström": lambda: conjugate_gradient(
            NystroemPreconditioner(rank=60)
        ),
    }
    if kernel.numel() < 10_000:
        methods["pyDVL, direct"] = direct
        methods["kronfluence, EK-FAC"] = ekfac
    return methods


def network(problem, direction) -> dict:
    """Functions that score a batch along a direction, and one gradient."""
    from opacus import GradSampleModule

    model = _network()
    with torch.no_grad():
        for p, value in zip(
            model.parameters(), problem.parameters, strict=True
        ):
            p.copy_(_transposed(value))
    v = {
        name: _transposed(value)
        for (name, _), value in zip(
            model.named_parameters(), direction, strict=True
        )
    }
    x = torch.tensor(problem.x).permute(0, 3, 1, 2).contiguous()
    y = torch.tensor(problem.y)
    parameters = {k: p.detach() for k, p in model.named_parameters()}

    def plain():
        model.zero_grad()
        cross_entropy(model(x), y).backward()

    def losses(parameters):
        logits = functional_call(model, parameters, (x,))
        return cross_entropy(logits, y, reduction="none")

    def forward_mode():
        return -jvp(losses, (parameters,), (v,))[1]

    def loss(parameters, x, y):
        logits = functional_call(model, parameters, (x[None],))
        return cross_entropy(logits, y[None])

    def dot(gradients):
        return -sum(
            gradients[name].flatten(1) @ v[name].flatten() for name in v
        )

    def per_example():
        return dot(vmap(grad(loss), (None, 0, 0))(parameters, x, y))

    sampled = GradSampleModule(copy.deepcopy(model), loss_reduction="sum")

    def opacus():
        sampled.zero_grad()
        cross_entropy(sampled(x), y, reduction="sum").backward()
        names = [name for name, _ in model.named_parameters()]
        samples = [p.grad_sample for p in sampled.parameters()]
        return dot(dict(zip(names, samples, strict=True)))

    return {
        "torch, one gradient": plain,
        "torch, JVP": forward_mode,
        "torch, vmap(grad) and dot": per_example,
        "Opacus, gradients and dot": opacus,
    }


def _network():
    channels = workloads.CHANNELS
    layers = []
    for inputs, outputs in itertools.pairwise(channels):
        stride = 2 if layers else 1
        layers += [nn.Conv2d(inputs, outputs, 3, stride), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(channels[-1], workloads.CLASSES))


def _transposed(value):
    """Keras' order of a parameter's axes to PyTorch's."""
    value = torch.tensor(value)
    return value.permute(3, 2, 0, 1) if value.ndim == 4 else value.T


def main():
    """Serves requests from standard input until it ends."""
    scale, threads, clock = sys.argv[1:]
    torch.set_num_threads(int(threads))
    clock = getattr(time, clock)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    # Libraries that print must not garble the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    @functools.cache
    def methods(workload):
        if workload == "W3":
            return network(*workloads.network())
        if workload.endswith(".npz"):
            return last_layer(workloads.read(workload))
        name, features = workload.split()
        return last_layer(
            workloads.head(name, features == "ReLU", float(scale))
        )

    def answer(request):
        available = methods(request["workload"])
        if "method" not in request:
            return list(available)
        function = available[request["method"]]
        if request["memory"]:
            return peak_growth(function)
        start = clock()
        scores = function()
        elapsed = clock() - start
        return elapsed, None if scores is None else scores.tolist()

    for line in sys.stdin:
        with contextlib.redirect_stdout(sys.stderr):
            result = answer(json.loads(line))
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
