"""What cannot be done, said to a person in a line."""

import sys


class CourseError(Exception):
    """What was asked for cannot be done; the message says why, and what helps."""


def printable(text: str) -> str:
    """Return a text without what a terminal obeys, or what is no text; lines stay lines."""
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def fail(message: str, status: int = 1) -> int:
    """Print a message on stderr, and return the exit status of a command that ends with it."""
    print(f"labkit: {printable(message)}", file=sys.stderr)
    return status
