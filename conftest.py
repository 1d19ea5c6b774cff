"""For every test run: working folders in a temporary folder, and signals as a login has them."""

import functools
import os
import shutil
import signal
import tempfile
import uuid
from pathlib import Path
from typing import Any

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager


def pytest_configure(config: pytest.Config) -> None:
    if "LABKIT_MINE" not in os.environ:  # pytest-xdist's workers inherit it
        os.environ["LABKIT_MINE"] = tempfile.mkdtemp(prefix="labkit-test-")
        config.stash[WORK] = os.environ["LABKIT_MINE"]
    # nohup and a shell's background jobs ignore some, and whatever we start would do so as well.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTSTP):
        if signal.getsignal(number) == signal.SIG_IGN:
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    nbval.kernel.KernelManager = kernel_manager


def kernel_manager(**options: Any) -> KernelManager:
    """Make a manager whose kernel listens at names, in place of ports.

    jupyter_client only looks which ports are free; before the kernel listens there, another kernel
    may, or a container. The names are abstract ones, see unix(7): no file is left.
    """
    return KernelManager(transport="ipc", ip=f"@labkit-{uuid.uuid4()}", **options)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Give an emulated machine more than nbval's five seconds between two messages of a kernel.

    Notebooks that ask for what this machine has not, limits or networks, are skipped.
    """
    if hasattr(item, "output_timeout"):
        item.output_timeout = item.config.option.nbval_kernel_startup_timeout
        if why := missing(item.path):
            item.add_marker(pytest.mark.skip(reason=why))


@functools.cache
def missing(notebook: Path) -> str:
    import labkit

    text = notebook.read_text(encoding="utf-8")
    asked = (name for name in ("no_limits", "no_network", "no_runtimes") if name in text)
    return next(filter(None, (getattr(labkit, name)() for name in asked)), "")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(WORK, None):
        del os.environ["LABKIT_MINE"]
        shutil.rmtree(folder, ignore_errors=True)


WORK = pytest.StashKey[str]()
