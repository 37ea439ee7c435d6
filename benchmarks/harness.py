"""Timing side by side, tables and JSON."""

import json
import pathlib
import platform
import statistics
import sys
import time
from collections.abc import Callable

import keras
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from benchmarks.memory import peak_growth


def seconds(function: Callable, clock: Callable = time.perf_counter) -> float:
    """How long one call of a function takes.

    Args:
        function: function without arguments.
        clock: `time.perf_counter` or, where others use the machine too,
            `time.process_time`. Defaults to `time.perf_counter`.
    """
    start = clock()
    function()
    return clock() - start


def peak_memory(function: Callable) -> float:
    """The most memory that TensorFlow holds during one call, in megabytes.

    What it held before is not counted, nor, in builds with oneDNN, are
    tensors below 256 kB. A tensor counts up to twice where the allocator
    gives it a larger piece that is free.
    """
    try:
        tf.config.experimental.reset_memory_stats("CPU:0")
    except ValueError:  # no allocator of its own in this build
        return peak_growth(function)
    before = tf.config.experimental.get_memory_info("CPU:0")["current"]
    function()
    info = tf.config.experimental.get_memory_info("CPU:0")
    return (info["peak"] - before) / 2**20


def interleave(
    functions: dict, rounds: int, warmup: int = 2, measure: Callable = seconds
) -> dict:
    """Times functions in turn, round after round, so that noise hits all.

    Args:
        functions: dictionary from names to functions without arguments.
        rounds: integer, counted calls of each.
        warmup: integer, calls before those, which trace and compile.
            Defaults to `2`.
        measure: function from one of the functions to the seconds of one
            call. Defaults to `seconds`.

    Returns:
        Dictionary from names to the list of seconds.
    """
    for _ in range(warmup):
        for function in functions.values():
            measure(function)
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(measure(function))
    return times


def ratios(times: dict, baseline: str) -> dict:
    """Median over rounds of each function's time over the baseline's."""
    return {
        name: statistics.median(
            a / b for a, b in zip(values, times[baseline], strict=True)
        )
        for name, values in times.items()
    }


def spread(values, digits: int) -> str:
    """Mean and standard deviation of some runs, as a table shows them.

    Args:
        values: sequence of numbers, one a run.
        digits: integer, how many decimals.

    Example:

    >>> spread([1.0, 2.0], 1)
    '1.5 ± 0.7'
    """
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {deviation:.{digits}f}"


def report(title: str, rows: list[dict], path: str | None) -> None:
    """Prints rows as a table and writes them, with versions, as JSON.

    Args:
        title: string, the table's.
        rows: list of dictionaries with the same keys.
        path: where to write the JSON, or `None`.
    """
    print_table(title, rows)
    write_json(path, {title: rows})


def print_table(title: str, rows: list[dict]) -> None:
    """Prints rows, dictionaries with the same keys, as a table."""
    table = Table(title=title)
    for column, value in rows[0].items():
        is_text = isinstance(value, str)
        table.add_column(
            column, justify="left" if is_text else "right", no_wrap=is_text
        )
    for row in rows:
        table.add_row(*map(_plain, row.values()))
    # A table in a file need not fit a terminal.
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def write_json(path: str | None, tables: dict, **settings) -> None:
    """Writes tables, with settings and versions, as JSON.

    Args:
        path: where to, or `None` for nowhere.
        tables: dictionary from titles to lists of rows.
        **settings: what the figures were measured with.
    """
    if path is None:
        return
    content = {"settings": settings, "versions": versions(), "tables": tables}
    pathlib.Path(path).write_text(json.dumps(content, indent=2) + "\n")


def versions() -> dict:
    """The versions and the machine that figures were measured with."""
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "machine": platform.machine(),
        "threads": tf.config.threading.get_intra_op_parallelism_threads(),
    }


def _plain(value):
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
