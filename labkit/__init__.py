"""labkit: what the notebooks stand on. `from labkit import NAME` is the door for their cells.

What stands behind a name is loaded when it is first asked for: the runtime imports `labkit.linux`
at every container start, and nothing else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing here would cost every container start
    from IPython.core.interactiveshell import InteractiveShell

    from labkit.course.progress import progress as progress
    from labkit.exercise.check import check as check
    from labkit.exercise.check import hint as hint
    from labkit.exercise.check import solution as solution
    from labkit.fork import forked as forked
    from labkit.look import Namespaces as Namespaces
    from labkit.look import mounts_picture as mounts_picture
    from labkit.look import namespace_picture as namespace_picture
    from labkit.procfs import mounts as mounts
    from labkit.procfs import namespaces as namespaces
    from labkit.procfs import processes as processes
    from labkit.procfs import tree as tree
    from labkit.shell import Shell as Shell
    from labkit.trace.record import record as record
    from labkit.view import Quiz as Quiz
    from labkit.view import Terminal as Terminal
    from labkit.view import TimeLine as TimeLine
    from labkit.view import four_steps as four_steps

ROOMS = {
    "labkit.course.progress": ("progress",),
    "labkit.exercise.check": ("check", "hint", "solution"),
    "labkit.fork": ("forked",),
    "labkit.look": ("Namespaces", "mounts_picture", "namespace_picture"),
    "labkit.procfs": ("mounts", "namespaces", "processes", "tree"),
    "labkit.shell": ("Shell",),
    "labkit.trace.record": ("record",),
    "labkit.view": ("Quiz", "Terminal", "TimeLine", "four_steps"),
}


def __getattr__(name: str) -> object:
    for room, names in ROOMS.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(room), name)
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *(name for names in ROOMS.values() for name in names)]


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext labkit`: gives a notebook `%notebook`, `%%source`, `%%answer` and `%%solution`."""
    from labkit.course import magics
    from labkit.exercise import check, smoke

    magics.register(shell, smoke.broken)
    check.register(shell)
