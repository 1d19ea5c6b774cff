"""The lab and its containers side by side: what they share, and what is each one's own."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import pairwise
from typing import TYPE_CHECKING

from labkit.view.picture import Picture, figure, frame, grid
from labkit.view.text import fit_columns, markup, more, phrase, table, visible

if TYPE_CHECKING:
    from labkit.procfs import Process

MAX_CONTAINERS = 6  # of these and of the next, the rest is counted
MAX_PROCESSES = 20  # of the lab and of each container
MAX_LINKS = 4

NO_CONTAINER = ("No container:", "every process shares the lab's namespaces.")
ENDED = "The process has ended."

_COLUMNS = 78  # of the words
_LOOKS = {"own": "lk-own", "namespaces": "lk-shared", "shared": "lk-shared"}


@dataclass(frozen=True)
class Side:
    """What belongs to one side, see namespaces(7).

    Attributes:
        namespaces: kind and inode number of each.
        hostname: None where it cannot be read.
        links: name of each network link and whether it is up; None where they cannot be read.
    """

    namespaces: tuple[tuple[str, int], ...]
    hostname: str | None
    links: tuple[tuple[str, bool], ...] | None


@dataclass(frozen=True)
class Row:
    """A process in the tree.

    Attributes:
        depth: below the first one.
        process: it, as it is seen in the lab.
        inside: the number of the container that it is in, from 1; 0 outside.
        pid_inside: its PID there; None where it is outside or its PID is the same.
    """

    depth: int
    process: "Process"
    inside: int
    pid_inside: int | None


@dataclass(frozen=True, repr=False)
class NamespacePicture(Picture):
    """The lab and its containers at one moment.

    Attributes:
        lab: the reader's side.
        containers: the other sides; none where every process shares all that the lab has.
        rows: the process tree, each parent before its children.
        more: how many further containers there are.
        ended: the process at the top of the tree has ended.
    """

    lab: Side
    containers: tuple[Side, ...]
    rows: tuple[Row, ...]
    more: int = 0

    def __repr__(self) -> str:
        """The picture in words."""
        facts = [] if self.containers else [("hostname", [_name(self.lab)])]
        for name, side in zip(self._names, self.containers, strict=True):
            facts += [("container", [name])] * self._many
            for whose, kinds in self._kinds(side).items():
                facts.append((visible(whose), [" ".join(kinds) or "none"]))
            facts += [("hostname", [self._hostname(side)]), ("links", self._links(side))]
        lines = [
            fit_columns(f"{label if number == 0 else '':9} {visible(word)}", _COLUMNS)
            for label, words in facts
            for number, word in enumerate(words)
        ]
        lines += [self._rest] * (self.more > 0)
        if self.ended:
            lines.append(ENDED)
        elif not self.containers:
            lines.append(" ".join(NO_CONTAINER))
        return "\n".join(lines + self._tree_in_words())

    def html(self) -> str:
        """The lab beside its container, or around several."""
        kinds = {"namespaces": [kind for kind, _ in self.lab.namespaces]}
        links = _link_words(self.lab.links) if self.moving else ["those of the machine"]
        lab = [self._facts(self.lab, kinds, links), self._processes(self.rows, self._pid_in_lab)]
        ended = f"<p><strong>{ENDED}</strong></p>" * self.ended
        sides = [] if self.containers else [ended or f"<p>{'<br>'.join(NO_CONTAINER)}</p>"]
        for number, side in enumerate(self.containers, 1):
            inside = [row for row in self.rows if row.inside == number]
            facts = self._facts(side, self._kinds(side), self._links(side))
            sides.append(ended + facts + self._processes(inside, self._pid_in_container))
        if not self._many:
            content = frame("lab", "the lab", *lab) + frame("container", "the container", *sides)
            return figure("lk-namespaces", content, "The lab and a container")
        titles = [f"container {name}" for name in self._names]
        lab = [grid(lab), grid(map(partial(frame, "container"), titles, sides))]
        lab += [f"<p>{self._rest}</p>"] * (self.more > 0)
        return figure("lk-namespaces", frame("lab", "the lab", *lab), "The lab and its containers")

    @property
    def _many(self) -> bool:
        return len(self.containers) > 1

    @cached_property
    def _names(self) -> list[str]:
        """Each container's host name or, where it is not its alone, its number."""
        names = [side.hostname for side in (self.lab, *self.containers)]
        own = [name if names.count(name) == 1 else None for name in names[1:]]
        return [name or f"number {number}" for number, name in enumerate(own, 1)]

    @property
    def _rest(self) -> str:
        return f"… and {self.more} more containers"

    def _facts(self, side: Side, kinds: dict[str, list[str]], links: list[str]) -> str:
        facts = f"<dt>hostname</dt><dd><strong>{markup(_name(side))}</strong></dd>"
        for whose, names in kinds.items():
            look = _LOOKS.get(whose, "lk-shared lk-parent")
            inodes = {kind: f" <small>{n}</small>" * self.moving for kind, n in side.namespaces}
            chips = [f'<span class="{look}">{name}{inodes[name]}</span>' for name in names]
            facts += f"<dt>{markup(whose)}</dt><dd>{' '.join(chips) or 'none'}</dd>"
        return f"<dl>{facts}<dt>links</dt><dd>{'<br>'.join(map(markup, links))}</dd></dl>"

    def _processes(self, rows: Sequence[Row], note: Callable[[Row], str]) -> str:
        shown, rest = _shown(rows)
        tree = f"<p>processes</p>{self._tree(shown, note)}" * bool(shown)
        return tree + "".join(f"<p>{words}</p>" for words in rest)

    def _tree(self, rows: Sequence[Row], note: Callable[[Row], str]) -> str:
        """A list in which each parent holds its children."""
        starts = [number for number, row in enumerate(rows) if row.depth <= rows[0].depth]
        items = ""
        for start, end in pairwise([*starts, len(rows)]):
            row, below = rows[start], self._tree(rows[start + 1 : end], note)
            name, command = row.process.name, row.process.command
            title = f' title="{markup(" ".join((f"{name}:", *command)))}"'
            title *= bool(self.moving and command)
            words = f"<span>{markup(name)}</span> <small>{markup(note(row))}</small>"
            items += '<li class="lk-inside">' if row.inside else "<li>"
            items += f"<div{title}>{words}</div>{below}</li>"
        return f"<ul>{items}</ul>" * bool(items)

    def _kinds(self, side: Side) -> dict[str, list[str]]:
        """The kinds of which a container has one of its own, the lab's, or another container's."""
        found: dict[str, list[str]] = {"own": [], "shared": []}
        for one in side.namespaces:
            sides = zip(self._names, self.containers, strict=True)
            others = [name for name, it in sides if it is not side and one in it.namespaces]
            whose = f"with {', '.join(others)}" if others else "own"
            whose = "shared" if one in self.lab.namespaces else whose
            found.setdefault(whose, []).append(one[0])
        return found

    def _hostname(self, side: Side) -> str:
        if self._owns(side, "uts"):
            return f"{_name(self.lab)} outside, {_name(side)} inside"
        return f"{_name(self.lab)}, shared"

    def _links(self, side: Side) -> list[str]:
        return _link_words(side.links) if self._owns(side, "net") else ["those of the lab"]

    def _owns(self, side: Side, kind: str) -> bool:
        return kind in dict(set(side.namespaces) - set(self.lab.namespaces))

    def _tree_in_words(self) -> list[str]:
        rows, rest = _shown(self.rows)
        cells = []
        for row, branch in zip(rows, _branches([row.depth for row in rows]), strict=True):
            name = branch + fit_columns(visible(row.process.name), _COLUMNS - 26 - len(branch))
            cells.append((f"  {name}", self._pid_in_words(row)))
        lines = [fit_columns(line, _COLUMNS) for line in table(cells, "   ").split("\n")]
        return ["processes", *lines, *(f"  {words}" for words in rest)] if rows else []

    def _pid_in_words(self, row: Row) -> str:
        inside = ""
        if row.inside:
            name = self._names[row.inside - 1]
            inside = f"in {visible(name)}" if self._many else "inside"
        if row.pid_inside is not None:
            inside = f"PID {row.pid_inside} {inside}"
        return phrase(inside, "zombie" * (row.process.state == "Z"))

    def _pid_in_lab(self, row: Row) -> str:
        words = phrase(f"PID {row.process.pid}" * self.moving, self._pid_in_words(row))
        return words.replace(", PID", " =", 1)

    def _pid_in_container(self, row: Row) -> str:
        pid = row.pid_inside or row.process.pid * self.moving
        return phrase(f"PID {pid}" * bool(pid), "zombie" * (row.process.state == "Z"))


def _shown(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows that there is room for, and a line about the rest."""
    count, kept = Counter[int](), []
    for row in rows:
        count[row.inside] += 1
        if count[row.inside] <= MAX_PROCESSES:
            kept.append(row)
    return kept, more(len(rows), len(kept))


def _branches(depths: Sequence[int]) -> list[str]:
    """What stands before each name in a tree that is written down."""
    branches = []
    for number, depth in enumerate(depths):
        parts = []
        for level in range(1, depth + 1):
            # Does another one follow at this level, before the tree goes back above it?
            rest = (after for after in depths[number + 1 :] if after <= level)
            goes_on = next(rest, 0) == level
            parts.append(("├ " if goes_on else "└ ") if level == depth else "│ " * goes_on or "  ")
        branches.append("".join(parts) if depth <= 16 else f"{'':30}└ ({depth} deep) ")
    return branches


def _name(side: Side) -> str:
    return "(cannot be read)" if side.hostname is None else side.hostname


def _link_words(links: Sequence[tuple[str, bool]] | None) -> list[str]:
    if links is None:
        return ["(cannot be read)"]
    words = [f"{name} {'up' if up else 'down'}" for name, up in links[:MAX_LINKS]]
    return words + more(len(links), MAX_LINKS) or ["none"]
