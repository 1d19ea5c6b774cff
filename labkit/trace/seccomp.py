"""Asks a supervisor before some system calls, see seccomp(2) and seccomp_unotify(2).

A process puts a filter on itself and hands a descriptor, the listener, to its supervisor. Whatever
it then starts has the filter too. At each call that the filter names the kernel lets the caller
stand still in it until the supervisor answers. No tracing is involved and nothing is changed.

What is done with the answer does not belong here.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from labkit import linux

PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
# linux/filter.h
BPF_LOAD, BPF_JUMP_IF_EQUAL, BPF_JUMP_IF_ANY, BPF_RETURN = 0x20, 0x15, 0x45, 0x06
CLONE_THREAD = 0x00010000  # linux/sched.h

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_NUMBER, _ARCHITECTURE, _FIRST = 0, 4, 16  # offsets in struct seccomp_data; little-endian


@dataclass(frozen=True)
class Machine:
    """What differs between processors: linux/audit.h and asm/unistd.h."""

    audit: int
    seccomp: int
    calls: dict[str, int]


_NAMES = ("write", "clone", "execve", "mount", "exit_group", "clone3")
_GENERIC = dict(zip(_NAMES, (64, 220, 221, 40, 94, linux.SYS_CLONE3), strict=True))
MACHINES = {
    "x86_64": Machine(
        0xC000003E, 317, dict(zip(_NAMES, (1, 56, 59, 165, 231, linux.SYS_CLONE3), strict=True))
    ),
    "aarch64": Machine(0xC00000B7, 277, _GENERIC),
    "riscv64": Machine(0xC00000F3, 277, _GENERIC),
}


@dataclass(frozen=True)
class Notification:
    """One call that waits for an answer.

    Attributes:
        id: number of this notification.
        thread: ID of the calling thread, as the supervisor's PID namespace counts.
        call: the call's name; "clone" stands for clone3 as well, told apart by `number`.
        number: the call's number on this machine.
        arguments: its six arguments as the kernel has them: numbers and addresses.
    """

    id: int
    thread: int
    call: str
    number: int
    arguments: tuple[int, ...]


def listen() -> int:
    """Put the filter on this process and all that it will start, for good.

    The filter asks about write(2) to descriptors 1 and 2, about execve(2), mount(2), clone3(2) and
    exit_group(2), and about clone(2) where it makes a process and not a thread.

    Returns:
        the listener. From here on these calls wait: hand it to a supervisor at once.

    Raises:
        OSError: the kernel refused; the message says why and what helps.
    """
    machine = _machine()
    program = b"".join(_filter(machine))
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many instructions, then where they are
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    # Without it only root might, because a program with more rights could be deceived.
    libc.prctl(PR_SET_NO_NEW_PRIVS, *(ctypes.c_ulong(n) for n in (1, 0, 0, 0)))
    listener: int = libc.syscall(
        machine.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, described
    )
    if listener < 0:
        raise _error(ctypes.get_errno())
    return listener


def receive(listener: int) -> Notification | None:
    """Take the next call that waits; wait for one where there is none (poll(2) tells).

    Returns:
        None where the caller was interrupted meanwhile. It will call again.

    Raises:
        OSError: the listener is no listener, or the kernel refused.
    """
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    number, thread, _flags, call, _audit, _pointer, *arguments = _NOTIFICATION.unpack(buffer)
    names = {value: name for name, value in _machine().calls.items()}
    return Notification(number, thread, names[call].removesuffix("3"), call, tuple(arguments))


def let_go(listener: int, notification: Notification) -> bool:
    """Let a waiting call go on, as if nobody had asked.

    Returns:
        False where the caller does not wait any more: it was killed, or it was interrupted and
        will call again.
    """
    answer = _ANSWER.pack(notification.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
    try:
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def _machine() -> Machine:
    name = os.uname().machine
    if name not in MACHINES:
        raise OSError(errno.ENOSYS, f"seccomp: the numbers of calls on {name} are not known")
    return MACHINES[name]


def _filter(machine: Machine) -> Iterator[bytes]:
    """Yield the filter's instructions (struct sock_filter), see seccomp(2)."""
    calls = machine.calls

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)  # jumps count from the next

    allow, ask = step(BPF_RETURN, SECCOMP_RET_ALLOW), step(BPF_RETURN, SECCOMP_RET_USER_NOTIF)
    yield step(BPF_LOAD, _ARCHITECTURE)
    yield step(BPF_JUMP_IF_EQUAL, machine.audit, 1, 0)
    yield allow  # a 32-bit program: its calls have other numbers
    yield step(BPF_LOAD, _NUMBER)
    yield step(BPF_JUMP_IF_EQUAL, calls["write"], 0, 5)
    yield step(BPF_LOAD, _FIRST)
    yield step(BPF_JUMP_IF_EQUAL, 1, 1, 0)
    yield step(BPF_JUMP_IF_EQUAL, 2, 0, 1)
    yield ask
    yield allow
    yield step(BPF_JUMP_IF_EQUAL, calls["clone"], 0, 4)
    yield step(BPF_LOAD, _FIRST)
    yield step(BPF_JUMP_IF_ANY, CLONE_THREAD, 0, 1)
    yield allow
    yield ask
    rest = [calls[name] for name in ("execve", "mount", "exit_group", "clone3")]
    for left, number in zip(range(len(rest), 0, -1), rest, strict=True):
        yield step(BPF_JUMP_IF_EQUAL, number, left)
    yield allow
    yield ask


# What usually lies behind an answer, and what helps.
_USUALLY = {
    errno.EBUSY: "somebody watches this process in the same way already: a recording in a "
    "recording, or a container engine with a seccomp listener. Cure: record outside of it",
    errno.EINVAL: "a kernel older than 5.5, or one without seccomp. Cure: a newer kernel",
    errno.ENOSYS: "a kernel without seccomp, or a filter that hides the call. Cure: another "
    "kernel, or a container started with a wider seccomp profile",
    errno.EPERM: "a filter that hides the call. Cure: a container started with a wider seccomp "
    "profile",
    errno.EACCES: "no_new_privs could not be set",
}


def _error(number: int) -> OSError:
    usually = f" Usually: {_USUALLY[number]}." if number in _USUALLY else ""
    name = "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER)"
    return OSError(number, f"{name}: {os.strerror(number)}.{usually}")


def main(address: str, *command: str) -> str:
    """Put the filter on this process, hand the listener over, and become a command.

    Args:
        address: name of the supervisor's abstract Unix socket, see unix(7).
        *command: path of a program and its arguments.

    Returns:
        why that failed; where it works nothing of this program is left to return.
    """
    try:
        with socket.socket(socket.AF_UNIX) as supervisor:
            supervisor.connect(f"\0{address}")
            socket.send_fds(supervisor, [b"."], [listen()])
        os.execv(command[0], command)
    except OSError as error:
        return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
