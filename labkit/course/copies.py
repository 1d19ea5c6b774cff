"""The learner's copies of the notebooks, in `mine/`. Those in `notebooks/` stay as delivered.

A copy carries no outputs, since an answer that stands there already spoils the guess.
"""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labkit.course import progress, renumbered, workbook
from labkit.course.workbook import WorkbookError

# Name to digest of the sources that were copied, or that were last laid beside the learner's.
RECORD = ".copied.json"
QUIZ = "Guess: "  # what the text form of a quiz begins with
BESIDE = ("exercises", "images")  # what a folder of notebooks holds besides
BEFORE = ".as-delivered"  # where a course without git kept its notebooks before there was `mine/`


def prepare() -> list[str]:
    """Make the copies that are missing, and renew those that nobody has begun.

    Returns:
        a sentence for each thing that the learner should know.

    Raises:
        OSError: they cannot be written.
    """
    folder, said, moved = workbook.mine(), list[str](), list[str]()
    folder.mkdir(parents=True, exist_ok=True)
    record = _record(folder)
    if not (folder / RECORD).exists() and folder.parent == workbook.NOTEBOOKS.parent:
        try:
            moved.extend(_take_over(folder))
        except (OSError, subprocess.CalledProcessError) as error:
            why = str(getattr(error, "stderr", "") or error).strip()
            said.append(f"What you changed in notebooks/ could not be moved to {folder}: {why}")
        said += [f"notebooks/{name} was yours; it is now {folder / name}." for name in moved]
    progress.take_over()
    said += renumbered.renumber(folder, record, _digest)
    for path in workbook.notebooks(workbook.NOTEBOOKS).values():
        try:
            now = digest(path)
        except WorkbookError as error:
            said.append(f"{error}; no copy of it is made")
            continue
        copied = now if path.name in moved else record.get(path.name, "")
        if said_of_it := _renew(path, folder / path.name, now, copied):
            said.append(said_of_it)
        record[path.name] = now
    _write_record(folder, record)
    return said


def reset(number: str | int, agree: Callable[[str], bool]) -> str:
    """Copy a notebook anew, and keep the learner's beside it.

    Args:
        number: the notebook's, as a learner types it.
        agree: asked before anything happens; False leaves all as it is.

    Returns:
        what was done, in a sentence or two.

    Raises:
        WorkbookError: there is no such notebook.
        OSError: a file cannot be written; nothing is lost.
    """
    found, path = workbook.notebook(number, workbook.NOTEBOOKS)
    folder = workbook.mine()
    copy, text, now = folder / path.name, copy_of(path), digest(path)
    kept = None
    if os.path.lexists(copy):
        if copy.is_file() and copy.read_bytes() == text.encode():
            return f"{copy.name} is as it was delivered; there is nothing to do."
        kept = workbook.spare_name(copy)
        only = " (only outputs differ)" if _digest(copy) == now else ""
        question = f"Bring {copy.name} back to how it was delivered{only}?"
        if not agree(f"{question} Yours is kept as {kept.name}."):
            return f"{copy.name} stays as it is."
        workbook.put_aside(copy)
    folder.mkdir(parents=True, exist_ok=True)
    workbook.write(copy, text)
    _write_record(folder, _record(folder) | {path.name: now})
    return (
        f"{copy.name} is as it was delivered{f', yours is {kept.name}' if kept else ''}.\n"
        "Where JupyterLab shows it: File → Reload Notebook from Disk.\n"
        f"What you passed in it still counts; labkit progress --reset {found:02} forgets that."
    )


def hand_in(name: str) -> Path:
    """Pack the learner's notebooks into `mine/hand-in-NAME.zip`, as they were last saved.

    Args:
        name: the learner's, as whoever grades knows it.

    Returns:
        the file.

    Raises:
        WorkbookError: the name can name no file, or there are no copies yet.
        OSError: it cannot be written.
    """
    if not name.isprintable() or "/" in name or not name.strip(". "):
        raise WorkbookError(f"{name!a} can name no file. Say who you are: labkit hand-in ada")
    folder = workbook.mine()
    names = [path.name for path in workbook.notebooks(workbook.NOTEBOOKS).values()]
    books = [folder / name for name in names if (folder / name).is_file()]
    if not books:
        raise WorkbookError(f"there are no notebooks of yours in {folder}; make lab makes them")
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as packed:
        for book in books:
            packed.write(book, book.name)
    file = folder / f"hand-in-{name}.zip"
    workbook.write(file, data.getvalue())
    return file


def digest(path: Path) -> str:
    """Return the digest of a notebook's sources; outputs and empty cells do not count.

    Raises:
        WorkbookError: it is no notebook.
    """
    cells = [cell for cell in workbook.cells(path) if cell[1].strip()]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def copy_of(path: Path) -> str:
    """Return the text of a learner's copy: without outputs, a quiz's code folded away.

    What a quiz shows where it was not run stays: the question, and that the cell is to be run.
    """
    book = json.loads(path.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            quiz = [shown for shown in cell.get("outputs", []) if _is_quiz(shown)]
            cell |= {"execution_count": None, "outputs": quiz}
            for shown in quiz:
                shown["execution_count"] = None
                cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _renew(path: Path, copy: Path, now: str, copied: str) -> str:
    """Bring a copy up to date where that takes nothing from the learner; return what to tell."""
    theirs = _digest(copy)
    if not os.path.lexists(copy) or (theirs == copied != now):
        workbook.write(copy, copy_of(path))
    elif now not in (theirs, copied):
        beside = copy.with_suffix(".newer.ipynb")
        if os.path.lexists(beside) and _digest(beside) != copied:
            workbook.put_aside(beside)
        workbook.write(beside, copy_of(path))
        return f"{copy.name}: the course has a newer one; it lies beside yours as {beside.name}."
    return ""


def _take_over(folder: Path) -> Iterator[str]:
    """Move what a learner left in `notebooks/`, before there was `mine/`; yield the names."""
    books, kept = workbook.NOTEBOOKS, workbook.NOTEBOOKS.parent / BEFORE
    yield from _move("work", folder)
    if kept.is_dir():
        for path in sorted(books.glob("[!.]*")):
            before = kept / path.name
            theirs = path.name not in BESIDE and not re.match("[0-9]{2}-", path.name)
            if path.read_bytes() != before.read_bytes() if before.exists() else theirs:
                yield from _move(path.name, folder)
        shutil.copytree(kept, books, dirs_exist_ok=True)
        shutil.rmtree(kept)
    elif (books.parent / ".git").exists():
        for name in _git("ls-files", "-zmo", "--exclude-standard", "--directory"):
            yield from _move(name.rstrip("/"), folder)
        if gone := _git("ls-files", "-z", "--deleted"):
            _git("checkout", "--quiet", "--", *gone)


def _move(name: str, folder: Path) -> Iterator[str]:
    if "/" not in name and os.path.lexists(workbook.NOTEBOOKS / name):
        if os.path.lexists(folder / name):
            workbook.put_aside(folder / name)
        shutil.move(workbook.NOTEBOOKS / name, folder / name)
        yield name


def _git(*words: str) -> list[str]:
    """Return the names that git prints about `notebooks/`."""
    # Git refuses a folder of another user, whose settings might start programs as us. This very
    # program comes from that folder, so nothing is gained by that.
    git = ["git", "-c", "safe.directory=*", "-C", str(workbook.NOTEBOOKS), *words]
    run = subprocess.run(git, capture_output=True, text=True, check=True)
    return run.stdout.split("\0")[:-1]


def _digest(path: Path) -> str:
    """Return the digest of a learner's notebook, "" where it is none: half saved, perhaps."""
    try:
        return digest(path)
    except WorkbookError:
        return ""


def _record(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / RECORD).read_text()))
    except (FileNotFoundError, ValueError):
        return {}


def _write_record(folder: Path, record: dict[str, str]) -> None:
    workbook.write(folder / RECORD, json.dumps(record, indent=1) + "\n")


def _is_quiz(output: dict[str, Any]) -> bool:
    return "".join(output.get("data", {}).get("text/plain", "")).startswith(QUIZ)
