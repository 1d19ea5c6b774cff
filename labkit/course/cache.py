"""Knows which runtime lies assembled already, so that `labkit run` starts as fast as it does.

To read and compile the notebooks takes longer than a container lives. While no file is another
than it was when they were read, nothing needs to be read again. Like `linux`, this is used at
every start, so it imports little.
"""

import os
import sys
import time

from labkit import places

# Two changes in one tick of a file system's clock leave the same time. FAT's has the longest one.
TICK = 2_000_000_000  # nanoseconds

Look = tuple[int, dict[str, tuple[int, ...]]]


def homes() -> list[str]:
    """Return the folders that may hold runtimes, best first.

    The later ones are for who cannot write into the first. Whether one can be written is not
    asked here: who finds a runtime writes nothing.
    """
    set_ = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    temporary = [os.path.join(places.START, name) for name in set_ if name] + ["/tmp", "/var/tmp"]
    return [f"{places.work_folder()}/run", *(f"{name}/labkit-{os.getuid()}" for name in temporary)]


def is_ours(place: str) -> bool:
    """Whether a folder is this user's. What lies in it is run, so nobody else may write it."""
    try:
        return os.stat(place).st_uid == os.getuid()
    except OSError:
        return False


def look(folder: str = "") -> Look:
    """Return the time, and by what the kernel tells that a file is another, or was changed.

    The files are those of which `labkit run` assembles the learner's runtime.

    Args:
        folder: of an assembled runtime, whose files are looked at after the notebooks.

    Raises:
        OSError: there is no folder of notebooks.
    """
    now = time.time_ns()
    paths = [f"{os.path.dirname(__file__)}/workbook.py"]  # which reads the others
    folders = [places.NOTEBOOKS, *filter(os.path.isdir, [places.mine()])]
    paths += sorted(f"{f}/{n}" for f in folders for n in os.listdir(f) if n.endswith(".ipynb"))
    walk = os.walk(folder, followlinks=True)
    paths += sorted(f"{place}/{name}" for place, _, names in walk for name in names)
    return now, {path: _marks(path) for path in paths}


def find(upto: str | None) -> str:
    """Return the folder of the runtime that `note` noted, "" where a file is another now.

    Args:
        upto: the number of the notebook, as it was typed; None means all of them.
    """
    for place in filter(is_ours, homes()):
        try:
            fd = os.open(_name(place, upto), os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait
            try:
                noted = os.read(fd, 1 << 16)
            finally:
                os.close(fd)
            name = os.fsdecode(noted.partition(b" ")[0])
            folder = f"{place}/{name}"
            if name.isalnum() and noted == _text(folder, look(folder)):
                return folder
        except (OSError, ValueError):  # there is none, or it is damaged
            continue
    return ""


def note(upto: str | None, folder: str, before: Look) -> None:
    """Note which runtime was assembled, where a change from now on would be seen.

    Args:
        upto: the number of the notebook, as it was typed; None means all of them.
        folder: the runtime's.
        before: what `look` saw before the notebooks were read.
    """
    then, files = before
    try:
        after = look(folder)
        changed = max(times[0] for times in after[1].values())
        if changed > then - TICK or not files.items() <= after[1].items():
            return  # a later call will note it
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(_name(os.path.dirname(folder), upto), flags, 0o600)
        try:
            os.write(fd, _text(folder, after))
        finally:
            os.close(fd)
    except OSError:  # it stays slow
        return


def _marks(path: str) -> tuple[int, ...]:
    try:
        s = os.stat(path)
    except OSError:
        return (1 << 63,)  # as if it changed in the future, so that nothing is noted
    return (s.st_ctime_ns, s.st_mtime_ns, s.st_size, s.st_mode, s.st_ino, s.st_dev)


def _name(place: str, upto: str | None) -> str:
    number = "last" if upto is None else f"upto-{upto}"
    return f"{place}/.{number}-{sys.implementation.cache_tag}"


def _text(folder: str, seen: Look) -> bytes:
    return os.fsencode(f"{os.path.basename(folder)} {seen[1]!r}")
