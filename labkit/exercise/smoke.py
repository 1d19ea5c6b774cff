"""The smoke test of `%notebook`: starts an edited runtime once, and names the edit that broke it.

A notebook stands on what the notebooks before it built. An edit there that Python can compile may
still break the runtime, and would surface three notebooks later as somebody else's error.
"""

import contextlib
import json
import re
import sys
from collections.abc import Sequence

from labkit.course import workbook
from labkit.course.edits import edits, where
from labkit.course.run import MAIN
from labkit.course.workbook import Source
from labkit.exercise.sandboxed_run import CRASH, Limits, NoSandbox, SandboxedRun

# Every version knows these words; the first ones hand on a single word of the command.
WORDS = ("run", "-ti", "/bin/pwd")
# From notebook 11 on a command needs an image or a root: all that is here, in a second place.
ROOTFS, ROOT = "mydocker/rootfs.py", "/mnt"
WITH_ROOT = ("run", "-ti", "--rootfs", ROOT, "/bin/pwd")
TIMEOUT = 60  # seconds
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
    words = WITH_ROOT if ROOTFS in delivered else WORDS
    try:
        here = _start(mine, words)
        if _result(here) == WORKS or _result(here) == _result(_start(delivered, words)):
            return ""
    except (OSError, NoSandbox):
        return ""
    place, error = where(mine, here.output), _error(here, words)
    if place and any(place.endswith(f"({path})") for path in edited):
        return f"{place}: {error}"
    lines = "; ".join(edited.values())
    return f"{place}: {error}. Edited: {lines}" if place else f"{lines}: {error}"


def _start(files: dict[str, Source], words: Sequence[str]) -> SandboxedRun:
    """Run the runtime once, to its end, in a sandbox of its own."""
    argv = [sys.executable, "-m", "mydocker", *words]
    if ROOT in words:
        argv = ["sh", "-c", f'mount --rbind / {ROOT} && exec "$@"', "sh", *argv]
    with SandboxedRun(argv, workbook.install(files), limits=Limits(seconds=TIMEOUT)) as run:
        run.wait()
    return run


def _result(run: SandboxedRun) -> tuple[int | None, bool, bool]:
    """Return the status, whether there was a traceback, and whether the command printed a path."""
    printed_path = re.search("^/", run.output, re.MULTILINE) is not None
    return None if run.exceeded else run.status, CRASH in run.output, printed_path


def _error(run: SandboxedRun, words: Sequence[str]) -> str:
    """Return what went wrong, in the words of the runtime where it has some."""
    _, crashed, trace = run.output.rpartition(f"{CRASH}\n")
    if crashed and (last := re.search(r"^\S.*", trace, re.MULTILINE)):
        return last[0]
    last_line = run.output.strip().rpartition("\n")[2]
    with contextlib.suppress(ValueError, TypeError, KeyError):
        log = json.loads(last_line)
        last_line = str(log["msg"]) if log["level"] in ("fatal", "error") else ""
    command = f"`{' '.join(words)}`"
    if run.exceeded:
        return f"{command} did not end by itself: {run.exceeded}"
    if last_line and run.status:
        return last_line
    return f"{command} ended with status {run.status}, and the command did not run"
