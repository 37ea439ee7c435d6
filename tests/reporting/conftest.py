import pytest

from tests.cases import reports


@pytest.fixture(scope="session")
def training():
    return reports.trained()
