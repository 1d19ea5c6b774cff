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
from collections.abc import Callable, Iterable
from typing import NoReturn, ParamSpec

from labkit import linux

P = ParamSpec("P")
POLL_INTERVAL = 0.5  # seconds that an interrupt waits at most


def forked(function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> str:
    """Fork, call the function in the child, and wait for it.

    Args:
        function: called in the child; it may clone, exec, or return.
        *args: what it is called with.
        **kwargs: what it is called with.

    Returns:
        what the child and its children wrote to stdout and stderr, in the order they wrote it,
        without the last newline. Where an exception or a signal ended it, the last line says so.

    Raises:
        OSError: no process or descriptor is left.
    """
    reader, writer = os.pipe()
    # An interrupt waits until there is somebody to end the child.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is the point
        child = os.fork()
    if child == 0:
        _be_the_child(writer, mask, lambda: function(*args, **kwargs))
    os.close(writer)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        output = _read_to_the_end(reader, child)
    except BaseException:  # an interrupted cell takes the experiment with it
        for end in (os.killpg, os.kill):  # it may not have a process group of its own yet
            with contextlib.suppress(ProcessLookupError):
                end(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    lines = [output.decode(errors="replace").removesuffix("\n")]
    if os.WIFSIGNALED(status):
        lines.append(f"ended by {signal.Signals(os.WTERMSIG(status)).name}")
    return "\n".join(filter(None, lines))


def _be_the_child(output: int, mask: Iterable[int], body: Callable[[], object]) -> NoReturn:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Jupyter's streams belong to threads that this copy does not have. These write at once, so
    # that the order stays the writers'.
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.FileIO(fd, "w", closefd=False), "utf-8", "backslashreplace", write_through=True
        )
        for fd in (1, 2)
    )
    status = 1
    try:
        body()
        status = 0
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}")
    finally:
        os._exit(status)


def _read_to_the_end(reader: int, child: int) -> bytearray:
    """Read until nobody can write any more and the child has ended."""
    output, pidfd = bytearray(), os.pidfd_open(child)
    waiting = {reader, pidfd}
    try:
        while waiting:
            # An interrupt that comes just before a call waits as long as it: so none waits long.
            for fd in linux.poll(*waiting, seconds=POLL_INTERVAL):
                if fd == reader and (some := os.read(reader, 65536)):
                    output += some
                else:
                    waiting.remove(fd)
    finally:
        os.close(pidfd)
    return output
