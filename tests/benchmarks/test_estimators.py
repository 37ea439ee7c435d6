import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.estimators import Sums


def test_sums_leave_the_weights_alone():
    variable = keras.Variable([1.0, 1.0, 1.0])
    sums = Sums(1.0)
    gradients = np.array([[3.0, -1.0, 0.0], [1.0, -2.0, 0.0]], "float32")
    for g in gradients:
        sums.apply([tf.constant(g)], [variable])
    np.testing.assert_array_equal(variable, 1.0)
    g = gradients / np.sqrt(np.mean(gradients**2, 1, keepdims=True))
    results = sums.sums()
    np.testing.assert_allclose(results["sum"], g.sum(0), rtol=1e-5)
    np.testing.assert_array_equal(results["sum of signs"], [2, -2, 0])
    average = 0.9 * 0.1 * g[0] + 0.1 * g[1]
    np.testing.assert_allclose(
        results["average as in M-Adam"], average, rtol=1e-5
    )
    t = g[:, :2].sum(0) / np.sqrt(np.sum(g[:, :2] ** 2, 0))
    np.testing.assert_allclose(results["t statistic"], [*t, 0], rtol=1e-5)


@pytest.mark.slow
def test_estimators(tmp_path, tfds_dir):
    path = tmp_path / "estimators.json"
    command = [sys.executable, "-m", "benchmarks.estimators"]
    command += ["--data-dir", tfds_dir, "--json", path]
    command += ["--seeds", "1", "--steps", "150"]
    subprocess.run(command, check=True, capture_output=True)
    (rows,) = json.loads(path.read_text())["tables"].values()
    by_name = {row["estimator"]: row for row in rows}
    assert len(by_name) == len(rows)
    assert by_name["loss"]["t statistic"] > 0.7
