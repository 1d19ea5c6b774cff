"""Asks a supervisor before some system calls, see seccomp(2) and seccomp_unotify(2).

A process puts a filter on itself and hands a descriptor, the listener, to its supervisor. Whatever
it then starts has the filter too. At each call that the filter names the kernel lets the caller
stand still in it until the supervisor answers. No tracing is involved and nothing is changed.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

from labkit import linux

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FILTER_FLAG_NEW_LISTENER = 1 << 3
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_USER_NOTIF = 0x7FC00000
SECCOMP_USER_NOTIF_FLAG_CONTINUE = 1
SECCOMP_IOCTL_NOTIF_RECV = 0xC0502100
SECCOMP_IOCTL_NOTIF_SEND = 0xC0182101
BPF_LOAD, BPF_JUMP_IF_EQUAL, BPF_RETURN = 0x20, 0x15, 0x06  # linux/filter.h

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data


class Machine(NamedTuple):
    """What differs between processors: linux/audit.h and, with the calls, asm/unistd.h."""

    audit: int
    seccomp: int
    calls: dict[int, str]


_X86 = {1: "write", 56: "clone", 59: "execve", 165: "mount", 231: "exit", 435: "clone3"}
_GENERIC = dict(zip((64, 220, 221, 40, 94, 435), _X86.values(), strict=True))
MACHINES = {
    "x86_64": Machine(0xC000003E, 317, _X86),
    "aarch64": Machine(0xC00000B7, 277, _GENERIC),
    "riscv64": Machine(0xC00000F3, 277, _GENERIC),
}


class Notification(NamedTuple):
    """One call that waits for an answer.

    Attributes:
        thread: ID of the calling thread, as the supervisor's PID namespace counts.
        call: "write", "clone", "clone3", "execve", "mount", or "exit" for exit_group(2).
        arguments: its six arguments as the kernel has them: numbers and addresses.
        id: number of this notification.
    """

    thread: int
    call: str
    arguments: tuple[int, ...]
    id: int


def install_filter() -> int:
    """Put the filter on this process and all that it will start, for good.

    Returns:
        the listener. From here on the calls that `Notification` names wait: hand it to a
        supervisor at once.

    Raises:
        OSError: the kernel refused; the message says why and what helps.
    """
    machine = _machine()
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many instructions, then where they are
    described = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    # Without it only root might, because a program with more rights could be deceived.
    linux.set_no_new_privileges()
    listener: int = libc.syscall(
        machine.seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, described
    )
    if listener < 0:
        number = ctypes.get_errno()
        usually = f" Usually: {_USUALLY[number]}." if number in _USUALLY else ""
        name = "seccomp(SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER)"
        raise OSError(number, f"{name}: {os.strerror(number)}.{usually}")
    return listener


def receive(listener: int) -> Notification | None:
    """Take the next call that waits; wait for one where there is none (poll(2) tells).

    Returns:
        None where the caller was killed or interrupted meanwhile.

    Raises:
        OSError: the kernel refused.
    """
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, buffer)
    except (FileNotFoundError, InterruptedError):
        return None
    id, thread, _flags, number, _audit, _pointer, *arguments = _NOTIFICATION.unpack(buffer)
    return Notification(thread, _machine().calls[number], tuple(arguments), id)


def continue_(listener: int, notification: Notification) -> bool:
    """Let a waiting call go on, as if nobody had asked.

    Returns:
        False where the caller does not wait any more: it was killed, or it was interrupted and
        will call again.

    Raises:
        OSError: as for `receive`.
    """
    answer = _ANSWER.pack(notification.id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE)
    try:
        fcntl.ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, answer)
    except FileNotFoundError:
        return False
    return True


def _machine() -> Machine:
    name = os.uname().machine
    if name not in MACHINES:
        raise OSError(errno.ENOSYS, f"seccomp: the numbers of calls on {name} are not known")
    return MACHINES[name]


def _program(machine: Machine) -> Iterator[bytes]:
    """Yield the filter's instructions (struct sock_filter), see seccomp(2)."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)  # jumps count from the next

    yield step(BPF_LOAD, _ARCHITECTURE)
    yield step(BPF_JUMP_IF_EQUAL, machine.audit, 1, 0)
    yield step(BPF_RETURN, SECCOMP_RET_ALLOW)  # a 32-bit program: its calls have other numbers
    yield step(BPF_LOAD, _NUMBER)
    for place, number in enumerate(machine.calls):
        yield step(BPF_JUMP_IF_EQUAL, number, len(machine.calls) - place)
    yield step(BPF_RETURN, SECCOMP_RET_ALLOW)
    yield step(BPF_RETURN, SECCOMP_RET_USER_NOTIF)


_HIDDEN = "a filter that hides the call. Cure: a container started with a wider seccomp profile"
_USUALLY = {
    errno.EBUSY: "somebody watches this process in the same way already: a recording in a "
    "recording, or a container engine with a seccomp listener. Cure: record outside of it",
    errno.EINVAL: "a kernel older than 5.5, or one without seccomp. Cure: a newer kernel",
    errno.ENOSYS: _HIDDEN,
    errno.EPERM: _HIDDEN,
}


def _launch(address: str, *command: str) -> str:
    """Hand the listener to the socket at an abstract address, and become a command.

    Returns why that failed; where it works nothing of this program is left to return.
    """
    try:
        listener = install_filter()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.connect(f"\0{address}")
            socket.send_fds(supervisor, [b"."], [listener])
        os.execv(command[0], command)
    except OSError as error:
        return error.strerror or str(error)


if __name__ == "__main__":
    sys.exit(_launch(*sys.argv[1:]))
