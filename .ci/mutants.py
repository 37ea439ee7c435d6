"""A sample of mutants: how many of them the tests of their own module kill.

    .venv/bin/python .ci/mutants.py --sample 160 --seed 0

Cosmic Ray makes the mutants. Its own runner starts a process for each, which
imports TensorFlow: here all is imported once, and every mutant is a fork that
swaps the code of the mutated function and runs
`tests/<room>/test_<module>.py`.
"""

import argparse
import ast
import gc
import importlib
import importlib.machinery
import inspect
import os
import pathlib
import random
import resource
import signal
import sys
import time
import types

import parso
import pytest
from cosmic_ray import plugins
from cosmic_ray.mutating import mutate_code

PACKAGE, TESTS = pathlib.Path("keras_influence"), pathlib.Path("tests")
ROOMS = ("influence", "models", "optimizers", "solvers", "weighting")
# Decorators register classes; any variable for any other is mostly a NameError.
SKIPPED = ("RemoveDecorator", "VariableReplacer", "VariableInserter")
CPU_SECONDS = 120
SECONDS = 1200


def mutants(module: pathlib.Path):
    """Triples of operator, occurrence and line, but those in annotations."""
    code = module.read_text()
    tree, annotated = parso.parse(code), _annotations(code)
    for name in plugins.operator_names():
        if name.split("/")[-1].startswith(SKIPPED):
            continue
        operator = plugins.get_operator(name)()
        for place, (start, _) in enumerate(_positions(operator, tree)):
            if not any(first <= start < last for first, last in annotated):
                yield name, place, start[0]


def _compiles(code):
    try:
        return bool(ast.parse(code))
    except SyntaxError:
        return False


def _positions(operator, node):
    found = list(operator.mutation_positions(node))
    for child in getattr(node, "children", ()):
        found += _positions(operator, child)
    return found


def _annotations(code):
    """Ranges of `(line, column)`."""
    nodes = []
    for node in ast.walk(ast.parse(code)):
        nodes += [getattr(node, "annotation", None)]
        nodes += [getattr(node, "returns", None)]
    return [
        ((n.lineno, n.col_offset), (n.end_lineno, n.end_col_offset))
        for n in nodes
        if n is not None
    ]


def install(module: pathlib.Path, code: str) -> None:
    """Puts mutated code in the place of a module that is imported already."""
    name = ".".join(module.with_suffix("").parts)
    file = sys.modules[name].__file__
    old, new = (compile(c, file, "exec") for c in (module.read_text(), code))
    swaps = dict(_changed_functions(old, new))
    found = [
        f
        for f in gc.get_objects()
        if isinstance(f, types.FunctionType) and f.__code__ in swaps
    ]
    if found and len(swaps) == len({f.__code__ for f in found}):
        for function in found:
            function.__code__ = swaps[function.__code__]
        return
    # What runs when it is imported has changed: import the package anew.
    for imported in [n for n in sys.modules if n.split(".")[0] == PACKAGE.name]:
        del sys.modules[imported]
    original = importlib.machinery.SourceFileLoader.get_code
    importlib.machinery.SourceFileLoader.get_code = lambda loader, name: (
        new if loader.path == file else original(loader, name)
    )


def _changed_functions(old, new):
    """Pairs of the code of functions; one with `None` for anything else."""
    pairs = list(zip(old.co_consts, new.co_consts, strict=False))
    inner = [(o, n) for o, n in pairs if isinstance(o, types.CodeType)]
    plain = [(o, n) for o, n in pairs if not isinstance(o, types.CodeType)]
    same = old.co_code == new.co_code and all(o == n for o, n in plain)
    if not same or len(old.co_consts) != len(new.co_consts):
        yield None, None
    for o, n in inner:
        if o.co_flags & inspect.CO_OPTIMIZED and o != n:  # no class body
            yield o, n
        elif o != n:
            yield from _changed_functions(o, n)


def run(module: pathlib.Path, code: str, log: pathlib.Path) -> int:
    """In a fork: the module's tests, on `code` in the place of the module."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    install(module, code)
    test = TESTS / module.relative_to(PACKAGE).parent / f"test_{module.name}"
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    return pytest.main([str(test), *options, "--hypothesis-seed=0"])


def start(module: pathlib.Path, code: str, log: pathlib.Path) -> int:
    """The id of a process that runs the module's tests; 0 is how all pass."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        status = int(run(module, code, log))
    finally:
        os._exit(status)


def main():
    """Runs the sample and prints the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--modules", nargs="*", type=pathlib.Path)
    parser.add_argument("--baseline", action="store_true")
    parser.add_argument("--logs", type=pathlib.Path, default="runs/mutants")
    options = parser.parse_args()
    options.logs.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, os.getcwd())
    for file in PACKAGE.rglob("[!_]*.py"):
        importlib.import_module(".".join(file.with_suffix("").parts))
    modules = options.modules or [
        module for room in ROOMS for module in (PACKAGE / room).glob("[!_]*.py")
    ]
    everything = [(m, *rest) for m in sorted(modules) for rest in mutants(m)]
    drawn = random.Random(options.seed).sample(
        everything, min(options.sample, len(everything))
    )
    if options.baseline:
        drawn = [(module, None, 0, 0) for module in sorted(modules)]
    print(f"{len(drawn)} of {len(everything)} mutants", flush=True)
    counts, running = {}, {}
    while drawn or running:
        while drawn and len(running) < options.jobs:
            module, name, place, line = drawn.pop(0)
            code = module.read_text()
            if name is not None:
                code = mutate_code(code, plugins.get_operator(name)(), place)
                if not _compiles(code):
                    counts["no Python"] = counts.get("no Python", 0) + 1
                    continue
            label = f"{module}:{line} {name} {place}"
            log = options.logs / label.replace("/", "_").replace(" ", "_")
            pid = start(module, code, log)
            running[pid] = label, time.monotonic()
        time.sleep(0.2)
        for pid, (label, since) in list(running.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            seconds = time.monotonic() - since
            if not done and seconds > SECONDS:
                os.kill(pid, signal.SIGKILL)
            if not done:
                continue
            outcome = "killed" if status else "SURVIVED"
            if os.WIFSIGNALED(status):
                outcome = "timeout"
            del running[pid]
            counts[outcome] = counts.get(outcome, 0) + 1
            print(f"{outcome} {seconds:.0f}s {label}", flush=True)
    print(counts)


if __name__ == "__main__":
    main()
