"""What there is to run, and what a run would do, as people read it."""

import re
from collections.abc import Iterator

from rich.console import Group
from rich.markup import escape
from rich.table import Table

from applications.presets import GROUPS, LETTERS, PRESETS, SCALES, VARIANTS
from applications.presets.tables import described
from applications.recipe import nearest, paths

# By the name of a loss: `list` and `show` do without importing TensorFlow.
METHODS = {
    "GivenLabels": "Examples come with labels that may be wrong; the weights "
    "learn which to trust.",
    "PseudoLabel": "The network's own sure predictions are labels.",
    "FixMatch": "A sure prediction of a weak view is the label of a strong "
    "one.",
    "FlexMatch": "As FixMatch, with lower thresholds for classes that are "
    "learned less.",
    "FreeMatch": "As FixMatch, with thresholds from running averages, and "
    "fairness over classes.",
    "SoftMatch": "As FixMatch, with a soft mask in place of a threshold.",
    "MeanTeacher": "The network follows one whose weights are its own average.",
    "VAT": "Predictions should stay the same at the worst small change of "
    "the inputs.",
    "UDA": "The prediction of a strong view should be that of a weak one.",
}


def listed(search: str = "") -> Group:
    """The presets by group, those alike but for the labels in one row.

    Args:
        search: str, what a name or a description must have. Defaults to `""`.

    Raises:
        ValueError: if none has it.
    """
    tables = []
    for title, presets in GROUPS.items():
        rows = [
            (name, described(recipe))
            for name, recipe in presets.items()
            if search.lower() in f"{name} {described(recipe)}".lower()
        ]
        if rows:
            tables.append(_table(title, dict(_together(rows))))
    if not tables:
        raise ValueError(
            f"No preset has {search!r} in its name or its description. "
            f"{nearest(search, PRESETS)}"
        )
    hint = "`show NAME` explains one, `run NAME` trains it."
    return Group(*tables, "", hint)


def _table(title, rows):
    table = Table(
        box=None, title=f"\n{title}", title_justify="left", show_header=False
    )
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, description in rows.items():
        table.add_row(escape(name), escape(description))
    return table


def _together(rows) -> Iterator:
    """`a_40`, `a_250` as `a_40, _250`, with the first one's description."""
    stems = {}
    for name, description in rows:
        stem = re.sub(r"_\d+$", "", name)
        stems.setdefault(stem, []).append((name, description))
    for stem, alike in stems.items():
        (first, description), *others = alike
        sizes = [name.removeprefix(stem) for name, _ in others]
        if others:
            numbers = [name.removeprefix(f"{stem}_") for name, _ in alike]
            description = description.replace(f" {numbers[0]} ", " so many ")
        yield ", ".join([first, *sizes]), description


def explained(
    name: str, recipe: dict, sources: dict, cost: dict | None = None
) -> Group:
    """What a run does, its settings, and where each comes from.

    Args:
        name: str, the name of the preset.
        recipe: dict, as `applications.recipe.resolve` gives it.
        sources: dict, as `applications.recipe.sources` gives it.
        cost: dict, as `applications.cost.measure` gives it. Defaults to
            `None`.
    """
    table = Table(box=None)
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for path, value in paths(recipe):
        if not isinstance(value, dict) and path != "description":
            source = sources[path]
            table.add_row(escape(path), escape(str(value)), escape(source))
    lines = [f"{name}: {recipe['description']}"]
    loss = recipe.get("unlabeled_loss", {}).get("name")
    if loss in METHODS:
        lines.append(METHODS[loss])
    if name in VARIANTS:
        variants = ", ".join(VARIANTS[name])
        lines.append(f"--set variant=NAME, one of: {variants}.")
    if any(name in presets for presets in SCALES.values()):
        lines.append("--scale small takes minutes on two cores.")
    used = {
        letter
        for source in sources.values()
        for letter in re.split(r"[:,]\s*", source)
        if letter in LETTERS
    }
    legend = [f"{k}: {text}" for k, text in LETTERS.items() if k in used]
    measured = [f"{key}: {value}" for key, value in (cost or {}).items()]
    parts = [*map(escape, lines), "", table]
    for end in (legend, measured):
        parts += ["", *map(escape, end)] if end else []
    return Group(*parts)
