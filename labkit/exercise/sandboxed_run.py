"""Runs a program in a throwaway sandbox while a judge outside looks at its processes.

The sandbox is hardened, has limits, and ends with the run: nothing that a program does in it can
be met afterwards. What the program prints is kept, but whoever wants to know what it *did* asks
the kernel.
"""

import contextlib
import io
import itertools
import math
import os
import pty
import re
import resource
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labkit import hardened, linux, procfs
from labkit.places import COURSE
from labkit.procfs import Process

T = TypeVar("T")
POLL_INTERVAL = 0.02  # seconds between two looks, at least
IDLE_TIMEOUT = 2.0  # seconds without any change after which nothing is expected any more
MAX_POLLS = 25  # after as many, one that never rests is taken for one that stays
PROGRAM_PID = 2  # its PID in the sandbox
CRASH = "Traceback (most recent call last):"  # begins what Python says of an error
TERMINAL_SIZE = (24, 80)  # rows and columns of a run's terminal


@dataclass(frozen=True)
class Limits:
    """What a program may use before it is ended.

    Attributes:
        seconds: by the clock.
        processes: at the same time.
        memory: MiB, of all processes together.
        output: bytes.
        file: MiB, of each file that it writes.
    """

    seconds: float = 60
    processes: int = 64
    memory: int = 512
    output: int = 1_000_000
    file: int = 64


class NoSandbox(Exception):
    """The machine refused a sandbox, so no program was started; the message says what it said."""


class SandboxedRun:
    """A program in a sandbox of its own. A context manager; nothing is left when it is closed.

    Attributes:
        exceeded: which limit ended it, in words; "" while none did.
    """

    def __init__(
        self,
        argv: Sequence[str],
        folder: Path,
        *,
        terminal: bool = False,
        limits: Limits | None = None,
    ) -> None:
        """Start the program.

        Args:
            argv: program and arguments.
            folder: its working directory, and all that it can write.
            terminal: its three streams are a terminal of TERMINAL_SIZE; otherwise it has no input,
                and its output and errors are one pipe.
            limits: without them, the default ones.

        Raises:
            NoSandbox: the machine refused one.
        """
        self.limits = limits or Limits()
        self.exceeded = ""
        self._output = bytearray()
        self._end = time.monotonic() + self.limits.seconds
        ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            termios.tcsetwinsize(theirs, TERMINAL_SIZE)
        os.set_blocking(ours, False)
        self._printed = io.FileIO(ours)
        made, maker = os.pipe()
        with io.FileIO(made) as ready:
            with io.FileIO(theirs, "w") as stream, io.FileIO(maker, "w"):
                options = ["--ready", str(maker), *["--terminal"] * terminal]
                self._launcher = subprocess.Popen(
                    # -P, -s: what an earlier run left in the folder is no module of the launcher.
                    [sys.executable, "-Ps", "-m", "labkit.hardened", *options, folder, *argv],
                    cwd=folder,
                    env=environment(folder),
                    stdin=stream if terminal else subprocess.DEVNULL,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                    pass_fds=[maker],
                )
            try:
                self._begin(ready)
            except BaseException:  # an interrupt, too, leaves nothing behind
                self.close()
                raise

    @property
    def output(self) -> str:
        r"""What was printed so far; the ends of lines are "\n"."""
        self._read()
        return self._output.decode(errors="replace").replace("\r\n", "\n")

    @property
    def status(self) -> int | None:
        """None while it runs, then its exit status, or 128+n where signal n ended it."""
        status = self._launcher.poll()
        return status if status is None or status >= 0 else 128 - status

    def processes(self) -> list[Process]:
        """Return the program and its descendants, parents first.

        Of each process, `pids[1]` is the number in the sandbox, where the program is PROGRAM_PID,
        and what follows are the numbers in the PID namespaces that the program made.
        """
        return [process for depth, process in procfs.tree(self._launcher.pid) if depth > 1]

    @property
    def program(self) -> Process:
        """The program itself.

        Raises:
            ProcessLookupError: it has ended.
        """
        for process in self.processes():
            if process.pids[1:] == (PROGRAM_PID,):
                return process
        raise ProcessLookupError("the program has ended")

    def find(self, *command: str) -> Process | None:
        """Return the first process that was started with these words, None where there is none.

        Of the first word, only the program's name counts: `/bin/sleep` was started as `sleep`, too.
        """

        def words(argv: Sequence[str]) -> list[str]:
            return [Path(argv[0]).name, *argv[1 : len(command)]] if argv else []

        found = (p for p in self.processes() if words(p.command) == words(command))
        return next(found, None)

    def running(self, program: str) -> Process | None:
        """Return the first process that runs a file of PATH, whatever it calls itself."""
        file = shutil.which(program) or program
        for process in self.processes():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if Path(f"/proc/{process.pid}/exe").samefile(file):
                    return process
        return None

    def summary(self) -> str:
        """Say in a few words how it stands."""
        if self.exceeded:
            return self.exceeded
        if self.status is not None:
            lines = self.output.strip().splitlines()
            error = f": {lines[-1][:200]}" if CRASH in lines else ""
            return f"the answer ended with status {self.status}{error}"
        names = [process.name for process in self.processes()]
        count = "one process" if len(names) == 1 else f"{len(names)} processes"
        return f"{count}: {', '.join(names[:8])}"

    def until(self, condition: Callable[[], T], idle_timeout: float = IDLE_TIMEOUT) -> T | None:
        """Look again and again until a condition holds.

        Args:
            condition: what it returns is true in the sense of `bool`. A process that ends while
                it looks makes it false.
            idle_timeout: seconds.

        Returns:
            what the condition returned, or None: the program has ended, a limit has ended it, or
            nothing in it has moved for `idle_timeout` seconds.
        """
        before, since = "", time.monotonic()
        while True:
            began, ended = time.monotonic(), self.status is not None
            # Of a process that is just ending, /proc answers EACCES to all but root.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                if found := condition():
                    return found
            now = self._rest(self._look())
            if ended or self.exceeded:
                return None
            if not now or now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > idle_timeout:
                return None
            took = time.monotonic() - began  # on a slow machine, too, half of the time is theirs
            linux.poll(self._printed.fileno(), seconds=max(POLL_INTERVAL, took))

    def eventually(self, look: Callable[[], T], wanted: object) -> T:
        """Look until there is what is wanted, as `until` does, and return what there is then."""
        self.until(lambda: look() == wanted)
        return look()

    def is_blocked(self) -> bool:
        """Wait until the program waits for something, and say whether it does: it may end, too."""
        polls = itertools.count()
        self.until(lambda: next(polls) > MAX_POLLS, idle_timeout=0)
        if not (there := self.processes()):
            self.wait()  # its status comes a moment later
        return _lives(there)

    def wait(self) -> int | None:
        """Wait for the program to end, and return its status; None where a limit had to end it."""
        self.until(lambda: False, idle_timeout=math.inf)
        return None if self.exceeded else self.status

    def send(self, text: str) -> None:
        r"""Type at its terminal; "\r" is Enter, "\x03" is Ctrl-C."""
        os.write(self._printed.fileno(), text.encode())

    def kill(self, number: int) -> None:
        """Send a signal to the program, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.program.pid, number)

    def stop(self, reason: str) -> None:
        """End the program because of a limit, in words; the first one that it met counts."""
        self.exceeded = self.exceeded or reason
        self._launcher.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End the program and everything that it started; return when they are gone."""
        hardened.end(self._launcher)
        self._read()
        self._printed.close()

    def __enter__(self) -> "SandboxedRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, ready: io.FileIO) -> None:
        """Limit the files that it writes, long before the launcher's Python is awake; then wait."""
        hardened.limit(resource.RLIMIT_FSIZE, self.limits.file * 2**20, self._launcher.pid)
        if not ready.read(1):  # it ended, and with it whoever could have said so
            self._launcher.wait()
            raise NoSandbox(self.output.strip().rpartition("\n")[2] or "it gave no reason")
        self._first = hardened.first_process(self._launcher.pid)

    def _read(self) -> None:
        # None: nothing there yet. An error: a terminal that nobody holds.
        with contextlib.suppress(OSError):
            while not self._printed.closed and (some := self._printed.read(65536)):
                room = self.limits.output - len(self._output)
                self._output += some[: max(0, room)]
                if len(some) > room:
                    self.stop(f"it printed more than {self.limits.output:,} bytes")
                    return

    def _look(self) -> list[Process]:
        """Read what was printed, end what is over a limit, and return the processes."""
        self._read()
        most = self.limits.processes
        # A zombie takes nothing: notebook 08 makes a hundred.
        if self._count() > most < sum(process.state != "Z" for process in self.processes()):
            self.stop(f"it had more than {most} processes at once")
        processes = [] if self.exceeded else self.processes()
        if _memory(processes, self.limits.memory * 1024) > self.limits.memory * 1024:
            self.stop(f"it used more than {self.limits.memory} MiB of memory")
        elif time.monotonic() > self._end:
            self.stop(f"it was not done after {self.limits.seconds:g} seconds")
        return processes

    def _count(self) -> int:
        """Count the program's processes, quickly: those that fork without end leave little time."""
        proc = Path(f"/proc/{self._first}/root/proc")
        with contextlib.suppress(OSError):
            if not (proc / "self").exists():
                return sum(path.name.isdigit() for path in proc.iterdir()) - 1
        return len(self.processes())  # the program has taken its /proc off, and this one is ours

    def _rest(self, processes: Sequence[Process]) -> str:
        """Return what changes when the program gets on, "" where it is about to.

        Of its turns at the processor only those count that the kernel had to end, see
        proc_pid_status(5): who looks every tenth of a second whether something has happened does
        not get on.
        """
        if not _lives(processes) or {process.state for process in processes} & {"R", "D"}:
            return ""
        parts = [str(len(self._output))]
        for process in processes:
            with contextlib.suppress(OSError):
                turns = procfs.status(process.pid)["nonvoluntary_ctxt_switches"]
                parts.append(f"{process.pid} {process.state} {turns}")
        return "\n".join(parts)


def _memory(processes: Sequence[Process], enough: int) -> int:
    """Return how much memory processes use together, in KiB.

    What several share counts for each, which is quickly known. Where that is more than enough,
    each part counts once, see proc_pid_smaps(5).
    """
    used = sum(process.resident for process in processes)
    if used <= enough:
        return used
    used = 0
    for process in processes:
        with contextlib.suppress(OSError):  # it has ended meanwhile
            text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
            used += sum(map(int, re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)))
    return used


def _lives(processes: Sequence[Process]) -> bool:
    """Whether the program has begun and not ended.

    Where it has, the sandbox's PID 1 ends the rest. The kernel lets that run last of all: until
    then the program is a zombie, and the rest looks as if it stayed.
    """
    return any(p.pids[1:] == (PROGRAM_PID,) and p.state != "Z" for p in processes)


def environment(folder: Path) -> dict[str, str]:
    """Return what every sandboxed program starts with, whatever is set around it.

    Args:
        folder: its home, and where it puts temporary files.
    """
    here = Path(sys.executable).parent
    return {
        "PATH": f"{here}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "LABKIT_MINE": str(folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONPATH": COURSE,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
