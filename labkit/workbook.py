"""The notebooks as the source of the runtime: reads them, assembles it, shows what changed.

A cell that begins with `%%source PATH` holds a whole file. The runtime after notebook NN is the
last such cell for each path in the notebooks up to NN.
"""

import difflib
import hashlib
import html
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
T = TypeVar("T")
# `%notebook` changes the working directory; a relative LABKIT_WORK means the one at the start.
try:
    _START = Path.cwd()
except FileNotFoundError:  # it was removed under us
    _START = Path("/")
_MAGIC = re.compile(r"%%source(?:[ \t]+(?P<path>[^\n]*))?(?:\n(?P<text>.*))?", re.DOTALL)


class WorkbookError(Exception):
    """A notebook, a number or a `%%source` cell that cannot be used; the message says why."""


@dataclass(frozen=True)
class Source:
    """One file of the runtime as one cell holds it.

    Attributes:
        path: where it goes, relative to the working folder.
        text: the whole file.
        place: which cell of which notebook, in words.
    """

    path: str
    text: str
    place: str


def notebooks(folder: Path = NOTEBOOKS) -> dict[int, Path]:
    """Return the course's notebooks by number: the files NN-name.ipynb in a folder."""
    found = sorted(folder.glob("[0-9][0-9]-*.ipynb"))
    return {int(path.name[:2]): path for path in found}


def notebook(number: str | int, folder: Path = NOTEBOOKS) -> tuple[int, Path]:
    """Return number and path of one notebook.

    Args:
        number: as a learner types it: 3, "3" or "03".
        folder: where the notebooks are.

    Raises:
        WorkbookError: there is none with this number.
    """
    known = notebooks(folder)
    word = str(number).strip()
    if not re.fullmatch("[0-9]{1,2}", word) or int(word) not in known:
        there = ", ".join(f"{n:02}" for n in known) or "none at all"
        raise WorkbookError(f"there is no notebook {word[:20]!r} in {folder}; there are: {there}")
    return int(word), known[int(word)]


def code(path: Path) -> list[tuple[int, str]]:
    """Return the code cells of a notebook, each with its position among all cells, from 1.

    Args:
        path: an .ipynb file.

    Raises:
        WorkbookError: it is no notebook.
    """
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found = [(n, cell) for n, cell in enumerate(cells, 1) if cell["cell_type"] == "code"]
        return [(n, "".join(cell["source"])) for n, cell in found]
    except OSError as error:
        raise WorkbookError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise WorkbookError(
            f"{path} is not a Jupyter notebook. Is it half saved, or another kind of file?"
        ) from None


def sources(path: Path) -> Iterator[Source]:
    """Yield the runtime's files that a notebook holds, in the order of its cells.

    Args:
        path: an .ipynb file.

    Raises:
        WorkbookError: it is no notebook, or a `%%source` cell is wrong.
    """
    for position, text in code(path):
        if match := _MAGIC.fullmatch(text):
            place = f"{path.name}, cell {position}"
            yield _source(match["path"] or "", match["text"] or "", place)


def runtime(
    upto: str | int | None = None, *, before: bool = False, folder: Path = NOTEBOOKS
) -> dict[str, Source]:
    """Assemble the runtime as it stands after a notebook.

    Args:
        upto: the notebook's number; None means all of them.
        before: leave this notebook itself out.
        folder: where the notebooks are.

    Returns:
        path to file; empty where no notebook so far holds one.

    Raises:
        WorkbookError: no such notebook, or one that cannot be used.
    """
    last = max(notebooks(folder), default=-1) if upto is None else notebook(upto, folder)[0]
    files: dict[str, Source] = {}
    for number, path in notebooks(folder).items():
        if number < last or (number == last and not before):
            files |= {source.path: source for source in sources(path)}
    return files


def install(files: dict[str, Source]) -> Path:
    """Write a runtime where `labkit run` can start it, once for each content.

    Args:
        files: as `runtime` returns it.

    Returns:
        the folder. Two calls at once, or a learner who edits meanwhile, do not disturb it.

    Raises:
        OSError: no folder can be written.
    """
    text = json.dumps([(source.path, source.text) for source in files.values()])
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = _cache() / digest
    for source in files.values():
        path = folder / source.path
        if not _holds(path, source.text):  # new, or somebody tidied the folder up
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix=".") as half:
                _write(Path(half, "file"), source.text)
                Path(half, "file").replace(path)  # readers find the whole file or none
    return folder


@dataclass(frozen=True)
class Change:
    """What a `%%source` cell changed; a notebook shows it as a diff.

    Attributes:
        path: the file.
        before: its text in the version before, None where it is new.
        after: its text now.
    """

    path: str
    before: str | None
    after: str

    @property
    def title(self) -> str:
        """One line that says what happened to the file."""
        count = len(self.after.splitlines())
        if self.before is None:
            return f"{self.path}: new, {count} lines"
        marks = [line[0] for line in self.lines()]
        if not marks:
            return f"{self.path}: as before"
        return f"{self.path}: {marks.count('+')} lines added, {marks.count('-')} removed"

    def lines(self) -> list[str]:
        """The changed lines with two lines around each, marked " ", "+", "-"; "@" for a gap."""
        if self.before is None:
            return []
        diff = difflib.unified_diff(self.before.splitlines(), self.after.splitlines(), n=2)
        lines = [line.rstrip("\n") for line in diff][2:]
        return ["@" if line.startswith("@@") else line for line in lines]

    def __repr__(self) -> str:
        """The diff as text, which is also what nbval compares."""
        lines = ["  ⋮" if line == "@" else line for line in self.lines()]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        style = {"+": "background:rgba(46,160,67,.22)", "-": "background:rgba(248,81,73,.2)"}
        rows = "".join(
            '<div style="opacity:.6">⋮</div>'
            if line == "@"
            else f'<div style="{style.get(line[0], "")}">{html.escape(line) or " "}</div>'
            for line in self.lines()
        )
        return (
            '<div style="font-family:var(--jp-code-font-family,monospace);'
            'font-size:13px;padding-left:8px">'
            f'<div style="font-weight:600;margin-bottom:4px">{html.escape(self.title)}</div>'
            f'<div style="white-space:pre-wrap;line-height:1.45">{rows}</div></div>'
        )


@dataclass
class Workbook:
    """A notebook at work: its working folder and the versions of the runtime's files in it.

    Attributes:
        number: the notebook's.
        folder: the working folder, which is the runtime's starting point and then its home.
        versions: path to the texts it had, oldest first.
    """

    number: int
    folder: Path
    versions: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def open(cls, number: str | int, folder: Path = NOTEBOOKS) -> "Workbook":
        """Fill the notebook's working folder with the runtime as it stands before it.

        Raises:
            WorkbookError: no such notebook, or an earlier one cannot be used.
        """
        found, _ = notebook(number, folder)
        book = cls(found, work_folder() / f"{found:02}")
        for source in runtime(found, before=True, folder=folder).values():
            book.put(source)
        book.folder.mkdir(parents=True, exist_ok=True)
        return book

    def put(self, source: Source) -> Change:
        """Write a file into the working folder and tell what changed.

        Raises:
            WorkbookError: the path leads outside the working folder through a link.
        """
        if not (self.folder / source.path).resolve().is_relative_to(self.folder.resolve()):
            raise WorkbookError(f"{source.place}: {source.path} leads outside the working folder")
        _keep_edits(self.folder, source.path)
        _write(self.folder / source.path, source.text)
        _record(self.folder, source)
        texts = self.versions.setdefault(source.path, [])
        if not texts or texts[-1] != source.text:
            texts.append(source.text)
        return Change(source.path, texts[-2] if len(texts) > 1 else None, source.text)

    def __repr__(self) -> str:
        """Say where this is and what is in it."""
        files = ", ".join(self.versions) or "empty so far"
        return f"working folder work/{self.number:02}: {files}"


def work_folder() -> Path:
    """Return where working folders live: `notebooks/work`, or what LABKIT_WORK names."""
    return _START / (os.environ.get("LABKIT_WORK") or NOTEBOOKS / "work")


def register(shell: Any) -> None:
    """Give an IPython shell (`InteractiveShell`) the magics `%notebook NN` and `%%source PATH`."""
    books: list[Workbook] = []

    def open_notebook(line: str) -> Workbook:
        book = _or_usage_error(lambda: Workbook.open(line))
        books[:] = [book]
        os.chdir(book.folder)
        return book

    def source(line: str, cell: str) -> Change:
        def put() -> Change:
            if not books:
                raise WorkbookError("first run the cell with %notebook, near the top")
            return books[0].put(_source(line, cell, "this cell"))

        return _or_usage_error(put)

    shell.register_magic_function(open_notebook, "line", "notebook")
    shell.register_magic_function(source, "cell", "source")


def _or_usage_error(action: Callable[[], T]) -> T:
    """Turn our error into IPython's one-line kind, which comes without a traceback."""
    from IPython.core.error import UsageError

    try:
        return action()
    except (WorkbookError, OSError) as error:
        raise UsageError(str(error)) from None


def _source(path: str, text: str, place: str) -> Source:
    path = path.strip()
    pure = PurePosixPath(path)
    if (
        not path
        or "\0" in path
        or pure.is_absolute()
        or ".." in pure.parts
        or pure == PurePosixPath(".")
    ):
        raise WorkbookError(
            f"{place}: %%source wants a path inside the working folder, such as "
            f"mydocker/init.py, not {path!r}"
        )
    if pure.suffix == ".py":
        try:
            compile(text, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            # The cell's first line is %%source, so its lines count one more than the file's.
            raise WorkbookError(
                f"{place}, line {(error.lineno or 0) + 1} ({path}): {error.msg}. "
                "The file was not written."
            ) from None
        except (ValueError, RecursionError, MemoryError) as error:
            reason = error or "too deeply nested for Python"
            raise WorkbookError(f"{place} ({path}): {reason}. The file was not written.") from None
    return Source(str(pure), text, place)


def _cache() -> Path:
    """Return a folder that this user can write, for the runtimes of `labkit run`."""
    own = Path(tempfile.gettempdir()) / f"labkit-{os.getuid()}"
    for folder in (work_folder() / "run", own):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
    raise PermissionError(13, f"cannot write below {work_folder()}, nor {own}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _holds(path: Path, text: str) -> bool:
    try:
        return path.read_text(encoding="utf-8") == text
    except (OSError, ValueError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _written(folder: Path) -> dict[str, str]:
    """Return what the working folder's files were when a cell last wrote them."""
    try:
        found: dict[str, str] = json.loads((folder / ".written.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _record(folder: Path, source: Source) -> None:
    written = _written(folder) | {source.path: _digest(source.text)}
    (folder / ".written.json").write_text(json.dumps(written))


def _keep_edits(folder: Path, path: str) -> None:
    """Set a file aside that somebody edited by hand since a cell wrote it."""
    try:
        text = (folder / path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    if _written(folder).get(path) != _digest(text):
        kept = next(
            name for n in range(1, sys.maxsize) if not (name := folder / f"{path}.{n}").exists()
        )
        (folder / path).rename(kept)
        print(f"{path} was edited by hand; that version is now {kept.name}", file=sys.stderr)
