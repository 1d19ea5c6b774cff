"""What cannot be done, said to a person in a line."""

import sys


class CourseError(Exception):
    """What was asked for cannot be done; the message says why, and what helps."""


def printable(text: str, most: int = sys.maxsize) -> str:
    """Return a text without what a terminal obeys, or what is no text, and not longer than most."""
    text = "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
    return text if len(text) <= most else f"{text[:most]} …"


def fail(message: str, status: int = 1) -> int:
    """Print a message on stderr, and return the exit status of a command that ends with it."""
    print(f"labkit: {printable(message)}", file=sys.stderr)
    return status
