"""What `make demo` takes, variant by variant.

    python -m benchmarks.demo [--runs 5] [--json PATH]

Every run is a process of its own, as `make demo` starts it. The seconds are
those of its table: of training, with the first traces.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

from benchmarks import harness

ROOT = pathlib.Path(__file__).parents[1]
CONSTANT = "constant weight"


def one_run() -> dict:
    """Runs the demo and returns the seconds of every variant."""
    command = [sys.executable, "-m", "applications", "run", "digits"]
    with tempfile.TemporaryDirectory() as directory:
        output = pathlib.Path(directory) / "run"
        subprocess.run(
            [*command, "--output", str(output)],
            cwd=ROOT,
            capture_output=True,
            check=True,
        )
        rows = json.loads((output / "results.json").read_text())
    return {row["variant"]: row["seconds"] for row in rows}


def table(runs: list[dict]) -> list[dict]:
    """One row a variant.

    Args:
        runs: list of dictionaries, as of `one_run`.
    """
    return [
        {
            "variant": variant,
            "seconds, median": statistics.median(r[variant] for r in runs),
            "least": min(r[variant] for r in runs),
            "most": max(r[variant] for r in runs),
            f"x {CONSTANT}": statistics.median(
                r[variant] / r[CONSTANT] for r in runs
            ),
        }
        for variant in runs[0]
    ]


def main():
    """Runs the demo some times, prints the table and writes the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", default=None)
    arguments = parser.parse_args()
    runs = [one_run() for _ in range(arguments.runs)]
    title = f"The demo, {arguments.runs} runs"
    harness.report(title, table(runs), arguments.json)


if __name__ == "__main__":
    main()
