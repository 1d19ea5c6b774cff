"""Looks at processes and mounts through `procfs`, at folders; makes pictures of what it finds."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from labkit import procfs
from labkit.view.layers import LayersPicture
from labkit.view.live import Live
from labkit.view.mounts import MAX_LAYERS, Layer, MountsPicture, Stack
from labkit.view.namespaces import NamespacePicture, Row, Side

if TYPE_CHECKING:
    from labkit.shell import Shell

T = TypeVar("T")
# How overlayfs marks a folder that hides those below it; `trusted.` is without `userxattr`.
OPAQUE = {"user.overlay.opaque", "trusted.overlay.opaque"}


@dataclass(frozen=True)
class Container:
    """The processes of a tree that are set apart from this process here, see `container_in`."""

    first: procfs.Process
    namespaces: dict[str, int]  # that `first` is in, kind to inode
    own: frozenset[str]  # kinds that it does not share with this process here
    pids: frozenset[int]  # of all that are in it, as they are counted here

    def pid_inside(self, process: procfs.Process) -> int | None:
        """Return a process's PID as the container counts; None outside, or where it is the same."""
        if "pid" not in self.own or process.pid not in self.pids:
            return None
        return process.pids[len(self.first.pids) - 1]


def namespace_picture(pid: int) -> NamespacePicture:
    """Look at a process, those below it, and their namespaces; see `container_in`.

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


def layers_picture(**layers: str) -> LayersPicture:
    """Look at folders that lie on each other, as overlayfs takes them; mounted or not.

    Args:
        **layers: the folders, the lowest first, by the names that they shall have.
    """
    return LayersPicture({name: dict(_walk(folder)) for name, folder in layers.items()})


def container_in(tree: Sequence[tuple[int, procfs.Process]]) -> Container | None:
    """Return the container in a tree; None where all share this process's namespaces.

    It begins with the first process in another PID namespace than this process here or, where
    there is none, in another one of any kind. What is below that, or shares all that it has of its
    own, is in it.

    Args:
        tree: depth and process, each parent before its children. Some may have ended meanwhile.
    """
    ours = procfs.namespaces()
    own = {process.pid: _namespaces(process.pid).items() - ours.items() for _, process in tree}
    apart = [process for _, process in tree if own[process.pid]]
    if not apart:
        return None
    first = next((process for process in apart if "pid" in dict(own[process.pid])), apart[0])
    kinds, inside = dict(own[first.pid]), set[int]()
    for _, process in tree:
        if process.ppid in inside or own[first.pid] <= own[process.pid]:
            inside.add(process.pid)
    return Container(first, ours | kinds, frozenset(kinds), frozenset(inside))


def _look(pid: int, timeout: float) -> NamespacePicture:
    tree = procfs.settled_tree(pid, timeout)
    found = container_in(tree)
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


def _namespaces(pid: int) -> dict[str, int]:
    try:
        return procfs.namespaces(pid)
    except OSError:  # it has ended, or is another user's
        return {}


def _links(pid: int | str = "self") -> tuple[tuple[str, bool], ...]:
    return tuple(procfs.links(pid).items())


def _read(question: Callable[[], T]) -> T | None:
    """What cannot be read, because of rights or because the process has ended, is not shown."""
    try:
        return question()
    except OSError:
        return None


def _walk(folder: str, base: str = "") -> Iterator[tuple[str, str]]:
    """Each path in a layer with what the layer says by it, see LayersPicture."""
    for entry in os.scandir(folder):
        kind = _kind(entry)
        yield base + entry.name, kind
        if kind.endswith("folder"):
            yield from _walk(entry.path, f"{base}{entry.name}/")


def _kind(entry: "os.DirEntry[str]") -> str:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
        return "removed"
    if not stat.S_ISDIR(status.st_mode):
        return "file"
    return "new folder" if OPAQUE & set(os.listxattr(entry.path)) else "folder"


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
