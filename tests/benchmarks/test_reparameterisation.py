import time

import numpy as np
import pytest

from benchmarks import reparameterisation, workloads


def test_basis_spans_what_sums_to_zero():
    basis = reparameterisation.zero_sum_basis(3, 4)
    assert basis.shape == (12, 9)
    np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=1e-12)
    kernels = basis.T.reshape(9, 3, 4)
    np.testing.assert_allclose(kernels.sum(axis=2), 0, atol=1e-12)


@pytest.mark.slow
def test_gradients_lie_in_the_subspace_and_damping_is_enough(monkeypatch):
    sizes = {"W1": {"examples": 512, "features": 16, "classes": 5}}
    monkeypatch.setattr(workloads, "HEADS", sizes)
    problem = workloads.head("W1", correlated=False)
    basis = reparameterisation.zero_sum_basis(16, 5)
    hessian, *vectors = reparameterisation.derivatives(problem, "float64")
    for rows in (hessian, *vectors):
        np.testing.assert_allclose(rows @ basis @ basis.T, rows, atol=1e-7)
    rows = reparameterisation.rows(problem, 1, time.process_time)
    by_damping = {(row["solve"], row["damping"]): row for row in rows}
    for damping in (1e-1, 1e-3, 1e-5):
        for solve in ("full", "zero sum"):
            row = by_damping[solve, damping]
            assert row["valid"] == "True"
            assert row["rounding"] < 1e-4
    assert by_damping["full", 0.0]["valid"] == "False"
    assert by_damping["zero sum", 0.0]["from pseudo-inverse"] < 1e-4
