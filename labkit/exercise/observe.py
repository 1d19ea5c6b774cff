"""What a judge sees of an answer that runs, and how it says what is wrong with it."""

import contextlib
import errno
import io
import itertools
import os
import signal
import termios
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from labkit import procfs
from labkit.exercise.sandboxed_run import CRASH, MAX_POLLS, SandboxedRun
from labkit.procfs import Process

T = TypeVar("T")
Hints = str | Mapping[str, str]  # or by a word of what was printed, or of how the run stands
SLEEP = ("sleep", "1000")  # what most exercises are about
STAYS = "a process `sleep 1000` that stays"
CONTAINER = "a container whose command runs"
MAX_READ = 2**20  # bytes that a judge reads of a file
CPU_ALLOWANCE = 1  # seconds of processor time: nobody who waits needs as much


class Incorrect(Exception):
    """An answer that does not do what is wanted.

    Attributes:
        wanted: what a right answer makes the kernel show.
        found: what the kernel showed.
        hint: for the likely mistake; "" where there is none better than the exercise's own.
    """

    def __init__(self, wanted: str, found: str, hint: str = "") -> None:
        super().__init__(f"wanted {wanted}, found {found}")
        self.wanted, self.found, self.hint = wanted, found, hint


def expect(condition: T | None, wanted: str, found: object, hint: str = "") -> T:
    """Return what holds; raise `Incorrect` where it does not, in the sense of `bool`."""
    if not condition:
        raise Incorrect(wanted, str(found), hint)
    return condition


def expect_guesses(
    guesses: Any, kernel: Mapping[str, object], form: str, asked: str, hints: Mapping[str, str]
) -> None:
    """Raise `Incorrect` for the first guess that is of another type than the truth, or is wrong.

    Args:
        guesses: by name, as an answer has them; anything else is taken for a guess of each.
        kernel: name to what the kernel has shown, an int or a bool.
        form: which type is wanted.
        asked: what was to be guessed; "{}" in it is for the name, another one for the truth.
        hints: name to a hint for who is wrong about it.
    """
    given = guesses if isinstance(guesses, dict) else dict.fromkeys(kernel, guesses)
    for name, truth in kernel.items():
        guess = given.get(name)
        wanted = f"{'True or False' if isinstance(truth, bool) else 'a number'} for `{name}`"
        found = f"`{'...' if guess == 'Ellipsis' else repr(guess):.30}`"
        expect(type(guess) is type(truth), wanted, found, form)
    right = sum(given[name] == truth for name, truth in kernel.items())
    for name, truth in kernel.items():
        found = f"you predicted {given[name]!r:.20} ({right} of {len(kernel)} right)"
        expect(given[name] == truth, asked.format(name, truth), found, hints[name])


@contextlib.contextmanager
def keeps_running(run: SandboxedRun, wanted: str, hint: Hints) -> Iterator[SandboxedRun]:
    """Close a run at the end; raise `Incorrect` where a process ends while a judge looks at it."""
    with run:
        try:
            yield run
        except (FileNotFoundError, ProcessLookupError):
            raise Incorrect(wanted, "one that soon ends", hint_for(run, hint)) from None


@contextlib.contextmanager
def observed(
    run: SandboxedRun,
    wanted: str,
    hint: Hints = "",
    *,
    crash: Hints | None = None,
    blocked: bool = False,
    find: Callable[[], Process | None] | None = None,
) -> Iterator[tuple[SandboxedRun, Process]]:
    """Wait until a process runs, which must go on while the context lasts; then close the run.

    Args:
        run: what the answer has started.
        wanted: what is wanted of it.
        hint: for an answer that starts no such process.
        crash: another hint for an answer that crashed.
        blocked: the process and what is beside it also have to come to rest.
        find: returns the process; without it, the one that runs `sleep 1000`.

    Yields:
        the run and the process.

    Raises:
        Incorrect: there is none, or it ended, or the answer crashed.
    """
    with keeps_running(run, wanted, hint):
        process = run.until(find or (lambda: run.find(*SLEEP)))
        if blocked and not (process and run.is_blocked()):
            process = None
        fail_if_crashed(run, wanted, hint if crash is None else crash)
        yield run, expect(process, wanted, run.summary(), hint_for(run, hint))


def fail_if_crashed(run: SandboxedRun, wanted: str, hint: Hints = "") -> None:
    """Raise `Incorrect` where Python's own error ended a run."""
    if run.status and CRASH in run.output:
        raise Incorrect(wanted, run.summary(), hint_for(run, hint))


def hint_for(run: SandboxedRun, hint: Hints) -> str:
    """Return of several hints the first that fits what a run has printed, or how it stands."""
    if isinstance(hint, str):
        return hint
    said = f"{run.output}\n{run.summary()}"
    return next((text for word, text in hint.items() if word in said), "")


def rests(run: SandboxedRun) -> None:
    """Raise `Incorrect` where a process of a program that should wait is busy instead.

    Its state alone does not tell: waitpid(2) looks asleep for a moment also where it returns at
    once. A process that is busy uses the processor, and never gives it away by itself.
    """
    before, looks = used(run), itertools.count()

    def busy(seconds: float) -> bool:
        return any(
            turns == before[pid][0] and spent > before[pid][1] + seconds
            for pid, (turns, spent) in used(run).items()
            if pid in before
        )

    run.until(lambda: busy(CPU_ALLOWANCE) or (next(looks) > MAX_POLLS and not busy(0)))
    expect(
        not run.exceeded and not busy(CPU_ALLOWANCE),
        "a program that waits, which takes no processor time",
        "one that never rests",
        "It asks again and again, and takes a whole processor for it. `os.wait()`, `os.waitpid(pid,"
        " 0)` and `os.read` sleep until there is something.",
    )


def waits_for(run: SandboxedRun, pid: int) -> None:
    """End a process; raise `Incorrect` where the program, which should wait, does not end."""
    rests(run)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    expect(
        run.until(lambda: run.status is not None),
        "a program that ends when its `sleep` has ended",
        "one that goes on",
        "To stay for a long time is not to wait: `os.waitpid(pid, 0)` returns when the sleep ends.",
    )


def used(run: SandboxedRun) -> dict[int, tuple[int, float]]:
    """Return by PID how often a process has gone to rest, and its seconds of processor time."""
    found = {}
    for pid in (process.pid for process in run.processes()):
        with contextlib.suppress(OSError):
            turns, ticks = procfs.status(pid)["voluntary_ctxt_switches"], stat_of(pid)[11:13]
            found[pid] = int(turns), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return found


def stat_of(pid: int) -> list[str]:
    """Return /proc/PID/stat from the state on, see proc_pid_stat(5); nothing after its end."""
    return written(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def ids_inside(process: Process, kind: str) -> list[int | None]:
    """Return a process's IDs as its own user namespace counts, None for one on no map.

    Args:
        process: the process.
        kind: "uid" or "gid".

    Returns:
        the real ID, the effective, the saved, and that for file systems.
    """
    lines = Path(f"/proc/{process.pid}/{kind}_map").read_text().splitlines()
    ranges = [[int(word) for word in line.split()] for line in lines]

    def inside(number: int) -> int | None:
        for first, outside, count in ranges:
            if outside <= number < outside + count:
                return first + number - outside
        return None

    return [inside(int(word)) for word in procfs.status(process.pid)[kind.title()].split()]


def at_terminal(process: Process, call: Callable[[int], T]) -> T:
    """Return what a call returns for the terminal that is a process's input.

    Raises:
        ProcessLookupError: nobody holds the terminal's other end any more.
    """
    try:
        with io.FileIO(os.open(f"/proc/{process.pid}/fd/0", os.O_RDONLY | os.O_NOCTTY)) as terminal:
            return call(terminal.fileno())
    except (OSError, termios.error) as error:
        if error.args[0] != errno.EIO:
            raise
        raise ProcessLookupError("its terminal has gone") from None


def listed(pid: int) -> set[int]:
    """Return the PIDs that `ps` would show to a process: those that a file `stat` in /proc names.

    Empty where its /proc is no proc file system.
    """
    tops = [mount.fstype for mount in procfs.mounts(pid) if mount.target == "/proc"]
    found = set()
    for file in Path(f"/proc/{pid}/root/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(ValueError):  # it has ended meanwhile, or is covered
            found.add(int(written(file).split(" ")[0]))
    return found if tops[-1:] == ["proc"] else set()


def written(path: Path) -> str:
    """Return a file's text; "" where there is none, or a pipe, a link or a folder in its place."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    # A process that a file of /proc tells about may have ended.
    with contextlib.suppress(OSError), io.FileIO(path, opener=opener) as file:
        return (file.read(MAX_READ) or b"").decode(errors="replace")
    return ""
