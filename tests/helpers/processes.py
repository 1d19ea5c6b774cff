"""Processes: a lab kernel, what a lab must not change, and waiting."""

import contextlib
import os
import signal
import time
from pathlib import Path

from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from labkit import linux, procfs, sandbox
from labkit.fork import forked

# Root without its capabilities has to take the way of an ordinary user. (CAP_SETFCAP is what the
# kernel asks of user 0 before it may be mapped, see user_namespaces(7).)
ORDINARY = (
    ["setpriv", "--bounding-set", "-all,+setfcap", "--inh-caps", "-all"]
    if os.geteuid() == 0
    else []
)


class Kernel:
    """A lab kernel, as JupyterLab starts it."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.manager = KernelManager(
            kernel_name="labkit", transport="ipc", connection_file=str(folder / "kernel.json")
        )
        self.manager.start_kernel(**options)
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=300)

    def run(self, code: str) -> str:
        """Run a cell; return what it printed and its value, or "ename: evalue" where it failed."""
        text: list[str] = []

        def collect(message):
            content = message["content"]
            text.append(content.get("text") or content.get("data", {}).get("text/plain", ""))

        reply = self.client.execute_interactive(code, output_hook=collect, timeout=300)["content"]
        if reply["status"] == "error":
            return f"{reply['ename']}: {reply['evalue']}"
        return "".join(text).strip()

    def restart(self) -> None:
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self._connect()

    @property
    def pids(self) -> list[int]:
        """The launcher and everything below it, as PIDs out here."""
        return [process.pid for process in self._processes()]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [process.name for process in self._processes()]

    def _processes(self) -> list[procfs.Process]:
        launcher = self.manager.provisioner
        assert isinstance(launcher, LocalProvisioner)
        return [process for _, process in procfs.tree(launcher.pid)]

    def end(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


def machine() -> dict[str, object]:
    """What a lab must not change."""
    return {
        "mounts": [(m.target, m.fstype, m.propagation) for m in procfs.mounts()],
        "hostname": os.uname().nodename,
        "links": sorted(os.listdir("/sys/class/net")),
        "namespaces": procfs.namespaces(),
    }


def until(condition, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def kill(pid: int) -> None:
    """Send SIGKILL; return when the process is gone."""
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert linux.poll(process, seconds=60)
    os.close(process)


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def until_gone(pids: list[int]) -> None:
    """Wait until processes have ended and were reaped. Meanwhile their PIDs may be others'."""
    held = []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            held.append(os.pidfd_open(pid))
    try:
        until(lambda: not any(map(_is_there, held)))
    finally:
        for descriptor in held:
            os.close(descriptor)


def _is_there(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True


def in_sandbox(function):
    """Run a function with root's rights that reach nowhere; return what it printed."""

    def body():
        function()
        return 0

    return forked(sandbox.run, body, session=True)
