"""Mounts in several mount namespaces side by side, and who hears of whose mounts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from labkit import procfs
from labkit.view.drawing import Drawing, Picture, columns, fit_columns, measure, visible

MOST_LAYERS = 6  # on one target; more below are counted

_COLUMN, _GAP, _MARGIN = 252, 120, 4  # px
_LEFT, _BOX, _STEP = 14, 40, 46


@dataclass(frozen=True)
class Layer:
    """One mount of those that lie on a target.

    Attributes:
        fstype: type of the file system.
        group: the kernel's number of its peer group, None where it is not shared.
        master: the peer group that it is a slave of, None where it is no slave.
        unbindable: private, and cannot be bind-mounted.
    """

    fstype: str
    group: int | None
    master: int | None
    unbindable: bool


@dataclass(frozen=True)
class Stack:
    """The mounts on one target in one namespace, the topmost first.

    Attributes:
        layers: empty where nothing is mounted there.
        hidden: how many more lie below.
    """

    layers: tuple[Layer, ...]
    hidden: int = 0


@dataclass(frozen=True, repr=False)
class MountsPicture(Picture):
    """The propagation of some mounts at one moment, see mount_namespaces(7).

    Attributes:
        targets: the folders.
        namespaces: a name, and the stack on each target; None where they cannot be read: the
            process has ended, or is another user's.
    """

    targets: tuple[str, ...]
    namespaces: tuple[tuple[str, tuple[Stack, ...] | None], ...]

    @cached_property
    def groups(self) -> dict[int, int]:
        """The kernel's number of each peer group to ours: 1, 2, … as they appear.

        From the lowest mount upwards: what was there first keeps its number.
        """
        found: dict[int, int] = {}
        for _, _, stack in self._stacks():
            for layer in reversed(stack.layers):
                for number in (layer.group, layer.master):
                    if number is not None:
                        found.setdefault(number, len(found) + 1)
        return found

    def __repr__(self) -> str:
        """The picture in words."""
        names = [fit_columns(visible(name), 24) for name, _ in self.namespaces]
        widest = max(map(columns, names), default=0)
        lines = []
        for row, target in enumerate(self.targets):
            lines.append(fit_columns(visible(target), 78))
            for name, (_, stacks) in zip(names, self.namespaces, strict=True):
                words = _CANNOT_READ
                if stacks is not None:
                    words = self._stack_in_words(target, stacks[row])
                for number, line in enumerate(words):
                    start = name if number == 0 else ""
                    lines.append(f"  {start}{' ' * (widest - columns(start) + 2)}{line}")
        return "\n".join(lines)

    @property
    def label(self) -> str:
        """What a screen reader says."""
        return "Mounts: " + "; ".join(" ".join(line.split()) for line in repr(self).split("\n"))

    def panes(self) -> list[Drawing]:
        """One drawing with a column for each namespace."""
        number = len(self.namespaces)
        width = 2 * _MARGIN + _COLUMN * number + _GAP * max(0, number - 1)
        pane = Drawing(max(width, _COLUMN))
        places: dict[tuple[int, int, int], tuple[float, float]] = {}  # target, column, layer
        bottoms, y = [], 44.0
        for row in range(len(self.targets)):
            stacks = [of[row] for _, of in self.namespaces if of is not None]
            rows = max([len(stack.layers) for stack in stacks], default=1) or 1
            more = any(stack.hidden for stack in stacks)
            bottom = y + 20 + _STEP * rows
            bottoms.append(bottom)
            for column, (_, of) in enumerate(self.namespaces):
                layers = of[row].layers if of is not None else ()
                for level in range(len(layers)):
                    top = bottom - _STEP * (len(layers) - level)
                    places[row, column, level] = (_x(column) + _LEFT, top)
            y = bottom + (18 if more else 0) + 12
        for column, (name, of) in enumerate(self.namespaces):
            role, x = "container" if column else "lab", _x(column)
            pane.box(x, 4, _COLUMN, y - 4, role, empty=True, dashed=bool(column), radius=10)
            room = _COLUMN - 2 * _LEFT
            pane.text(x + _LEFT, 28, name, room=room, size=14, role=role, bold=True)
            if of is None:
                pane.text(x + _LEFT, 56, _CANNOT_READ[0], room=room)
        for edge in self._edges():
            self._draw_edge(pane, places, bottoms[edge[0]], *edge)
        for row, target in enumerate(self.targets):
            for column, (_, of) in enumerate(self.namespaces):
                if of is not None:
                    self._draw_stack(pane, places, row, column, target, of[row], bottoms[row])
        pane.height = max(pane.height, y + 4)
        return [pane]

    def _stacks(self) -> Iterator[tuple[int, int, Stack]]:
        """Each stack with the numbers of its target and its namespace, as the words go."""
        for row in range(len(self.targets)):
            for column, (_, stacks) in enumerate(self.namespaces):
                if stacks is not None:
                    yield row, column, stacks[row]

    def _stack_in_words(self, target: str, stack: Stack) -> list[str]:
        if not stack.layers:
            return [_NOTHING]
        kinds = [_kind(target, layer) for layer in stack.layers]
        if len(kinds) + stack.hidden > 1:
            kinds[0] += _ON_TOP
        widest = max(map(len, kinds))
        words = [
            f"{kind:{widest}}  {self._propagation(layer)}"
            for kind, layer in zip(kinds, stack.layers, strict=True)
        ]
        return words + [f"… and {stack.hidden} more below"] * bool(stack.hidden)

    def _propagation(self, layer: Layer) -> str:
        words = []
        if layer.group is not None:
            words.append(f"shared, group {self.groups[layer.group]}")
        if layer.master is not None:
            words.append(f"slave of {'' if words else 'group '}{self.groups[layer.master]}")
        return ", ".join(words) or ("unbindable" if layer.unbindable else "private")

    def _edges(self) -> Iterator[tuple[int, tuple[int, int], tuple[int, int], int, bool]]:
        """Target, two places (column and layer), group, and whether it is master and slave."""
        for row in range(len(self.targets)):
            members: dict[int, list[tuple[int, int]]] = {}
            slaves: list[tuple[int, tuple[int, int]]] = []
            followed = set()  # a group that is a slave needs one arrow
            for at, column, stack in self._stacks():
                if at != row:
                    continue
                for level, layer in enumerate(stack.layers):
                    if layer.group is not None:
                        members.setdefault(layer.group, []).append((column, level))
                    if layer.master is not None and (layer.group is None or layer not in followed):
                        slaves.append((layer.master, (column, level)))
                        followed.add(layer)
            for group, places in members.items():
                for one, other in pairwise(places):
                    if one[0] != other[0]:
                        yield row, one, other, group, False
            for group, place in slaves:
                masters = [one for one in members.get(group, []) if one[0] != place[0]]
                if masters:
                    nearest = min(masters, key=lambda one: abs(one[0] - place[0]))
                    yield row, nearest, place, group, True

    def _draw_edge(
        self,
        pane: Drawing,
        places: Mapping[tuple[int, int, int], tuple[float, float]],
        bottom: float,
        row: int,
        one: tuple[int, int],
        other: tuple[int, int],
        group: int,
        arrow: bool,
    ) -> None:
        left, right = sorted((one, other))
        (x, y), (end, end_y) = places[row, *left], places[row, *right]
        x, y, end_y = x + _COLUMN - 2 * _LEFT, y + _BOX / 2, end_y + _BOX / 2
        points = [(x + 2, y), (end - 2, end_y)]
        if right[0] - left[0] > 1:  # below those in between, which have no part in it
            down, up = x + _GAP, end - _GAP
            points[1:1] = [(down, y), (down, bottom - 2), (up, bottom - 2), (up, end_y)]
        if arrow and one == right:
            points.reverse()
        pane.line(*points, role="lab", arrow=arrow, width=2)
        # Named beside the columns' edges: a line at its left end, an arrow where it comes from
        # the left at its right end. Above or below it, where the line does not go.
        words = f"group {self.groups[group]}"
        if arrow and one == left:
            at, anchor, below = (end - _LEFT - 6, end_y), "end", end_y > y
        else:
            at, anchor, below = (x + _LEFT + 6, y), "start", arrow or end_y < y
        place = (at[0], at[1] + (15 if below else -6))
        pane.text(*place, words, room=measure(words), role="lab", anchor=anchor)

    def _draw_stack(
        self,
        pane: Drawing,
        places: Mapping[tuple[int, int, int], tuple[float, float]],
        row: int,
        column: int,
        target: str,
        stack: Stack,
        bottom: float,
    ) -> None:
        x, room = _x(column) + _LEFT, _COLUMN - 2 * _LEFT
        top = places.get((row, column, 0), (x, bottom - 24))[1]
        pane.text(x, top - 7, target, room=room, bold=True)
        if not stack.layers:
            pane.text(x, bottom - 10, _NOTHING, room=room, faint=True)
        for level, layer in enumerate(stack.layers):
            x, y = places[row, column, level]
            talks = layer.group is not None or layer.master is not None
            pane.box(
                x,
                y,
                room,
                _BOX,
                "lab" if talks else "neutral",
                outline=True,
                dashed=layer.master is not None,
                radius=6,
            )
            name = _kind(target, layer)
            if level == 0 and len(stack.layers) + stack.hidden > 1:
                name += _ON_TOP
            pane.text(x + 10, y + 16, name, room=room - 20)
            pane.text(x + 10, y + 32, self._propagation(layer), room=room - 20, faint=True)
        if stack.hidden:
            words = f"… and {stack.hidden} more below"
            pane.text(x, bottom + 10, words, room=room, faint=True)


def mounts_picture(
    namespaces: Mapping[str, int | str], targets: Sequence[str] = ("/", "/proc")
) -> MountsPicture:
    """Look at the mounts on some folders, in several mount namespaces.

    What lies below the reader's own topmost mount on a target is left out: how many file systems
    are stacked there before anything happens differs from machine to machine. So is the type of
    the root file system.

    Args:
        namespaces: a name for each, and the PID of a process in it, or "self".
        targets: the folders.
    """
    below = {target: len(_on(procfs.mounts(), target)) - 1 for target in targets}
    found: list[tuple[str, tuple[Stack, ...] | None]] = []
    for name, pid in namespaces.items():
        try:
            mounts = procfs.mounts(pid)
        except OSError:  # ended, or another user's
            found.append((name, None))
            continue
        found.append((name, tuple(_stack(mounts, target, below[target]) for target in targets)))
    return MountsPicture(tuple(targets), tuple(found))


_NOTHING = "nothing is mounted here"
_CANNOT_READ = ["has ended, or cannot be read"]
_ON_TOP = ", on top"


def _x(column: int) -> float:
    return _MARGIN + (_COLUMN + _GAP) * column


def _kind(target: str, layer: Layer) -> str:
    """The type of what is mounted; that of the root differs from machine to machine."""
    return "root file system" if target == "/" else visible(layer.fstype)


def _on(mounts: Sequence[procfs.Mount], target: str) -> list[procfs.Mount]:
    """The mounts on a folder, the lowest first."""
    parents = {mount.id: mount.parent for mount in mounts}

    def height(mount: procfs.Mount) -> int:
        steps, number = 0, mount.id
        while number in parents and steps < len(parents):  # the top of the tree may be its own
            steps, number = steps + 1, parents[number]
        return steps

    return sorted((mount for mount in mounts if mount.target == target), key=height)


def _stack(mounts: Sequence[procfs.Mount], target: str, below: int) -> Stack:
    found = _on(mounts, target)
    found = found[max(0, min(below, len(found) - 1)) :][::-1]
    return Stack(tuple(map(_layer, found[:MOST_LAYERS])), max(0, len(found) - MOST_LAYERS))


def _layer(mount: procfs.Mount) -> Layer:
    words = dict(word.partition(":")[::2] for word in mount.propagation.split(" "))
    group, master = words.get("shared"), words.get("master")
    return Layer(
        fstype=mount.fstype,
        group=int(group) if group else None,
        master=int(master) if master else None,
        unbindable="unbindable" in words,
    )
