"""`labkit run`, `labkit mydocker`: call the runtime of the notebooks, early ones in a sandbox.

It should take no longer than a container, so nothing is imported before it is needed.
"""

from __future__ import annotations

import os
import sys

from labkit import places
from labkit.course import cache
from labkit.errors import CourseError, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = """usage: labkit run [--upto NN] [--delivered] [OPTION …] COMMAND [ARGUMENT …]
       labkit mydocker [--upto NN] [--delivered] [WORD …]

The first starts a container. The second hands all words on to the runtime: `labkit mydocker run`
is the first, and without a word it says which commands there are.

  --upto NN     the runtime as it stands after notebook NN; without it, the finished one
  --delivered   from the notebooks as they were delivered, not from your copies

The other options are the runtime's own, such as -i and -t; each version knows more of them.
From notebook 09 on the runtime makes its own user namespace and is started as it is; earlier
versions are started in a sandbox, as in the notebooks, where they have the rights that they need.
"""
MAIN = "mydocker/__main__.py"
ROOTLESS = 9  # the notebook from which on the runtime needs no sandbox


def run(words: Sequence[str]) -> int:
    """Do what stands behind `labkit`; return the exit status.

    Args:
        words: "run" or "mydocker", options of ours, then the runtime's own words.

    Raises:
        CourseError: no runtime can be assembled.
        OSError: it can be written nowhere.
    """
    # Where one of ours is closed, a pipe must not take its number.
    while (null := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(null)
    name, *rest = words
    if rest and rest[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0
    upto, notebooks = None, places.mine()
    while rest and rest[0].partition("=")[0] in ("--upto", "--delivered"):
        option, equals, value = rest.pop(0).partition("=")
        if option == "--delivered":
            notebooks = places.NOTEBOOKS
        elif equals or rest:
            upto = value if equals else rest.pop(0)
        else:
            return fail(f"{name}: --upto wants the number of a notebook, such as 03", 2)
    found = cache.find(upto) if notebooks == places.mine() else ""
    folder = found or _assemble(upto, words, notebooks)
    program = f"{folder}/start.py"

    def start() -> int:
        # As if Python had been started so: versions 1 to 5 start themselves again by these words.
        sys.argv = [program, *["run"] * (name == "run"), *rest]
        sys.orig_argv = [sys.executable, "-S", *sys.argv]
        sys.path.insert(0, folder)
        try:
            from mydocker.__main__ import main  # type: ignore[import-not-found]

            return int(main())
        except Exception as error:
            from labkit.course.edits import fault

            return fail(f"{name}: {fault(error, upto, words, notebooks)}")

    # A sandbox between the two would only be in the way of signals and job control.
    if upto is None or int(upto) >= ROOTLESS:
        os.environ.setdefault("MYDOCKER_DATA", f"{places.mine()}/images")
        return start()
    from labkit import sandbox

    return sandbox.run(start)


def _assemble(upto: str | None, words: Sequence[str], notebooks: str) -> str:
    """Write the runtime where it can be started, and return the folder."""
    from pathlib import Path

    from labkit.course import workbook
    from labkit.course.edits import fault

    before = cache.look()
    try:
        files = workbook.runtime(upto, folder=Path(notebooks))
        if MAIN not in files:
            raise workbook.WorkbookError(f"no notebook up to {upto or 'the last'} holds {MAIN}")
    except workbook.WorkbookError as error:
        raise CourseError(fault(error, upto, words, notebooks)) from None
    folder = str(workbook.install(files))
    if notebooks == places.mine():
        cache.note(upto, folder, before)
    return folder
