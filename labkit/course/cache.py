"""Knows which runtime lies assembled already, so that `labkit run` starts as fast as it does.

To read the notebooks takes longer than a container lives. While no file is another than it was
when they were read, nothing needs to be read again. Like `linux`, this is used at every start, so
it imports little.
"""

import os

from labkit import places

Look = dict[str, tuple[int, ...]]


def look(folder: str = "") -> Look:
    """Return, for each notebook of the learner's runtime, what changes whenever the file does.

    Args:
        folder: of an assembled runtime, whose files are looked at, too.
    """
    paths = [path for place, _, names in os.walk(folder) for path in _inside(place, names, ".py")]
    paths.append(places.LINUX)
    for place in (places.NOTEBOOKS, places.mine()):
        if os.path.isdir(place):
            paths += _inside(place, os.listdir(place), ".ipynb")
    return {path: _marks(path) for path in paths}


def find(upto: str | None) -> str:
    """Return the folder of the runtime that `note` noted, "" where a file is another now.

    Args:
        upto: the number of the notebook, as it was typed; None means all of them.
    """
    try:
        with open(_note(upto), encoding="utf-8") as file:
            noted = file.read()
        folder = noted.partition("\n")[0]
        return folder if noted == _text(folder, look(folder)) else ""
    except (OSError, ValueError):  # there is none, or it is damaged
        return ""


def note(upto: str | None, folder: str, before: Look) -> None:
    """Note which runtime was assembled.

    Args:
        upto: the number of the notebook, as it was typed; None means all of them.
        folder: the runtime's.
        before: what `look` saw before the notebooks were read: a change since then will be seen.
    """
    try:
        with open(_note(upto), "w", encoding="utf-8") as file:
            file.write(_text(folder, look(folder) | before))
    except (OSError, ValueError):  # it stays slow
        return


def _inside(place: str, names: list[str], end: str) -> list[str]:
    return sorted(f"{place}/{name}" for name in names if name.endswith(end))


def _marks(path: str) -> tuple[int, ...]:
    try:
        s = os.stat(path)
    except OSError:  # a link to nowhere, or JupyterLab has saved a notebook in this moment
        return ()
    return s.st_ctime_ns, s.st_mtime_ns, s.st_size, s.st_ino


def _note(upto: str | None) -> str:
    return f"{places.work_folder()}/run/.upto-{upto}"


def _text(folder: str, seen: Look) -> str:
    return f"{folder}\n{seen!r}"
