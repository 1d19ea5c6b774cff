"""labkit: what the notebooks stand on. `from labkit import NAME` is the door for their cells.

What stands behind a name is loaded when it is first asked for: the runtime imports `labkit.linux`
at every container start, and nothing else.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing here would cost every container start
    from typing import Any

ROOMS = {
    "labkit.course.progress": ("progress",),
    "labkit.doctor": ("no_limits", "no_network", "no_runtimes"),
    "labkit.exercise.check": ("check", "hint", "solution"),
    "labkit.fork": ("forked",),
    "labkit.look": (
        *("Namespaces", "Network", "Stats", "layers_picture", "mounts_picture"),
        *("namespace_picture", "network_picture", "stats_picture"),
    ),
    "labkit.procfs": ("mounts", "namespaces", "processes", "tree"),
    "labkit.shell": ("Shell",),
    "labkit.trace.record": ("record",),
    "labkit.view": ("Quiz", "Terminal", "TimeLine", "four_steps"),
}


def __getattr__(name: str) -> "Any":
    for room, names in ROOMS.items():
        if name in names:
            from importlib import import_module

            return getattr(import_module(room), name)
    raise AttributeError(f"module 'labkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *(name for names in ROOMS.values() for name in names)]


def load_ipython_extension(shell: object) -> None:
    """`%load_ext labkit`: gives a notebook `%notebook`, `%%source`, `%%answer` and `%%solution`.

    Args:
        shell: an `InteractiveShell`.
    """
    from labkit.course import magics
    from labkit.exercise import check, smoke

    magics.register(shell, smoke.broken)
    check.register(shell)
