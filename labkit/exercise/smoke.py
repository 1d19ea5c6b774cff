"""The smoke test of `%notebook`: starts an edited runtime once, and names the edit that broke it.

A notebook stands on what the notebooks before it built. An edit there that Python can compile may
still break the runtime, and would surface three notebooks later as somebody else's error.
"""

import contextlib
import json
import re
import sys
from dataclasses import dataclass

from labkit.course import workbook
from labkit.course.edits import edits, where
from labkit.course.run import MAIN
from labkit.course.workbook import Source
from labkit.exercise.sandboxed_run import Limits, NoSandbox, SandboxedRun

# Every version knows these words; the first ones hand on a single word of the command.
WORDS = ("run", "-ti", "/bin/pwd")
TIMEOUT = 20  # seconds
TRACEBACK = "Traceback (most recent call last):\n"
WORKS = (0, False, True)


def broken(mine: dict[str, Source], delivered: dict[str, Source]) -> str:
    """Start an edited runtime and tell what broke in it.

    Args:
        mine: the runtime that the learner's notebooks hold, as `workbook.runtime` returns it.
        delivered: the same from the notebooks as delivered.

    Returns:
        where (notebook, cell, line, file) and what, in a sentence; "" where it works, where nothing
        was edited, where the delivered one ends in the same way here, and where neither can start.
    """
    edited = edits(mine, delivered)
    if not edited or MAIN not in delivered:
        return ""
    try:
        here = _start(mine)
        if here.result == WORKS or here.result == _start(delivered).result:
            return ""
    except (OSError, NoSandbox):
        return ""
    place = where(mine, here.output)
    if place and any(place.endswith(f"({path})") for path in edited):
        return f"{place}: {here.error}"
    lines = "; ".join(edited.values())
    return f"{place}: {here.error}. Edited: {lines}" if place else f"{lines}: {here.error}"


@dataclass(frozen=True)
class _Run:
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
    def result(self) -> tuple[int | None, bool, bool]:
        """The status, whether there was a traceback, and whether the command printed a path."""
        printed_path = re.search("^/", self.output, re.MULTILINE) is not None
        return self.status, TRACEBACK in self.output, printed_path

    @property
    def error(self) -> str:
        """What went wrong, in the words of the runtime where it has some."""
        _, crashed, trace = self.output.rpartition(TRACEBACK)
        if crashed and (last := re.search(r"^\S.*", trace, re.MULTILINE)):
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


def _start(files: dict[str, Source]) -> _Run:
    """Run the runtime once, in a sandbox of its own that nothing outlives."""
    limits = Limits(seconds=TIMEOUT)
    words = [sys.executable, MAIN, *WORDS]
    with SandboxedRun(words, workbook.install(files), limits=limits) as run:
        return _Run(run.wait(), run.output, run.exceeded)
