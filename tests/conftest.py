import contextlib
import ctypes
import fcntl
import gc
import os
import pathlib

import keras  # noqa: F401
import pytest

# The heap is that of imported modules, which hold no garbage to look for.
gc.freeze()
gc.set_threshold(50_000, 20, 20)

SHARED = pathlib.Path(__file__).parents[2] / "shared"


def pytest_addoption(parser):
    """Adds what takes hours to the command line."""
    parser.addoption(
        "--every-fault",
        action="store_true",
        help="a kill and a full disk at every file operation of all kinds",
    )


@pytest.fixture(scope="module", autouse=True)
def memory_of_this_module_only():
    """Frees what tests left, which adds up to 11 GB in `make test-all`.

    Graphs are cycles, and so rarely is all looked through that they stay.
    """
    yield
    free_memory()


@pytest.fixture
def alone(tmp_path_factory):
    """Keeps tests that take 9 GB from running on two workers at a time."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "alone").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        free_memory()


def free_memory():
    """Gives the system back what cycles of graphs hold."""
    gc.collect()
    gc.freeze()  # A run unfreezes what was imported.
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="session")
def tfds_dir():
    """The folder of prepared data sets; its absence fails only under CI."""
    path = SHARED / "tfds"
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing.")
        pytest.skip(f"{path} is missing.")
    return str(path)
