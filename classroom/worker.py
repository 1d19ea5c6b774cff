"""Grades one notebook that was handed in: what its answers do, and whether it runs.

`labkit grade` starts this as a program, in a hardened sandbox of its own, and reads the last line
of JSON that it prints. The answers are judged first, from the notebook's file: what the notebook
does when it runs can't change a verdict any more.
"""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.session import Session
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode, from_dict

from labkit import exercise, hardened, procfs
from labkit.course import workbook
from labkit.course.workbook import ANSWER, SOLUTION
from labkit.errors import printable
from labkit.exercise.sandboxed_run import Limits
from labkit.exercise.verdict import METADATA, judge

JUDGE_TIMEOUT = 60  # seconds for all that a judge does with one answer
START_TIMEOUT = 120  # seconds that a kernel may take to come up
POLL_INTERVAL = 0.05  # seconds between two looks at a kernel's processes
NICE = 10  # a tenth of the share that others have of the processor, see setpriority(2)
MAX_MESSAGE = 300  # characters
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def main() -> int:
    """Grade the notebook that `task.json` in the working directory names; write in `run` alone."""
    task = json.loads(Path("task.json").read_text(encoding="utf-8"))
    path = Path(task["notebook"])
    verdicts: dict[str, tuple[bool, str]] = {}
    for name in task["exercises"]:
        verdicts[name] = verdict(path, name, task["runtime"])
        _tell(verdicts, problem="its worker ended")
    runs, claimed = run(path, Path("run").absolute(), Limits(**task["limits"]))
    shows = dict.fromkeys(shown(path), "the answer was changed afterwards")
    for name, why in (shows | dict.fromkeys(claimed, "`check` was changed")).items():
        passed, message = verdicts.get(name, (True, ""))
        if not passed:
            said = f"the notebook shows it as passed, and it is not: {why}; {message}"
            verdicts[name] = (False, said)
    _tell(verdicts, runs=runs)
    return 0


def total(limits: Limits) -> float:
    """Return how many seconds a whole notebook may run whose cells have these limits."""
    return 5 * limits.seconds


def verdict(path: Path, name: str, runtime: Mapping[str, str]) -> tuple[bool, str]:
    """Judge one answer.

    Args:
        path: the notebook that holds it.
        name: the exercise, such as "03.2".
        runtime: path to text of the files beside it.

    Returns:
        whether it passed, and what there is to say.
    """
    found = exercise.find(name)
    if found is None:
        return False, "there is no judge for this exercise"
    try:
        text = workbook.exercises(path, ANSWER).get(name)
    except workbook.WorkbookError as error:
        return False, str(error)
    if text is None:
        return False, f"no cell of the notebook begins with {ANSWER} {name}"

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {JUDGE_TIMEOUT} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(JUDGE_TIMEOUT)
    try:
        said = judge(found, text, runtime)
    except Exception as error:  # an answer that a judge was not made for
        return False, _short(f"it could not be judged: {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
    words = said.found if said.passed else f"wanted {said.wanted}; found {said.found}"
    return said.passed, _short(words)


def shown(path: Path) -> set[str]:
    """Return the exercises that a notebook's saved outputs show as passed."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
        return _passes(json.loads(path.read_text(encoding="utf-8"))["cells"])
    return set()


def run(path: Path, folder: Path, limits: Limits) -> tuple[str, set[str]]:
    """Run a notebook from top to bottom, in a lab kernel of its own.

    Args:
        path: the notebook.
        folder: all that it can write.
        limits: what it may use; the seconds are for one cell.

    Returns:
        what went wrong first, or "", and the exercises that it showed as passed.
    """
    try:
        found = workbook.cells(path)
    except workbook.WorkbookError as error:
        return str(error), set()
    cells = [{"cell_type": kind, "source": text, "metadata": {}} for kind, text in found]
    book = from_dict({"cells": cells, "metadata": {}})
    watch, place = None, "the kernel did not start"
    manager = _manager(folder)
    client: Any = _Client(
        book,
        km=manager,
        startup_timeout=START_TIMEOUT,
        shutdown_kernel="immediate",
        store_widget_state=False,
    )
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        with client.setup_kernel(cleanup_kc=True, cwd=str(folder), **silent):
            watch = _Watch(manager.provisioner.pid, client.kc.session, limits)
            for position, cell in enumerate(book.cells, 1):
                place = f"cell {position}"
                watch.cell_end = time.monotonic() + limits.seconds
                client.execute_cell(cell, position - 1)
        problem = ""
    except Exception as error:  # a kernel may send whatever it likes
        exceeded = watch.exceeded if watch else ""
        problem = f"{place} {exceeded}" if exceeded else f"{place}: {_reason(error, limits)}"
    finally:
        if watch:
            watch.done.set()
    return _short(problem), _passes(book.cells)


def _manager(folder: Path) -> Any:
    """Return what starts a lab kernel in a hardened sandbox."""
    manager: Any = AsyncKernelManager(
        session=_CountingSession(), transport="ipc", connection_file=str(folder / "kernel.json")
    )
    # However many its processes become, whatever watches them comes first.
    start = ["nice", "-n", str(NICE), sys.executable, "-Ps", "-m", "labkit.hardened", "--kernel"]
    manager.kernel_spec.argv = [*start, str(folder), "-f", "{connection_file}"]
    homes = ("HOME", "TMPDIR", "IPYTHONDIR", "LABKIT_MINE")
    manager.kernel_spec.env = dict.fromkeys(homes, str(folder))
    return manager


class _Client(NotebookClient):
    """Keeps, of all that a notebook prints and shows, the verdicts alone."""

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], *place: Any) -> Any:
        told = METADATA in msg["content"].get("metadata", {})
        return super().output(outs, msg, *place) if told else None


class _CountingSession(Session):
    """Counts the bytes that a kernel sends."""

    received = 0

    def deserialize(self, msg_list: Any, *args: Any, **options: Any) -> Any:
        self.received += sum(map(len, msg_list))
        return super().deserialize(msg_list, *args, **options)


class _Watch(threading.Thread):
    """Ends a kernel that uses more than it may.

    Attributes:
        cell_end: when the cell that runs has had its time, by `time.monotonic`.
        exceeded: which limit ended the kernel, in words; "" while none did.
        done: set, it ends the watch.
    """

    def __init__(self, launcher: int, session: _CountingSession, limits: Limits) -> None:
        """Set what the Linux kernel itself watches, and begin, before a line of the notebook runs.

        Args:
            launcher: PID of the sandbox's launcher.
            session: what the kernel sends on.
            limits: what it may use.
        """
        super().__init__(daemon=True)
        self.launcher, self.session, self.limits = launcher, session, limits
        self.end = self.cell_end = time.monotonic() + total(limits)
        self.exceeded, self.done = "", threading.Event()
        pid = [process.pid for _, process in procfs.tree(launcher)][2]  # PID 2 of its sandbox
        self.others = _pids() - {pid}
        # Threads count as well. Between two of our looks no kernel gets further than this.
        hardened.limit(resource.RLIMIT_NPROC, 4 * limits.processes, pid)
        hardened.limit(resource.RLIMIT_DATA, limits.memory * 2**20, pid)
        hardened.limit(resource.RLIMIT_FSIZE, limits.file * 2**20, pid)
        hardened.limit(resource.RLIMIT_CORE, 0, pid)
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while not self.done.wait(POLL_INTERVAL):
            self.exceeded = self._excess()
            if self.exceeded:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.launcher, signal.SIGKILL)
                return

    def _excess(self) -> str:
        limits, now = self.limits, time.monotonic()
        # The worker has a PID namespace of its own: whatever is new in it is the notebook's.
        pids = _pids() - self.others
        if len(pids) > limits.processes and sum(map(_lives, pids)) > limits.processes:
            return f"had more than {limits.processes} processes at once"
        if _memory(pids, limits.memory * 1024) > limits.memory * 1024:
            return f"used more than {limits.memory} MiB of memory"
        if self.session.received > limits.output:
            return f"printed more than {limits.output / 1e6:g} MB"
        if now > self.cell_end:
            return f"was stopped after {limits.seconds:g} s"
        return f"was stopped: the notebook had run for {total(limits):g} s" * (now > self.end)


def _reason(error: Exception, limits: Limits) -> str:
    """Say in a line why a cell did not come to its end."""
    if isinstance(error, DeadKernelError):
        return "the kernel ended in it"
    name, value = type(error).__name__, str(error)
    if isinstance(error, CellExecutionError):
        name, value = str(error.ename), str(error.evalue)
    if name == "MemoryError":
        value = value or f"it may use {limits.memory} MiB"
    return f"{name}: {value}".strip(": \n").partition("\n")[0]


def _pids() -> set[int]:
    return {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}


def _lives(pid: int) -> bool:
    """Tell a process from a zombie, of which notebook 08 makes a hundred."""
    return _read(pid, "stat").rpartition(") ")[2][:1] not in ("", "Z")


def _memory(pids: set[int], enough: int) -> int:
    """Return how much memory processes use together, in KiB.

    What several share counts for each, which is quickly known: nothing here waits for a process
    that is about to fork. Where that is more than enough, each part counts once, see
    proc_pid_smaps(5).
    """
    pages = sum(int((_read(pid, "statm").split() or "00")[1]) for pid in pids)
    used = pages * resource.getpagesize() // 1024
    if used <= enough:
        return used
    parts = (re.search(r"Pss: +(\d+)", _read(pid, "smaps_rollup")) for pid in pids)
    return sum(int(found[1]) for found in parts if found)


def _read(pid: int, name: str) -> str:
    """Return a file that tells of a process; "" where that has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _passes(found: list[NotebookNode]) -> set[str]:
    """Return the exercises that cells show as passed, those with a worked solution aside."""
    passed = set()
    with contextlib.suppress(LookupError, TypeError, AttributeError):
        for cell in found:
            if not workbook.is_magic("".join(cell["source"]), SOLUTION):
                for output in cell.get("outputs", ()):
                    told = output.get("metadata", {}).get(METADATA, {})
                    passed |= {str(told["exercise"])} if told.get("passed") else set()
    return passed


def _short(text: str) -> str:
    text = printable(" ".join(_ANSI.sub("", text).split()))
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]} …"


def _tell(verdicts: Mapping[str, tuple[bool, str]], runs: str = "", problem: str = "") -> None:
    print(json.dumps({"verdicts": verdicts, "runs": runs, "problem": problem}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
