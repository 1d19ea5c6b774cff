"""Exercises in a notebook: `%%answer` keeps an answer, `check` judges it, `hint` helps.

What an exercise wants stands in the notebook's text, and its judge in `notebooks/exercises`.
"""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from labkit import exercise
from labkit.course import progress, workbook
from labkit.course.workbook import ANSWER, SOLUTION
from labkit.exercise import Exercise
from labkit.exercise.verdict import NotJudged, Verdict, judge


class Interrupted(KeyboardInterrupt):
    """Somebody stopped a check. Ends the cell and those behind it, in one line."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class NotSolved(Exception):
    """Raised in place of a verdict where nbgrader runs a notebook: it counts errors."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the verdict, and not the way through our code to it."""
        return str(self).splitlines()


class Note(str):
    """A line or two for the reader, shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        """The text itself."""
        return str(self)


@dataclass
class Session:
    """What a learner has answered in one kernel.

    Attributes:
        answers: exercise to its answer, as `%%answer` kept it.
        failures: exercise to how often its answer failed or a hint was asked for.
        last: the exercise that is meant where no number is given; "" for none.
    """

    answers: dict[str, str] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    last: str = ""

    def check(self, number: str = "") -> Verdict | Note | None:
        """Judge the answer that the `%%answer` cell above holds.

        Args:
            number: the exercise, such as "03.2"; without it, the one that was checked last.

        Raises:
            NotSolved: nbgrader runs the notebook, and the answer does not pass.
        """
        said = self._check(number)
        if not os.environ.get("NBGRADER_EXECUTION"):
            return said
        if not (isinstance(said, Verdict) and said.passed):
            raise NotSolved(repr(said))
        from IPython.display import display

        display(said)  # type: ignore[no-untyped-call]  # a cell's result would be read as points
        return None

    def hint(self, number: str = "") -> Note:
        """Return the hints for an exercise, one more at each call.

        Args:
            number: the exercise; without it, the one that was checked last.
        """
        found = _find(number or self.last)
        if isinstance(found, Note):
            return found
        self.last = found.number
        self.failures[found.number] += 1
        return Note("\n".join(found.hints[: self.failures[found.number]]))

    def solution(self, number: str = "") -> Note:
        """Return the worked solution of an exercise, as the collapsed cell below it holds it.

        Args:
            number: the exercise; without it, the one that was checked last.
        """
        found = _find(number or self.last)
        if isinstance(found, Note):
            return found
        text = _solution(found)
        return Note(text or "This edition of the course holds no solutions. Ask your instructor.")

    def register(self, shell: Any) -> None:
        """Give an IPython shell (`InteractiveShell`) the magics `%%answer` and `%%solution`."""
        from IPython.core.magic import no_var_expand  # who reads the file knows of no variables

        @no_var_expand
        def keep(line: str, cell: str) -> Note:
            found = _find(line)
            if isinstance(found, Note):
                return found
            number, problem = workbook.refused(found.path, cell)
            if problem:
                self.answers.pop(found.number, None)
                where = f"Line {number + workbook.lines_above(shell, cell)}: " if number else ""
                return Note(f"{where}{problem}. The answer was not kept.")
            self.answers[found.number] = cell
            return Note(f'Answer {found.number} is kept. check("{found.number}") runs it.')

        @no_var_expand
        def prove(line: str, cell: str) -> Verdict | Note:
            found = _find(line)
            return found if isinstance(found, Note) else _judged(found, cell)

        shell.register_magic_function(keep, "cell", ANSWER.strip("%"))
        shell.register_magic_function(prove, "cell", SOLUTION.strip("%"))

    def _check(self, number: str) -> Verdict | Note:
        found = _find(number or self.last)
        if isinstance(found, Note):
            return found
        self.last = found.number
        if found.number not in self.answers:
            return Note(f"First run the cell above that begins with {ANSWER} {found.number}.")
        verdict = _judged(found, self.answers[found.number])
        if isinstance(verdict, Note):
            return verdict
        if verdict.passed:
            progress.mark(found.number)
            return verdict
        self.failures[found.number] += 1
        own, failures = verdict.hints, self.failures[found.number]
        # The judge's own, and one more of the exercise's with each failure.
        hints = [*own, *found.hints[: failures - bool(own)]]
        if failures > 1 and _solution(found):
            hints.append(f'`solution("{found.number}")` shows one way to do it.')
        return replace(verdict, hints=tuple(hints))


def _judged(found: Exercise, text: str) -> Verdict | Note:
    """Judge an answer; return what there is to say, also where that is not possible."""
    try:
        files = workbook.runtime(found.number[:2])  # the learner's, after that notebook
        return judge(found, text, {path: source.text for path, source in files.items()})
    except (NotJudged, workbook.WorkbookError) as error:
        return Note(str(error))
    except KeyboardInterrupt:
        raise Interrupted(f"{found.number} was interrupted and is not judged.") from None


def _solution(found: Exercise) -> str:
    """Return the worked solution, "" where this edition of the course holds none."""
    return workbook.exercises(workbook.notebook(found.number[:2])[1], SOLUTION).get(
        found.number, ""
    )


def _find(number: object) -> Exercise | Note:
    word = str(number).strip()
    if not word:
        return Note('Which one? Say its number, such as "03.1".')
    return exercise.find(workbook.number(word)) or Note(
        f"There is no exercise {word[:20]!r}. They are called 03.1, 03.2, …"
    )


session = Session()
check, hint, solution, register = session.check, session.hint, session.solution, session.register
