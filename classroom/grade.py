"""Grades what learners handed in: a sandboxed worker for each notebook, as many as there are cores.

Nothing of a notebook runs in this process, nor as the machine's root.
"""

import contextlib
import json
import os
import pwd
import re
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from errno import ELOOP, ENOTDIR
from pathlib import Path
from typing import TypedDict

from classroom.worker import JUDGED, START, Limits
from labkit import hardened
from labkit.course import workbook
from labkit.errors import CourseError, fail
from labkit.exercise.verdict import cells

ROOT = workbook.NOTEBOOKS.parent
NOBODY = "nobody"
LARGEST = 50_000_000  # bytes of a notebook that is handed in
_HEARD = 1_000_000  # bytes of a worker's report
_NAME = re.compile("([0-9]{2})-.*[.]ipynb")
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".xz", ".7z", ".rar")


class Settings(TypedDict, total=False):
    """Arguments of `subprocess.run` and `subprocess.Popen`."""

    env: dict[str, str]
    user: int
    group: int
    extra_groups: list[int]


class GradeError(CourseError):
    """Nothing can be graded; the message says why."""


@dataclass(frozen=True)
class Paper:
    """One notebook that somebody handed in.

    Attributes:
        learner: whose, in the words of the table.
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


@dataclass
class Result:
    """What was found out about a paper.

    Attributes:
        paper: which.
        verdicts: exercise to whether it passed, and a message.
        runs: what went wrong first when it ran from top to bottom; "" where nothing did.
        problem: why it could not be graded; "" where it was.
    """

    paper: Paper
    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    runs: str = ""
    problem: str = ""


def main(options: Namespace) -> int:
    """Do what `labkit grade` was asked for; return the exit status.

    Args:
        options: folders, out, seconds, memory and workers, as `labkit grade --help` tells.

    Raises:
        CourseError: nothing can be graded, or the table could not be written.
    """
    from classroom import report

    out = Path(options.out)
    if not out.is_dir():
        raise GradeError(f"there is no folder {out} to write into")
    if not os.access(out, os.W_OK | os.X_OK):  # not when an hour of grading is over
        raise GradeError(f"cannot write into {out}. Name another folder with --out")
    limits = Limits(seconds=options.seconds, memory=options.memory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it, too, leaves a table behind
    results, stopped = [], False
    with course() as books:
        found, problems = papers([Path(folder) for folder in options.folders], books)
        for problem in problems:
            fail(f"grade: {problem}")
        if not found:
            return 1
        workers = options.workers or len(os.sched_getaffinity(0))
        try:
            graded = grade(found, books, limits, user(), workers)
            for result in with_progress(graded, len(found)):
                results.append(result)
        except KeyboardInterrupt:
            stopped = True
    written = report.write(results, out)
    print(f"{len(results)} of {len(found)} notebooks graded: {' and '.join(map(str, written))}")
    return 130 if stopped else int(bool(problems or any(result.problem for result in results)))


@contextlib.contextmanager
def course() -> Iterator[Path]:
    """Give the folder with the notebooks that papers are held against: as they were delivered."""
    yield workbook.NOTEBOOKS


def papers(folders: Sequence[Path], books: Path) -> tuple[list[Paper], list[str]]:
    """Find what was handed in.

    Args:
        books: the folder with the course's notebooks.
        folders: one that holds notebooks is one learner's; in any other, each folder below that
            holds some is.

    Returns:
        the papers, by learner and number, and a line for whatever else was handed in.
    """
    problems: list[str] = []
    lengths: dict[Path, int] = {}  # how many of a path's last parts name the learner
    for folder in folders:
        try:
            before = list(problems)
            top = folder.resolve(strict=True)
            if not top.is_dir():
                raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR))
            found = _submissions(top, problems)
        except OSError as error:
            problems.append(f"cannot read {folder}: {error.strerror}")
            continue
        if not found and problems == before:
            problems.append(f"{folder} holds no notebook NN-….ipynb, nor does a folder in it")
        for place in found:
            lengths.setdefault(place, len(place.relative_to(top).parts) or 1)
    return [
        paper
        for place, learner in sorted(_told_apart(lengths).items(), key=lambda item: item[1])
        for paper in _papers_in(place, learner, books, problems)
    ], problems


def user() -> str:
    """Return as which user a paper runs: "" for this one, another where this one is root.

    Raises:
        GradeError: it cannot start this program.
    """
    if os.geteuid() != 0:
        return ""
    command = [sys.executable, "-Ps", "-c", "import classroom.worker, ipykernel"]
    with tempfile.TemporaryDirectory(prefix="labkit-grade-") as place:
        Path(place).chmod(0o755)
        try:
            run = subprocess.run(command, cwd=place, capture_output=True, **_as(NOBODY, place))
            reason = "" if run.returncode == 0 else run.stderr.decode(errors="replace").strip()
        except OSError as error:
            reason = f"{error.filename}: {error.strerror}"
    if reason:
        raise GradeError(
            f"notebooks that others wrote do not run as root, and as the user {NOBODY} this does "
            f"not start ({reason.splitlines()[-1]}). Start it as an ordinary user"
        )
    return NOBODY


def grade(
    papers: Sequence[Paper], books: Path, limits: Limits, user: str, workers: int
) -> Iterator[Result]:
    """Grade papers, several at a time.

    Args:
        papers: what was handed in.
        books: the folder with the course's notebooks.
        limits: for each.
        user: as whom they run; "" means as this user.
        workers: how many at a time.

    Yields:
        a result for each paper, as they get done. What was started ends with the iteration.
    """
    todo, busy = list(reversed(papers)), selectors.DefaultSelector()
    runtimes = {number: _runtime(number, books) for number in {paper.number for paper in papers}}
    try:
        while todo or busy.get_map():
            while todo and len(busy.get_map()) < workers:
                try:
                    worker = _Worker(todo[-1], runtimes[todo[-1].number], limits, user)
                except (GradeError, OSError) as error:
                    yield Result(todo.pop(), problem=str(error))
                    continue
                busy.register(worker.report, selectors.EVENT_READ, worker)
                todo.pop()
            for key, _ in busy.select(0.2):
                if not key.data.read():
                    busy.unregister(key.fileobj)
                    yield key.data.result()
            for key in list(busy.get_map().values()):
                key.data.end_if_late()
    finally:
        for key in list(busy.get_map().values()):
            key.data.close()
        busy.close()


def with_progress(results: Iterable[Result], count: int) -> Iterator[Result]:
    """Yield results, and show on stderr how far it is: a bar on a terminal, else a line for each.

    Args:
        results: as they come.
        count: how many there will be.
    """
    from tqdm import tqdm

    seen = sys.stderr.isatty()
    with tqdm(total=count, unit="notebook", disable=not seen) as bar:
        for done, result in enumerate(results, 1):
            bar.update()
            bar.set_postfix_str(_line(result))
            if not seen:
                print(f"{done}/{count} {_line(result)}", file=sys.stderr, flush=True)
            yield result


class _Worker:
    """A process that marks one paper, in a sandbox and a folder of its own."""

    def __init__(self, paper: Paper, runtime: str, limits: Limits, user: str) -> None:
        self.paper, self._heard, self._late = paper, bytearray(), False
        # A worker that hangs in spite of its own limits is ended, too.
        longest = START + limits.total + JUDGED * len(paper.exercises) + 60
        self._end = time.monotonic() + longest
        self._folder = Path(tempfile.mkdtemp(prefix="labkit-grade-"))
        try:
            text = _read(paper.path)
            run = self._folder / "run"
            run.mkdir()
            copy = self._folder / "handed-in.ipynb"
            copy.write_bytes(text)
            files = self._folder / "runtime.json"
            files.write_text(runtime, encoding="utf-8")
            if user:
                for place in (self._folder, run, copy, files):
                    shutil.chown(place, user)
            python = [sys.executable, "-Ps", "-m"]
            words = [copy, files, ",".join(paper.exercises), run, json.dumps(asdict(limits))]
            command = [*python, "labkit.hardened", self._folder]
            self._process = subprocess.Popen(
                [*map(str, [*command, *python, "classroom.worker", *words])],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=(self._folder / "errors").open("wb"),
                start_new_session=True,
                **_as(user, str(self._folder)),
            )
        except BaseException:
            shutil.rmtree(self._folder)
            raise
        assert self._process.stdout
        self.report = self._process.stdout.fileno()

    def read(self) -> bool:
        """Take what it reports; False where that was all."""
        some = os.read(self.report, 65536)
        self._heard += some
        return bool(some) and len(self._heard) < _HEARD

    def end_if_late(self) -> None:
        """End it where it has had more than its time; its report ends then, too."""
        if time.monotonic() > self._end:
            self._late = True
            self._process.kill()

    def result(self) -> Result:
        """Return what it has found out."""
        result = Result(self.paper)
        shows: dict[str, str] = {}
        done = False
        for line in self._heard.decode(errors="replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = json.loads(line)
                if "exercise" in found:
                    result.verdicts[found["exercise"]] = (found["passed"], found["message"])
                else:
                    done, result.runs = True, found["runs"]
                    shows |= dict.fromkeys(found["showed"], "the answer was changed afterwards")
                    shows |= dict.fromkeys(found["claimed"], "`check` was changed")
        for name, (passed, message) in result.verdicts.items():
            if name in shows and not passed:
                said = f"the notebook shows it as passed, and it is not: {shows[name]}; {message}"
                result.verdicts[name] = (False, said)
        if not done:
            hardened.end(self._process)
            errors = (self._folder / "errors").read_text(errors="replace").strip()
            why = errors.splitlines()[-1][:300] if errors else "its worker ended"
            result.problem = "it was not done in time" if self._late else why
        self.close()
        return result

    def close(self) -> None:
        """End it and all that it started; remove its folder."""
        hardened.end(self._process)
        assert self._process.stdout
        self._process.stdout.close()
        _remove(self._folder)


def _submissions(top: Path, problems: list[str]) -> Collection[Path]:
    """Return the folders that hold notebooks, but none inside such a one; tell of what is left."""
    found: dict[Path, None] = {}
    told: list[Path] = []

    def unreadable(error: OSError) -> None:
        told.append(Path(error.filename))
        problems.append(f"cannot read {error.filename}: {error.strerror}")

    def unusable(path: Path, why: str) -> None:
        told.append(path)
        problems.append(f"cannot use {path}: {why}")

    for name, folders, files in os.walk(top, onerror=unreadable):
        place = Path(name)
        below = any(parent in found for parent in place.parents)
        if not below and any(map(_NAME.fullmatch, files)):
            found[place] = None
        # In `work` lies what the notebooks themselves have made.
        hidden = {"work"} if below or place in found else set()
        folders[:] = sorted(f for f in folders if f not in hidden and not f.startswith("."))
        for file in sorted(files):
            if ".ipynb" in file.lower() and (below or not _NAME.fullmatch(file)):
                why = "it lies below other notebooks" if below else "its name is not NN-….ipynb"
                unusable(place / file, why)
            elif file.lower().endswith(_ARCHIVES):
                unusable(place / file, "it is an archive, which has to be unpacked")
    if (found or told) and top not in found:
        dealt_with = {path.relative_to(top).parts[:1] for path in (*found, *told)}
        for place in sorted(top.iterdir()):
            if place.name.startswith(".") or (place.name,) in dealt_with or place.is_file():
                continue
            if place.is_symlink():
                unusable(place, "it is a link")
            elif place.is_dir() and not (place / "grades.csv").exists():
                unusable(place, "it holds no notebook NN-….ipynb")
    return found


def _told_apart(lengths: dict[Path, int]) -> dict[Path, str]:
    """Name each folder by its last parts, by more of them where two would be the same."""
    while True:
        names = {place: "/".join(place.parts[-n:]) for place, n in lengths.items()}
        count = Counter(names.values())
        again = [p for p in names if count[names[p]] > 1 and lengths[p] < len(p.parts)]
        if not again:
            return names
        for place in again:
            lengths[place] += 1


def _papers_in(place: Path, learner: str, books: Path, problems: list[str]) -> Iterator[Paper]:
    """Yield one paper for each number: the one that is named as delivered, else the first."""
    found: dict[str, list[Path]] = {}
    for path in sorted(place.iterdir()):
        if match := _NAME.fullmatch(path.name):
            found.setdefault(match[1], []).append(path)
    known = {f"{number:02}": path for number, path in workbook.notebooks(books).items()}
    for number, paths in found.items():
        if number not in known:
            problems += [f"cannot use {path}: no notebook {number} is known" for path in paths]
            continue
        own = known[number]
        chosen = next((path for path in paths if path.name == own.name), paths[0])
        others = ", ".join(path.name for path in paths if path != chosen)
        note = f"graded was {chosen.name}, not {others}" if others else ""
        yield Paper(learner, number, chosen, tuple(cells(own, workbook.ANSWER)), note)


def _line(result: Result) -> str:
    passed = sum(good for good, _ in result.verdicts.values())
    said = result.problem or f"{passed} of {len(result.verdicts)}"
    name = f"{result.paper.learner} {result.paper.number}"
    return "".join(letter if letter.isprintable() else "?" for letter in f"{name}: {said}")


def _runtime(number: str, books: Path) -> str:
    """Return the runtime after a notebook as JSON."""
    files = workbook.runtime(number, folder=books)
    return json.dumps({path: source.text for path, source in files.items()})


def _read(path: Path) -> bytes:
    """Read what was handed in: a file, not too large, and nothing that a link points to."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        why = "it is a link, and is not followed" if error.errno == ELOOP else error.strerror
        raise GradeError(f"cannot read {path.name}: {why}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise GradeError(f"{path.name} is no file")
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise GradeError(f"{path.name} has more than {LARGEST / 1e6:g} MB")
    return content


def _as(user: str, home: str) -> Settings:
    """Return how `subprocess` starts a worker: as whom, and with which environment."""
    settings: Settings = {
        "env": {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:"
            "/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": home,
            "TMPDIR": home,
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
        }
    }
    if user:
        entry = pwd.getpwnam(user)
        settings |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return settings


def _remove(folder: Path) -> None:
    """Remove a worker's folder, also what a notebook locked or nested deeply in it."""
    for command in (["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        subprocess.run([*command, "--", folder], stderr=subprocess.DEVNULL)
