"""A notebook's working folder: the runtime as the notebooks before it left it, then each change."""

import difflib
import hashlib
import html
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from labkit.course import workbook
from labkit.course.workbook import Source

RECORD = ".written.json"  # path to digest of what cells wrote


@dataclass(frozen=True)
class Change:
    """What a `%%source` cell changed; a notebook shows it as a diff.

    Attributes:
        path: the file.
        before: its text in the version before, None where it is new.
        after: its text now.
        replaces: files that it takes the place of.
    """

    path: str
    before: str | None
    after: str
    replaces: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """One line that says what happened to the file."""
        count = len(self.after.splitlines())
        if self.before is None:
            instead = f", replaces {', '.join(self.replaces)}" if self.replaces else ""
            return f"{self.path}: new, {count} lines{instead}"
        marks = [line[0] for line in self.lines()]
        if not marks:
            return f"{self.path}: as before"
        return f"{self.path}: {marks.count('+')} lines added, {marks.count('-')} removed"

    def lines(self) -> list[str]:
        """The changed lines with two lines around each, marked " ", "+", "-"; "@" for a gap."""
        if self.before is None:
            return []
        texts = self.before.splitlines(), self.after.splitlines()
        diff = [*difflib.unified_diff(*texts, n=2, lineterm="")][2:]
        return ["@" if line.startswith("@@") else line for line in diff]

    def __repr__(self) -> str:
        """The diff as text, which is also what nbval compares."""
        lines = ["  ⋮" if line == "@" else line for line in self.lines()]
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        style = {"+": "background:rgba(46,160,67,.22)", "-": "background:rgba(248,81,73,.2)"}
        rows = "".join(
            '<div style="opacity:.6">⋮</div>'
            if line == "@"
            else f'<div style="{style.get(line[0], "")}">{html.escape(line) or " "}</div>'
            for line in self.lines()
        )
        return (
            '<div style="font-family:var(--jp-code-font-family,monospace);'
            'font-size:13px;padding-left:8px">'
            f'<div style="font-weight:600;margin-bottom:4px">{html.escape(self.title)}</div>'
            f'<div style="white-space:pre-wrap;line-height:1.45">{rows}</div></div>'
        )


class WorkFolder:
    """The working folder of a notebook, and the versions of the runtime's files in it.

    Attributes:
        path: where it is.
        versions: path to the texts a file had, oldest first.
        delivered: whether it started from the notebooks as they were delivered.
    """

    def __init__(self, number: int, files: dict[str, Source], *, delivered: bool = False) -> None:
        """Fill a notebook's working folder with a runtime, as `workbook.runtime` returns it.

        One that is not as cells left it is put aside first, with all that is in it.

        Raises:
            OSError: the folder cannot be written.
        """
        self.path, self.delivered = workbook.work_folder() / f"{number:02}", delivered
        self.versions: dict[str, list[str]] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = self._written()
        for name in (*written, *files):
            place = self.path / name
            if os.path.lexists(place) and _digest(place) != written.get(name):
                _put_aside(self.path, f"{name} was edited by hand")
                break
        for name in written.keys() - files.keys():
            (self.path / name).unlink(missing_ok=True)
        self._write({}, *files.values())

    def put(self, source: Source) -> Change:
        """Write a file into the folder and tell what changed.

        What somebody else put there, or edited, is put aside first.

        Raises:
            OSError: it cannot be written.
        """
        place = self.path / source.path
        written = self._written()
        if os.path.lexists(place) and _digest(place) != written.get(source.path):
            _put_aside(place, "it was edited by hand")
        for name in source.replaces:
            (self.path / name).unlink(missing_ok=True)
            written.pop(name, None)
        self._write(written, source)
        texts = self.versions[source.path]
        before = texts[-2] if len(texts) > 1 else None
        return Change(source.path, before, source.text, source.replaces)

    def __repr__(self) -> str:
        """Say where this is and what is in it."""
        files = ", ".join(self.versions) or "empty so far"
        origin = ", from the notebooks as delivered" if self.delivered else ""
        return f"working folder work/{self.path.name}{origin}: {files}"

    def _write(self, written: dict[str, str], *sources: Source) -> None:
        """Write files, and note that cells wrote them."""
        for source in sources:
            place = self.path / source.path
            place.parent.mkdir(parents=True, exist_ok=True)
            workbook.write(place, source.text)
            written[source.path] = _digest(place)
            texts = self.versions.setdefault(source.path, [])
            if texts[-1:] != [source.text]:
                texts.append(source.text)
        self.path.mkdir(parents=True, exist_ok=True)
        workbook.write(self.path / RECORD, json.dumps(written))

    def _written(self) -> dict[str, str]:
        """Return what the files were when cells wrote them; empty where nobody knows."""
        try:
            return dict(json.loads((self.path / RECORD).read_text()))
        except (OSError, ValueError):
            return {}


def _digest(path: Path) -> str:
    """Return a file's digest; "" for what is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _put_aside(path: Path, why: str) -> None:
    print(f"{path.name}: {why}; that is now {workbook.put_aside(path).name}", file=sys.stderr)
