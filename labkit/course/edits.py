"""What a learner edited in the runtime, and whether an error of it comes from there."""

import re
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path

from labkit.course import workbook
from labkit.course.run import MAIN
from labkit.course.workbook import LINUX, NOTEBOOKS, Source, WorkbookError

_FRAME = re.compile(r'File "([^"\n]*)", line ([0-9]+)')


def edits(mine: dict[str, Source], delivered: dict[str, Source]) -> dict[str, str]:
    """Return each file that differs, and in words the line where its cell begins to.

    Args:
        mine: the runtime that the learner's notebooks hold, as `workbook.runtime` returns it.
        delivered: the same from the notebooks as delivered.
    """
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
            if name != LINUX and f"/{path}".endswith(f"/{name}"):
                return f"{source.place}, line {int(line) + source.above} ({name})"
    return ""


def fault(error: Exception, upto: str | None, words: Sequence[str], folder: str) -> str:
    """Tell what an error of the runtime was, where it was, whose it is, and what helps.

    Args:
        error: what it caught.
        upto: the notebook whose runtime it is, None for the last.
        words: behind `labkit`, such as "run" and what follows.
        folder: of the notebooks, as `workbook.notebooks` takes it.
    """
    runtimes = []
    for place in (Path(folder), NOTEBOOKS):
        try:
            runtimes.append(workbook.runtime(upto, folder=place))
        except (WorkbookError, OSError):
            runtimes.append({})
    mine, delivered = runtimes
    what = str(error)
    if not isinstance(error, WorkbookError):
        line = where(mine, "".join(traceback.format_exception(error)))
        what = f"{line and f'{line}: '}{type(error).__name__}: {error}."
    if mine and not edits(mine, delivered):
        what += " Nobody edited the runtime, so this is a fault of the course; please report it."
    elif MAIN in delivered:
        what += f" Without your edits: labkit {words[0]} --delivered {shlex.join(words[1:])}"
    return what
