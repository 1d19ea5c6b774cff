"""Finds what learners handed in: notebooks in folders, a hub's homes perhaps, and in zip files.

A zip file is what `labkit hand-in` packs, or what Moodle or Canvas give out for a whole class, with
such files in it. Nothing of one is written outside a temporary folder.
"""

import contextlib
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from labkit.course import renumbered, workbook

MAX_UNPACKED = 2_000_000_000  # bytes of all zip files together
MAX_FILES = 20_000  # in one zip file
MAX_DEPTH = 100  # folders in folders, and zip files in zip files
MINE = "mine"  # where a learner's home on a hub holds the copies; it does not name the learner
_NOTEBOOK = re.compile("[0-9]{2}-.*[.]ipynb")
_SUSPECT = re.compile("[.]ipynb|[.](tar|tgz|gz|xz|7z|rar)$")  # somebody meant to hand this in
# How Moodle (mod/assign/classes/downloader.php) and Canvas (lib/content_zipper.rb) name a file:
# "Anna Li_4711_assignsubmission_file/03-x.ipynb", "lianna_LATE_4711_815_03-x.ipynb".
_PLATFORMS = (
    re.compile(r"(?P<learner>[^/]+)_assignsubmission_file(?:_/|/|_)(?P<file>.+)"),
    re.compile(r"(?P<learner>\w+?_(?:LATE_)?[^\W_]+)_[0-9]+_(?P<file>[^/]+)"),
)
_SAVED = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}")  # below a VM's saved/
# RuntimeError: it is encrypted, or packed in a way that Python does not know.
_UNZIP_ERRORS = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Submission:
    """One notebook that a learner handed in.

    Attributes:
        learner: whose, in the words of the report.
        number: the notebook's, such as "03".
        path: the file.
        exercises: what it should hold.
        note: what an instructor should know about the choice of this file; "" mostly.
    """

    learner: str
    number: str
    path: Path
    exercises: tuple[str, ...]
    note: str = ""


@contextlib.contextmanager
def find(tops: Sequence[Path]) -> Iterator[tuple[list[Submission], list[str]]]:
    """Find what was handed in; zip files stay unpacked while the context lasts.

    Args:
        tops: folders and zip files. One that holds notebooks is one learner's; in any other, each
            folder below that holds some is, and each zip file.

    Yields:
        the submissions, by learner and number, and a line for whatever else was handed in.
    """
    with tempfile.TemporaryDirectory(prefix="labkit-grade-") as scratch:
        search = _Search(Path(scratch))
        for top in tops:
            search.add(top)
        yield list(search.submissions()), search.problems


class _Search:
    """What was found so far.

    Attributes:
        notebooks: a learner's folder, as it is told of, to the files by the notebooks' numbers.
        learners: the same folder to its name, which others may have as well.
        problems: a line for whatever cannot be used.
    """

    def __init__(self, scratch: Path) -> None:
        self.scratch, self.room = scratch, MAX_UNPACKED
        self.known = {
            f"{number:02}": path for number, path in workbook.notebooks(workbook.NOTEBOOKS).items()
        }
        self.notebooks: dict[Path, dict[str, list[Path]]] = {}
        self.learners: dict[Path, str] = {}
        self.problems: list[str] = []
        self.found = 0  # what there was to find or to tell

    def add(self, path: Path) -> None:
        """Search a folder or a zip file."""
        top = path.resolve()
        if top.is_file():
            learner = top.with_name(_learner(top))
            self._archive(top, top, learner, learner)
        else:
            self._folder(top, top, top, path)

    def submissions(self) -> Iterator[Submission]:
        """Yield one for each learner and number: what is named as delivered, else the first."""
        count = Counter(self.learners.values())
        names = {p: name if count[name] == 1 else str(p) for p, name in self.learners.items()}
        for place, learner in sorted(names.items(), key=lambda item: item[1]):
            for number, paths in sorted(self.notebooks[place].items()):
                own = self.known[number]
                chosen = next((path for path in paths if path.name == own.name), paths[0])
                others = ", ".join(path.name for path in paths if path != chosen)
                note = f"graded was {chosen.name}, not {others}" if others else ""
                exercises = tuple(workbook.exercises(own, workbook.ANSWER))
                yield Submission(learner, number, chosen, exercises, note)

    def _folder(self, folder: Path, place: Path, top: Path, shown: Path | None) -> None:
        """Search a folder.

        Args:
            folder: where it lies.
            place: as what it is told of.
            top: what was asked for; the rest of the place names the learner.
            shown: what is refused where there is no notebook in it; None where that is no fault.
        """
        before = self.found
        if len(folder.parts) > MAX_DEPTH:
            return self._refuse(place, f"it lies in more than {MAX_DEPTH} folders")
        try:
            paths = [
                p for p in sorted(folder.iterdir()) if not p.name.startswith((".", "__MACOSX"))
            ]
            folders = [path for path in paths if path.is_dir() and not path.is_symlink()]
        except OSError as error:
            return self._tell(f"cannot read {place}: {error.strerror}")
        files = [path for path in paths if path not in folders]
        own = [path for path in files if _NOTEBOOK.fullmatch(path.name)]
        for path in own:
            self._notebook(path, place, top)
        for path in files:
            if path.name.lower().endswith(".zip"):
                learner = place / _learner(path) if place == top and not own else place
                self._archive(path, place / path.name, learner, top)
            elif path not in own and (path.is_symlink() or _SUSPECT.search(path.name.lower())):
                self._refuse(place / path.name, "it is neither a file NN-….ipynb nor a zip file")
        saved = [path for path in folders if _SAVED.fullmatch(path.name)]
        for path in folders:
            inside = place if path in saved or path.name == MINE else place / path.name
            if own and path.name != "work":  # in `work` lies what the notebooks themselves made
                for lost in path.glob("*.ipynb"):
                    self._refuse(inside / lost.name, "it lies below other notebooks")
            elif not own and path not in saved[:-1]:  # of what a VM saved, the last counts
                self._folder(path, inside, top, inside if place == top else None)
        if shown and self.found == before:
            self._refuse(shown, "it holds no notebook NN-….ipynb")

    def _notebook(self, path: Path, place: Path, top: Path) -> None:
        number = path.name[:2]
        if now := renumbered.NAMES.get(path.name):
            why = f"it is of a course before 06 became two, in which {now[:2]} was {number}"
            return self._refuse(place / path.name, f"{why}; grade it with that")
        if number not in self.known:
            return self._refuse(place / path.name, f"no notebook {number} is known")
        self.found += 1
        self.learners.setdefault(place, str(place.relative_to(top)) if place != top else top.name)
        paths = self.notebooks.setdefault(place, {}).setdefault(number, [])
        paths += [path] if path not in paths else []

    def _archive(self, archive: Path, shown: Path, learner: Path, top: Path) -> None:
        """Unpack a zip file and search in it."""
        inside = archive.is_relative_to(self.scratch)
        folder = Path(tempfile.mkdtemp(dir=archive.parent if inside else self.scratch))
        try:
            self.room -= _unpack(archive, folder, self.room)
        except _UNZIP_ERRORS as error:
            said = error.strerror if isinstance(error, OSError) else error
            return self._refuse(shown, f"it cannot be unpacked: {said}")
        self._folder(folder, learner, top, shown)

    def _refuse(self, path: Path, why: str) -> None:
        self._tell(f"cannot use {path}: {why}")

    def _tell(self, problem: str) -> None:
        self.problems.append(problem)
        self.found += 1


def _unpack(archive: Path, folder: Path, room: int) -> int:
    """Unpack a zip file, of a platform's each file into a folder of its learner's.

    Args:
        archive: the file.
        folder: an empty one. Nothing is written elsewhere, whatever a file is called.
        room: how many bytes may be written.

    Returns:
        how many were.

    Raises:
        OSError, …: one of _UNZIP_ERRORS. It cannot be read, or holds more than it should.
    """
    with zipfile.ZipFile(archive) as file:
        members = [member for member in file.infolist() if not member.is_dir()]
        size = sum(member.file_size for member in members)  # more than that is never read
        if len(members) > MAX_FILES or size > room:
            raise ValueError(f"it holds more than {MAX_FILES:,} files or {room / 1e9:.1f} GB")
        for member in members:
            for found in filter(None, (form.fullmatch(member.filename) for form in _PLATFORMS)):
                learner = found["learner"].replace("_LATE_", "_")
                member.filename = f"{learner}/{found['file']}"
            file.extract(member, folder)
    return size


def _learner(archive: Path) -> str:
    return archive.stem.removeprefix("hand-in-")
