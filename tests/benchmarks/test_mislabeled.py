import numpy as np
import pytest

from benchmarks import workloads
from benchmarks.mislabeled import SCENARIOS, SCORES, Found, table


class Peer:
    """A peer that repeats what this library says, with another scale."""

    def __init__(self, scores):
        self.scores = scores

    def ask(self, workload, method, memory):
        problem = workloads.read(workload)
        assert problem.x.shape == (len(self.scores), 65)
        return 1.0, (-2 * self.scores).tolist()


@pytest.mark.slow
def test_wrong_labels_are_found(tfds_dir, monkeypatch):
    found = Found(SCENARIOS[0], 0, epochs=2, data_dir=tfds_dir)
    rows = slice(2000)
    found.train = tuple(part[rows] for part in found.train)
    found.right = found.right[rows]
    peer = Peer(found.influence_scores())
    methods = found.methods(peer)
    del methods["cleanlab, 5 folds"]
    monkeypatch.setattr(found, "methods", lambda peers: methods)
    results = found.rows(peer)
    assert all(row["AUROC"] > 0.8 for row in results)
    assert results[-1]["correlation with ours"] == pytest.approx(1)
    assert all(row["CPU seconds"] > 0 for row in results)


def test_means_and_spreads():
    own = {"method": SCORES, "wrong among the first": 0.5}
    rows = [{**own, "AUROC": a, "CPU seconds": 10.0} for a in (0.8, 0.9)]
    (row,) = table(rows)
    assert row["AUROC"] == "0.850 ± 0.071"
    assert row["CPU seconds"] == "10 ± 0"
    assert row["correlation with ours"] is None


def test_a_head_in_a_file(tmp_path):
    problem = workloads.head("W1", correlated=True, scale=0.01)
    path = str(tmp_path / "head.npz")
    workloads.write(problem, path)
    again = workloads.read(path)
    np.testing.assert_array_equal(again.parameters[0], problem.parameters[0])
    np.testing.assert_array_equal(again.x, problem.x)
    np.testing.assert_array_equal(again.validation[1], problem.validation[1])
