"""Which exercises were passed: remembered on disk, shown as a table.

The exercises are those that the notebooks hold: a code cell that begins with `%%answer NN.n`, below
a heading `### NN.n Title`.
"""

import contextlib
import fcntl
import html
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import WorkbookError

_HEADING = re.compile(r"^### ([0-9]{2}\.[0-9]+) +(.+?) *$", re.MULTILINE)
_TITLE = re.compile(r"^# (?:[0-9]{2} +)?(.+?) *$", re.MULTILINE)
PASSED, OPEN = "●", "○"


def passed() -> dict[str, str]:
    """Return when each exercise was passed for the first time, such as {"03.2": RFC 3339}."""
    if not os.path.lexists(_file()):
        return {}
    try:
        with _locked():
            return _read()
    except OSError as error:
        _warn(error)
        return {}


def mark(exercise: str) -> None:
    """Remember that an exercise, such as "03.2", was passed now.

    Where that cannot be written, a line on stderr says so: the exercise is passed all the same.
    """
    try:
        with _locked():
            found = _read()
            if exercise not in found:
                _write(found | {exercise: datetime.now(UTC).isoformat(timespec="seconds")})
    except OSError as error:
        _warn(error)


def reset(number: str | int | None = None, folder: Path | None = None) -> int:
    """Forget what was passed in one notebook, or in all.

    Args:
        number: the notebook's, as a learner types it; None means all.
        folder: as `workbook.notebooks` takes it.

    Returns:
        how many exercises were forgotten.

    Raises:
        WorkbookError: there is no such notebook.
        OSError: it cannot be written.
    """
    of_it = "" if number is None else f"{workbook.notebook(number, folder)[0]:02}."
    with _locked():
        found = _read()
        left = {name: when for name, when in found.items() if not name.startswith(of_it)}
        if left != found:
            _write(left)
    return len(found) - len(left)


@dataclass(frozen=True)
class Exercise:
    """An exercise of the course.

    Attributes:
        name: such as "03.2".
        title: its heading, "" where it has none.
        passed: whether it was.
    """

    name: str
    title: str
    passed: bool

    def __str__(self) -> str:
        return f"{self.name} {self.title}".rstrip()


@dataclass(frozen=True)
class Part:
    """A notebook and its exercises.

    Attributes:
        number: its number.
        path: its file.
        title: its heading, without the number.
        exercises: in the order of its cells.
        problem: why it cannot be read, else "".
    """

    number: int
    path: Path
    title: str
    exercises: tuple[Exercise, ...]
    problem: str = ""

    @property
    def count(self) -> str:
        """How many of its exercises were passed, in words."""
        if self.problem:
            return f"cannot be read: labkit reset {self.number:02}"
        done = sum(exercise.passed for exercise in self.exercises)
        return f"{done} of {len(self.exercises)}"


@dataclass(frozen=True)
class Progress:
    """What was passed of the course, as a table, a bar, and what is next.

    Attributes:
        parts: the notebooks.
    """

    parts: tuple[Part, ...]

    @property
    def next(self) -> tuple[Part, Exercise] | None:
        """The first exercise that was not passed yet, behind the last one that was.

        Who left one out on purpose goes on; when the end is reached, what was left out is next.
        """
        every = [(part, exercise) for part in self.parts for exercise in part.exercises]
        last = max((n for n, (_, e) in enumerate(every, 1) if e.passed), default=0)
        return next((pair for pair in every[last:] + every if not pair[1].passed), None)

    @property
    def summary(self) -> str:
        """The whole in a sentence."""
        exercises = [exercise for part in self.parts for exercise in part.exercises]
        done = sum(exercise.passed for exercise in exercises)
        return f"{done} of {len(exercises)} exercises passed"

    def __repr__(self) -> str:
        """The table as text, which is also what nbval compares."""
        wide = max((len(part.title) for part in self.parts), default=0)
        rows = [
            f"{part.number:02} {part.title:{wide}}  {part.count:7} {_marks(part)}".rstrip()
            for part in self.parts
        ]
        step = self.next
        after = f"Next: {step[1]}, in {step[0].path.name}" if step else "Nothing is left."
        return "\n".join([*rows, "", self.summary, after])

    def _repr_html_(self) -> str:
        rows = "".join(_row(part) for part in self.parts)
        exercises = [exercise for part in self.parts for exercise in part.exercises]
        done = sum(exercise.passed for exercise in exercises)
        share = 100 * done // len(exercises) if exercises else 0
        step = self.next
        after = "Nothing is left."
        if step:
            part, exercise = step
            link = _link(part, str(exercise), str(exercise))
            after = f"Next: {link}, in {html.escape(part.path.name)}"
        return (
            f'<div style="{_PAGE}">'
            f'<table style="{_TABLE}"><thead><tr>'
            f'<th scope="col" style="{_HEAD}">Notebook</th>'
            f'<th scope="col" style="{_HEAD}">Exercises passed</th>'
            f"</tr></thead><tbody>{rows}</tbody></table>"
            f'<div role="progressbar" aria-label="Exercises passed" aria-valuemin="0"'
            f' aria-valuemax="{len(exercises)}" aria-valuenow="{done}"'
            f' aria-valuetext="{self.summary}" style="{_BAR}">'
            f'<div style="{_FILL};width:{share}%"></div></div>'
            f"<div>{self.summary}. {after}</div></div>"
        )


def progress(folder: Path | None = None) -> Progress:
    """Return what was passed so far; the last line of a cell shows it.

    Args:
        folder: as `workbook.notebooks` takes it; None is `workbook.mine()`.
    """
    done, books = passed(), workbook.notebooks(folder or workbook.mine())
    return Progress(tuple(_part(n, path, done) for n, path in books.items()))


_PAGE = "max-width:640px;font-size:var(--jp-content-font-size1,14px)"
_TABLE = "width:100%;border-collapse:collapse;table-layout:auto;margin:0;font-size:inherit"
_LINE = "border-bottom:1px solid var(--jp-border-color2,#bdbdbd)"
_CELL = f"{_LINE};padding:5px 8px;text-align:left;white-space:normal;overflow-wrap:anywhere"
_HEAD = f"{_CELL};font-weight:600"
_BAR = (
    "height:10px;margin:14px 0 8px;border-radius:5px;overflow:hidden;"
    "background:var(--jp-layout-color3,#ddd);"
    "border:1px solid var(--jp-border-color1,#9e9e9e)"
)
_MARK = "color:var(--jp-success-color1,#388e3c)"
_FILL = "height:100%;background:var(--jp-success-color1,#388e3c)"


def _part(number: int, path: Path, done: dict[str, str]) -> Part:
    try:
        cells = workbook.cells(path)
    except WorkbookError as error:
        return Part(number, path, path.stem[3:], (), str(error))
    text = "\n".join(source for kind, source in cells if kind == "markdown")
    titles = {name: title.replace("`", "") for name, title in _HEADING.findall(text)}
    title = _TITLE.search(text)
    names = workbook.exercises(cells, workbook.ANSWER)
    exercises = (Exercise(name, titles.get(name, ""), name in done) for name in names)
    return Part(number, path, title[1] if title else path.stem[3:], tuple(exercises))


def _marks(part: Part) -> str:
    return "".join(PASSED if exercise.passed else OPEN for exercise in part.exercises)


def _row(part: Part) -> str:
    each = [f"{exercise}: {'passed' if exercise.passed else 'open'}" for exercise in part.exercises]
    marks = "".join(
        f'<span title="{html.escape(what)}"'
        f' style="{_MARK if exercise.passed else ""}">{PASSED if exercise.passed else OPEN}</span>'
        for what, exercise in zip(each, part.exercises, strict=True)
    )
    if marks:
        label = html.escape("; ".join(each))
        marks = f'<span role="img" aria-label="{label}" style="letter-spacing:3px">{marks}</span>'
    return (
        f'<tr><th scope="row" style="{_CELL};font-weight:normal">'
        f"{_link(part, f'{part.number:02} {part.title}')}</th>"
        f'<td style="{_CELL}"><span style="white-space:nowrap;margin-right:8px">'
        f"{html.escape(part.count)}</span> {marks}</td></tr>"
    )


def _link(part: Part, text: str, heading: str = "") -> str:
    """Link to a notebook, and to a heading, where JupyterLab goes if the notebook is open."""
    address = urllib.parse.quote(part.path.name)
    if heading:
        # As JavaScript's encodeURI, which JupyterLab undoes.
        address += "#" + urllib.parse.quote(heading.replace(" ", "-"), safe="!#$&'()*+,/:;=?@~")
    return f'<a href="{html.escape(address)}">{html.escape(text)}</a>'


def _file() -> Path:
    return workbook.work_folder() / "progress.json"


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    """Keep other kernels out. The lock is the folder's own, so no file lies about."""
    workbook.work_folder().mkdir(parents=True, exist_ok=True)
    folder = os.open(workbook.work_folder(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read() -> dict[str, str]:
    if not os.path.lexists(_file()):
        return {}
    with contextlib.suppress(ValueError, RecursionError):
        # A pipe would be read for ever.
        found = json.loads(_file().read_text(encoding="utf-8")) if _file().is_file() else None
        if isinstance(found, dict):
            return {name: str(when) for name, when in found.items()}
    kept = workbook.put_aside(_file())
    print(f"{_file()} is broken and is now {kept.name}; progress starts anew", file=sys.stderr)
    return {}


def _write(found: dict[str, str]) -> None:
    workbook.write(_file(), json.dumps(dict(sorted(found.items())), indent=2) + "\n")


def _warn(error: OSError) -> None:
    name = error.filename or _file()
    print(f"your progress is not kept: {name}: {error.strerror}", file=sys.stderr)
