"""Marks one notebook that was handed in: what its answers do, and whether it runs.

`labkit grade` starts this as a program, in a hardened sandbox of its own, and reads a line of JSON
for each thing that is found out. The answers are judged first, from the notebook's file: what the
notebook does when it runs can't change a verdict any more.
"""

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from labkit import exercise, hardened, procfs
from labkit.course import workbook
from labkit.course.workbook import ANSWER, SOLUTION
from labkit.exercise.verdict import cells, judge

JUDGED = 60  # seconds for all that a judge does with one answer
SHOWN = 300  # characters of a message
START = 120  # seconds that a kernel may take to come up
BEAT = 50  # milliseconds between two looks at a kernel's processes
LOW = 10  # a tenth of the share that others have of the processor, see setpriority(2)
AT_ONCE = 100  # messages of a kernel between two such looks
MARK = "✓ {} passed"  # the first line of a verdict, as a notebook shows it
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Limits:
    """What a notebook may use before it is stopped.

    Attributes:
        seconds: for one cell. The whole notebook may take five times as long.
        memory: MiB, of all its processes together.
        processes: at the same time.
        output: bytes that it prints or shows.
        file: MiB, of each file that it writes.
    """

    seconds: float = 60
    memory: int = 1024
    processes: int = 64
    output: int = 20_000_000
    file: int = 64

    @property
    def total(self) -> float:
        """Seconds for the whole notebook."""
        return 5 * self.seconds


class Stopped(Exception):
    """A cell that failed, or was stopped; the message says why, beginning with a verb or colon."""


def main(words: list[str]) -> int:
    """Mark a notebook.

    Args:
        words: the notebook's file, a file with the runtime after it as JSON, the exercises that it
            should hold with commas between, a folder that it can write, and `Limits` as JSON.
    """
    path, runtime, exercises, folder, limits = words
    files = json.loads(Path(runtime).read_text(encoding="utf-8"))
    for name in filter(None, exercises.split(",")):
        passed, message = verdict(Path(path), name, files)
        _tell(exercise=name, passed=passed, message=message)
    runs, claimed = run(Path(path), Path(folder), Limits(**json.loads(limits)))
    _tell(runs=runs, claimed=sorted(claimed), showed=sorted(shown(Path(path))))
    return 0


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
        text = cells(path, ANSWER).get(name)
    except workbook.WorkbookError as error:
        return False, _nameless(error, path)
    if text is None:
        return False, f"no cell of the notebook begins with {ANSWER} {name}"

    def late(*_: object) -> None:
        raise TimeoutError(f"not done after {JUDGED} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(JUDGED)
    try:
        said = judge(found, text, runtime)
    except Exception as error:  # an answer that a judge was not made for
        return False, _short(f"it could not be judged: {type(error).__name__}: {error}")
    finally:
        signal.alarm(0)
    words = said.found if said.passed else f"wanted {said.wanted}; found {said.found}"
    return said.passed, _short(words)


def shown(path: Path) -> set[str]:
    """Return the exercises that a notebook's saved outputs show as passed.

    Args:
        path: the notebook.
    """
    found = set()
    with contextlib.suppress(
        OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError
    ):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code" and not workbook.is_magic(source, SOLUTION):
                found |= _passes(json.dumps(cell["outputs"], ensure_ascii=False))
    return found


def run(path: Path, folder: Path, limits: Limits) -> tuple[str, set[str]]:
    """Run a notebook from top to bottom, in a kernel of its own.

    Args:
        path: the notebook.
        folder: all that it can write.
        limits: what it may use.

    Returns:
        what went wrong first, or "", and the exercises that it showed as passed.
    """
    try:
        found = workbook.cells(path)
    except workbook.WorkbookError as error:
        return _nameless(error, path), set()
    claimed: set[str] = set()
    try:
        with Kernel(folder, limits) as kernel:
            for position, (kind, source) in enumerate(found, 1):
                if kind != "code":
                    continue
                try:
                    text = kernel.execute(source)
                except Stopped as error:
                    return _short(f"cell {position}{error}"), claimed
                if not workbook.is_magic(source, SOLUTION):
                    claimed |= _passes(text)
    except Stopped as error:
        return _short(f"the kernel{error}"), claimed
    return "", claimed


class Kernel:
    """A lab kernel in a hardened sandbox, watched from outside. A context manager."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        """Start it, and wait until it takes cells.

        Args:
            folder: all that it can write.
            limits: what it may use.

        Raises:
            Stopped: it did not come up.
        """
        from jupyter_client.blocking.client import BlockingKernelClient
        from jupyter_client.connect import write_connection_file

        self.limits, self.printed = limits, 0
        self._end = time.monotonic() + limits.total
        place = str(folder / "kernel.json")
        key = os.urandom(16).hex().encode()
        write_connection_file(place, transport="ipc", ip=str(folder / "k"), key=key)
        command = [sys.executable, "-Ps", "-m", "labkit.hardened", "--kernel", str(folder)]
        self._launcher = subprocess.Popen(
            [*command, "-f", place],
            cwd=folder,
            env=os.environ | _environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # However many they become, whoever watches them comes first.
        os.setpriority(os.PRIO_PROCESS, self._launcher.pid, LOW)
        self._client = BlockingKernelClient(connection_file=place)
        self._client.load_connection_file()
        self._client.start_channels(stdin=False, hb=False, control=False)
        try:
            self._wait_until_ready(time.monotonic() + START)
            self._fence()
        except (Stopped, OSError) as error:
            self.close()
            raise Stopped(f" did not start: {error}") from None

    def execute(self, source: str) -> str:
        """Run a cell to its end.

        Args:
            source: its text.

        Returns:
            the first part of what it printed and showed.

        Raises:
            Stopped: it failed, or had to be stopped.
        """
        message = self._client.execute(source, allow_stdin=False)
        end = time.monotonic() + self.limits.seconds
        text, replied, idle = "", False, False
        while not (replied and idle):
            self._must_be_within_limits(end)
            for channel, content in self._received(message):
                if channel == "shell":
                    replied = True
                    if content.get("status") == "error":
                        raise Stopped(f": {self._error(content)}")
                elif content.get("execution_state") == "idle":
                    idle = True
                elif len(text) < 100_000:
                    data = json.dumps(content.get("data", {}), ensure_ascii=False)
                    text += str(content.get("text", "")) + data
        return text

    def close(self) -> None:
        """End it and everything that it started."""
        self._client.stop_channels()
        hardened.end(self._launcher)

    def __enter__(self) -> "Kernel":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _processes(self) -> list[procfs.Process]:
        """The kernel, which is PID 2 of its sandbox, and what it started."""
        return [process for _, process in procfs.tree(self._launcher.pid)][2:]

    def _fence(self) -> None:
        """Set what the Linux kernel itself watches, before a line of the notebook runs."""
        pid = self._processes()[0].pid
        data, size = self.limits.memory * 2**20, self.limits.file * 2**20
        # Threads count as well. Between two of our looks nobody gets further than this.
        tasks = 4 * self.limits.processes
        for kind, most in (
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_DATA, data),
            (resource.RLIMIT_FSIZE, size),
            (resource.RLIMIT_CORE, 0),
        ):
            hardened.limit(kind, most, pid)

    def _must_be_within_limits(self, end: float) -> None:
        limits, now = self.limits, time.monotonic()
        processes = self._processes()
        if self._launcher.poll() is not None or not processes:
            raise Stopped(": the kernel ended in it")
        if len(processes) > limits.processes:
            raise Stopped(f" had more than {limits.processes} processes at once")
        if _memory(processes, limits.memory * 1024) > limits.memory * 1024:
            raise Stopped(f" used more than {limits.memory} MiB of memory")
        if self.printed > limits.output:
            raise Stopped(f" printed more than {limits.output / 1e6:g} MB")
        if now > end:
            raise Stopped(f" was stopped after {limits.seconds:g} s")
        if now > self._end:
            raise Stopped(f" was stopped: the notebook had run for {limits.total:g} s")

    def _error(self, content: dict[str, Any]) -> str:
        name, value = str(content.get("ename")), str(content.get("evalue"))
        if name == "MemoryError":
            value = value or f"it may use {self.limits.memory} MiB"
        return f"{name}: {value}".strip(": \n").partition("\n")[0]

    def _received(self, message: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Wait for BEAT at most; yield channel and content of what answers a message."""
        import zmq

        channels = {"iopub": self._client.iopub_channel, "shell": self._client.shell_channel}
        poller = zmq.Poller()
        for channel in channels.values():
            poller.register(channel.socket, zmq.POLLIN)
        ready = dict(poller.poll(BEAT))
        session = self._client.session
        for name, channel in channels.items():
            if channel.socket not in ready:
                continue
            with contextlib.suppress(zmq.Again):
                for _ in range(AT_ONCE):
                    frames = channel.socket.recv_multipart(zmq.NOBLOCK)
                    self.printed += sum(map(len, frames))
                    if self.printed > self.limits.output:
                        return
                    with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
                        found = session.deserialize(session.feed_identities(frames)[1])
                        if found["parent_header"].get("msg_id") == message:
                            yield name, dict(found["content"])

    def _wait_until_ready(self, end: float) -> None:
        """Ask again and again: what it says before our subscription is there nobody hears."""
        heard: set[str] = set()
        while heard != {"shell", "iopub"}:
            message = self._client.kernel_info()
            heard = set()
            soon = time.monotonic() + 1
            while heard != {"shell", "iopub"} and time.monotonic() < soon:
                heard |= {name for name, _ in self._received(message)}
                if self._launcher.poll() is not None:
                    raise Stopped(f"it ended with status {self._launcher.returncode}")
            if time.monotonic() > end:
                raise Stopped(f"it was not ready after {START} s")


def _memory(processes: list[procfs.Process], enough: int) -> int:
    """Return how much memory processes use together, in KiB.

    What several share counts for each, which is quickly known; where that is more than enough,
    each part counts once, see proc_pid_smaps(5).
    """
    used = sum(process.resident for process in processes)
    if used <= enough:
        return used
    used = 0
    for process in processes:
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            used += int(re.findall(r"^Pss: +(\d+)", rollup, re.MULTILINE)[0])
    return used


def _environment(folder: Path) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "IPYTHONDIR": str(folder / ".ipython"),
        "LABKIT_MINE": str(folder),
    }


def _passes(text: str) -> set[str]:
    return set(re.findall(MARK.format(f"({exercise.NUMBER.pattern})"), text))


def _nameless(error: Exception, path: Path) -> str:
    """Return what an error says of a notebook, without our name for our copy of it."""
    return str(error).replace(str(path), "it")


def _short(text: str) -> str:
    text = " ".join(_ANSI.sub("", text).split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"


def _tell(**found: object) -> None:
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
