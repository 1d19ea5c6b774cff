"""Looks at processes and mounts through `procfs`, and makes pictures of what it finds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from labkit import procfs
from labkit.view.live import Live
from labkit.view.mounts import MAX_LAYERS, Layer, MountsPicture, Stack
from labkit.view.namespaces import NamespacePicture, Row, Side

if TYPE_CHECKING:
    from labkit.shell import Shell

T = TypeVar("T")


def namespace_picture(pid: int) -> NamespacePicture:
    """Look at a process, those below it, and their namespaces; see `procfs.container_in`.

    Args:
        pid: the process at the top of the tree; it may have ended, and others may end meanwhile.
            One that is about to become another program, such as the child that a shell has made
            for `sleep 100 &`, is waited for, procfs.SETTLE_TIMEOUT at most.
    """
    return _look(pid, procfs.SETTLE_TIMEOUT)


class Namespaces(Live):
    """The same picture, live: it follows what happens in a shell, or below any process."""

    def __init__(self, process: "Shell | int") -> None:
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
        return self._now(procfs.SETTLE_TIMEOUT)

    def _now(self, timeout: float) -> NamespacePicture:
        pid = self._process if isinstance(self._process, int) else self._process.pid
        now = _look(pid, timeout)
        if now.ended and self._last:
            return replace(self._last, ended=True)
        self._last = now
        return now


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
    ours = procfs.mounts()
    below = {target: len(_on(ours, target)) - 1 for target in targets}
    found: list[tuple[str, tuple[Stack, ...] | None]] = []
    for name, pid in namespaces.items():
        try:
            mounts = procfs.mounts(pid)
        except OSError:  # ended, or another user's
            found.append((name, None))
            continue
        found.append((name, tuple(_stack(mounts, target, below[target]) for target in targets)))
    return MountsPicture(tuple(targets), tuple(found))


def _look(pid: int, timeout: float) -> NamespacePicture:
    tree = procfs.settled_tree(pid, timeout)
    found = procfs.container_in(tree)
    rows = tuple(
        Row(
            depth=depth,
            pid=process.pid,
            inside=found is not None and process.pid in found.pids,
            pid_inside=found.pid_inside(process) if found else None,
            name=process.name,
            command=process.command,
            zombie=process.state == "Z",
        )
        for depth, process in tree
    )
    ours = tuple(procfs.namespaces().items())
    lab = Side(ours, _read(lambda: procfs.hostname()), _read(lambda: _links()))
    container = None
    if found:
        inside = found.first.pid
        container = Side(
            tuple(found.namespaces.items()),
            _read(lambda: procfs.hostname(inside)) if "uts" in found.own else lab.hostname,
            _read(lambda: _links(inside)) if "net" in found.own else lab.links,
        )
    return NamespacePicture(lab, container, rows, ended=not rows or rows[0].zombie)


def _links(pid: int | str = "self") -> tuple[tuple[str, bool], ...]:
    return tuple(procfs.links(pid).items())


def _read(question: Callable[[], T]) -> T | None:
    """What cannot be read, because of rights or because the process has ended, is not shown."""
    try:
        return question()
    except OSError:
        return None


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
    return Stack(tuple(map(_layer, found[:MAX_LAYERS])), max(0, len(found) - MAX_LAYERS))


def _layer(mount: procfs.Mount) -> Layer:
    words = dict(word.partition(":")[::2] for word in mount.propagation.split(" "))
    group, master = words.get("shared"), words.get("master")
    return Layer(
        fstype=mount.fstype,
        group=int(group) if group else None,
        master=int(master) if master else None,
        unbindable="unbindable" in words,
    )
