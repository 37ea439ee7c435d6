import inspect
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import keras_influence as ki

ROOT = pathlib.Path(__file__).parents[1]
ROOMS = [
    value for name in ki.__all__ if inspect.ismodule(value := getattr(ki, name))
]


def test_the_wheel_holds_the_package_alone(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "keras_influence",
        source / "keras_influence",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    # A test and an application beside it must stay out.
    for name in ("applications/__init__.py", "tests/__init__.py"):
        (source / name).parent.mkdir()
        (source / name).touch()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", source],
        cwd=tmp_path,
        check=True,
    )
    (wheel,) = tmp_path.glob(f"keras_influence-{ki.__version__}-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    info = f"keras_influence-{ki.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"keras_influence", info}
    shipped = {name for name in names if not name.startswith(info)}
    assert shipped == {
        path.relative_to(source).as_posix()
        for path in (source / "keras_influence").rglob("*")
        if path.is_file()
    }
    assert "keras_influence/py.typed" in shipped
    assert not [name for name in shipped if "test" in name]


def test_the_core_needs_no_extra():
    absent = (
        "applications hypothesis importlib_resources jinja2 keras_hub "
        "keras_nlp matplotlib PIL pytest safetensors scipy sklearn "
        "tensorflow_datasets typer"
    )
    code = f"""
import sys
sys.modules.update(dict.fromkeys({absent!r}.split()))
import keras_influence as ki
try:
    ki.callbacks.WeightReport("folder")
except ImportError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "keras-influence[plots]" in result.stdout


def test_the_changelog_has_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)
    assert versions[0] == ki.__version__


@pytest.mark.parametrize("room", [ki, *ROOMS], ids=lambda room: room.__name__)
def test_every_public_name_has_a_docstring(room):
    for name in room.__all__:
        value = getattr(room, name)
        # A named tuple without a docstring gets its signature.
        if not inspect.ismodule(value):
            assert value.__doc__, name
            assert not value.__doc__.startswith(f"{name}("), name


def test_every_file_that_the_guide_names_exists():
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    paths = re.findall(
        r"`((?:keras_influence|tests|applications|benchmarks)/[^`\s]*)`", guide
    )
    assert len(paths) > 20
    for path in paths:
        assert (ROOT / path).exists(), path
