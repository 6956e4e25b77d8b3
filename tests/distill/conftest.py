"""A tiny run on the real digits, shared by the tests of a process."""

import pytest

TINY = {
    "teacher": {"epochs": 4},
    "generator": {"steps": 40, "restart": 20, "warmup": 5},
    "pool": {"size": 800},
    "student": {"epochs": 2, "batch_size": 100},
}


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run with secure noise, and its report."""
    from distill.config_file import configuration
    from distill.recipe import run

    return run(configuration(TINY), tmp_path_factory.mktemp("runs") / "tiny", quiet=True)
