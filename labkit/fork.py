"""Runs a function in a copy of this process that has one thread, and hands back what it wrote.

A Jupyter kernel has several threads. Calls such as clone, or unshare with a user namespace, need
a process with one, and what they change should not stay with the kernel anyway.
"""

import contextlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, ParamSpec

from labkit import linux, sandbox

P = ParamSpec("P")


def forked(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    """Fork, call a function with these arguments in the child, and wait for the child's end.

    Returns:
        what the child and its children wrote to stdout and stderr, in the order they wrote it,
        without the last newline. Where an exception or a signal ended it, the last line says so.

    Raises:
        OSError: no process or descriptor is left.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
        child = os.fork()
    if child == 0:
        _be_the_child(writer, lambda: function(*args, **kwargs))
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            output = pipe.read().decode(errors="replace")
        status = os.waitpid(child, 0)[1]
    except BaseException:  # an interrupted cell takes the experiment with it
        for end in (os.killpg, os.kill):  # it may not have a process group of its own yet
            with contextlib.suppress(ProcessLookupError):
                end(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    lines = [output.removesuffix("\n")]
    if os.WIFSIGNALED(status):
        lines.append(f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    return "\n".join(filter(None, lines))


def _be_the_child(output: int, body: Callable[[], object]) -> NoReturn:
    os.setpgid(0, 0)
    linux.set_parent_death_signal(signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Jupyter's streams belong to threads that this copy does not have. This one writes at once, so
    # that the order stays the writers'.
    file = io.FileIO(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(file, "utf-8", "backslashreplace", write_through=True)
    sys.stderr = sys.stdout
    sys.excepthook = lambda kind, error, _: print(f"{kind.__name__}: {error}")
    sandbox.finish(body)
