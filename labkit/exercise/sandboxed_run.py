"""Runs a program in a throwaway sandbox while a judge outside looks at its processes.

The sandbox is hardened, has limits, and ends with the run: nothing that a program does in it can
be met afterwards. What the program prints is kept, but whoever wants to know what it *did* asks
the kernel.
"""

import contextlib
import fcntl
import os
import pty
import resource
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from labkit import hardened, linux, procfs
from labkit.procfs import Process

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent.parent
POLL_INTERVAL = 0.02  # seconds between two looks, at least
IDLE_TIMEOUT = 2.0  # seconds without any change after which nothing is expected any more
MAX_POLLS = 25  # after as many, one that never rests is taken for one that stays
PROGRAM_PID = 2  # its PID in the sandbox
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

    seconds: float = 20
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
        made, maker = os.pipe()
        words = [*(["--terminal"] if terminal else []), "--ready", str(maker), str(folder), *argv]
        if terminal:
            self._ours, theirs = pty.openpty()
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *TERMINAL_SIZE, 0, 0))
        else:
            self._ours, theirs = os.pipe()
        os.set_blocking(self._ours, False)
        try:
            self._launcher = subprocess.Popen(
                # -P, -s: what an earlier run left in the folder is no module of the launcher.
                [sys.executable, "-Ps", "-m", "labkit.hardened", *words],
                cwd=folder,
                env=environment(folder),
                stdin=theirs if terminal else subprocess.DEVNULL,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                pass_fds=[maker],
            )
        except BaseException:
            os.close(made)
            os.close(self._ours)
            raise
        finally:
            os.close(theirs)
            os.close(maker)
        try:
            most = self.limits.file * 2**20  # set long before the launcher's Python is awake
            with contextlib.suppress(ProcessLookupError):
                hardened.limit(resource.RLIMIT_FSIZE, most, self._launcher.pid)
            if not os.read(made, 1):  # it ended, and with it whoever could have said so
                self._launcher.wait()
                raise NoSandbox(self.output.strip().rpartition("\n")[2] or "it gave no reason")
            self._first = hardened.first_process(self._launcher.pid)
        except BaseException:  # an interrupt, too, leaves nothing behind
            self.close()
            raise
        finally:
            os.close(made)

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
        found = [process for _, process in procfs.tree(self._launcher.pid)]
        return [process for process in found[1:] if process.pids[1:] != (1,)]

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
        wanted = (Path(command[0]).name, *command[1:])
        for process in self.processes():
            name = Path(process.command[0]).name if process.command else ""
            words = (name, *process.command[1:])
            if process.state != "Z" and words[: len(wanted)] == wanted:
                return process
        return None

    def running(self, program: str) -> Process | None:
        """Return the first process that runs a program, whatever it calls itself.

        Args:
            program: is looked for in PATH; the process's `/proc/PID/exe` must be this very file.
        """
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
            error = f": {lines[-1][:200]}" if "Traceback (most recent call last):" in lines else ""
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
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if found := condition():
                    return found
            processes = self._look()
            if ended or self.exceeded:
                return None
            now = self._signature(processes)
            if now != before or not _wait(processes):
                before, since = now, time.monotonic()
            elif time.monotonic() - since > idle_timeout:
                return None
            linux.poll(*([self._ours] if self.status is None else []), seconds=_pause(began))

    def is_blocked(self) -> bool:
        """Wait until the program waits for something, and say whether it does: it may end, too."""
        before, looks = "", 0

        def waits() -> bool:
            nonlocal before, looks
            processes, last = self.processes(), before
            before, looks = self._signature(processes), looks + 1
            return (before == last and _wait(processes)) or looks > MAX_POLLS

        return bool(self.until(waits)) and _lives(self.processes())

    def wait(self) -> int | None:
        """Wait for the program to end, and return its status; None where a limit had to end it."""
        while self.status is None and not self.exceeded:
            began = time.monotonic()
            self._look()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._launcher.wait(_pause(began))
        return None if self.exceeded else self.status

    def send(self, text: str) -> None:
        r"""Type at its terminal; "\r" is Enter, "\x03" is Ctrl-C."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._ours, text.encode())

    def kill(self, number: int) -> None:
        """Send a signal to the program, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.program.pid, number)

    def close(self) -> None:
        """End the program and everything that it started; return when they are gone."""
        hardened.end(self._launcher)
        if self._ours >= 0:
            self._read()
            os.close(self._ours)
            self._ours = -1

    def __enter__(self) -> "SandboxedRun":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read(self) -> None:
        while self._ours >= 0:
            try:
                some = os.read(self._ours, 65536)
            except (BlockingIOError, OSError):  # nothing there; a terminal that nobody holds
                return
            if not some:
                return
            room = self.limits.output - len(self._output)
            self._output += some[: max(0, room)]
            if len(some) > room:
                self._stop(f"it printed more than {self.limits.output:,} bytes")
                return

    def _look(self) -> list[Process]:
        """Read what was printed, end what is over a limit, and return the processes."""
        self._read()
        if not self.exceeded and self._count() > self.limits.processes:
            self._stop(f"it had more than {self.limits.processes} processes at once")
        processes = [] if self.exceeded else self.processes()
        if sum(process.resident for process in processes) > self.limits.memory * 1024:
            self._stop(f"it used more than {self.limits.memory} MiB of memory")
        elif time.monotonic() > self._end:
            self._stop(f"it was not done after {self.limits.seconds:g} seconds")
        return processes

    def _count(self) -> int:
        """Count the program's processes, quickly: those that fork without end leave little time."""
        proc = f"/proc/{self._first}/root/proc"
        with contextlib.suppress(OSError):
            if not _tells_of_us(proc):
                return sum(path.name.isdigit() for path in Path(proc).iterdir()) - 1
        return len(self.processes())  # the sandbox has no /proc yet, or the program has hidden it

    def _stop(self, reason: str) -> None:
        self.exceeded = self.exceeded or reason
        self._launcher.send_signal(signal.SIGKILL)

    def _signature(self, processes: Sequence[Process]) -> str:
        """Whatever changes when the program gets on.

        Of its turns at the processor only those count that the kernel had to end, see
        proc_pid_status(5): who looks every tenth of a second whether something has happened does
        not get on.
        """
        parts = [str(len(self._output))]
        for process in processes:
            with contextlib.suppress(OSError):
                turns = procfs.status(process.pid)["nonvoluntary_ctxt_switches"]
                parts.append(f"{process.pid} {process.state} {turns}")
        return "\n".join(parts)


def _wait(processes: Sequence[Process]) -> bool:
    """Whether the program lives, and none of its processes wants a processor or a disk."""
    return _lives(processes) and not {process.state for process in processes} & {"R", "D"}


def _lives(processes: Sequence[Process]) -> bool:
    """Whether the program has begun and not ended.

    Where it has, the sandbox's PID 1 ends the rest. The kernel lets that run last of all: until
    then the program is a zombie, and the rest looks as if it stayed.
    """
    return any(p.pids[1:] == (PROGRAM_PID,) and p.state != "Z" for p in processes)


def _pause(began: float) -> float:
    """Return the seconds to the next look: on a slow machine, too, most of the time is theirs."""
    return max(POLL_INTERVAL, min(0.2, 2 * (time.monotonic() - began)))


def _tells_of_us(proc: str) -> bool:
    """Whether a /proc is ours, or that of a PID namespace in which we have no number."""
    try:
        return bool(Path(proc, "self").readlink())
    except FileNotFoundError:
        return not Path(proc, "version").exists()


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
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm-256color",
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
