"""The notebooks as the source of the runtime: reads them, assembles it.

A cell that begins with `%%source PATH` holds a whole file. The runtime after notebook NN is the
last such cell for each path in the notebooks up to NN; `%%source PATH replaces OTHER …` also ends
other files. To that comes a copy of `labkit.linux`, so that it runs without labkit.
"""

import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path, PurePosixPath
from textwrap import dedent
from typing import Any

from labkit import places
from labkit.course.run import MAIN
from labkit.errors import CourseError

NOTEBOOKS = Path(places.NOTEBOOKS)
SOURCE, ANSWER, SOLUTION = "%%source", "%%answer", "%%solution"
LINUX, START = "mydocker/linux.py", "start.py"
_START = '''"""Starts mydocker from any folder, as `python3 -m mydocker` does from this one."""

import gc
import sys

gc.set_threshold(100_000)  # what is imported stays: looking for garbage in it costs a start 0.3 ms

from mydocker.__main__ import main

sys.exit(main())
'''
# Beside START where there is OCI: podman's `--runtime PATH` wants a program.
OCI, PROGRAM = "mydocker/oci.py", "mydocker-oci"
_PROGRAM = f"""#!{sys.executable}
import sys

from mydocker.oci import main

sys.exit(main())
"""
_EXERCISE = re.compile(r"[0-9]{2}\.[0-9]+")


class WorkbookError(CourseError):
    """A notebook, a number or a `%%source` cell that cannot be used; the message says why."""


@dataclass(frozen=True)
class Source:
    """One file of the runtime as one cell holds it.

    Attributes:
        path: where it goes, relative to the working folder.
        text: the whole file.
        place: which cell of which notebook, in words.
        above: how many lines of the cell stand above the file's first.
        replaces: files that are no more.
    """

    path: str
    text: str
    place: str
    above: int = 1
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Magic:
    """A cell whose first line begins with `%%`.

    Attributes:
        name: such as "%%source".
        line: what stands behind the name.
        body: the lines below.
        above: how many lines of the cell stand above the body's first.
    """

    name: str
    line: str
    body: str
    above: int


def magic(text: str) -> Magic | None:
    """Return what IPython's `TransformerManager` makes of a cell: a cell magic, or None.

    It drops empty lines at the top and indentation that all lines share, and refuses a magic
    without a body. That it also drops prompts that were pasted along is left out here.
    """
    text = text if text.endswith("\n") else f"{text}\n"
    shown = dropwhile(str.isspace, text.splitlines(keepends=True))
    lines = dedent("".join(shown)).splitlines(keepends=True)
    body = "".join(lines[1:])
    if not body or not lines[0].startswith("%%") or re.match(r"%%\w+\?", lines[0]):
        return None
    name, _, line = lines[0].rstrip().partition(" ")
    return Magic(name, line, body, text.count("\n") - body.count("\n"))


def is_magic(text: str, name: str) -> bool:
    """Tell whether a cell is the cell magic of this name, such as SOLUTION."""
    cell = magic(text)
    return cell is not None and cell.name == name


def lines_above(shell: Any, body: str) -> int:
    """Return how many lines of the cell that an IPython shell runs stand above a magic's body."""
    cell = magic((shell.history_manager.input_hist_raw or [""])[-1])
    return cell.above if cell and cell.body.rstrip("\n") == body.rstrip("\n") else 1


def mine() -> Path:
    """Return the folder of the learner's copies."""
    return Path(places.mine())


def notebooks(folder: Path | None = None) -> dict[int, Path]:
    """Return the course's notebooks by number: the files NN-name.ipynb.

    Args:
        folder: where they are. In `mine()` those count that are named as delivered, and what is
            not there is taken from NOTEBOOKS. None is `mine()` for a kernel that was started
            there, else NOTEBOOKS.
    """
    folder = folder or Path(places.here())
    found: dict[int, Path] = {}
    for place in (NOTEBOOKS, folder) if folder == mine() else (folder,):
        for path in sorted(place.glob("[0-9][0-9]-*.ipynb"), reverse=True):
            number = int(path.name[:2])
            if number not in found or path.name == found[number].name:
                found[number] = path
    return dict(sorted(found.items()))


def notebook(number: str | int, folder: Path | None = None) -> tuple[int, Path]:
    """Return number and path of one notebook.

    Args:
        number: as a learner types it: 3, "3" or "03".
        folder: as `notebooks` takes it.

    Raises:
        WorkbookError: there is none with this number.
    """
    known = notebooks(folder)
    word = str(number).strip()
    if not re.fullmatch("[0-9]{1,2}", word) or int(word) not in known:
        there = ", ".join(f"{n:02}" for n in known) or f"none at all in {folder or places.here()}"
        raise WorkbookError(f"there is no notebook {word[:20]!r}; there are: {there}")
    return int(word), known[int(word)]


def cells(path: Path) -> list[tuple[str, str]]:
    """Return type ("code", "markdown", …) and source of each cell of a notebook, a .ipynb file.

    Raises:
        WorkbookError: it cannot be read, or it is no notebook.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be read for ever
            raise WorkbookError(f"{path} is no file. Cure: move it away")
        parts = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [(str(cell["cell_type"]), "".join(cell["source"])) for cell in parts]
    except OSError as error:
        raise WorkbookError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WorkbookError(
            f"{path} is not a Jupyter notebook. Is it half saved, or another kind of file?"
        ) from None


def number(word: object) -> str:
    """Return the number of an exercise, such as "03.2", as people write it: 3.2, too."""
    return str(word).strip().zfill(len("03.2"))


def exercises(path: Path, name: str) -> dict[str, str]:
    """Return the answers or solutions in a notebook: number to text; of several, the last.

    Args:
        path: an .ipynb file.
        name: ANSWER or SOLUTION.

    Raises:
        WorkbookError: it is no notebook.
    """
    found = [magic(source) for kind, source in cells(path) if kind == "code"]
    named = [(number(cell.line), cell.body) for cell in found if cell and cell.name == name]
    return {exercise: text for exercise, text in named if _EXERCISE.fullmatch(exercise)}


def sources(path: Path) -> Iterator[Source]:
    """Yield the runtime's files that a notebook holds, in the order of its cells.

    Raises:
        WorkbookError: it is no notebook, or a `%%source` cell is wrong.
    """
    for position, (kind, text) in enumerate(cells(path), 1):
        if kind == "code" and (cell := magic(text)) and cell.name == SOURCE:
            yield source(cell.line, cell.body, f"{path.name}, cell {position}", cell.above)


def source(path: str, text: str, place: str, above: int = 1) -> Source:
    """Return what a `%%source` cell holds.

    Args:
        path: what stands behind `%%source`: the file's, and perhaps " replaces " and others'.
        text: the lines below it.
        place: which cell this is, for the message.
        above: as in `Source`.

    Raises:
        WorkbookError: the path is none, or the text is no Python.
    """
    path, _, replaced = path.partition(" replaces ")
    pure = PurePosixPath(path.strip())
    if not pure.parts or pure.is_absolute() or ".." in pure.parts:
        raise WorkbookError(
            f"{place}: %%source wants a path inside the working folder, such as "
            f"mydocker/init.py, not {path.strip()!r}"
        )
    line, problem = refused(str(pure), text)
    if problem:
        where = f"{place}, line {line + above}" if line else place
        raise WorkbookError(f"{where} ({pure}): {problem}. The file was not written.")
    return Source(str(pure), text, place, above, tuple(replaced.split()))


def refused(path: str, text: str) -> tuple[int, str]:
    """Return where and why a text cannot be a file of this name; "" where it can.

    Returns:
        the line, 0 where it is none in particular, and the reason: Python's, for a `.py`.
    """
    try:
        (path + text).encode()
        if path.endswith(".py"):
            compile(text, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return error.lineno or 0, str(error.msg)
    except (ValueError, RecursionError, MemoryError) as error:
        return 0, str(error) or "too deeply nested for Python"
    return 0, ""


def runtime(
    upto: str | int | None = None, *, before: bool = False, folder: Path | None = None
) -> dict[str, Source]:
    """Assemble the runtime as it stands after a notebook.

    Args:
        upto: the notebook's number; None means all of them.
        before: leave this notebook itself out.
        folder: as `notebooks` takes it.

    Returns:
        path to file; empty where no notebook so far holds one.

    Raises:
        WorkbookError: no such notebook, or one that cannot be used.
    """
    last = max(notebooks(folder), default=-1) if upto is None else notebook(upto, folder)[0]
    files: dict[str, Source] = {}
    for number, path in notebooks(folder).items():
        if number < last or (number == last and not before):
            for found in sources(path):
                for name in found.replaces:
                    files.pop(name, None)
                files[found.path] = found
    if MAIN in files:
        text = Path(places.LINUX).read_text(encoding="utf-8")
        files[LINUX] = Source(LINUX, text, "labkit/linux.py", 0)
    return files


def install(files: dict[str, Source]) -> Path:
    """Write a runtime where `labkit run` can start it, once for each content.

    Args:
        files: as `runtime` returns it.

    Returns:
        the folder. Two calls at once, or a learner who edits meanwhile, do not disturb it.

    Raises:
        OSError: it cannot be written.
    """
    text = json.dumps([(source.path, source.text) for source in files.values()])
    folder = work_folder() / "run" / hashlib.sha256(text.encode()).hexdigest()[:12]
    try:
        export(files, folder)
    except OSError as error:
        cure = "Cure: LABKIT_MINE=/a/folder/of/yours"
        raise OSError(error.errno, f"{error.strerror}. {cure}", str(folder)) from None
    return folder


def export(files: dict[str, Source], folder: Path) -> None:
    """Write a runtime, START and PROGRAM into a folder; a file that is so already stays as it is.

    Args:
        files: as `runtime` returns it.
        folder: any.

    Raises:
        OSError: it cannot be written.
    """
    texts = {path: source.text for path, source in files.items()}
    more = {START: (MAIN, _START), PROGRAM: (OCI, _PROGRAM)}
    texts |= {name: text for name, (wanted, text) in more.items() if wanted in files}
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():  # new, or damaged
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text)
            path.chmod(path.stat().st_mode | 0o111 * (name == PROGRAM))


def write(path: Path, content: str | bytes) -> None:
    """Write a file whose folder exists; who reads it meanwhile finds all of the old or the new."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as half:
        data = content.encode() if isinstance(content, str) else content
        Path(half, "file").write_bytes(data)
        Path(half, "file").replace(path)


def spare_name(path: Path) -> Path:
    """Return a free name beside a file: NAME.1.EXT, else NAME.2.EXT and so on."""
    names = (path.with_name(f"{path.stem}.{n}{path.suffix}") for n in range(1, sys.maxsize))
    return next(name for name in names if not os.path.lexists(name))


def put_aside(path: Path) -> Path:
    """Rename what lies in the way to its `spare_name` and return that."""
    return path.rename(spare_name(path))


def work_folder() -> Path:
    """Return where working folders live."""
    return Path(places.work_folder())
