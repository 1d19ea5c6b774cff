"""A question before an experiment: one guesses, and the kernel gives the answer.

A guess is not graded and not stored. It lives in the page, which also compares it with the answer:
so nothing depends on whether the kernel heard of it before the experiment began. The kernel's copy
of it is there for a page that is loaded again.
"""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.view.text import columns, visible

_COLUMNS = 100  # of the text form
_INDENT = 'style="padding-left:8px"'  # begins where the text that a cell prints begins


class QuizError(ValueError):
    """A question that cannot be asked, or an answer that is none of its choices."""

    def _render_traceback_(self) -> list[str]:
        """What IPython prints: the message says it all, and the way here is no news."""
        return [f"{type(self).__name__}: {self}"]


@dataclass(frozen=True)
class Answer:
    """What the kernel said. It reads the same whatever was guessed.

    Attributes:
        choice: the one of the choices that is right.
    """

    choice: str

    def __repr__(self) -> str:
        return f"The kernel says: {self.choice}"

    def _repr_html_(self) -> str:
        return f"<p {_INDENT}>The kernel says: <strong>{escape(self.choice)}</strong></p>"


class Quiz(anywidget.AnyWidget):
    """One question with its choices, as the value of a cell; `answer` ends it.

    Several views of one quiz show the same, and a page that is loaded again shows the guess.
    """

    # The traits' names are quiz.js's: what a page shows, and the place of two of the choices.
    _esm = Path(__file__).with_suffix(".js")
    _css = Path(__file__).with_suffix(".css")
    question: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    choices: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    guess: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )
    right: traitlets.Int[int | None, int | None] = traitlets.Int(None, allow_none=True).tag(
        sync=True
    )

    def __init__(self, question: str, *choices: object) -> None:
        """Ask something that an experiment will settle.

        Args:
            question: one or two sentences; `code` may stand in backticks.
            *choices: two or more, told apart by what str() makes of them.

        Raises:
            QuizError: no question, fewer than two choices, an empty one, or two that are alike.
        """
        asked, offered = _plain(question), [_plain(choice) for choice in choices]
        if not asked or "" in offered or len(set(offered)) < max(2, len(offered)):
            raise QuizError(
                "a quiz has a question and two choices or more, none alike, none empty: "
                f"{(asked, *offered)}"
            )
        super().__init__(question=asked, choices=offered)

    def answer(self, value: object) -> Answer:
        """Tell what the kernel said. Pages that show the quiz say how the guess compares with it.

        Args:
            value: compared with the choices by what str() makes of it, without blanks around it.

        Returns:
            the answer, to be the value of the experiment's cell.

        Raises:
            QuizError: it is none of the choices.
        """
        said = _plain(value)
        if said not in self.choices:
            raise QuizError(
                f"the answer {said!r} is none of the choices ({', '.join(self.choices)}). Usually "
                "an earlier cell was changed or left out: Kernel → Restart, then run them in order"
            )
        self.right = self.choices.index(said)
        return Answer(said)

    def __repr__(self) -> str:
        """The question and its choices; what was guessed is nobody's business."""
        marked = [f"( ) {choice}" for choice in self.choices]
        line = "   ".join(marked)
        return "\n".join(
            [f"Guess: {self.question}", *([line] if columns(line) <= _COLUMNS else marked)]
        )

    def _repr_html_(self) -> str:
        """What a notebook without a kernel shows."""
        question = re.sub("`([^`]+)`", r"<code>\1</code>", escape(self.question))
        choices = " · ".join(f"<em>{escape(choice)}</em>" for choice in self.choices)
        run = "Not run yet: run this cell (Shift+Enter) to choose."
        return (
            f"<p {_INDENT}><strong>Guess:</strong> {question}</p><p {_INDENT}>{run} {choices}</p>"
        )

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Put the steady forms beside the view; ipywidgets would cut the text off."""
        bundle: Any = super()._repr_mimebundle_(**options)
        data, metadata = bundle or ({}, {})
        return {**data, "text/plain": repr(self), "text/html": self._repr_html_()}, metadata


def _plain(value: object) -> str:
    """Return a value as one line of text in which everything can be seen."""
    return visible(" ".join(str(value).split()))
