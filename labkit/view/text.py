"""Text from anywhere, made fit for a page and for the columns of a terminal."""

import unicodedata
from collections.abc import Sequence
from html import escape

ELLIPSIS = "…"
_JOINER = "\u200d"  # makes one emoji of several


def visible(text: str) -> str:
    r"""Return a text in which everything can be seen and nothing steers its surroundings.

    Control and formatting characters, lone surrogates and the like become `\n`, `\x1b`,
    `\u202e`; a byte that was no UTF-8 (see os.fsdecode) becomes `\xff`.
    """
    return "".join(map(_visible, text))


def markup(text: str) -> str:
    """Return a text as HTML that shows it, visible to the last character."""
    return escape(visible(text))


def phrase(*parts: str) -> str:
    """Return what is not empty of some words, with commas between."""
    return ", ".join(filter(None, parts))


def table(rows: Sequence[Sequence[str]], gap: str = "  ") -> str:
    """Return rows of words, as `visible` returns them, as lines with columns."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    lines = (
        gap.join(
            word + " " * (width - columns(word)) for word, width in zip(row, widths, strict=True)
        )
        for row in rows
    )
    return "\n".join(map(str.rstrip, lines))


def more(number: int, room: int) -> list[str]:
    """Say how many there is no room for, where there are such."""
    return [f"… and {number - room} more"] * (number > room)


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes, as `visible` returns it."""
    return sum(map(_columns, text))


def fit_columns(text: str, width: int) -> str:
    """Return a text of at most that many columns; a longer one loses its middle to an ellipsis.

    Args:
        text: as `visible` returns it.
        width: in columns of a terminal.
    """
    if columns(text) <= width:
        return text
    middle = len(text) // 2
    head, tail = text[:middle][:width], text[middle:][-width:]
    while columns(head) + columns(tail) >= width:  # the ellipsis takes one
        if columns(head) > columns(tail):
            head = head[:-1]
        else:
            tail = tail[1:]
    return f"{head}{ELLIPSIS}{tail}"


def _visible(letter: str) -> str:
    if letter.isprintable() or letter == _JOINER:
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode hides a byte here
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def _columns(letter: str) -> int:
    if _joins(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _joins(letter: str) -> bool:
    """Whether it is drawn onto the character before it."""
    return letter == _JOINER or unicodedata.category(letter) in ("Mn", "Me")
