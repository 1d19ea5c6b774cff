"""What an exercise is: a task, the form of its answer, and a judge that looks at the kernel.

A judge never reads the answer's text. It runs the answer in a sandbox, looks at /proc, the exit
status, the terminal, and raises `Incorrect` with what was wanted, what was found and a hint.
"""

import contextlib
import json
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labkit.course import workbook
from labkit.errors import printable
from labkit.exercise.observe import expect, fail_if_crashed, written
from labkit.exercise.sandboxed_run import Limits, SandboxedRun

PYTHON, SH = "answer.py", "answer.sh"
MYDOCKER = (sys.executable, "-m", "mydocker")
RUN = "python3 -m mydocker run"  # in a line for a shell, whose PATH begins with our Python
SHOWN = 1500  # characters of what an answer printed
PREFIX = "labkit-answer-"  # of a folder with an answer in it
STAY = "#!/bin/sh\nexec sleep 1000\n"
JUDGES = workbook.NOTEBOOKS / "exercises"  # nNN.py holds those of notebook NN
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


@dataclass(frozen=True)
class Answer:
    """What a learner has written, in a folder where it can be run.

    Attributes:
        path: what it is in the folder: "answer.py", "answer.sh" or a file of the runtime.
        folder: holds it, and the runtime as it stands after the notebook, with the answer in it.
    """

    path: str
    folder: Path
    _runs: list[SandboxedRun] = field(default_factory=list)

    def start(self, *words: str, terminal: bool = False) -> SandboxedRun:
        """Start the answer; where it is a file of the runtime, `mydocker` with these words.

        Args:
            *words: arguments.
            terminal: as in `SandboxedRun`.
        """
        program = {SH: ("sh", SH), PYTHON: (sys.executable, PYTHON)}.get(self.path, MYDOCKER)
        return self.command(*program, *words, terminal=terminal)

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

    def script(self, name: str, text: str = STAY) -> None:
        """Write a program into the answer's folder, where it can be executed."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    @property
    def said(self) -> str:
        """What the last run printed, at most SHOWN characters, without the folder's name."""
        text = self._runs[-1].output.strip("\n") if self._runs else ""
        return printable(text.replace(f"{self.folder}/", ""), SHOWN)

    @property
    def exceeded(self) -> str:
        """Which limit ended a run, in words; "" where none did."""
        return next((run.exceeded for run in self._runs if run.exceeded), "")

    def values(self, *names: str) -> list[Any]:
        """Run a Python answer to its end and return the values of these names, as JSON has them.

        Raises:
            Incorrect: it did not come to its end, or has no such name.
        """
        result = self.folder / ".values.json"
        argv = [sys.executable, "-c", _TELL, PYTHON, str(result), *names]
        with self.command(*argv) as run:
            run.wait()
        fail_if_crashed(run, "a program that comes to its end")
        values: dict[str, Any] = {}
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            values = dict(json.loads(written(result)))
        missing = [name for name in names if name not in values]
        wanted, hint = f"a value for {', '.join(names)}", f"Write `{(*missing, '')[0]} = …`."
        expect(not missing, wanted, f"nothing called {', '.join(missing)}", hint)
        return [values[name] for name in names]


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
    path = JUDGES / f"n{number[:2]}.py"
    if number not in _KNOWN and path.is_file():
        runpy.run_path(str(path))
    return _KNOWN.get(number)


@contextlib.contextmanager
def workspace(exercise: Exercise, text: str, runtime: Mapping[str, str]) -> Iterator[Answer]:
    """Put an answer into a folder of its own, beside a runtime, while the context lasts.

    Args:
        exercise: says which file the answer is.
        text: the answer.
        runtime: path to text of the runtime's files.
    """
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    try:
        for path, content in {**runtime, exercise.path: text}.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content, encoding="utf-8")
        yield Answer(exercise.path, folder)
    finally:
        remove(folder)


def remove(folder: Path) -> None:
    """Remove a folder, also what an answer locked or nested deeply in it."""
    for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        subprocess.run([*command, "--", folder], stderr=subprocess.DEVNULL)
