"""The release version of the course: for learners, without solutions and without this folder."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat

from labkit.course import workbook
from labkit.errors import CourseError

COURSE = workbook.NOTEBOOKS.parent
HERE = Path(__file__).parent.name
PAGE = Path("docs", "classroom.md")
FILES = Path("vm", "files")  # the list of what belongs to the course
# The kit's own tests hold answers. A learner's `make test` needs these; the notebooks are the rest.
TESTS = {"__init__.py", "sanitize.cfg"}
# What a folder of notebooks holds besides.
BESIDE = {"exercises", "images"}


def main(folder: str) -> int:
    """Write the release version into a folder, and say so; return the exit status."""
    count = write(Path(folder))
    print(f"{folder} holds the release version; {count} solutions were taken out.")
    return 0


def write(target: Path, course: Path = COURSE) -> int:
    """Write the release version, whole or not at all.

    Args:
        target: where; it does not exist yet.
        course: the folder of the instructor's course.

    Returns:
        the number of solutions that were taken out.

    Raises:
        CourseError: the target is there, or no folder around it.
        OSError: it cannot be written; nothing is left.
    """
    target = target.absolute()
    if not target.parent.is_dir():
        raise CourseError(f"there is no folder {target.parent}")
    if os.path.lexists(target):
        raise CourseError(f"{target} is there already. Name a new folder")
    taken_out = 0
    names = [name for name in (course / FILES).read_text().split() if name != HERE]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as half:
        release = Path(half, "release")
        release.mkdir()  # with the rights that a new folder has here
        for name in names:
            if (course / name).is_file():
                (release / name).parent.mkdir(exist_ok=True)
                shutil.copy(course / name, release / name)
            else:
                shutil.copytree(course / name, release / name, ignore=_left_out(course))
        for path in workbook.notebooks(release / "notebooks").values():
            book = nbformat.read(path, as_version=4)
            taken_out += without_solutions(book)
            nbformat.write(book, path)
        (release / FILES).write_text("\n".join(names) + "\n")
        release.rename(target)
    return taken_out


def without_solutions(book: nbformat.NotebookNode) -> int:
    """Take the worked solutions out of a notebook, with their outputs.

    Args:
        book: the notebook, which is changed; its cells, all of them run, are counted anew.

    Returns:
        how many there were.
    """
    before = len(book.cells)
    book.cells = [
        cell for cell in book.cells if not workbook.is_magic(cell.source, workbook.SOLUTION)
    ]
    for count, cell in enumerate((cell for cell in book.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
    return before - len(book.cells)


def _left_out(course: Path) -> Callable[[str, list[str]], list[str]]:
    """Return what tells `shutil.copytree` which names in a folder of the course stay behind.

    Beside the course's own notebooks may lie earlier versions, with solutions.
    """
    books = {path.name for path in workbook.notebooks(course / "notebooks").values()}
    page = course / PAGE
    only = {course / "notebooks": books | BESIDE, course / "tests": TESTS}

    def left_out(folder: str, names: list[str]) -> list[str]:
        kept = only.get(Path(folder), names)
        return [
            name
            for name in names
            if name not in kept or name.startswith((".", "__py")) or Path(folder, name) == page
        ]

    return left_out
