"""What an exercise is: a task, the form of its answer, and a judge that looks at the kernel.

A judge never reads the answer's text. It runs the answer in a sandbox, looks at /proc, the exit
status, the terminal, and raises `Incorrect` with what was wanted, what was found and a hint.
"""

import contextlib
import fcntl
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from labkit import procfs
from labkit.course import workbook
from labkit.exercise.trial import MAX_POLLS, Limits, SandboxedRun
from labkit.procfs import Process

T = TypeVar("T")
Hints = str | Mapping[str, str]  # or by what was printed: the first that it contains counts
PYTHON, SH = "answer.py", "answer.sh"
SHOWN = 1500  # characters of what an answer printed
MAX_READ = 2**20  # bytes that a judge reads of a file
PREFIX = "labkit-answer-"  # of a folder with an answer in it
MIN_AGE = 60  # seconds
CPU_ALLOWANCE = 1  # seconds of processor time: nobody who waits needs as much
SLEEP = ("sleep", "1000")  # what most exercises are about
STAY = "#!/bin/sh\nexec sleep 1000\n"
JUDGES = workbook.NOTEBOOKS / "exercises"  # nNN.py holds those of notebook NN
NUMBER = re.compile("[0-9]{2}[.][1-9]")
_KNOWN: dict[str, "Exercise"] = {}
# Runs a program, and becomes a sleep when it has ended: `python3 -c OUTLIVE PROGRAM …`.
_OUTLIVE = """
import os, subprocess, sys
subprocess.run(sys.argv[1:])
os.execvp("sleep", ["sleep", "2000"])
"""
# Runs the answer, then hands its values over: `python3 -c TELL answer.py RESULT NAME …`.
_TELL = """
import json, runpy, sys
_, program, result, *names = sys.argv
sys.argv = [program]
found = runpy.run_path(program, run_name="__main__")
values = {name: found[name] for name in names if name in found}
json.dump(values, open(result, "w"), default=repr)
"""


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


@dataclass(frozen=True)
class Answer:
    """What a learner has written, in a folder where it can be run.

    Attributes:
        text: the answer as it was written.
        path: what it is in the folder: "answer.py", "answer.sh" or a file of the runtime.
        folder: holds it, and the runtime as it stands after the notebook, with the answer in it.
    """

    text: str
    path: str
    folder: Path
    _runs: list[SandboxedRun] = field(default_factory=list)

    def start(
        self, *words: str, terminal: bool = False, limits: Limits | None = None
    ) -> SandboxedRun:
        """Start the answer; where it is a file of the runtime, `mydocker` with these words.

        Args:
            *words: arguments.
            terminal: as in `SandboxedRun`.
            limits: as in `SandboxedRun`.
        """
        program = ["sh", SH] if self.path == SH else [sys.executable, self._program()]
        return self.command(*program, *words, terminal=terminal, limits=limits)

    def command(
        self, *argv: str, terminal: bool = False, limits: Limits | None = None
    ) -> SandboxedRun:
        """Start another program in the answer's folder, such as a shell that calls the runtime."""
        run = SandboxedRun(argv, self.folder, terminal=terminal, limits=limits)
        self._runs.append(run)
        return run

    def outlived(self, *argv: str, terminal: bool = False) -> SandboxedRun:
        """Start a program, in a run that does not end with it: `sleep 2000` runs from then on."""
        return self.command(sys.executable, "-c", _OUTLIVE, *argv, terminal=terminal)

    def script(self, name: str, text: str = STAY) -> Path:
        """Write a program into the answer's folder, where it can be executed."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    @property
    def said(self) -> str:
        """What the last run printed, at most SHOWN characters, without the folder's name."""
        text = self._runs[-1].output.strip("\n") if self._runs else ""
        text = text.replace(f"{self.folder}/", "")
        return text if len(text) <= SHOWN else f"{text[:SHOWN]} …"

    def values(self, *names: str) -> dict[str, object]:
        """Run a Python answer to its end and return the values of these names, as JSON has them.

        Raises:
            Incorrect: it did not come to its end, or has no such name.
        """
        result = self.folder / ".values.json"
        argv = [sys.executable, "-c", _TELL, PYTHON, str(result), *names]
        with self.command(*argv) as run:
            status = run.wait()
        fail_if_crashed(run, "a program that comes to its end")
        values: dict[str, object] = {}
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            values = dict(json.loads(written(result)))
        missing = [name for name in names if name not in values]
        expect(
            not missing and status == 0,
            f"a value for {', '.join(names)}",
            f"nothing called {', '.join(missing)}",
            f"Write `{missing[0]} = …`." if missing else "",
        )
        return values

    def _program(self) -> str:
        return PYTHON if self.path == PYTHON else "mydocker/main.py"


Judge = Callable[[Answer], str]


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes:
        number: such as "03.2".
        path: where an answer's text goes: PYTHON, SH, or a file of the runtime.
        judge: called with an answer; returns in a few words what the kernel showed, or raises
            Incorrect.
        hints: from a nudge to nearly the answer.
    """

    number: str
    path: str
    judge: Judge
    hints: tuple[str, ...]


def exercise(number: str, path: str, *hints: str) -> Callable[[Judge], Judge]:
    """Declare an exercise; the decorated function is its judge.

    Args:
        number: as in `Exercise`.
        path: as in `Exercise`.
        *hints: as in `Exercise`.
    """

    def declare(judge: Judge) -> Judge:
        _KNOWN[number] = Exercise(number, path, judge, hints)
        return judge

    return declare


def find(number: str) -> Exercise | None:
    """Return an exercise by its number, None where there is none."""
    if NUMBER.fullmatch(number):
        path = JUDGES / f"n{number[:2]}.py"
        name = f"exercises.{path.stem}"
        if name not in sys.modules and path.is_file():
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec and spec.loader
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
    return _KNOWN.get(number)


@contextlib.contextmanager
def workspace(exercise: Exercise, text: str, runtime: Mapping[str, str]) -> Iterator[Answer]:
    """Put an answer into a folder of its own, beside a runtime, while the context lasts.

    Args:
        exercise: says which file the answer is.
        text: the answer.
        runtime: path to text of the runtime's files.
    """
    _remove_orphans(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        for path, content in {**runtime, exercise.path: text}.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
        yield Answer(text, exercise.path, folder)
    finally:
        _remove(folder)
        os.close(held)


def _remove_orphans(place: Path) -> None:
    """Remove folders of answers whose judge was killed: the kernel has let go of its lock."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = folder.lstat()
            # A judge that has just begun has not locked its folder yet.
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < MIN_AGE:
                continue
            folder.chmod(0o700)
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
            finally:
                os.close(held)


def observe(
    run: SandboxedRun,
    wanted: str,
    hint: Hints = "",
    *,
    crash: tuple[str, Hints] | None = None,
    blocked: bool = False,
    find: Callable[[], Process | None] | None = None,
) -> Process:
    """Wait until a process runs, and return it.

    Args:
        run: what the answer has started.
        wanted: what is wanted of it.
        hint: for an answer that starts no such process.
        crash: another wanted and hint for an answer that crashed.
        blocked: the process and what is beside it also have to come to rest.
        find: returns the process; without it, the one that runs `sleep 1000`.

    Raises:
        Incorrect: there is none, or the answer crashed.
    """
    process = run.until(find or (lambda: run.find(*SLEEP)))
    if blocked and not (process and run.is_blocked()):
        process = None
    fail_if_crashed(run, *(crash or (wanted, hint)))
    return expect(process, wanted, run.summary(), _hint(hint, run))


def fail_if_crashed(run: SandboxedRun, wanted: str, hint: Hints = "") -> None:
    """Raise `Incorrect` where a limit ended a run, or Python's own error did."""
    hint = _hint(hint, run)
    if run.exceeded:
        raise Incorrect(wanted, run.exceeded, hint or "Does it wait for something, or for ever?")
    if run.status and "Traceback (most recent call last):" in run.output:
        raise Incorrect(wanted, run.summary(), hint)


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


def _hint(hint: Hints, run: SandboxedRun) -> str:
    if isinstance(hint, str):
        return hint
    return next((text for word, text in hint.items() if word in run.output), "")


def used(run: SandboxedRun) -> dict[int, tuple[int, float]]:
    """Return by PID how often a process has gone to rest, and its seconds of processor time."""
    found = {}
    for pid in (process.pid for process in run.processes()):
        with contextlib.suppress(OSError):
            turns, ticks = status_of(pid)["voluntary_ctxt_switches"], stat_of(pid)[11:13]
            found[pid] = int(turns), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    return found


def stat_of(pid: int) -> list[str]:
    """Return /proc/PID/stat from the state on, see proc_pid_stat(5); nothing after its end."""
    return written(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()


def status_of(pid: int) -> dict[str, str]:
    """Return /proc/PID/status, see proc_pid_status(5); raise `OSError` after its end."""
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {key: text.strip() for key, _, text in (line.partition(":") for line in lines)}


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

    return [inside(int(word)) for word in status_of(process.pid)[kind.title()].split()]


def listed(process: Process) -> set[int]:
    """Return the PIDs that `ps` would show to a process: those that a file `stat` in /proc names.

    Empty where its /proc is no proc file system.
    """
    tops = [mount.fstype for mount in procfs.mounts(process.pid) if mount.target == "/proc"]
    found = set()
    for file in Path(f"/proc/{process.pid}/root/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(ValueError):  # it has ended meanwhile, or is covered
            found.add(int(written(file).split(" ")[0]))
    return found if tops[-1:] == ["proc"] else set()


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


def written(path: Path) -> str:
    """Return a file's text; "" where there is none, or a pipe, a link or a device in its place."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        regular = stat.S_ISREG(os.fstat(file).st_mode)
        return os.read(file, MAX_READ).decode(errors="replace") if regular else ""
    except OSError:  # a process that this file of /proc tells about has ended
        return ""
    finally:
        os.close(file)


@contextlib.contextmanager
def must_keep_running(wanted: str, hint: str) -> Iterator[None]:
    """Raise `Incorrect` where a process ends while the judge looks at it."""
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise Incorrect(wanted, "one that soon ends", hint) from None


def _remove(folder: Path) -> None:
    """Remove a folder, also what an answer has locked in it."""
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        for place, folders, _ in os.walk(folder):  # it goes into these after this
            for name in folders:
                if not Path(place, name).is_symlink():  # what a link points to is not ours
                    Path(place, name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
