"""Every default that a docstring states is the one in the signature."""

import importlib
import inspect
import pkgutil
import re

import pytest

import keras_influence

ARGUMENT = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\S|\Z)", re.M | re.S)
DEFAULT = re.compile(r"Defaults\s+to\s+`+([^`]+)`+", re.S)


def documented():
    """Triples of a name, a signature and a docstring."""
    modules = pkgutil.walk_packages(
        keras_influence.__path__, "keras_influence."
    )
    for module in (importlib.import_module(m.name) for m in modules):
        for name, value in vars(module).items():
            if getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isclass(value):
                if "__init__" in vars(value):
                    yield f"{name}", value.__init__, value.__doc__
                for method, function in vars(value).items():
                    function = getattr(function, "__func__", function)
                    if inspect.isfunction(function) and method != "__init__":
                        yield f"{name}.{method}", function, function.__doc__
            elif inspect.isfunction(value):
                yield name, value, value.__doc__


def stated(docstring):
    """Argument names and the defaults that a docstring gives them."""
    section = inspect.cleandoc(docstring or "").partition("Args:\n")[2]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.M)[0]
    for argument, text in ARGUMENT.findall(section):
        found = DEFAULT.findall(text)
        if found:
            yield argument, " ".join(found[-1].split())


def evaluated(text, function):
    """What it says in the function's module, or the text itself."""
    try:
        return eval(text, inspect.unwrap(function).__globals__)
    except (SyntaxError, NameError):
        return text


CASES = {
    f"{name}, {argument}": (function, argument, default)
    for name, function, docstring in documented()
    for argument, default in stated(docstring)
}


def test_there_are_many():
    assert len(CASES) > 130


@pytest.mark.parametrize("case", CASES)
def test_stated_defaults(case):
    function, argument, default = CASES[case]
    parameters = inspect.signature(function).parameters
    assert argument in parameters
    actual = parameters[argument].default
    assert evaluated(default, function) in (actual, repr(actual)), actual
