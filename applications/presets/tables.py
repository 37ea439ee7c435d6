"""Recipes that say for every setting its value and where it comes from."""


def as_recipe(table: dict) -> dict:
    """A table as a recipe: paths become nested dictionaries.

    Args:
        table: dict from paths with dots to tuples `(value, source)`.
    """
    recipe = {}
    for path, (value, _) in table.items():
        *parents, leaf = path.split(".")
        node = recipe
        for part in parents:
            node = node.setdefault(part, {})
        node[leaf] = value
    recipe["description"] = recipe["description"].format(**recipe["dataset"])
    return recipe


def sources_of(table: dict) -> dict[str, str]:
    """Where a table's values come from, by path.

    Args:
        table: dict from paths with dots to tuples `(value, source)`.
    """
    return {path: source for path, (_, source) in table.items()}
