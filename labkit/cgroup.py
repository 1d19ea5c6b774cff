"""Where a lab's containers can have limits: in control groups of version 2, see cgroups(7).

    GROUP        what systemd delegated, to a scope or a service
      labkit     the leaf where our processes are: a group that hands controllers on has none
      lab-PID    the same again for each lab: beside its leaf, groups of containers are made

No process is moved but by itself. As a program, it goes to the leaf and becomes a command:

    systemd-run --user --scope -p Delegate=yes .venv/bin/python -m labkit.cgroup COMMAND …
"""

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

LEAF, LAB = "labkit", "lab-"
NEEDED = ["memory", "pids", "cpu"]
PROC = Path("/proc/self")
V1 = "cgroup v1 holds {}. Cure: systemd.unified_cgroup_hierarchy=1 for Linux, or the class VM"
READ_ONLY = (
    "cgroup v2 is read-only or not mounted, as in containers. Cure: docker with --security-opt "
    "writable-cgroups=true, podman with --security-opt unmask=/sys/fs/cgroup"
)
NOT_OURS = (
    "{} {}. Cure: a group of its own, systemd-run --user --scope -p Delegate=yes "
    ".venv/bin/labkit lab (root: without --user), or Delegate=yes in a service"
)


def take_leaf() -> Path:
    """Move this process, alone in the group that was delegated, to a leaf below.

    Returns:
        the group, which hands controllers on; a process in such a leaf stays there.

    Raises:
        OSError: nothing is delegated; the message says what is in the way, and the cure.
    """
    group = _own()
    if group.name == LEAF:
        return group.parent
    if not _is_delegated(group):
        why = "is not delegated with memory, pids and cpu"
        raise OSError(errno.EACCES, NOT_OURS.format(group.name, why))
    if _words(group / "cgroup.procs") != [str(os.getpid())]:
        raise OSError(errno.EBUSY, NOT_OURS.format(group.name, "has other processes, too"))
    _enter_leaf(group)
    return group


@contextlib.contextmanager
def lab_group() -> Iterator[Path]:
    """Make a lab's group and be in its leaf; in the end, remove it with all below.

    Those of labs that were killed go, too: no process is in them.

    Raises:
        OSError: as from `take_leaf`.
    """
    group = take_leaf()
    own = group / f"{LAB}{os.getpid()}"
    try:
        lock = os.open(group, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)  # in one that was just made there is none either
            for lab in group.glob(f"{LAB}*"):
                if _words(lab / "cgroup.events")[:2] == ["populated", "0"]:
                    _remove(lab)
            _enter_leaf(own)
        finally:
            os.close(lock)
        yield own
    finally:
        _enter_leaf(group)
        _remove(own)


def _own() -> Path:
    """Return the folder of this process's group, where version 2 is in charge and writable."""
    said, mounts = (
        (PROC / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        for name in ("cgroup", "mountinfo")
    )
    paths = {names: path for _, names, path in (line.split(":", 2) for line in said)}
    if held := [name for name in NEEDED if name in ",".join(paths).split(",")]:
        raise OSError(errno.EOPNOTSUPP, V1.format(", ".join(held)))
    places = [line.split()[4] for line in mounts if " - cgroup2 " in line]
    if not places or os.statvfs(places[0]).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, READ_ONLY)
    return Path(os.path.normpath(places[0] + paths[""]))


def _is_delegated(group: Path) -> bool:
    """Whether the controllers come as far as there, and the group is ours.

    systemd marks those that it delegates, a user's own systemd does not: there the owner counts.
    """
    if not {*NEEDED} <= {*_words(group / "cgroup.controllers")}:
        return False
    with contextlib.suppress(OSError):
        return os.getxattr(group, "user.delegate") == b"1"
    return 0 != os.geteuid() == group.stat().st_uid


def _enter_leaf(group: Path) -> None:
    (group / LEAF).mkdir(parents=True, exist_ok=True)
    group.chmod(0o700)  # or other users could lock it, and hold us up
    (group / LEAF / "cgroup.procs").write_text(str(os.getpid()))
    there = _words(group / "cgroup.controllers")
    handed_on = [f"+{name}" for name in (*NEEDED, "cpuset") if name in there]
    (group / "cgroup.subtree_control").write_text(" ".join(handed_on))


def _remove(group: Path) -> None:
    """Remove a group and those below it; what a stranger is in stays."""
    for folder, *_ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()


def _words(path: Path) -> list[str]:
    return path.read_text(encoding="ascii").split()


if __name__ == "__main__":
    try:
        take_leaf()
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        sys.exit(f"labkit cgroup: {error.strerror}")
