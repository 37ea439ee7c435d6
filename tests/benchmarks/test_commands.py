import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks.methods import Peers

ROOT = pathlib.Path(__file__).parents[2]


def run(name, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.slow
def test_peers(tmp_path):
    path = tmp_path / "peers.json"
    output = run("peers", "--scale", 0.02, "--rounds", 1, "--json", path)
    content = json.loads(path.read_text())
    assert content["settings"]["rounds"] == 1
    assert all(title in output for title in content["tables"])
    for rows in content["tables"].values():
        errors = [row["error"] for row in rows]
        assert max(e for e in errors if e is not None) < 1e-4
        assert all(row["peak MB"] >= 0 for row in rows)


@pytest.mark.slow
def test_approximations(tmp_path, tfds_dir):
    path, picture = tmp_path / "table.json", tmp_path / "picture.png"
    run(
        "approximations",
        *["--data-dir", tfds_dir, "--datasets", "fashion_mnist"],
        *["--scale", 0.15, "--rounds", 1],
        *["--json", path, "--picture", picture],
    )
    tables = list(json.loads(path.read_text())["tables"].values())
    last_layer, everything, retraining = (
        {row["method"]: row for row in rows} for rows in tables
    )
    for rows in (last_layer, everything):
        assert rows["exact"]["error"] < 1e-4
        assert rows["exact"]["error"] < rows["lorraine"]["error"]
        assert rows["lorraine"]["scaled error"] < 1
    assert retraining["exact"]["rank correlation"] > 0.5
    assert picture.stat().st_size > 10_000


@pytest.mark.slow
def test_demo(tmp_path):
    path = tmp_path / "demo.json"
    run("demo", "--runs", 1, "--json", path)
    (rows,) = json.loads(path.read_text())["tables"].values()
    rows = {row["variant"]: row for row in rows}
    assert len(rows) == 4
    assert rows["constant weight"]["x constant weight"] == 1
    assert rows["learned weights"]["seconds, median"] > 0


@pytest.mark.slow
def test_scaling(tmp_path):
    path = tmp_path / "scaling.json"
    output = run("scaling", "--rounds", 1, "--json", path)
    tables = json.loads(path.read_text())["tables"]
    assert all(title in output for title in tables)
    graphs, solves, steps = tables.values()
    default = {row["operations"] for row in graphs if row["solver"] != "dense"}
    assert max(default) < 2000
    assert {row["step"] for row in steps} >= {"plain", "update", "stock Keras"}
    bounds = {"to 1e-5": (1e-4, 2e-5), "default": (0.1, 2.1e-2)}
    for row in solves:
        if row["solver"] in bounds:
            error, residual = bounds[row["solver"]]
            assert row["scores off by"] < error
            assert row["residual"] < residual


@pytest.mark.slow
def test_examples(tmp_path):
    path = tmp_path / "examples.json"
    run("examples", "--examples", 200_000, "--json", path)
    (rows,) = json.loads(path.read_text())["tables"].values()
    few, many, *_, without_tables = [row["file MB"] for row in rows]
    assert many - few > 2
    assert without_tables < 1
    assert all(row["ms a step"] > 0 for row in rows)


def test_peers_that_do_not_start_are_an_error():
    with (
        Peers(sys.executable, ["not a number"]) as peers,
        pytest.raises(ChildProcessError, match="peers-requirements"),
    ):
        peers.ask(workload="W3")
