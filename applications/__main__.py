"""Ready experiments: `python -m applications list | show NAME | run NAME`."""

import contextlib
import gc
import json
import os
import pathlib
import shlex
from typing import Annotated

import typer
from rich.console import Console

from applications import report
from applications.catalogue import explained, listed
from applications.checks import check
from applications.recipe import resolve, sources, takes, variant

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
def list_presets(
    search: Annotated[
        str, typer.Option(help="Only those whose name or text has this.")
    ] = "",
) -> None:
    """The presets, by group, and what each is about."""
    with _plain_errors():
        console.print(listed(search))


@app.command()
def show(
    name: Name,
    settings: Settings = (),
    scale: Scale = None,
    cost: Annotated[
        bool,
        typer.Option("--cost", help="Measure a step: hours and memory."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The same for programs.")
    ] = False,
) -> None:
    """What a run does, its settings, and where each comes from."""
    recipe = _resolve(name, settings, scale)
    stated = sources(name, settings, scale)
    measured = {}
    if cost:
        from applications.cost import measure

        with _plain_errors(Exception):
            measured = measure(recipe)
    if as_json:
        shown = recipe | {"sources": stated}
        shown |= {"cost": measured} if cost else {}
        print(json.dumps(shown, indent=2))
    else:
        console.print(explained(name, recipe, stated, measured))


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
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Remove the files of the run that the folder holds, if it is "
            "done, or one of other settings or on other data.",
        ),
    ] = False,
) -> None:
    """Trains a preset's variants, prints a table, writes a report.

    Started again with the same settings and folder, a run that was stopped
    goes on after the last epoch that it ended.
    """
    recipe = _resolve(name, settings, scale)
    if data_dir is not None:
        if takes("dataset", recipe["dataset"], "data_dir"):
            recipe["dataset"]["data_dir"] = str(data_dir)
        else:
            kind = recipe["dataset"]["name"]
            console.print(f"Nothing of {kind!r} is read from `--data-dir`.")
    chosen = variant(name, settings)
    folder = f"{name}_{chosen}" if chosen else name
    output = output or pathlib.Path("runs") / folder
    with _plain_errors(), _opened(output, recipe, overwrite) as progress:
        rows = progress.rows
        if progress.finished:
            console.print(
                "Done before, with the data of then; `--overwrite` reads them "
                "and trains anew."
            )
        else:
            options = {"--scale": scale, "--data-dir": data_dir}
            rows = _train(recipe, progress, _command(name, settings, options))
    console.print(report.results_table(name, rows))
    if story := report.findings(rows):
        console.print(story)
    console.print(f"Pictures, weights and configuration: {output}")
    for path in sorted(output.glob("**/report.html")):
        print(f"Report: {path}")


def _command(name, settings, options):
    """What starts such a run; where it writes is no part of it."""
    pairs = [("--set", setting) for setting in settings]
    pairs += [(key, str(value)) for key, value in options.items() if value]
    parts = [part for pair in pairs for part in pair]
    return shlex.join(["python", "-m", "applications", "run", name, *parts])


def _opened(output, recipe, overwrite):
    """The folder of the run."""
    # TensorFlow takes seconds to import; `list` and `show` do without.
    from applications.run_state import RunState

    try:
        return RunState(output, recipe, overwrite)
    except OSError as error:
        raise typer.BadParameter(f"`--output`: {error}.") from error


def _train(recipe, progress, command):
    """Trains seed after seed, with the data of one in memory."""
    from applications.experiment import Experiment
    from applications.own.experiment import OwnExperiment
    from applications.run_state import seed_directory

    kind = OwnExperiment if "folds" in recipe else Experiment

    output = progress.directory
    if "folds" not in recipe:  # Of own data it says how to name them.
        console.print(recipe["description"])
    rows = []
    with _imports_kept():
        for seed in recipe["seeds"]:
            with _plain_errors(Exception):
                experiment = kind(recipe, seed, command=command)
            # What can be known to fail has not failed: the folder is taken.
            progress.begin()
            settings = {"recipe": recipe, "versions": report.versions()}
            report.write_json(output, "config", settings)
            directory = output / seed_directory(recipe, seed)
            directory.mkdir(exist_ok=True)
            rows += experiment.run(directory, progress)
            report.write_json(output, "results", rows)
            del experiment
    progress.end()
    return rows


@contextlib.contextmanager
def _imports_kept():
    """Keeps Python's collector away from what is there already.

    It would look through all that was imported again and again while graphs
    are traced, which on a small network is much of the training.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _resolve(name, settings, scale):
    with _plain_errors():
        recipe = resolve(name, settings, scale)
        check(recipe)
        return recipe


@contextlib.contextmanager
def _plain_errors(*expected):
    """Says in a sentence what a user can mend.

    Args:
        *expected: types of errors besides those that tell their reason.
    """
    try:
        yield
    except typer.BadParameter:
        raise
    except OSError as error:
        raise typer.BadParameter(
            f"{error}. What a run has done, if anything, is kept: give the "
            "same command again when this is mended."
        ) from error
    except (ImportError, TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    except expected as error:
        name, text = type(error).__name__, str(error).strip() or "no reason"
        raise typer.BadParameter(
            "The settings do not fit together or do not fit the data. "
            f"{name}: {text.splitlines()[0]}"
        ) from error


if __name__ == "__main__":
    app()
