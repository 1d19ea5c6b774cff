"""The lab and a container side by side: what they share, and what is the container's own."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, TypeVar

from labkit import procfs
from labkit.procfs import Process
from labkit.view.drawing import Drawing, Picture, columns, fit_columns, visible
from labkit.view.live import Listener, Live

MOST_PROCESSES = 20  # of either side; the rest is counted
MOST_LINKS = 4
PATIENCE = 0.5  # seconds

NO_CONTAINER = ("No container:", "every process shares the lab's namespaces.")
ENDED = "The process has ended."

_PANE, _LEFT, _ROW, _CHIP = 400, 18, 19, 24  # px
_ROOM = _PANE - 2 * _LEFT
_LABEL = 76  # px, for "hostname" before its value
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
        moving: draw also what differs from run to run: PIDs in the lab, inode numbers, the
            machine's links. A saved drawing goes without, as the words do.
    """

    lab: Side
    container: Side | None
    rows: tuple[Row, ...]
    ended: bool = False
    moving: bool = False

    def __repr__(self) -> str:
        """The picture in words."""
        facts = [("hostname", [self._hostname()])]
        if self.container:
            facts = [
                ("own", [" ".join(kind for kind, own in self._kinds() if own)]),
                ("shared", [" ".join(kind for kind, own in self._kinds() if not own) or "none"]),
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

    @property
    def label(self) -> str:
        """What a screen reader says."""
        lines = repr(self).translate(dict.fromkeys(map(ord, "├└│"))).split("\n")
        return "The lab and a container: " + "; ".join(" ".join(line.split()) for line in lines)

    def live(self) -> "NamespacePicture":
        """Return it with all that differs from run to run."""
        return replace(self, moving=True)

    def panes(self) -> list[Drawing]:
        """The lab on the left, the container on the right."""
        lab_links = _link_words(self.lab.links) if self.moving else ["those of the machine"]
        links = self._links() if self.container else []
        rows, more = self._shown()
        inside = [row for row in rows if row.inside]
        hidden = sum(row.inside for row in self.rows) - len(inside)
        chips = 64 + _CHIP * ((len(self.lab.namespaces) + 1) // 2)
        tree = chips + 22 + _ROW * max(len(lab_links), len(links)) + 4
        height = tree + _ROW * (len(rows) + bool(more)) + 18

        left, right = Drawing(_PANE, height), Drawing(_PANE, height)
        _frame(left, "lab", "the lab")
        self._side(left, self.lab, [(kind, False) for kind, _ in self.lab.namespaces])
        _list(left, chips + 22, "links", lab_links)
        _tree(left, tree, rows, self._pid_in_lab, self._command, more)

        _frame(right, "container", "the container")
        if self.container:
            self._side(right, self.container, self._kinds())
            _list(right, chips + 22, "links", links)
            more = f"… and {hidden} more" if hidden else ""
            _tree(right, tree, inside, self._pid_in_container, self._command, more)
        if self.ended:
            right.text(_PANE - _LEFT, 30, ENDED, room=200, role="notice", bold=True, anchor="end")
        elif not self.container:
            for number, words in enumerate(NO_CONTAINER):
                right.text(_LEFT, 56 + _ROW * number, words, room=_ROOM)
        return [left, right]

    def _kinds(self) -> list[tuple[str, bool]]:
        """Each kind of which both sides have one, and whether the container's is its own."""
        if not self.container:
            return []
        its = dict(self.container.namespaces)
        return [(kind, its[kind] != ours) for kind, ours in self.lab.namespaces if kind in its]

    def _hostname(self) -> str:
        if not self.container:
            return _name(self.lab)
        if ("uts", True) in self._kinds():
            return f"{_name(self.lab)} outside, {_name(self.container)} inside"
        return f"{_name(self.lab)}, shared"

    def _links(self) -> list[str]:
        if self.container and ("net", True) in self._kinds():
            return _link_words(self.container.links)
        return ["those of the lab"]

    def _shown(self) -> tuple[list[Row], str]:
        """The rows that there is room for, and a line about the rest."""
        inside = [row for row in self.rows if row.inside]
        outside = [row for row in self.rows if not row.inside]
        kept = {id(row) for rows in (inside, outside) for row in rows[:MOST_PROCESSES]}
        rows = [row for row in self.rows if id(row) in kept]
        more = ""
        if hidden := len(self.rows) - len(rows):
            more = f"… and {hidden} more"
            hidden_inside = max(0, len(inside) - MOST_PROCESSES)
            if 0 < hidden_inside < hidden:
                more += f", {hidden_inside} of them in the container"
        return rows, more

    def _tree_in_words(self) -> list[str]:
        rows, more = self._shown()
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
        return ", ".join(word for word in (inside, "zombie" * row.zombie) if word)

    def _pid_in_lab(self, row: Row) -> str:
        words = self._pid_in_words(row)
        if not self.moving:
            return words
        if row.pid_inside is not None:
            return f"PID {row.pid} = {words.removeprefix('PID ')}"
        return ", ".join(word for word in (f"PID {row.pid}", words) if word)

    def _pid_in_container(self, row: Row) -> str:
        if row.pid_inside is None:
            words = f"PID {row.pid}" if self.moving else ""
        else:
            words = f"PID {row.pid_inside}"
            words += f" = {row.pid} in the lab" if self.moving else ""
        return ", ".join(word for word in (words, "zombie" * row.zombie) if word)

    def _command(self, row: Row) -> str:
        return " ".join((f"{row.name}:", *row.command)) if self.moving and row.command else ""

    def _side(self, pane: Drawing, side: Side, kinds: Iterable[tuple[str, bool]]) -> None:
        """Host name, and one chip for each kind: full red for the container's own."""
        _list(pane, 52, "hostname", [_name(side)], bold=True)
        numbers, width = dict(side.namespaces), (_ROOM - 8) / 2
        for number, (kind, own) in enumerate(kinds):
            x, y = _LEFT + (width + 8) * (number % 2), 64 + _CHIP * (number // 2)
            pane.box(
                x,
                y,
                width,
                20,
                "container" if own else "lab",
                solid=own,
                outline=not own,
                stroke=0.75,
                radius=4,
            )
            room = width - 12
            if self.moving:
                inode = str(numbers[kind])
                end = x + width - 6
                room -= 4 + pane.text(
                    end, y + 14, inode, room=72, size=11, anchor="end", on_solid=own
                )
            words = kind if side is self.lab else f"{kind} {'own' if own else 'shared'}"
            pane.text(x + 6, y + 14, words, room=room, on_solid=own)


def namespace_picture(pid: int) -> NamespacePicture:
    """Look at a process, those below it, and their namespaces.

    The container is the first of them that has another namespace than this process here, of any
    kind. One that only made a PID namespace for its children, as `unshare --fork` does, gives way
    to the first of these.

    Args:
        pid: the process at the top of the tree; it may have ended, and others may end meanwhile.
            One that is about to become another program, such as the child that a shell has made
            for `sleep 100 &`, is waited for, PATIENCE seconds at most.
    """
    return _look(pid, PATIENCE)


def _look(pid: int, patience: float = 0) -> NamespacePicture:
    deadline = time.monotonic() + patience
    while _is_about_to_exec(tree := list(procfs.tree(pid))) and time.monotonic() < deadline:
        time.sleep(0.002)
    ours = procfs.namespaces()
    its = cache(_namespaces)
    first = _first_inside(ours, its, [process for _, process in tree])
    own = _own(ours, its(first.pid)) if first else set()
    inside: set[int] = set()
    rows = []
    for depth, process in tree:
        if first and (
            process.ppid in inside
            or all(its(process.pid).get(kind) == its(first.pid)[kind] for kind in own)
        ):
            inside.add(process.pid)
        rows.append(
            Row(
                depth=depth,
                pid=process.pid,
                inside=process.pid in inside,
                pid_inside=_pid_inside(first, process, "pid" in own, process.pid in inside),
                name=process.name,
                command=process.command,
                zombie=process.state == "Z",
            )
        )
    lab = Side(tuple(ours.items()), _read(lambda: procfs.hostname()), _read(lambda: _links("self")))
    container = None
    if first:
        number = first.pid
        container = Side(
            tuple(its(number).items()),
            _read(lambda: procfs.hostname(number)) if "uts" in own else lab.hostname,
            _read(lambda: _links(number)) if "net" in own else lab.links,
        )
    return NamespacePicture(lab, container, tuple(rows), ended=not rows or rows[0].zombie)


class HasTerminal(Protocol):
    """A process on a terminal that says when it prints, as a Shell does."""

    @property
    def pid(self) -> int:
        """PID of the process."""

    def listen(self, callback: Listener, /) -> Callable[[], None]:
        """Call a function with whatever is printed and None at the end, until it is cancelled."""


class Namespaces(Live):
    """The same picture, live: it follows what happens in a shell, or below any process."""

    def __init__(self, process: HasTerminal | int) -> None:
        """Begin to look when a page shows it.

        Args:
            process: a Shell, or the PID at the top of the tree.
        """
        self._process = process
        self._last: NamespacePicture | None = None
        super().__init__(None if isinstance(process, int) else process.listen)

    def look(self) -> NamespacePicture:
        """Return the picture of this moment; after the end, the last one before it."""
        return self._now(0)

    def still(self) -> NamespacePicture:
        """Return the same for a saved output, as steady as `namespace_picture` is."""
        return self._now(PATIENCE)

    def _now(self, patience: float) -> NamespacePicture:
        pid = self._process if isinstance(self._process, int) else self._process.pid
        now = _look(pid, patience)
        if now.ended and self._last:
            return replace(self._last, ended=True)
        self._last = now
        return now


T = TypeVar("T")


def _read(question: Callable[[], T]) -> T | None:
    """What cannot be read, because of rights or because the process has ended, is not shown."""
    try:
        return question()
    except OSError:
        return None


def _links(pid: int | str) -> tuple[tuple[str, bool], ...]:
    return tuple(procfs.links(pid).items())


def _is_about_to_exec(tree: Sequence[tuple[int, Process]]) -> bool:
    """Whether a process, at work, still bears its parent's command, or is just changing it."""
    known = {process.pid: process for _, process in tree}
    for _, process in tree:
        if process.pid == os.getpid():  # it is at work here
            continue
        parent = known.get(process.ppid) or procfs.process(process.ppid)
        if process.state in "RD" and parent and parent.command == process.command:
            return True
        if process.state != "Z" and not process.command:
            return True
    return False


def _namespaces(pid: int) -> dict[str, int]:
    return _read(lambda: procfs.namespaces(pid)) or {}


def _own(ours: dict[str, int], its: dict[str, int]) -> set[str]:
    return {kind for kind, number in its.items() if ours.get(kind, number) != number}


def _first_inside(
    ours: dict[str, int], its: Callable[[int], dict[str, int]], tree: Sequence[Process]
) -> Process | None:
    for process in tree:
        if own := _own(ours, its(process.pid)):
            if "pid" not in own:
                for child in tree:
                    if child.ppid == process.pid and "pid" in _own(ours, its(child.pid)):
                        return child
            return process
    return None


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


def _pid_inside(first: Process | None, process: Process, own: bool, inside: bool) -> int | None:
    """Its PID in the namespace that the container's first process sees as its own."""
    if not first or not own or not inside or len(process.pids) < len(first.pids):
        return None
    return process.pids[len(first.pids) - 1]


def _name(side: Side) -> str:
    return "(cannot be read)" if side.hostname is None else side.hostname


def _link_words(links: Sequence[tuple[str, bool]] | None) -> list[str]:
    if links is None:
        return ["(cannot be read)"]
    words = [f"{name} {'up' if up else 'down'}" for name, up in links[:MOST_LINKS]]
    hidden = len(links) - MOST_LINKS
    return words + [f"… and {hidden} more"] * (hidden > 0) or ["none"]


def _frame(pane: Drawing, role: str, title: str) -> None:
    shared = role == "lab"
    pane.box(4, 4, _PANE - 8, pane.height - 8, role, empty=True, dashed=not shared, radius=10)
    pane.text(_LEFT, 30, title, room=150, size=14, role=role, bold=True)


def _list(pane: Drawing, y: float, label: str, words: Sequence[str], *, bold: bool = False) -> None:
    pane.text(_LEFT, y, label, room=_LABEL - 8, faint=True)
    for row, word in enumerate(words):
        room = _ROOM - _LABEL
        pane.text(_LEFT + _LABEL, y + _ROW * row, word, room=room, bold=bold)


def _tree(
    pane: Drawing,
    top: float,
    rows: Sequence[Row],
    note: Callable[[Row], str],
    title: Callable[[Row], str],
    more: str,
) -> None:
    """A process tree; elbows lead from a parent to its children."""
    if not rows:
        return
    pane.text(_LEFT, top, "processes", room=_LABEL + 40, faint=True)
    least = min(row.depth for row in rows)
    step = min(14.0, 110 / max(1, max(row.depth for row in rows) - least))
    stems: dict[int, float] = {}  # how far down the line reaches below a process, by depth
    for number, row in enumerate(rows):
        depth = row.depth - least
        x, y = _LEFT + step * depth, top + _ROW * (number + 1)
        if step > 9 and depth - 1 in stems:
            stem = x - step + 4.5
            pane.line((stem, stems[depth - 1]), (stem, y - 4.5), (x - 3, y - 4.5), width=1)
            stems[depth - 1] = y - 4.5
        stems = {d: at for d, at in stems.items() if d < depth} | {depth: y + 4}
        role = "container" if row.inside else ""
        used = 0.0
        if words := note(row):
            used = 10 + pane.text(_PANE - _LEFT, y, words, room=236, role=role, anchor="end")
        pane.text(x, y, row.name, room=_PANE - _LEFT - x - used, role=role, title=title(row))
    if more:
        pane.text(_LEFT, top + _ROW * (len(rows) + 1), more, room=_ROOM, faint=True)
