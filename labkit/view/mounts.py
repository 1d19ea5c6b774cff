"""Mounts in several mount namespaces side by side, and who hears of whose mounts."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from labkit.view.picture import Picture, figure
from labkit.view.text import columns, fit_columns, markup, visible

MAX_LAYERS = 6  # on one target; more below are counted


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
                words = [_CANNOT_READ]
                if stacks is not None:
                    words = self._stack_in_words(target, stacks[row])
                for number, line in enumerate(words):
                    start = name if number == 0 else ""
                    lines.append(f"  {start}{' ' * (widest - columns(start) + 2)}{line}")
        return "\n".join(lines)

    def html(self) -> str:
        """For each target its mounts in every namespace, and between them who hears of whose."""
        rows = "".join(map(self._row, range(len(self.targets))))
        return figure("lk-mounts", rows, "Mounts and their propagation")

    def _stacks(self) -> Iterator[tuple[int, int, Stack]]:
        """Each stack with the numbers of its target and its namespace, as the words go."""
        for row in range(len(self.targets)):
            for column, (_, stacks) in enumerate(self.namespaces):
                if stacks is not None:
                    yield row, column, stacks[row]

    def _stack_in_words(self, target: str, stack: Stack) -> list[str]:
        layers = self._layers(target, stack)
        widest = max((len(kind) for kind, _ in layers), default=0)
        words = [f"{kind:{widest}}  {propagation}" for kind, propagation in layers]
        return words + _rest(stack)

    def _layers(self, target: str, stack: Stack) -> list[tuple[str, str]]:
        """What each layer is, and how it propagates."""
        kinds = [_kind(target, layer) for layer in stack.layers]
        if len(kinds) + stack.hidden > 1:
            kinds[0] += ", on top"
        return list(zip(kinds, map(self._propagation, stack.layers), strict=True))

    def _propagation(self, layer: Layer) -> str:
        words = []
        if layer.group is not None:
            words.append(f"shared, group {self.groups[layer.group]}")
        if layer.master is not None:
            words.append(f"slave of {'' if words else 'group '}{self.groups[layer.master]}")
        return ", ".join(words) or ("unbindable" if layer.unbindable else "private")

    def _row(self, row: int) -> str:
        edges = list(self._edges(row))
        parts = []
        for column, (name, stacks) in enumerate(self.namespaces):
            mounts = f"<li>{_CANNOT_READ}</li>"
            if stacks is not None:
                mounts = self._stack(self.targets[row], stacks[row])
            side = "container" if column else "lab"
            parts.append(f'<li class="lk-side lk-{side}"><strong>{markup(name)}</strong>')
            parts.append(f"<ul>{mounts}</ul></li>")
            if joins := [edge for left, edge in edges if left == column]:
                parts.append(f'<li class="lk-joins">{"<br>".join(joins)}</li>')
        return f"<div><strong>{markup(self.targets[row])}</strong><ul>{''.join(parts)}</ul></div>"

    def _stack(self, target: str, stack: Stack) -> str:
        parts = []
        for layer, (kind, words) in zip(stack.layers, self._layers(target, stack), strict=True):
            talks = layer.group is not None or layer.master is not None
            look = f"lk-talks{' lk-slave' * (layer.master is not None)}" if talks else "lk-mute"
            parts.append(f'<li class="{look}">{markup(kind)}<br><small>{words}</small></li>')
        return "".join(parts) + "".join(f"<li>{words}</li>" for words in _rest(stack))

    def _edges(self, row: int) -> Iterator[tuple[int, str]]:
        """The column where each begins on the left, and what it says."""
        members: dict[int, set[int]] = {}
        slaves: dict[tuple[int, int], int] = {}
        for at, column, stack in self._stacks():
            for layer in stack.layers if at == row else ():
                if layer.group is not None:
                    members.setdefault(layer.group, set()).add(column)
                if layer.master is not None:  # a group that is a slave needs one arrow
                    slaves.setdefault((layer.master, layer.group or -column), column)
        for group, peers in members.items():
            for left, right in pairwise(sorted(peers)):
                yield left, self._edge("↔", group, left, right)
        for (master, _), column in slaves.items():
            if masters := members.get(master, set()) - {column}:
                nearest = min(masters, key=lambda one: abs(one - column))
                left, right = sorted((nearest, column))
                yield left, self._edge("→" if left == nearest else "←", master, left, right)

    def _edge(self, arrow: str, group: int, left: int, right: int) -> str:
        far = f" {markup(self.namespaces[right][0])}," if right - left > 1 else ""
        return f"<b>{arrow}</b>{far} group {self.groups[group]}"


_CANNOT_READ = "has ended, or cannot be read"


def _rest(stack: Stack) -> list[str]:
    """Say what is not among the layers."""
    if not stack.layers:
        return ["nothing is mounted here"]
    return [f"… and {stack.hidden} more below"] * bool(stack.hidden)


def _kind(target: str, layer: Layer) -> str:
    """The type of what is mounted; that of the root differs from machine to machine."""
    return "root file system" if target == "/" else visible(layer.fstype)
