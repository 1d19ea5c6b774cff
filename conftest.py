"""For every test run: the notebooks' working folders lie in a temporary folder of the run."""

import os
import shutil
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if "LABKIT_WORK" not in os.environ:  # pytest-xdist's workers inherit it
        os.environ["LABKIT_WORK"] = tempfile.mkdtemp(prefix="labkit-test-")
        config.stash[WORK] = os.environ["LABKIT_WORK"]


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(WORK, None):
        del os.environ["LABKIT_WORK"]
        shutil.rmtree(folder, ignore_errors=True)


WORK = pytest.StashKey[str]()
