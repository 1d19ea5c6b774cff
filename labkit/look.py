"""Looks at processes, mounts, networks and folders; makes pictures of what it finds."""

import os
import stat
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from labkit import netlink, networks, procfs
from labkit.procfs import asked
from labkit.view.layers import LayersPicture
from labkit.view.live import Live
from labkit.view.mounts import MountsPicture
from labkit.view.namespaces import MAX_CONTAINERS, NamespacePicture, Row, Side
from labkit.view.network import NetworkPicture
from labkit.view.stats import SPAN, Part, StatsPicture

if TYPE_CHECKING:
    from labkit.shell import Shell

# How overlayfs marks a folder that hides those below it; `trusted.` is without `userxattr`.
OPAQUE = {"user.overlay.opaque", "trusted.overlay.opaque"}
MEASURING = 0.5  # seconds: how much of a processor is used is a rate


@dataclass(frozen=True)
class Container:
    """Processes of a tree that are set apart from this process here, see `containers_in`."""

    first: procfs.Process
    namespaces: dict[str, int]  # that `first` is in, kind to inode
    own: frozenset[str]  # kinds that it does not share with this process here
    pids: frozenset[int]  # of all that are in it, as they are counted here

    def pid_inside(self, process: procfs.Process) -> int | None:
        """Return a process's PID as the container counts; None outside, or where it is the same."""
        if "pid" not in self.own or process.pid not in self.pids:
            return None
        return process.pids[len(self.first.pids) - 1]


def namespace_picture(pid: int | None = None) -> NamespacePicture:
    """Look at a process, those below it, and their namespaces; see `containers_in`.

    Args:
        pid: the process at the top of the tree; it may have ended, and others may end meanwhile.
            None: all containers that /proc shows, with the parents of what is in them.
            One that is about to become another program, such as the child that a shell has made
            for `sleep 100 &`, is waited for, procfs.SETTLE_TIMEOUT at most.
    """
    return _look(pid, procfs.SETTLE_TIMEOUT)


class Namespaces(Live):
    """The same picture, live: what happens in a shell, below any process, or in the whole lab."""

    def __init__(self, process: "Shell | int | None" = None) -> None:
        """Begin to look when a page shows it.

        Args:
            process: a Shell, the PID at the top of the tree, or None: all containers.
        """
        self._process = process
        self._last: NamespacePicture | None = None
        super().__init__(None if isinstance(process, int | None) else process.listen)

    def look(self, steady: bool = False) -> NamespacePicture:
        """Return the picture of this moment; after the end, the last one before it."""
        process = self._process
        pid = process if isinstance(process, int | None) else process.pid
        now = _look(pid, procfs.SETTLE_TIMEOUT * steady)
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
    found = []
    for name, pid in namespaces.items():
        mounts = asked(procfs.mounts, pid)
        stacks = tuple(_stack(mounts or [], target, below[target]) for target in targets)
        found.append((name, None if mounts is None else stacks))
    return MountsPicture(tuple(targets), tuple(found))


def stats_picture() -> StatsPicture:
    """Look at what containers take of memory, processors and tasks, for half a second."""
    return _stats(_two_looks())


class Stats(Live):
    """The same picture, live, and with the last minute."""

    def __init__(self) -> None:
        """Begin to look."""
        self._looks = deque(_two_looks(), maxlen=SPAN)
        super().__init__()

    def look(self, steady: bool = False) -> StatsPicture:
        """Return the picture of this moment or, for a saved output, of the last look."""
        if not steady:
            self._looks.append(_groups())
        return _stats(self._looks)


def network_picture() -> NetworkPicture:
    """Look at the network namespaces of the lab's processes, and at the cables between them."""
    return _network(procfs.SETTLE_TIMEOUT)


class Network(Live):
    """The same picture, live: what happens when a cable is pulled, or a switch ends."""

    def look(self, steady: bool = False) -> NetworkPicture:
        """Return the picture of this moment."""
        return _network(procfs.SETTLE_TIMEOUT * steady)


def layers_picture(**layers: str) -> LayersPicture:
    """Look at folders that lie on each other, as overlayfs takes them; mounted or not.

    Args:
        **layers: the folders, the lowest first, by the names that they shall have.
    """
    return LayersPicture({name: dict(_walk(folder)) for name, folder in layers.items()})


def containers_in(tree: Sequence[tuple[int, procfs.Process]]) -> list[Container]:
    """Return the containers in a tree; none where all share this process's namespaces.

    Each begins with a process in another PID namespace than this process here or, where there is
    no such process, in another one of any kind. What is below that, or shares all that it has of
    its own, is in it.

    Args:
        tree: depth and process, each parent before its children. Some may have ended meanwhile.
    """
    ours = procfs.namespaces()
    own = {p.pid: (asked(procfs.namespaces, p.pid) or {}).items() - ours.items() for _, p in tree}
    apart = [process for _, process in tree if own[process.pid]]
    found, taken = list[Container](), set[int]()
    for first in [process for process in apart if "pid" in dict(own[process.pid])] or apart:
        if first.pid in taken:
            continue
        inside = set[int]()
        for _, process in tree:
            if process.ppid in inside or own[first.pid] <= own[process.pid]:
                inside.add(process.pid)
        kinds, pids = dict(own[first.pid]), frozenset(inside - taken)
        found.append(Container(first, ours | kinds, frozenset(kinds), pids))
        taken |= inside
    return found


def _look(pid: int | None, timeout: float) -> NamespacePicture:
    tree = procfs.settled_tree(1 if pid is None else pid, timeout)
    found = containers_in(tree)
    shown = dict(enumerate(found[:MAX_CONTAINERS], 1))
    inside = {pid: number for number, container in shown.items() for pid in container.pids}
    hidden = {pid for container in found[MAX_CONTAINERS:] for pid in container.pids}
    tree = [(depth, process) for depth, process in tree if process.pid not in hidden]
    if pid is None:
        tree = _around(inside, tree)
    rows = []
    for depth, process in tree:
        number = inside.get(process.pid, 0)
        pid_inside = shown[number].pid_inside(process) if number else None
        rows.append(Row(depth, process, number, pid_inside))
    ours = tuple(procfs.namespaces().items())
    lab = Side(ours, asked(procfs.hostname), asked(_links))
    sides = tuple(_side(container, lab) for container in shown.values())
    ended = pid is not None and (not rows or rows[0].process.state == "Z")
    return NamespacePicture(lab, sides, tuple(rows), len(found) - len(shown), ended=ended)


def _network(timeout: float) -> NetworkPicture:
    tree = procfs.settled_tree(1, timeout)
    nets = networks.find([process for _, process in tree])
    wires = sorted(networks.wires(nets), key=lambda wire: (not wire.switch, wire.switch))
    plugged = {end.name for wire in wires for end in wire.ends}
    without = {net.name for net in nets if not net.is_switch} - plugged
    host = [networks.name_of(one.first) for one in containers_in(tree) if "net" not in one.own]
    return NetworkPicture(tuple(wires), tuple(sorted(without)), tuple(sorted(host)))


def _around(
    inside: Mapping[int, int], tree: Sequence[tuple[int, procfs.Process]]
) -> list[tuple[int, procfs.Process]]:
    """Those of a tree that are in a container, and the parents of such."""
    parents = {process.ppid for _, process in tree if process.pid in inside}
    depths = dict[int, int]()
    for _, process in tree:
        if process.pid in inside.keys() | parents:
            depths[process.pid] = depths.get(process.ppid, -1) + 1
    return [(depths[one.pid], one) for _, one in tree if one.pid in depths]


def _side(container: Container, lab: Side) -> Side:
    pid = container.first.pid
    return Side(
        tuple(container.namespaces.items()),
        asked(procfs.hostname, pid) if "uts" in container.own else lab.hostname,
        asked(_links, pid) if "net" in container.own else lab.links,
    )


def _groups() -> dict[str, procfs.Usage]:
    return procfs.groups(os.environ.get("MYDOCKER_CGROUP", ""))


def _two_looks() -> list[dict[str, procfs.Usage]]:
    before = _groups()
    time.sleep(MEASURING)
    return [before, _groups()]


def _stats(looks: Sequence[Mapping[str, procfs.Usage]]) -> StatsPicture:
    """Make a picture of what was seen, the last look at the end."""
    containers = {}
    for name, now in looks[-1].items():
        seen = [look[name] for look in looks if name in look]
        memory = [(one.time, one.memory) for one in seen if one.memory is not None]
        tasks = [(one.time, one.tasks) for one in seen if one.tasks is not None]
        spent = [(one.time, one.cpu) for one in seen if one.cpu is not None]
        rates = [(t, (new - old) / (t - before)) for (before, old), (t, new) in pairwise(spent)]
        containers[name] = {
            "memory": Part(memory, now.memory_max),
            "processor": Part(rates, now.cpu_max),
            "tasks": Part(tasks, now.tasks_max),
        }
    return StatsPicture(containers)


def _links(pid: int | str = "self") -> tuple[tuple[str, bool], ...]:
    return tuple((link.name, link.up) for link in netlink.links(pid))


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


def _stack(mounts: Sequence[procfs.Mount], target: str, below: int) -> list[procfs.Mount]:
    """The mounts on a folder, the topmost first, without so many below, but one at least."""
    found = _on(mounts, target)
    return found[max(0, min(below, len(found) - 1)) :][::-1]
