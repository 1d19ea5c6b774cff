"""The notebooks as they were delivered, and the way back to them.

They come from a copy that lies beside the course, or, where git keeps the course, from its last
commit.
"""

import contextlib
import io
import os
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import Source, WorkbookError

COURSE = workbook.NOTEBOOKS.parent
COPY = ".as-delivered"  # `vm/guest/labkit-course` writes it too
_NOTEBOOK = re.compile(r"[0-9]{2}-[^/]*\.ipynb")


@contextlib.contextmanager
def folder(course: Path = COURSE) -> Iterator[Path]:
    """Give a folder with the notebooks as they were delivered, to be read only.

    Args:
        course: the folder that holds `notebooks`.

    Raises:
        WorkbookError: nobody kept them; the message says what was tried.
    """
    if (course / COPY).is_dir():
        yield course / COPY
        return
    if not (course / ".git").exists():
        raise WorkbookError(
            f"nobody kept the notebooks as they were delivered: {course} has neither "
            f"{COPY} (make setup writes it at the first start) nor a git checkout"
        )
    with tempfile.TemporaryDirectory(prefix="labkit-") as place:
        for name, content in _last_commit(course):
            Path(place, name).write_bytes(content)
        yield Path(place)


def runtime(upto: str | int | None = None) -> dict[str, Source]:
    """Assemble the runtime as it was delivered.

    Args:
        upto: the number of the notebook after which it is asked for; None means all of them.

    Raises:
        WorkbookError: as `folder` and `workbook.runtime` do.
    """
    with folder() as kept:
        return workbook.runtime(upto, folder=kept)


def keep(course: Path) -> None:
    """Write the copy of a course's notebooks as they are now, in place of an older one.

    For who delivers a course without git: `labkit class`, and the first `make setup`.

    Args:
        course: the folder that holds `notebooks`.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(dir=course, prefix=f"{COPY}-") as place:
        new = Path(place, "new")
        new.mkdir()
        for path in (course / "notebooks").glob("*.ipynb"):
            if _NOTEBOOK.fullmatch(path.name):
                (new / path.name).write_bytes(path.read_bytes())
        if (course / COPY).exists():
            (course / COPY).rename(Path(place, "before"))
        new.rename(course / COPY)


def is_edited(path: Path, delivered: Path) -> bool:
    """Tell whether a notebook differs from the delivered one of the same name.

    Args:
        path: the notebook, which need not exist.
        delivered: what `folder` gave.
    """
    try:
        return path.read_bytes() != (delivered / path.name).read_bytes()
    except OSError:
        return True


def reset(number: str | int, agree: Callable[[str], bool], course: Path = COURSE) -> str:
    """Bring a notebook back to how it was delivered, and keep the learner's beside it.

    Args:
        number: the notebook's, as a learner types it.
        agree: asked before anything happens; False leaves all as it is.
        course: the folder that holds `notebooks`.

    Returns:
        what was done, in a sentence or two.

    Raises:
        WorkbookError: there is no such notebook, or nobody kept what was delivered.
        OSError: a file cannot be written; nothing is lost.
    """
    with folder(course) as delivered:
        found, theirs = workbook.notebook(number, delivered)
        content = theirs.read_bytes()
        mine = course / "notebooks" / theirs.name
        if not is_edited(mine, delivered):
            return f"{mine.name} is as it was delivered; there is nothing to do."
        only = " (only outputs differ)" if _same_sources(mine, theirs) else ""
    question, kept = f"Bring {mine.name} back to how it was delivered{only}?", None
    if os.path.lexists(mine):
        kept = _free_name(mine)
        question += f" Yours is kept as {kept.name}."
    if not agree(question):
        return f"{mine.name} stays as it is."
    with tempfile.TemporaryDirectory(dir=mine.parent, prefix=".labkit-") as half:
        new = Path(half, mine.name)
        new.write_bytes(content)
        if kept:
            mine.rename(kept)
        new.rename(mine)
    beside = f", yours is {kept.name}" if kept else ""
    return (
        f"{mine.name} is as it was delivered{beside}.\n"
        "Where JupyterLab shows it: File → Reload Notebook from Disk.\n"
        f"What you passed in it still counts; labkit progress --reset {found:02} forgets that."
    )


def _last_commit(course: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each notebook in git's HEAD."""
    # Git refuses a folder of another user, whose settings might start programs as us. This very
    # program comes from that folder, so nothing is gained by that.
    git = ["git", "-C", str(course), "-c", f"safe.directory={course}"]
    command = [*git, "archive", "--format=tar", "HEAD:notebooks"]
    # A hook, for one, names another repository here.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        run = subprocess.run(command, env=environment, input=b"", capture_output=True, check=True)
    except OSError as error:
        raise WorkbookError(
            f"the notebooks as delivered are in git, which cannot be started: {error.strerror}. "
            "Cure: sudo apt install git"
        ) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise WorkbookError(
            f"git does not give out the notebooks as delivered: {said[0]}"
        ) from None
    with tarfile.open(fileobj=io.BytesIO(run.stdout)) as archive:
        for member in archive:
            file = archive.extractfile(member) if _NOTEBOOK.fullmatch(member.name) else None
            if file:
                yield member.name, file.read()


def _same_sources(mine: Path, theirs: Path) -> bool:
    try:
        return workbook.cells(mine) == workbook.cells(theirs)
    except WorkbookError:
        return False


def _free_name(path: Path) -> Path:
    """Return a name beside it that is free, and that is none of the course's notebooks."""
    names = [f"my-{path.name}"]
    while os.path.lexists(free := path.with_name(names[-1])):
        names.append(f"my-{path.stem}-{len(names) + 1}.ipynb")
    return free
