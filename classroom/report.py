"""The report of who passed what: as CSV for a spreadsheet, and as a page that stands alone."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader

from classroom.grade import Result
from labkit.course import workbook
from labkit.exercise.verdict import code

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would calculate with what follows


class Row(NamedTuple):
    """What the report says of one learner.

    Attributes:
        learner: whose row it is.
        passed: how many exercises.
        marks: for each exercise of the report whether it was passed; None where the notebook was
            not handed in, or could not be graded.
        messages: what there is to say: of what, whether it is good news, and the words.
    """

    learner: str
    passed: int
    marks: list[bool | None]
    messages: list[tuple[str, bool, str]]


def write(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write `grades.csv` and `grades.html`, each whole.

    Args:
        results: of all learners, in any order.
        folder: where; files of these names are replaced.

    Returns:
        the two files.

    Raises:
        OSError: one cannot be written; what was there is as it was.
    """
    exercises = sorted({name for result in results for name in result.submission.exercises})
    learners: dict[str, list[Result]] = {}
    for result in sorted(results, key=lambda one: (one.submission.learner, one.submission.number)):
        learners.setdefault(result.submission.learner, []).append(result)
    rows = [_row(learner, exercises, own) for learner, own in learners.items()]
    # A spreadsheet takes a file for UTF-8 that begins with this mark.
    texts = {"grades.csv": "\ufeff" + _csv(exercises, rows), "grades.html": _page(exercises, rows)}
    for name, text in texts.items():
        workbook.write(folder / name, text.encode(errors="replace"))  # a name may be no text
    return [folder / name for name in texts]


def _row(learner: str, exercises: Sequence[str], results: Sequence[Result]) -> Row:
    verdicts: dict[str, tuple[bool, str]] = {}
    messages: list[tuple[str, bool, str]] = []
    for result in results:
        number = result.submission.number
        if result.problem:
            messages.append((number, False, f"could not be graded: {result.problem}"))
        elif result.runs:
            messages.append((number, False, f"does not run to its end: {result.runs}"))
        else:
            messages.append((number, True, "runs from top to bottom"))
        if result.submission.note:
            messages.append((number, False, result.submission.note))
        messages += [(name, *verdict) for name, verdict in sorted(result.verdicts.items())]
        verdicts |= result.verdicts
    marks = [verdicts[name][0] if name in verdicts else None for name in exercises]
    return Row(learner, marks.count(True), marks, messages)


def _csv(exercises: Sequence[str], rows: Sequence[Row]) -> str:
    """One row a learner: how many exercises were passed, 1 or 0 for each, what there is to say."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(["learner", "passed", *exercises, "messages"])
    for row in rows:
        learner = f"'{row.learner}" if row.learner.startswith(_FORMULA) else row.learner
        marks = ["" if mark is None else int(mark) for mark in row.marks]
        messages = "\n".join(f"{what}: {said}" for what, _, said in row.messages)
        table.writerow([learner, row.passed, *marks, messages])
    return text.getvalue()


def _page(exercises: Sequence[str], rows: Sequence[Row]) -> str:
    """The report as a page, with the messages below its table."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True
    )
    pages.filters["code"] = code
    return pages.get_template("report.html").render(exercises=exercises, rows=rows)
