"""Which exercises were passed: remembered on disk, shown as a list.

The exercises are those that the notebooks hold: a code cell that begins with `%%answer NN.n`, below
a heading `### NN.n Title`.
"""

import contextlib
import fcntl
import json
import os
import re
import sys
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import WorkbookError

_HEADING = re.compile(r"^### ([0-9]{2}\.[0-9]+) +(.+?) *$", re.MULTILINE)
_TITLE = re.compile(r"^# (?:[0-9]{2} +)?(.+?) *$", re.MULTILINE)
PASSED, OPEN = "●", "○"
DONE = "Nothing is left."


def passed() -> dict[str, str]:
    """Return when each exercise was passed for the first time, such as {"03.2": RFC 3339}."""
    try:
        return _read()
    except OSError as error:
        _warn(error)
        return {}


def mark(exercise: str) -> None:
    """Remember that an exercise, such as "03.2", was passed now.

    Where that cannot be written, a line on stderr says so: the exercise is passed all the same.
    """
    try:
        with _update() as found:
            found.setdefault(exercise, datetime.now(UTC).isoformat(timespec="seconds"))
    except OSError as error:
        _warn(error)


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
    with _update() as found:
        names = [name for name in found if name.startswith(of_it)]
        for name in names:
            del found[name]
    return len(names)


def rename(numbers: Mapping[str, str]) -> None:
    """Give what was passed the numbers that its exercises have now.

    Args:
        numbers: old to new; what is not in it stays.

    Raises:
        OSError: it cannot be written.
    """
    with _update() as found:
        renamed = {numbers.get(name, name): when for name, when in found.items()}
        found.clear()
        found |= renamed


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


def _part(path: Path, done: dict[str, str]) -> Part:
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


def _file() -> Path:
    return workbook.work_folder() / "progress.json"


@contextlib.contextmanager
def _update() -> Iterator[dict[str, str]]:
    """Hand out what was passed and write what becomes of it; other kernels wait meanwhile."""
    workbook.work_folder().mkdir(parents=True, exist_ok=True)
    # The lock is the folder's own, so no file lies about.
    folder = os.open(workbook.work_folder(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        before = _read()
        found = dict(before)
        yield found
        if found != before:
            text = json.dumps(dict(sorted(found.items())), indent=2)
            workbook.write(_file(), f"{text}\n")
    finally:
        os.close(folder)


def _read() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text(encoding="utf-8"))
        return {name: str(when) for name, when in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, RecursionError):
        kept = workbook.put_aside(_file())
        print(f"{_file()} is broken and is now {kept.name}; progress starts anew", file=sys.stderr)
        return {}


def _warn(error: OSError) -> None:
    name = error.filename or _file()
    print(f"your progress is not kept: {name}: {error.strerror}", file=sys.stderr)
