"""Mounts in several mount namespaces side by side, and who hears of whose mounts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product
from typing import TYPE_CHECKING

from labkit.view.picture import Picture, figure
from labkit.view.text import columns, fit_columns, markup, visible

if TYPE_CHECKING:
    from labkit.procfs import Mount

CANNOT_READ, NOTHING = "has ended, or cannot be read", "nothing is mounted here"


@dataclass(frozen=True, repr=False)
class MountsPicture(Picture):
    """The propagation of some mounts at one moment, see mount_namespaces(7).

    Attributes:
        targets: the folders.
        namespaces: a name, and the mounts on each target, the topmost first; None where they
            cannot be read: the process has ended, or is another user's.
    """

    targets: tuple[str, ...]
    namespaces: "tuple[tuple[str, tuple[Sequence[Mount], ...] | None], ...]"

    @cached_property
    def groups(self) -> dict[str, int]:
        """The kernel's number of each peer group to ours: 1, 2, … as they appear.

        From the lowest mount upwards: what was there first keeps its number.
        """
        found: dict[str, int] = {}
        for row in range(len(self.targets)):
            for mount in chain(*(stacks[row][::-1] for _, stacks in self.namespaces if stacks)):
                for number in filter(None, _groups(mount)):
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
                found = self._in_words(target, stacks[row]) if stacks else [(CANNOT_READ, "")]
                room = max(len(kind) for kind, _ in found)
                for number, (kind, words) in enumerate(found):
                    start = name if number == 0 else ""
                    line = f"  {start}{' ' * (widest - columns(start) + 2)}{kind:{room}}  {words}"
                    lines.append(line.rstrip())
        return "\n".join(lines)

    def html(self) -> str:
        """For each target its mounts in every namespace, and between them who hears of whose."""
        rows = "".join(map(self._row, range(len(self.targets))))
        return figure("lk-mounts", rows, "Mounts and their propagation")

    def _in_words(self, target: str, stack: "Sequence[Mount]") -> list[tuple[str, str]]:
        """What each mount is, and how it propagates, with our numbers."""
        found = []
        for mount in stack:
            # The type of the root file system differs from machine to machine.
            kind = "root file system" if target == "/" else visible(mount.fstype)
            kind += ", on top" * (mount is stack[0] and len(stack) > 1)
            group, master = map(self.groups.get, _groups(mount))
            words = [f"shared, group {group}"] * bool(group)
            words += [f"slave of {'' if words else 'group '}{master}"] * bool(master)
            found.append((kind, ", ".join(words) or mount.propagation))
        return found or [(NOTHING, "")]

    def _row(self, row: int) -> str:
        target, parts = self.targets[row], ""
        before: Sequence[Mount] = ()
        for column, (name, stacks) in enumerate(self.namespaces):
            stack = stacks[row] if stacks else ()
            if joins := self._joins(before, stack):
                parts += f'<li class="lk-joins">{"<br>".join(joins)}</li>'
            mounts = f"<li>{CANNOT_READ if stacks is None else NOTHING}</li>" * (not stack)
            for mount, (kind, words) in zip(stack, self._in_words(target, stack), strict=False):
                look = "lk-talks" if any(_groups(mount)) else "lk-mute"
                look += " lk-slave" * bool(_groups(mount)[1])
                mounts += f'<li class="{look}">{markup(kind)}<br><small>{words}</small></li>'
            side = "container" if column else "lab"
            parts += f'<li class="lk-side lk-{side}"><strong>{markup(name)}</strong>'
            parts += f"<ul>{mounts}</ul></li>"
            before = stack
        return f"<div><strong>{markup(target)}</strong><ul>{parts}</ul></div>"

    def _joins(self, left: "Sequence[Mount]", right: "Sequence[Mount]") -> list[str]:
        """Say of two that stand beside each other who hears of whose mounts."""
        found = []
        for (a, a_master), (b, b_master) in product(map(_groups, left), map(_groups, right)):
            for arrow, one, other in (("↔", a, b), ("→", a, b_master), ("←", b, a_master)):
                if one and one == other:
                    found.append(f"<b>{arrow}</b> group {self.groups[one]}")
        return list(dict.fromkeys(found))


def _groups(mount: "Mount") -> tuple[str, str]:
    """The kernel's numbers of the groups that a mount is in and follows; "" for none."""
    found = dict(word.partition(":")[::2] for word in mount.propagation.split(" "))
    return found.get("shared", ""), found.get("master", "")
