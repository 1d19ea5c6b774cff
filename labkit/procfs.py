"""What the kernel says of processes, namespaces, mounts, networks, groups. Draws nothing.

A `pid` may be "self". Where that process has ended, a question raises FileNotFoundError or
ProcessLookupError; where this user may not look at it, PermissionError. What /proc tells about the
reader's own namespace alone, such as a host name, is asked from a thread that enters the other one.
"""

import errno
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from labkit import linux

T = TypeVar("T")

POLL_INTERVAL = 0.002  # seconds; of what no event tells
SETTLE_TIMEOUT = 0.5  # seconds
NAMESPACES = ("mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time")


@dataclass(frozen=True)
class Process:
    """One process. PIDs as the reader's PID namespace counts them, see proc_pid_status(5)."""

    pid: int
    ppid: int  # 0 where the parent is outside this PID namespace
    pids: tuple[int, ...]  # in every nested PID namespace, from here to the innermost
    name: str  # at most 15 characters
    state: str  # one letter: R running, S sleeping, Z zombie, …
    command: tuple[str, ...]  # the argument vector; empty for a zombie
    resident: int  # kibibytes of memory


@dataclass(frozen=True)
class Mount:
    """One line of /proc/PID/mountinfo, see proc_pid_mountinfo(5)."""

    id: int
    parent: int  # number of the mount that it lies on
    root: str  # which folder of the file system is the top of this mount
    target: str
    options: str  # such as "rw,nosuid"
    propagation: str  # "private", "shared:N", "master:N" (a slave of N), both, or "unbindable"
    fstype: str
    source: str  # a device, or any word


@dataclass(frozen=True)
class Usage:
    """What a control group takes, and what it may take at most; see cgroups(7).

    None where there is no such limit, or where the group does not have that controller.
    """

    time: float  # seconds on the monotonic clock, when it was read
    memory: float | None  # bytes
    memory_max: float | None
    cpu: float | None  # seconds of processors, since the group was made
    cpu_max: float | None  # processors
    tasks: float | None
    tasks_max: float | None


def status(pid: int | str = "self") -> dict[str, str]:
    """Return the lines of /proc/PID/status, see proc_pid_status(5)."""
    pairs = (line.split(":", 1) for line in _lines(f"/proc/{pid}/status"))
    return {key: value.strip() for key, value in pairs}


def namespaces(pid: int | str = "self") -> dict[str, int]:
    """Return the inode number of each namespace that a process is in, see namespaces(7).

    Returns:
        kind ("uts", "pid", …) to inode; two processes with the same number share it.
    """
    # What this kernel knows; the folder of one that is ending is root's alone.
    known = os.listdir("/proc/self/ns")
    return {kind: os.stat(f"/proc/{pid}/ns/{kind}").st_ino for kind in NAMESPACES if kind in known}


def process(pid: int) -> Process | None:
    """Return one process, or None where there is none with this PID."""
    try:
        found = status(pid)
        command = _read(f"/proc/{pid}/cmdline").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(
        pid=pid,
        ppid=int(found["PPid"]),
        pids=tuple(int(word) for word in found["NSpid"].split()),
        name=found["Name"],
        state=found["State"][0],
        command=tuple(command),
        resident=int(found.get("VmRSS", "0 kB").split()[0]),
    )


def processes() -> dict[int, Process]:
    """Return every process that this /proc shows, by PID. One that ends meanwhile is left out."""
    return {pid: found for pid in _pids() if (found := process(pid))}


def tree(root: int) -> Iterator[tuple[int, Process]]:
    """Yield a process, if there is one with this PID, and its descendants.

    Yields:
        depth below root, and the process; parents before children, siblings by their PIDs.
    """
    everyone = processes()
    children: dict[int, list[int]] = {}
    for pid in sorted(everyone):
        children.setdefault(everyone[pid].ppid, []).append(pid)

    todo = [(0, root)] if root in everyone else []
    while todo:
        depth, pid = todo.pop()
        yield depth, everyone[pid]
        # Taken out: a PID that was used again meanwhile could make the tree a circle.
        todo += [(depth + 1, child) for child in reversed(children.pop(pid, []))]


def settled_tree(root: int, timeout: float = SETTLE_TIMEOUT) -> list[tuple[int, Process]]:
    """Return a tree in which no process is becoming another program, or is about to.

    One such is the child that a shell has made for `sleep 100 &`, until it calls execve(2). After
    so many seconds, the tree is returned as it is.
    """
    deadline, before = time.monotonic() + timeout, None
    while True:
        found = list(tree(root))
        # A process that changes while it is read may show its old name and its new command.
        now = [(p.pid, p.name, p.command, p.state == "Z") for _, p in found]
        waiting = _is_about_to_exec(found)
        if time.monotonic() >= deadline or (now == before and not waiting):
            return found
        before = now
        time.sleep(POLL_INTERVAL * waiting)


def mounts(pid: int | str = "self") -> list[Mount]:
    """Return the mounts that a process sees, in the kernel's order, see proc_pid_mountinfo(5)."""
    try:
        lines = _lines(f"/proc/{pid}/mountinfo")
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ProcessLookupError(errno.ESRCH, "the process is ending", error.filename) from None
    found = []
    for line in lines:
        before, after = line.split(" - ", 1)
        number, parent, _device, root, target, options, *optional = before.split(" ")
        fstype, source = after.split(" ")[:2]
        propagation = " ".join(optional) or "private"
        root, target, source = map(_unescape, (root, target, source))
        ids = int(number), int(parent)
        found.append(Mount(*ids, root, target, options, propagation, fstype, source))
    return found


def hostname(pid: int | str = "self") -> str:
    """Return the host name that a process sees, see uts_namespaces(7)."""
    return inside(pid, "uts", lambda: os.uname().nodename)


def groups(base: str) -> dict[str, Usage]:
    """Return what containers take whose control groups lie in a folder.

    Returns:
        the name of each group, 12 hexadecimal digits, in which a process is; the oldest first.
        Nothing where there is no such folder.
    """
    entries = list(os.scandir(base)) if os.path.isdir(base) else []
    entries = [entry for entry in entries if re.fullmatch("[0-9a-f]{12}", entry.name)]
    entries.sort(key=os.DirEntry.inode)  # this file system counts them up
    found = {entry.name: _usage(entry.path) for entry in entries}
    # cpu.stat is in every group, but for one that was removed meanwhile.
    return {name: one for name, one in found.items() if one.tasks != 0 and one.cpu is not None}


def with_environment(entry: str) -> list[int]:
    """Return the PIDs of the processes that were started with this entry, "NAME=VALUE"."""
    return [pid for pid in _pids() if entry in _environment(pid)]


def _is_about_to_exec(tree: Sequence[tuple[int, Process]]) -> bool:
    """Whether a process, at work, still bears its parent's command, or is just changing it."""
    known = {process.pid: process for _, process in tree}
    parents = {process.ppid for _, process in tree}
    for _, found in tree:
        if found.pid == os.getpid():  # it is at work here
            continue
        parent = known.get(found.ppid) or process(found.ppid)
        # Whoever has a child goes on as it is, and may wait in state D for the child, see vfork(2).
        at_work = found.state in "RD" and found.pid not in parents
        if at_work and parent and parent.command == found.command:
            return True
        if found.state != "Z" and not found.command:
            return True
    return False


def asked(question: Callable[..., T], *arguments: object) -> T | None:
    """Return the answer to a question; None where the process has ended, or is another user's."""
    try:
        return question(*arguments)
    except OSError:
        return None


def inside(pid: int | str, kind: str, question: Callable[[], T]) -> T:
    """Ask a question in a process's namespace; of those used here each thread may have its own."""
    path = f"/proc/{pid}/ns/{kind}"
    if os.readlink(path) == os.readlink(f"/proc/thread-self/ns/{kind}"):
        return question()
    from concurrent.futures import ThreadPoolExecutor  # 10 ms that only this needs

    def ask() -> T:
        namespace = os.open(path, os.O_RDONLY)
        try:
            linux.setns(namespace)
        finally:
            os.close(namespace)
        return question()

    with ThreadPoolExecutor(1) as thread:  # which never comes back from there
        return thread.submit(ask).result()


def _usage(group: str) -> Usage:
    quota, period = _value(f"{group}/cpu.max"), _value(f"{group}/cpu.max", 1)
    cpu = _value(f"{group}/cpu.stat", 1)
    return Usage(
        time.monotonic(),
        memory=_value(f"{group}/memory.current"),
        memory_max=_value(f"{group}/memory.max"),
        cpu=None if cpu is None else cpu / 1e6,
        cpu_max=quota / period if quota and period else None,
        tasks=_value(f"{group}/pids.current"),
        tasks_max=_value(f"{group}/pids.max"),
    )


def _value(path: str, place: int = 0) -> float | None:
    """Return a word of a group's file: None for "max", and where there is no such file."""
    try:
        word = _read(path).split()[place]
    except OSError:  # also where the group is removed meanwhile
        return None
    return None if word == "max" else float(word)


def _environment(pid: int) -> list[str]:
    """Return a process's environment; empty where it has ended or is another user's."""
    try:
        environ, command = f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"
        while not (entries := _read(environ)) and not _read(command) and "VmRSS" in status(pid):
            pass  # as in the middle of exec, for a moment
    except OSError:
        return []
    return entries.split("\0")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> str:
    with open(path, errors="surrogateescape", encoding="utf-8", newline="\n") as file:
        return file.read()


def _lines(path: str) -> list[str]:
    """Split at newlines alone: a name may hold what splitlines() takes for the end of a line."""
    return _read(path).removesuffix("\n").split("\n")


def _unescape(word: str) -> str:
    """Space, tab, newline and backslash stand in mountinfo as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
