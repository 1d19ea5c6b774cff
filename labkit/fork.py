"""Runs a function in a copy of this process that has one thread, and hands back what it wrote.

A Jupyter kernel has several threads. Calls such as clone, or unshare with a user namespace, need
a process with one, and what they change should not stay with the kernel anyway.
"""

import contextlib
import io
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import NoReturn, ParamSpec

P = ParamSpec("P")


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
    try:
        os.close(writer)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        with contextlib.suppress(OSError):
            os.setpgid(child, child)  # here and in the child: whoever comes first
        output = _collect(reader, child)
    except BaseException:  # an interrupted cell takes the experiment with it
        for end in (os.killpg, os.kill):  # it may not have a process group of its own yet
            with contextlib.suppress(ProcessLookupError):
                end(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        _, status = os.waitpid(child, 0)
    text = output.decode(errors="replace").removesuffix("\n")
    if os.WIFSIGNALED(status):
        text += f"\nended by {signal.Signals(os.WTERMSIG(status)).name}"
    return text.lstrip("\n") if not output else text


def _be_the_child(output: int, mask: Iterable[int], body: Callable[[], object]) -> NoReturn:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # Jupyter's streams belong to threads that this copy does not have.
    sys.stdout, sys.stderr = _stream(1), _stream(2)
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


def _collect(reader: int, child: int) -> bytearray:
    """Read until nobody can write any more and the child has ended.

    Python calls a signal's handler between two steps of a program. An interrupt that arrives
    after the last step before read(2) would wait there for as long as read(2) does. So all the
    waiting is one poll(2), which a signal ends whenever it arrives: its handler in C writes to
    the bell (signal.set_wakeup_fd).
    """
    output = bytearray()
    pidfd = os.pidfd_open(child)
    bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    main = threading.current_thread() is threading.main_thread()  # handlers run only there
    other = signal.set_wakeup_fd(ring, warn_on_full_buffer=False) if main else -1
    try:
        poll = select.poll()
        for fd in (reader, pidfd, bell):
            poll.register(fd, select.POLLIN)
        waiting = {reader, pidfd}
        while waiting:
            for fd, _ in poll.poll():
                if fd == bell:
                    signals = os.read(bell, 4096)
                    if other >= 0:  # an event loop's, which wants to know as well
                        with contextlib.suppress(BlockingIOError):  # it has enough to wake up
                            os.write(other, signals)
                elif fd == reader and (some := os.read(reader, 65536)):
                    output += some
                else:
                    waiting.remove(fd)
                    poll.unregister(fd)
    finally:
        if main:
            signal.set_wakeup_fd(other)
        for fd in (bell, ring, pidfd):
            os.close(fd)
    return output


def _stream(fd: int) -> io.TextIOWrapper:
    """Return a stream that writes at once, so that the order stays the writers'."""
    raw = io.FileIO(fd, "w", closefd=False)
    return io.TextIOWrapper(raw, "utf-8", "backslashreplace", write_through=True)
