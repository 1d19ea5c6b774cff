"""Which exercises were passed: remembered on disk, shown as a list.

The exercises are those that the notebooks hold: a code cell that begins with `%%answer NN.n`, below
a heading `### NN.n Title`.
"""

import contextlib
import json
import re
import sys
import urllib.parse
from dataclasses import dataclass
from html import escape
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import WorkbookError

_HEADING = re.compile(r"^### ([0-9]{2}\.[0-9]+) +(.+?) *$", re.MULTILINE)
_TITLE = re.compile(r"^# (?:[0-9]{2} +)?(.+?) *$", re.MULTILINE)
PASSED, OPEN = "●", "○"
DONE = "Nothing is left."


def passed() -> set[str]:
    """Return the exercises that were passed, such as {"03.2"}."""
    return {path.name for path in folder().glob("[0-9]*")}


def mark(exercise: str) -> None:
    """Remember that an exercise, such as "03.2", was passed.

    Where that cannot be written, a line on stderr says so: the exercise is passed all the same.
    """
    try:
        _mark(exercise)
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
        print(f"your progress is not kept: {said}", file=sys.stderr)


def reset(number: str | int | None = None) -> int:
    """Forget what was passed in one notebook, or in all.

    Args:
        number: the notebook's, as a learner types it; None means all.

    Returns:
        how many exercises were forgotten.

    Raises:
        WorkbookError: there is no such notebook.
        OSError: it cannot be written.
    """
    of_it = "" if number is None else f"{workbook.notebook(number, workbook.mine())[0]:02}."
    names = [name for name in passed() if name.startswith(of_it)]
    for name in names:
        (folder() / name).unlink(missing_ok=True)
    return len(names)


def folder() -> Path:
    """Return where an empty file stands for each exercise that was passed."""
    return workbook.work_folder() / "passed"


def take_over() -> None:
    """Take over what an earlier course kept in one file; one that is broken stays as it is."""
    earlier = workbook.work_folder() / "progress.json"
    with contextlib.suppress(OSError, ValueError, RecursionError):
        for name in json.loads(earlier.read_text(encoding="utf-8")):
            _mark(name)
        earlier.unlink()


@dataclass(frozen=True)
class Part:
    """A notebook and its exercises.

    Attributes:
        path: its file.
        title: its number and its heading.
        exercises: number and heading of each, in the order of the cells, and whether it was passed.
        count: how many were, in words, or that the notebook cannot be read.
    """

    path: Path
    title: str
    exercises: dict[str, bool]
    count: str

    @property
    def marks(self) -> str:
        """A disc for each exercise that was passed, a ring for each that was not."""
        return "".join(PASSED if passed else OPEN for passed in self.exercises.values())


@dataclass(frozen=True)
class Progress:
    """What was passed of the course, as a list, a bar, and what is next.

    Attributes:
        parts: the notebooks.
    """

    parts: tuple[Part, ...]

    @property
    def next(self) -> tuple[Part, str] | None:
        """The first exercise that was not passed yet, behind the last one that was.

        Who left one out on purpose goes on; when the end is reached, what was left out is next.
        """
        every = [(part, *each) for part in self.parts for each in part.exercises.items()]
        last = max((n for n, (*_, passed) in enumerate(every, 1) if passed), default=0)
        left = [(part, title) for part, title, passed in every[last:] + every if not passed]
        return left[0] if left else None

    @property
    def counts(self) -> tuple[int, int]:
        """How many exercises were passed, and how many there are."""
        each = [passed for part in self.parts for passed in part.exercises.values()]
        return sum(each), len(each)

    @property
    def summary(self) -> str:
        """The whole in a sentence."""
        return "{} of {} exercises passed".format(*self.counts)

    def __repr__(self) -> str:
        """The list as text, which is also what nbval compares."""
        wide = max((len(part.title) for part in self.parts), default=0)
        rows = [f"{p.title:{wide}}  {p.count:7} {p.marks}".rstrip() for p in self.parts]
        after = f"Next: {self.next[1]}, in {self.next[0].path.name}" if self.next else DONE
        return "\n".join([*rows, "", self.summary, after])

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.parts))
        done, of = self.counts
        after = DONE
        if self.next:
            part, title = self.next
            after = f"Next: {_link(part.path, title, title)}, in {escape(part.path.name)}"
        return (
            f'<ul style="padding-left:0;list-style:none">{rows}</ul>'
            f'<progress aria-label="Exercises passed" value="{done}" max="{of}"></progress>'
            f"<p>{self.summary}. {after}</p>"
        )


def progress() -> Progress:
    """Return what was passed so far of the learner's notebooks; as a cell's last line, show it."""
    done, books = passed(), workbook.notebooks(workbook.mine())
    return Progress(tuple(_part(path, done) for path in books.values()))


def _mark(exercise: str) -> None:
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / exercise).touch()


def _part(path: Path, done: set[str]) -> Part:
    number = path.name[:2]
    try:
        cells = workbook.cells(path)
    except WorkbookError:
        return Part(path, f"{number} {path.stem[3:]}", {}, f"cannot be read: labkit reset {number}")
    text = "\n".join(source for kind, source in cells if kind == "markdown")
    titles = {name: title.replace("`", "") for name, title in _HEADING.findall(text)}
    title = _TITLE.search(text)
    names = workbook.exercises(path, workbook.ANSWER)
    exercises = {f"{name} {titles.get(name, '')}".rstrip(): name in done for name in names}
    count = f"{sum(exercises.values())} of {len(exercises)}" if names else "no exercises"
    return Part(path, f"{number} {title[1] if title else path.stem[3:]}", exercises, count)


def _row(part: Part) -> str:
    each = (f"{title}: {'passed' if done else 'open'}" for title, done in part.exercises.items())
    marks = f' <span role="img" title="{escape("; ".join(each))}">{part.marks}</span>'
    return f"<li>{_link(part.path, part.title)}, {part.count}{marks if part.marks else ''}</li>"


def _link(path: Path, text: str, heading: str = "") -> str:
    """Link to a notebook, and to a heading, where JupyterLab goes if the notebook is open."""
    address = urllib.parse.quote(path.name)
    if heading:  # as JavaScript's encodeURI, which JupyterLab undoes
        address += "#" + urllib.parse.quote(heading.replace(" ", "-"), safe="!#$&'()*+,/:;=?@~")
    return f'<a href="{escape(address)}">{escape(text)}</a>'
