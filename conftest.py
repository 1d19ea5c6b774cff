"""For every test run: working folders in a temporary folder, signals as a login shell has them."""

import os
import shutil
import signal
import tempfile

import pytest


def pytest_configure(config: pytest.Config) -> None:
    for number in (signal.SIGHUP, signal.SIGQUIT):  # ignored under nohup and behind a script's `&`
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "LABKIT_WORK" not in os.environ:  # pytest-xdist's workers inherit it
        os.environ["LABKIT_WORK"] = tempfile.mkdtemp(prefix="labkit-test-")
        config.stash[WORK] = os.environ["LABKIT_WORK"]


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(WORK, None):
        del os.environ["LABKIT_WORK"]
        shutil.rmtree(folder, ignore_errors=True)


WORK = pytest.StashKey[str]()
