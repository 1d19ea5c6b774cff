"""`labkit export`: the runtime in a folder of its own, where it needs nothing of the course."""

import shlex
from pathlib import Path

from labkit import places
from labkit.course import workbook
from labkit.course.run import MAIN, ROOTLESS
from labkit.errors import CourseError

IMAGES = "mydocker/image.py"


def export(folder: str, upto: str | None, *, delivered: bool) -> str:
    """Write the runtime into a folder, and tell how to start it.

    Args:
        folder: new, or empty.
        upto: the number of the notebook after which it stands so; None is the last.
        delivered: from the notebooks as they were delivered, not from the learner's copies.

    Raises:
        CourseError: the folder is not empty, or no runtime can be assembled.
        OSError: it cannot be written.
    """
    place = Path(folder)
    if place.exists() and not (place.is_dir() and not any(place.iterdir())):
        raise CourseError(f"{folder} is not an empty folder. Cure: name another one")
    notebooks = Path(places.NOTEBOOKS if delivered else places.mine())
    files = workbook.runtime(upto, folder=notebooks)
    if MAIN not in files:
        raise CourseError(f"no notebook up to {upto} holds {MAIN}")
    workbook.export(files, place)
    start = "python3 -m mydocker run -ti /bin/sh"
    if IMAGES in files:  # it wants an image in place of /bin/sh, and tells which there can be
        start = "python3 -m mydocker help"
    elif upto is not None and int(upto) < ROOTLESS:  # it wants a root, and mounts that stay its own
        start = f"unshare --map-root-user --mount {start}"
    return f"cd {shlex.quote(folder)} && {start}"
