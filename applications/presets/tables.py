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
    return recipe


def described(recipe: dict) -> str:
    """A recipe's description, with its own number of labels and data set.

    Args:
        recipe: dict, as `as_recipe` gives it, or with settings in it.
    """
    dataset = recipe["dataset"]
    # What another data set leaves open is said in general.
    known = {"labeled": "some", "source": dataset["name"], **dataset}
    text = recipe["description"]
    for key in ("labeled", "source"):
        text = text.replace(f"{{{key}}}", str(known[key]))
    return text


def sources_of(table: dict) -> dict[str, str]:
    """Where a table's values come from, by path.

    Args:
        table: dict from paths with dots to tuples `(value, source)`.
    """
    return {path: source for path, (_, source) in table.items()}
