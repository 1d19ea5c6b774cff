"""Grades one notebook that was handed in: what its answers do, and whether it runs.

`labkit grade` starts this as a program, in a hardened sandbox of its own, and reads the last line
of JSON that it prints. The answers are judged first, from the notebook's file: what the notebook
does when it runs can't change a verdict any more.
"""

import json
import math
import os
import re
import resource
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_core.utils import run_sync
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict

from labkit import exercise, hardened
from labkit.course import workbook
from labkit.course.workbook import NOTEBOOKS
from labkit.errors import printable
from labkit.exercise.sandboxed_run import Limits, SandboxedRun
from labkit.exercise.verdict import METADATA, judge

START_TIMEOUT = 120  # seconds that a kernel may take to come up
WHOLE = 5  # times the seconds of one cell that all cells together may take
NICE = 10  # a tenth of the share that others have of the processor, see setpriority(2)
MAX_OUTPUT = 20_000_000  # bytes that a notebook may print
MAX_MESSAGE = 300  # characters
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def main(words: Sequence[str]) -> int:
    """Grade a notebook in the working directory, where the folder `run` is all that it can write.

    Args:
        words: its name, seconds for a cell, MiB for all of it.
    """
    path, number = Path(words[0]), words[0][:2]
    limits = Limits(seconds=int(words[1]), memory=int(words[2]), output=MAX_OUTPUT)
    exercises = workbook.exercises(workbook.notebook(number, NOTEBOOKS)[1], workbook.ANSWER)
    files = workbook.runtime(number, folder=NOTEBOOKS)
    runtime = {place: source.text for place, source in files.items()}
    try:
        cells, answers = workbook.cells(path), workbook.exercises(path, workbook.ANSWER)
    except workbook.WorkbookError as error:
        sys.exit(str(error))
    verdicts: dict[str, tuple[bool, str]] = {}
    for name in exercises:
        verdicts[name] = verdict(name, answers.get(name), runtime)
        _tell(verdicts, problem="its worker ended")
    runs, claimed = run(cells, Path("run").absolute(), limits)
    for name in claimed & verdicts.keys():
        passed, message = verdicts[name]
        if not passed:
            said = f"the notebook shows it as passed, and it is not: `check` was changed; {message}"
            verdicts[name] = (False, said)
    _tell(verdicts, runs=runs)
    return 0


def verdict(name: str, text: str | None, runtime: Mapping[str, str]) -> tuple[bool, str]:
    """Judge one answer.

    Args:
        name: the exercise, such as "03.2".
        text: the answer, None where the notebook holds none.
        runtime: path to text of the files beside it.

    Returns:
        whether it passed, and what there is to say.
    """
    found = exercise.find(name)
    if found is None or text is None:
        return False, f"no cell of the notebook begins with {workbook.ANSWER} {name}"
    try:
        said = judge(found, text, runtime)
    except Exception as error:  # an answer that a judge was not made for
        return False, _short(f"it could not be judged: {type(error).__name__}: {error}")
    words = said.found if said.passed else f"wanted {said.wanted}; found {said.found}"
    return said.passed, _short(words)


def run(cells: Sequence[tuple[str, str]], folder: Path, limits: Limits) -> tuple[str, set[str]]:
    """Run a notebook from top to bottom, in a lab kernel of its own.

    Args:
        cells: type and source of each.
        folder: all that it can write.
        limits: what it may use; the seconds are for one cell.

    Returns:
        what went wrong first, or "", and the exercises that it showed as passed.
    """
    nodes = [{"cell_type": kind, "source": text, "metadata": {}} for kind, text in cells]
    file = str(folder / "kernel.json")
    kernel = _Kernel(transport="ipc", connection_file=file)
    kernel.write_connection_file()
    client = _Client(from_dict({"cells": nodes, "metadata": {}}), kernel, limits)
    program = [sys.executable, "-Ps", "-m", "labkit.sandbox", "-f", file]
    whole = replace(limits, seconds=WHOLE * limits.seconds)
    place, problem, done = "the kernel did not start", "", threading.Event()
    with SandboxedRun(program, folder, limits=whole) as kernel.sandbox:
        watch = threading.Thread(target=kernel.sandbox.until, args=(done.is_set, math.inf))
        pid = kernel.sandbox.program.pid
        # Between two looks of the watch no kernel gets further than this; threads count as well.
        hardened.limit(resource.RLIMIT_NPROC, 4 * limits.processes, pid)
        hardened.limit(resource.RLIMIT_DATA, limits.memory * 2**20, pid)
        os.setpriority(os.PRIO_PROCESS, pid, NICE)  # whatever watches comes first
        watch.start()
        try:
            kernel.start_channels(stdin=False, hb=False, control=False)
            run_sync(kernel.wait_for_ready)(timeout=START_TIMEOUT)
            for position, cell in enumerate(client.nb.cells, 1):
                place = f"cell {position}"
                client.execute_cell(cell, position - 1)
        except Exception as error:  # a kernel may send whatever it likes
            said = kernel.sandbox.exceeded.replace("it", "the notebook", 1)
            problem = f"{place}: {said or _reason(error, limits)}"
        finally:
            done.set()
            watch.join()
            kernel.stop_channels()
    return _short(problem), client.claimed


class _Kernel(AsyncKernelClient):
    """A kernel that lives as long as its sandbox."""

    sandbox: SandboxedRun

    async def _async_is_alive(self) -> bool:
        return self.sandbox.status is None

    is_alive = _async_is_alive


class _Client(NotebookClient):
    """Keeps, of all that a notebook prints and shows, what it claims to have passed."""

    def __init__(self, book: NotebookNode, kernel: _Kernel, limits: Limits) -> None:
        super().__init__(book, timeout=round(limits.seconds))
        self.kc = self.kernel = kernel
        self.limits = limits
        self.claimed: set[str] = set()
        self.received = 0  # bytes, about

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, position: int) -> None:
        self.received += len(str(msg["content"])) + sum(map(len, msg["buffers"]))
        if self.received > self.limits.output:
            self.kernel.sandbox.stop(f"it printed more than {self.limits.output / 1e6:g} MB")
        told = msg["content"].get("metadata", {}).get(METADATA, {})
        if told.get("passed") and not workbook.is_magic(cell.source, workbook.SOLUTION):
            self.claimed.add(str(told["exercise"]))
        if msg["msg_type"] == "status":
            super().process_message(msg, cell, position)


def _reason(error: Exception, limits: Limits) -> str:
    """Say in a line why a cell did not come to its end."""
    if isinstance(error, DeadKernelError):
        return "the kernel ended in it"
    if isinstance(error, CellTimeoutError):
        return f"stopped after {limits.seconds:g} s"
    name, value = type(error).__name__, str(error)
    if isinstance(error, CellExecutionError):
        name, value = str(error.ename), str(error.evalue)
    if name == "MemoryError":
        value = value or f"it may use {limits.memory} MiB"
    return f"{name}: {value}".strip(": \n").partition("\n")[0]


def _short(text: str) -> str:
    return printable(" ".join(_ANSI.sub("", text).split()), MAX_MESSAGE)


def _tell(verdicts: Mapping[str, tuple[bool, str]], runs: str = "", problem: str = "") -> None:
    print(json.dumps({"verdicts": verdicts, "runs": runs, "problem": problem}), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
