"""For every test run: a temporary folder, which goes again however the run ends, and signals.

What the tests start has the folder's name in its environment (LABKIT_TEST), and ends with them.
"""

import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import nbval.kernel
import pytest
from jupyter_client.manager import KernelManager

from labkit import cgroup

# Waits for the end of a process, then ends all whose environment names a folder, and removes that.
WATCHDOG = """
import contextlib, os, pathlib, shutil, signal, sys
from labkit import linux, procfs
tests, folder = int(sys.argv[1]), sys.argv[2]
linux.poll(tests)
find, mark = procfs.with_environment, f"LABKIT_TEST={folder}"
while pids := find(mark) or find(mark):  # one look may miss a process that is just being made
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            process = os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
            linux.poll(process)
            os.close(process)
for work in pathlib.Path(folder).rglob("work/work"):  # the kernel's, of an overlay: closed
    work.chmod(0o700)
shutil.rmtree(folder, ignore_errors=True)
"""


def pytest_configure() -> None:
    if "LABKIT_TEST" not in os.environ:  # pytest-xdist's workers inherit it
        folder = tempfile.mkdtemp(prefix="labkit-test-")
        Path(folder).chmod(0o711)  # other users have parts of it
        with contextlib.suppress(OSError):  # no limits here
            cgroup.take_leaf()  # once the other process is there, we are not alone in the group
        tests, null = os.pidfd_open(os.getpid()), subprocess.DEVNULL
        subprocess.Popen(
            [sys.executable, "-c", WATCHDOG, str(tests), folder],
            stdin=null,
            stdout=null,
            stderr=null,
            start_new_session=True,
            pass_fds=[tests],
        )
        os.close(tests)
        os.environ["LABKIT_TEST"] = folder
        os.environ.setdefault("LABKIT_MINE", f"{folder}/mine")
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
    name = f"labkit-{uuid.uuid4()}"
    file = f"{os.environ['LABKIT_TEST']}/{name}.json"
    return KernelManager(transport="ipc", ip=f"@{name}", connection_file=file, **options)


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
