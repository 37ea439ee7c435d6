"""Ready experiments: `python -m applications list | show NAME | run NAME`."""

import json
import os
import pathlib
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from applications import report
from applications.presets import PRESETS
from applications.recipe import resolve, sources

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

app = typer.Typer(
    help="Ready experiments with learned example weights.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console()

Name = Annotated[str, typer.Argument(help="A preset; see `list`.")]
Settings = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Replace a setting of the recipe; see `show`. Repeatable.",
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(help="`small` takes minutes on a small machine."),
]


@app.command("list")
def list_presets() -> None:
    """The presets and what each is about."""
    table = Table(box=None)
    table.add_column("preset", style="bold", no_wrap=True)
    table.add_column("what it is")
    for name, recipe in PRESETS.items():
        table.add_row(name, recipe["description"])
    console.print(table)


@app.command()
def show(
    name: Name,
    settings: Settings = (),
    scale: Scale = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Measure a step: hours and memory."),
    ] = False,
) -> None:
    """The resolved recipe of a run and its sources, as JSON."""
    recipe = _resolve(name, settings, scale)
    stated = sources(name, recipe)
    shown = recipe | ({"sources": stated} if stated else {})
    if cost:
        from applications.cost import measure

        try:
            shown["cost"] = measure(recipe)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    print(json.dumps(shown, indent=2))


@app.command()
def run(
    name: Name,
    settings: Settings = (),
    scale: Scale = None,
    data_dir: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder of TensorFlow Datasets.", exists=True, file_okay=False
        ),
    ] = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder for the results. Default: runs/NAME."),
    ] = None,
) -> None:
    """Trains a preset's variants, prints a table, writes a report.

    Started again with the same settings and folder, a run that was stopped
    goes on after the last epoch that it ended.
    """
    recipe = _resolve(name, settings, scale)
    if "data_dir" in recipe["dataset"] and data_dir is not None:
        recipe["dataset"]["data_dir"] = str(data_dir)
    output = output or pathlib.Path("runs") / name
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"`--output`: {error}") from error
    # TensorFlow takes seconds to import; `list` and `show` do without.
    from applications.experiment import Experiment
    from applications.run_state import RunState

    try:
        experiments = [Experiment(recipe, seed) for seed in recipe["seeds"]]
        progress = RunState(output / "unfinished", recipe)
    except (ImportError, OSError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    report.write_json(
        output, "config", {"recipe": recipe, "versions": report.versions()}
    )
    rows = []
    for experiment in experiments:
        directory = _directory(output, recipe, experiment.seed)
        directory.mkdir(exist_ok=True)
        rows += experiment.run(directory, progress)
        report.write_json(output, "results", rows)
    progress.remove()
    console.print(report.results_table(name, rows))
    console.print(f"Pictures, weights and configuration: {output}")


def _resolve(name, settings, scale):
    try:
        return resolve(name, settings, scale)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _directory(output, recipe, seed):
    several = len(recipe["seeds"]) > 1
    return output / f"seed_{seed}" if several else output


if __name__ == "__main__":
    app()
