"""Starts a runtime that a learner edited once, and names the edit that broke it.

A notebook stands on what the notebooks before it built. An edit there that Python can compile may
still break the runtime, and would surface three notebooks later as somebody else's error.
"""

import contextlib
import json
import re
import shlex
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import NOTEBOOKS, Source, WorkbookError
from labkit.exercise.trial import Limits, SandboxedRun

MAIN = "mydocker/main.py"
# Every version knows these words; the first ones hand on a single word of the command.
WORDS = ("run", "-ti", "/bin/pwd")
LIMIT = 20  # seconds
TRACEBACK = "Traceback (most recent call last):\n"
_FRAME = re.compile(r'File "([^"\n]*)", line ([0-9]+)')


def broken(mine: dict[str, Source], delivered: dict[str, Source]) -> str:
    """Start an edited runtime and tell what broke in it.

    Args:
        mine: the runtime that the learner's notebooks hold, as `workbook.runtime` returns it.
        delivered: the same from the notebooks as delivered.

    Returns:
        where (notebook, cell, line, file) and what, in a sentence; "" where it works, where
        nothing was edited, and where the delivered one does not work here either.

    Raises:
        OSError: the kernel refused a process, or no folder can be written.
        NoSandbox: the machine refused a sandbox.
    """
    edits = _edits(mine, delivered)
    if not edits or MAIN not in delivered:
        return ""
    here = _start(mine)
    if here.works:
        return ""
    there = _start(delivered)
    if here.as_good_as(there):
        return ""
    place = where(mine, here.output)
    if place and any(place.endswith(f"({path})") for path in edits):
        return f"{place}: {here.error}"
    edited = "; ".join(edits.values())
    return f"{place}: {here.error}. Edited: {edited}" if place else f"{edited}: {here.error}"


def where(files: dict[str, Source], text: str) -> str:
    """Tell which line of which cell the last traceback in a text ends in.

    Args:
        files: the runtime that printed it.
        text: what it printed.

    Returns:
        such as "03-the-first-container.ipynb, cell 7, line 9 (mydocker/init.py)", or "".
    """
    for path, line in reversed(_FRAME.findall(text)):
        for name, source in files.items():
            if f"/{path}".endswith(f"/{name}"):
                return f"{source.place}, line {int(line) + source.above} ({name})"
    return ""


def fault(error: Exception, upto: str | None, words: Sequence[str], folder: str) -> str:
    """Tell what an error of the runtime was, where it was, and whose it is.

    Args:
        error: what `labkit run` caught.
        upto: the notebook whose runtime it is, None for the last.
        words: behind `labkit run`.
        folder: of the notebooks, as `workbook.notebooks` takes it.
    """
    try:
        files = workbook.runtime(upto, folder=Path(folder))
    except (WorkbookError, OSError):  # somebody edits it meanwhile
        files = {}
    place = where(files, "".join(traceback.format_exception(error)))
    what = f"{type(error).__name__}: {error}."
    return f"{place}: {what}{blame(upto, words, files)}" if place else what


def blame(upto: str | None, words: Sequence[str], mine: dict[str, Source] | None = None) -> str:
    """Say whether the learner's edits are the reason.

    Args:
        upto: the notebook whose runtime failed, None for the last.
        words: behind `labkit run`.
        mine: that runtime, where it could be assembled.

    Returns:
        a sentence to add, with what helps; "" where the delivered one does no better.
    """
    try:
        delivered = workbook.runtime(upto, folder=NOTEBOOKS)
    except WorkbookError:
        return ""
    if mine and not _edits(mine, delivered):
        return " Nobody edited the runtime, so this is a fault of the course; please report it."
    return f" Without your edits: labkit run --delivered {shlex.join(words)}" * (MAIN in delivered)


@dataclass(frozen=True)
class _Outcome:
    """How a run of the runtime ended.

    Attributes:
        status: its exit status, None where it did not end by itself.
        output: what it printed, with the container's output.
        exceeded: which limit ended it; "" while none did.
    """

    status: int | None
    output: str
    exceeded: str

    @property
    def crashed(self) -> bool:
        return TRACEBACK in self.output

    @property
    def arrived(self) -> bool:
        """Whether the command ran in the container: it printed a path."""
        return re.search("^/", self.output, re.MULTILINE) is not None

    @property
    def works(self) -> bool:
        return self.status == 0 and self.arrived and not self.crashed

    def as_good_as(self, other: "_Outcome") -> bool:
        return (
            self.status in (0, other.status)
            and self.crashed <= other.crashed
            and self.arrived >= other.arrived
        )

    @property
    def error(self) -> str:
        *_, trace = self.output.split(TRACEBACK)
        if self.crashed and (last := re.search(r"^\S.*", trace, re.MULTILINE)):
            return last[0]
        last_line = self.output.strip().rpartition("\n")[2]
        with contextlib.suppress(ValueError, TypeError, KeyError):
            log = json.loads(last_line)
            last_line = str(log["msg"]) if log["level"] in ("fatal", "error") else ""
        if last_line and self.status:
            return last_line
        command = f"`{' '.join(WORDS)}`"
        if self.status is None:
            return f"{command} did not end by itself: {self.exceeded}"
        return f"{command} ended with status {self.status}, and the command did not run"


def _edits(mine: dict[str, Source], delivered: dict[str, Source]) -> dict[str, str]:
    """Return each file that differs, and the line where its cell begins to."""
    found = {}
    for path, source in delivered.items():
        if path not in mine:
            found[path] = f"{source.place} as delivered holds {path}, yours does not"
        elif (text := mine[path].text) != source.text:
            pairs = zip(text.splitlines(), source.text.splitlines(), strict=False)
            same = [one == other for one, other in pairs]
            line = same.index(False) if False in same else len(same)
            found[path] = f"{mine[path].place}, line {line + 1 + mine[path].above} ({path})"
    for path in mine.keys() - delivered.keys():
        found[path] = f"{mine[path].place} ({path})"
    return found


def _start(files: dict[str, Source]) -> _Outcome:
    """Run the runtime once, in a sandbox of its own that nothing outlives."""
    limits = Limits(seconds=LIMIT)
    with SandboxedRun([sys.executable, MAIN, *WORDS], workbook.install(files), limits=limits) as trial:
        return _Outcome(trial.wait(), trial.output, trial.exceeded)
