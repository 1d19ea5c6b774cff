"""The lab and a container side by side: what they share, and what is the container's own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from labkit.view.picture import Picture, figure
from labkit.view.text import columns, fit_columns, markup, phrase, visible

MAX_PROCESSES = 20  # of either side; the rest is counted
MAX_LINKS = 4

NO_CONTAINER = ("No container:", "every process shares the lab's namespaces.")
ENDED = "The process has ended."

_COLUMNS = 78  # of the words


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
        pid: its PID in the lab.
        inside: whether it is in the container.
        pid_inside: its PID there; None where it is outside or its PID is the same.
        name: the kernel's name for it.
        command: its argument vector.
        zombie: it has ended, and its parent has not waited for it.
    """

    depth: int
    pid: int
    inside: bool
    pid_inside: int | None
    name: str
    command: tuple[str, ...]
    zombie: bool


@dataclass(frozen=True, repr=False)
class NamespacePicture(Picture):
    """The lab and a container at one moment.

    Attributes:
        lab: the reader's side.
        container: the other side; None where every process shares all that the lab has.
        rows: the process tree, each parent before its children.
        ended: the process at the top of the tree has ended.
    """

    lab: Side
    container: Side | None
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        """The picture in words."""
        facts = [("hostname", [self._hostname()])]
        if self.container:
            facts = [
                ("own", [" ".join(self._kinds(own=True))]),
                ("shared", [" ".join(self._kinds(own=False)) or "none"]),
                *facts,
                ("links", self._links()),
            ]
        lines = [
            fit_columns(f"{name if number == 0 else '':10}{word}", _COLUMNS)
            for name, words in facts
            for number, word in enumerate(words)
        ]
        if self.ended:
            lines.append(ENDED)
        elif not self.container:
            lines.append(" ".join(NO_CONTAINER))
        return "\n".join(lines + self._tree_in_words())

    def html(self) -> str:
        """The lab beside the container."""
        kinds = {"namespaces": [kind for kind, _ in self.lab.namespaces]}
        links = _link_words(self.lab.links) if self.moving else ["those of the machine"]
        lab = self._facts(self.lab, kinds, links) + self._processes(self.rows, self._pid_in_lab)
        container = f"<p><strong>{ENDED}</strong></p>" * self.ended
        if self.container:
            kinds = {"own": self._kinds(own=True), "shared": self._kinds(own=False)}
            inside = [row for row in self.rows if row.inside]
            container += self._facts(self.container, kinds, self._links())
            container += self._processes(inside, self._pid_in_container)
        elif not self.ended:
            container = f"<p>{'<br>'.join(NO_CONTAINER)}</p>"
        return figure(
            "lk-namespaces",
            f'<div class="lk-side lk-lab"><strong>the lab</strong>{lab}</div>'
            f'<div class="lk-side lk-container"><strong>the container</strong>{container}</div>',
            "The lab and a container",
        )

    def _facts(self, side: Side, kinds: dict[str, list[str]], links: list[str]) -> str:
        facts = f"<dt>hostname</dt><dd><strong>{markup(_name(side))}</strong></dd>"
        for whose, names in kinds.items():
            look = "lk-own" if whose == "own" else "lk-shared"
            inodes = {kind: f" <small>{n}</small>" * self.moving for kind, n in side.namespaces}
            chips = [f'<span class="{look}">{name}{inodes[name]}</span>' for name in names]
            facts += f"<dt>{whose}</dt><dd>{' '.join(chips) or 'none'}</dd>"
        return f"<dl>{facts}<dt>links</dt><dd>{'<br>'.join(map(markup, links))}</dd></dl>"

    def _processes(self, rows: Sequence[Row], note: Callable[[Row], str]) -> str:
        shown, more = _shown(rows)
        tree = f"<p>processes</p>{self._tree(shown, note)}" * bool(shown)
        return tree + f"<p>{more}</p>" * bool(more)

    def _tree(self, rows: Sequence[Row], note: Callable[[Row], str]) -> str:
        """A list in which each parent holds its children."""
        starts = [number for number, row in enumerate(rows) if row.depth <= rows[0].depth]
        items = ""
        for start, end in pairwise([*starts, len(rows)]):
            row, below = rows[start], self._tree(rows[start + 1 : end], note)
            command = markup(" ".join((f"{row.name}:", *row.command)))
            title = f' title="{command}"' * bool(self.moving and row.command)
            words = f"<span>{markup(row.name)}</span> <small>{note(row)}</small>"
            items += '<li class="lk-inside">' if row.inside else "<li>"
            items += f"<div{title}>{words}</div>{below}</li>"
        return f"<ul>{items}</ul>" * bool(items)

    def _kinds(self, *, own: bool) -> list[str]:
        """The kinds of which the container has one of its own, or the lab's."""
        its = dict(self.container.namespaces) if self.container else {}
        ours = self.lab.namespaces
        return [kind for kind, inode in ours if kind in its and (its[kind] != inode) == own]

    def _hostname(self) -> str:
        if not self.container:
            return _name(self.lab)
        if "uts" in self._kinds(own=True):
            return f"{_name(self.lab)} outside, {_name(self.container)} inside"
        return f"{_name(self.lab)}, shared"

    def _links(self) -> list[str]:
        if self.container and "net" in self._kinds(own=True):
            return _link_words(self.container.links)
        return ["those of the lab"]

    def _tree_in_words(self) -> list[str]:
        rows, more = _shown(self.rows)
        branches = _branches([row.depth for row in rows])
        names = [
            branch + fit_columns(visible(row.name), _COLUMNS - 26 - len(branch))
            for row, branch in zip(rows, branches, strict=True)
        ]
        widest = max(map(columns, names), default=0)
        lines = []
        for row, name in zip(rows, names, strict=True):
            note = self._pid_in_words(row)
            gap = " " * (widest - columns(name) + 3)
            lines.append(f"  {name}{gap}{note}" if note else f"  {name}")
        if more:
            lines.append(f"  {more}")
        return ["processes", *lines] if lines else []

    def _pid_in_words(self, row: Row) -> str:
        inside = "inside" if row.inside else ""
        if row.pid_inside is not None:
            inside = f"PID {row.pid_inside} inside"
        return phrase(inside, "zombie" * row.zombie)

    def _pid_in_lab(self, row: Row) -> str:
        words = phrase(f"PID {row.pid}" * self.moving, self._pid_in_words(row))
        return words.replace(", PID", " =")

    def _pid_in_container(self, row: Row) -> str:
        pid = row.pid_inside or row.pid * self.moving
        return phrase(f"PID {pid}" * bool(pid), "zombie" * row.zombie)


def _shown(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """The rows that there is room for, and a line about the rest."""
    inside = [row for row in rows if row.inside]
    outside = [row for row in rows if not row.inside]
    kept = {id(row) for side in (inside, outside) for row in side[:MAX_PROCESSES]}
    more = ""
    if hidden := len(rows) - len(kept):
        more = f"… and {hidden} more"
        hidden_inside = max(0, len(inside) - MAX_PROCESSES)
        if 0 < hidden_inside < hidden:
            more += f", {hidden_inside} of them in the container"
    return [row for row in rows if id(row) in kept], more


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
    hidden = len(links) - MAX_LINKS
    return words + [f"… and {hidden} more"] * (hidden > 0) or ["none"]
