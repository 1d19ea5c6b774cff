"""What a judge says of an answer.

What an exercise wants stands in the notebook's text, and its judge in `notebooks/exercises`.
Nothing here knows of IPython.
"""

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from errno import EAGAIN, EDQUOT, EMFILE, ENFILE, ENOMEM, ENOSPC, EROFS
from typing import Any

from labkit import exercise
from labkit.errors import printable
from labkit.exercise import Exercise
from labkit.exercise.observe import Incorrect
from labkit.exercise.sandboxed_run import NoSandbox

METADATA = "labkit"  # the key of what an output's metadata says of a verdict
SHOWN = 300  # characters of what was found
FOR_EVER = "Does it wait for something, or for ever?"  # a hint where a limit ended it
# What a machine runs out of, whatever an answer does.
SHORT_OF = (ENOSPC, EDQUOT, EROFS, EMFILE, ENFILE, ENOMEM, EAGAIN)


class NotJudged(Exception):
    """The machine refused what judging needs; the message says what, and what helps."""


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

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        """Tell in the output's metadata, where it is data, what text and HTML tell a person."""
        return {}, {METADATA: {"exercise": self.number, "passed": self.passed}}

    def _repr_html_(self) -> str:
        color = (
            "var(--jp-success-color1,#2e7d32)" if self.passed else "var(--jp-warn-color1,#e65100)"
        )
        rows = "".join(
            f'<dt style="width:auto;opacity:.75">{name}</dt>'
            f'<dd style="width:auto;margin:0">{code(text)}</dd>'
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


def judge(exercise_: Exercise, text: str, runtime: Mapping[str, str]) -> Verdict:
    """Judge an answer.

    Args:
        exercise_: what it is an answer to.
        text: the answer.
        runtime: path to text of the files beside it.

    Raises:
        NotJudged: the machine refused what judging needs. The answer may be right.
    """
    try:
        return _judge(exercise_, text, runtime)
    except NoSandbox as error:
        cure = "`labkit doctor` says what this machine allows, and what helps."
        why = f"{str(error).rstrip('.')}. {cure}"
    except OSError as error:
        why = f"{error.filename or 'the kernel'}: {error.strerror}. Make room there, and try again."
    fault = "could not be judged, which is no fault of your answer"
    raise NotJudged(f"{exercise_.number} {fault}: {why}")


def _judge(exercise_: Exercise, text: str, runtime: Mapping[str, str]) -> Verdict:
    with exercise.workspace(exercise_, text, runtime) as answer:
        try:
            return Verdict(exercise_.number, True, "", exercise_.judge(answer))
        except Incorrect as error:
            wrong = error
        except NoSandbox:
            raise
        except Exception as error:  # it looked at something it never met
            if isinstance(error, OSError) and error.errno in SHORT_OF:
                raise
            told = str(error).replace(str(answer.folder), "…")[:200]
            wrong = Incorrect("an answer of the usual form", f"{type(error).__name__}: {told}")
        if answer.exceeded:
            wrong = Incorrect(wrong.wanted, answer.exceeded, wrong.hint or FOR_EVER)
        hints = (wrong.hint,) if wrong.hint else ()
        number, found = exercise_.number, printable(wrong.found, SHOWN)
        return Verdict(number, False, wrong.wanted, found, hints, answer.said)


def code(text: str) -> str:
    """Escape a text for HTML and show what stands in backquotes as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(text))
