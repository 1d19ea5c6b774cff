"""The table of who passed what: as CSV for a spreadsheet, and as a page that stands alone."""

import csv
import html
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

from classroom.grade import Result
from labkit.exercise.verdict import code

_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would calculate with what follows
_STYLE = """
:root { color-scheme: light dark; --line: #c8ccd2; --head: #f3f4f6; --yes: #1b6e32; --no: #a3341b;
  --dim: #5d646e; --back: #fff; --text: #1b1f24 }
@media (prefers-color-scheme: dark) { :root { --line: #444c56; --head: #262c34; --yes: #6fd08c;
  --no: #ff9d80; --dim: #a2abb6; --back: #1c2128; --text: #e6e9ed } }
* { box-sizing: border-box }
body { font: 16px/1.45 system-ui, sans-serif; margin: 0; padding: 24px; background: var(--back);
  color: var(--text) }
h1 { font-size: 1.4rem; margin: 0 0 4px }
h2 { font-size: 1.1rem; margin: 32px 0 8px }
p { margin: 0 0 16px; color: var(--dim) }
.wide { overflow-x: auto; max-width: 100%; width: fit-content; border: 1px solid var(--line);
  border-radius: 6px }
table { border-collapse: collapse }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); text-align: center;
  white-space: nowrap }
tbody tr:last-child > * { border-bottom: 0 }
thead th { background: var(--head); font-weight: 600 }
tbody th, thead th:first-child { position: sticky; left: 0; background: var(--head);
  text-align: left; font-weight: 600; max-width: min(40vw, 18rem);
  overflow: hidden; text-overflow: ellipsis; border-right: 1px solid var(--line) }
.yes { color: var(--yes) } .no { color: var(--no) } .none { color: var(--dim) }
td > b { font-weight: 700 }
details { border: 1px solid var(--line); border-radius: 6px; margin-bottom: 8px; max-width: 70rem }
summary { padding: 6px 12px; cursor: pointer; overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 16px; margin: 0;
  padding: 4px 12px 12px }
dt { font-weight: 600 } dd { margin: 0; overflow-wrap: anywhere }
@media (max-width: 34rem) { body { padding: 12px } th, td { padding: 6px 8px }
  dl { grid-template-columns: 1fr } dd { margin-bottom: 6px } }
"""


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
    table = _Table(results)
    written = []
    # A spreadsheet takes a file for UTF-8 that begins with this mark.
    for name, text in (("grades.csv", "\ufeff" + table.csv()), ("grades.html", table.page())):
        with tempfile.TemporaryDirectory(dir=folder, prefix=".grades-") as half:
            new = Path(half, name)
            new.write_bytes(text.encode(errors="replace"))  # a name may be no text
            new.replace(folder / name)
        written.append(folder / name)
    return written


class _Table:
    """Learners down, exercises across."""

    def __init__(self, results: Sequence[Result]) -> None:
        self.results: dict[str, dict[str, Result]] = {}
        for result in results:
            self.results.setdefault(result.paper.learner, {})[result.paper.number] = result
        self.learners = sorted(self.results)
        self.exercises = sorted({name for result in results for name in result.paper.exercises})

    def csv(self) -> str:
        """One row a learner: how many exercises were passed, 1 or 0 for each, what there is to say.

        A cell is empty where the notebook was not handed in, or could not be graded.
        """
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\r\n")
        rows.writerow(["learner", "passed", *self.exercises, "messages"])
        for learner in self.learners:
            marks = {True: "1", False: "0", None: ""}
            cells = [marks[self.mark(learner, name)] for name in self.exercises]
            messages = "\n".join(f"{what}: {said}" for what, _, said in self.messages(learner))
            rows.writerow([_no_formula(learner), str(self.passed(learner)), *cells, messages])
        return text.getvalue()

    def page(self) -> str:
        """The table as a page, with the messages below it."""
        head = "".join(f'<th scope="col">{name}</th>' for name in self.exercises)
        rows = "".join(
            f'<tr><th scope="row" title="{html.escape(learner)}">{html.escape(learner)}</th>'
            f"<td>{self.passed(learner)}</td>"
            + "".join(f"<td>{_MARKS[self.mark(learner, name)]}</td>" for name in self.exercises)
            + "</tr>"
            for learner in self.learners
        )
        said = "".join(self._said(learner) for learner in self.learners)
        count = len(self.exercises)
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Grades</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<style>{_STYLE}</style></head><body><h1>Grades</h1>"
            f"<p>{_number(len(self.learners), 'learner')}, {_number(count, 'exercise')}. "
            "✓ passed, ✗ not passed, – not handed in or not graded.</p>"
            f'<div class="wide" tabindex="0" role="region" aria-label="Grades"><table><thead><tr>'
            f'<th scope="col">learner</th><th scope="col">passed</th>{head}</tr></thead>'
            f"<tbody>{rows}</tbody></table></div><h2>Messages</h2>{said}</body></html>\n"
        )

    def mark(self, learner: str, name: str) -> bool | None:
        """Whether a learner passed an exercise; None where nothing was judged."""
        result = self.results[learner].get(name[:2])
        found = result.verdicts.get(name) if result else None
        return found[0] if found else None

    def passed(self, learner: str) -> int:
        """How many exercises a learner passed."""
        return sum(self.mark(learner, name) is True for name in self.exercises)

    def messages(self, learner: str) -> list[tuple[str, bool, str]]:
        """What there is to say: of what, whether it is good news, and the words."""
        found = []
        for number, result in sorted(self.results[learner].items()):
            if result.problem:
                found.append((number, False, f"could not be graded: {result.problem}"))
            elif result.runs:
                found.append((number, False, f"does not run to its end: {result.runs}"))
            else:
                found.append((number, True, "runs from top to bottom"))
            if result.paper.note:
                found.append((number, False, result.paper.note))
            found += [(name, *verdict) for name, verdict in sorted(result.verdicts.items())]
        return found

    def _said(self, learner: str) -> str:
        items = "".join(
            f"<dt>{_MARKS[good]} {what}</dt><dd>{code(said)}</dd>"
            for what, good, said in self.messages(learner)
        )
        of = sum(self.mark(learner, name) is not None for name in self.exercises)
        title = f"{html.escape(learner)} · {self.passed(learner)} of {of}"
        return f"<details><summary>{title}</summary><dl>{items}</dl></details>"


_MARKS = {
    True: '<b class="yes" role="img" aria-label="passed">✓</b>',
    False: '<b class="no" role="img" aria-label="not passed">✗</b>',
    None: '<b class="none" role="img" aria-label="nothing">–</b>',
}


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _number(count: int, word: str) -> str:
    return f"{count} {word}" + "s" * (count != 1)
