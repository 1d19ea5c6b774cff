"""Exercises in a notebook: `%%answer` keeps an answer, `check` judges it, `hint` helps.

What an exercise wants stands in the notebook's text, and its judge in `notebooks/exercises`.
"""

import html
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS
from pathlib import Path
from typing import Any

from labkit import exercise
from labkit.course import progress, workbook
from labkit.course.workbook import ANSWER, SOLUTION
from labkit.exercise import Exercise, Wrong
from labkit.exercise.trial import NoSandbox

SHOWN = 300  # characters of what was found
# What a machine runs out of, whatever an answer does.
SHORT_OF = (ENOSPC, EDQUOT, EROFS, EMFILE, ENFILE, ENOMEM, EAGAIN)
_answers: dict[str, str] = {}
_failures: dict[str, int] = {}
_last = ""  # the exercise that `hint()` is about


class NotJudged(Exception):
    """The machine refused what judging needs; the message says what, and what helps."""


class Interrupted(KeyboardInterrupt):
    """Somebody stopped a check. Ends the cell and those behind it, in one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class NotSolved(Exception):
    """Raised in place of a verdict where nbgrader runs a notebook: it counts errors."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the verdict, and not the way through our code to it."""
        return str(self).splitlines()


@dataclass(frozen=True)
class Verdict:
    """What a judge says of an answer.

    Attributes:
        number: the exercise.
        passed: whether the answer does what is wanted.
        wanted: what a right answer makes the kernel show; "" where it passed.
        found: what the kernel showed.
        hints: what may help; empty where it passed.
        output: what the answer printed.
    """

    number: str
    passed: bool
    wanted: str
    found: str
    hints: tuple[str, ...] = ()
    output: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """Return what there is to say, each with what it is."""
        if self.passed:
            return [("the kernel shows", self.found)]
        rows = [("wanted", self.wanted), ("found", self.found)]
        return rows + [("hint", hint) for hint in self.hints]

    @property
    def title(self) -> str:
        """The verdict in one line."""
        return f"✓ {self.number} passed" if self.passed else f"✗ {self.number} not yet"

    def __repr__(self) -> str:
        """The verdict as text, which is also what nbval compares."""
        lines = [self.title]
        lines += [f"  {name}: {text}" for name, text in self.rows()]
        if self.output and not self.passed:
            lines += ["  your answer printed:"]
            lines += [f"  | {line}" for line in self.output.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        color = (
            "var(--jp-success-color1,#2e7d32)" if self.passed else "var(--jp-warn-color1,#e65100)"
        )
        rows = "".join(
            f'<dt style="opacity:.75">{name}</dt><dd style="margin:0">{code(text)}</dd>'
            for name, text in self.rows()
        )
        printed = (
            f"<details><summary>your answer printed</summary>"
            f'<pre style="margin:4px 0 0">{html.escape(self.output)}</pre></details>'
            if self.output and not self.passed
            else ""
        )
        return (
            f'<div style="border-left:4px solid {color};padding:2px 0 2px 12px;max-width:70em">'
            f'<div style="font-weight:600">{html.escape(self.title)}</div>'
            '<dl style="display:grid;grid-template-columns:max-content 1fr;gap:2px 12px;'
            f'margin:4px 0">{rows}</dl>{printed}</div>'
        )


class Note(str):
    """A line or two for the reader, shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The text itself."""
        return str(self)


def check(number: str = "") -> Verdict | Note | None:
    """Judge the answer that the `%%answer` cell above holds.

    Args:
        number: the exercise, such as "03.2"; without it, the one that was checked last.

    Raises:
        NotSolved: nbgrader runs the notebook, and the answer does not pass.
    """
    said = _check(number)
    if not os.environ.get("NBGRADER_EXECUTION"):
        return said
    if not (isinstance(said, Verdict) and said.passed):
        raise NotSolved(repr(said))
    from IPython.display import display

    display(said)  # type: ignore[no-untyped-call]  # a cell's result would be read as points
    return None


def hint(number: str = "") -> Note:
    """Return the hints for an exercise, one more at each call.

    Args:
        number: the exercise; without it, the one that was checked last.
    """
    global _last
    found = _find(number or _last)
    if isinstance(found, Note):
        return found
    _last = found.number
    given = _failures[found.number] = _failures.get(found.number, 0) + 1
    return Note("\n".join(found.hints[:given]))


def solution(number: str = "") -> Note:
    """Return the worked solution of an exercise, as the collapsed cell below it holds it.

    Args:
        number: the exercise; without it, the one that was checked last.
    """
    found = _find(number or _last)
    if isinstance(found, Note):
        return found
    text = _solution(found)
    return Note(text or "This edition of the course holds no solutions. Ask your instructor.")


def judge(exercise_: Exercise, text: str, runtime: Mapping[str, str]) -> Verdict:
    """Judge an answer.

    Args:
        exercise_: what it is an answer to.
        text: the answer.
        runtime: path to text of the files beside it.

    Raises:
        NotJudged: the machine refused what judging needs. The answer may be right.
    """
    if half := workbook.half_a_character(text):
        return Verdict(exercise_.number, False, "a text", half)
    try:
        return _judge(exercise_, text, runtime)
    except NoSandbox as error:
        said, cure = (
            str(error).rstrip("."),
            "`labkit doctor` says what this machine allows, and what helps.",
        )
    except OSError as error:
        said = f"{error.filename or 'the kernel'}: {error.strerror}"
        cure = "Make room there, and check once more."
    raise NotJudged(
        f"{exercise_.number} could not be judged, which is no fault of your answer: {said}. {cure}"
    )


def _judge(exercise_: Exercise, text: str, runtime: Mapping[str, str]) -> Verdict:
    with exercise.placed(exercise_, text, runtime) as answer:
        try:
            return Verdict(exercise_.number, True, "", exercise_.judge(answer))
        except Wrong as error:
            wrong = error
        except NoSandbox:
            raise
        except Exception as error:  # it looked at something it never met
            if isinstance(error, OSError) and error.errno in SHORT_OF:
                raise
            told = str(error).replace(str(answer.folder), "…")[:200]
            wrong = Wrong("an answer of the usual form", f"{type(error).__name__}: {told}")
        hints = (wrong.hint,) if wrong.hint else ()
        number, found = exercise_.number, _plain(wrong.found, SHOWN)
        return Verdict(number, False, wrong.wanted, found, hints, _plain(answer.said))


def cells(path: Path, magic: str) -> dict[str, str]:
    """Return the answers or solutions that a notebook holds; of several, the last.

    Args:
        path: an .ipynb file.
        magic: ANSWER or SOLUTION.

    Returns:
        exercise to text.

    Raises:
        WorkbookError: it is no notebook.
    """
    return workbook.exercises(workbook.cells(path), magic)


def register(shell: Any) -> None:
    """Give an IPython shell (`InteractiveShell`) the magics `%%answer` and `%%solution`."""
    from IPython.core.magic import no_var_expand  # who reads the file knows of no variables

    @no_var_expand
    def keep(line: str, cell: str) -> Note:
        found = _find(line)
        if isinstance(found, Note):
            return found
        number, problem = workbook.refused(found.path, cell)
        if problem:
            _answers.pop(found.number, None)
            where = f"Line {number + workbook.lines_above(shell, cell)}: " if number else ""
            return Note(f"{where}{problem}. The answer was not kept.")
        _answers[found.number] = cell
        return Note(f'Answer {found.number} is kept. check("{found.number}") runs it.')

    @no_var_expand
    def prove(line: str, cell: str) -> Verdict | Note:
        found = _find(line)
        return found if isinstance(found, Note) else _judged(found, cell)

    shell.register_magic_function(keep, "cell", ANSWER.strip("%"))
    shell.register_magic_function(prove, "cell", SOLUTION.strip("%"))


def _check(number: str) -> Verdict | Note:
    global _last
    found = _find(number or _last)
    if isinstance(found, Note):
        return found
    _last = found.number
    if found.number not in _answers:
        return Note(f"First run the cell above that begins with {ANSWER} {found.number}.")
    verdict = _judged(found, _answers[found.number])
    if isinstance(verdict, Note):
        return verdict
    if verdict.passed:
        progress.mark(found.number)
        return verdict
    shown = _failures[found.number] = _failures.get(found.number, 0) + 1
    return _with_hints(verdict, found, shown)


def _judged(found: Exercise, text: str) -> Verdict | Note:
    """Judge an answer; return what there is to say, also where that is not possible."""
    try:
        return judge(found, text, _runtime(found.number))
    except (NotJudged, workbook.WorkbookError) as error:
        return Note(str(error))
    except KeyboardInterrupt:
        raise Interrupted(f"{found.number} was interrupted and is not judged.") from None


def _plain(text: str, most: int = sys.maxsize) -> str:
    """Make a text safe to show: a terminal obeys what no reader sees, and JSON takes no half."""
    text = "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    return text if len(text) <= most else f"{text[:most]} …"


def _solution(found: Exercise) -> str:
    """Return the worked solution, "" where this edition of the course holds none."""
    return cells(workbook.notebook(found.number[:2])[1], SOLUTION).get(found.number, "")


def _find(number: object) -> Exercise | Note:
    word = str(number).strip()
    if not word:
        return Note('Which one? Say its number, such as "03.1".')
    return exercise.find(workbook.number(word)) or Note(
        f"There is no exercise {word[:20]!r}. They are called 03.1, 03.2, …"
    )


def _runtime(number: str) -> dict[str, str]:
    """Return the runtime that an answer is put beside: the learner's, after that notebook."""
    files = workbook.runtime(number[:2])
    return {path: source.text for path, source in files.items()}


def _with_hints(verdict: Verdict, found: Exercise, failures: int) -> Verdict:
    """Add to the judge's own hint one more of the exercise's with each failure."""
    hints = [*verdict.hints, *found.hints[: failures if not verdict.hints else failures - 1]]
    if failures > 1 and _solution(found):
        hints.append(f'`solution("{found.number}")` shows one way to do it.')
    return replace(verdict, hints=tuple(hints))


def code(text: str) -> str:
    """Escape a text for HTML and show what stands in backquotes as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
