"""The system calls that Python lacks, under the names that the kernel gives them.

Here stand the calls, their flags and errors that explain themselves. Policy and printing do not
belong here. A container start imports this module twice, so it imports little: `ctypes` and `os`,
not `enum` (4 ms on Python 3.11), and its flags are plain integers, as `os.CLONE_NEWUTS` is.
"""

import ctypes
import errno
import os
import sys

# linux/sched.h
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# linux/mount.h
MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_REMOUNT = 1 << 5
MS_BIND = 1 << 12
MS_MOVE = 1 << 13
MS_REC = 1 << 14
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

# linux/fs.h
MNT_DETACH = 2

# linux/mount.h, linux/fcntl.h: for mount_setattr
MOUNT_ATTR_RDONLY = 1
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG = 1  # linux/prctl.h
# asm-generic/signal.h; `import signal` would cost 4 ms
SIGHUP = 1
SIGINT = 2
SIGKILL = 9
SIGPIPE = 13
SIGTERM = 15
SIGCHLD = 17
SIGCONT = 18
SIGSTOP = 19
SIGTSTP = 20
SIGTTIN = 21
SIGTTOU = 22
SIGXFSZ = 25
SIGWINCH = 28
SIG_DFL, SIG_IGN = 0, 1
SIG_SETMASK = 2
NSIG = 64  # the last signal
ALL_SIGNALS = (1 << NSIG) - 1
SI_KERNEL = 0x80  # asm-generic/siginfo.h
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914  # linux/sockios.h
AF_INET, SOCK_DGRAM = 2, 2  # linux/socket.h; `import socket` would cost 6 ms
IFF_UP = 1  # linux/if.h
SYS_CLONE3, SYS_MOUNT_SETATTR = 435, 442  # the same number on every architecture
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}  # asm/unistd.h

# PyDLL keeps the interpreter's lock during a call: clone() must not let another thread in.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
_libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
_libc.signal.restype = ctypes.c_void_p
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4


class _CloneArgs(ctypes.Structure):
    """`struct clone_args`, see clone(2)."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal", "stack"),
            *("stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    ]


def clone(flags: int = 0) -> int:
    """Fork this process; the child starts in new namespaces. See clone(2).

    Args:
        flags: `CLONE_NEW*` constants joined with `|`; 0 is a plain fork.

    Returns:
        0 in the child, the child's PID in the parent, as os.fork does.

    Raises:
        OSError: the kernel refused.
        RuntimeError: this process has several threads. One of them may hold a lock that the
            child would wait for for ever, so fork first (`labkit.fork.forked`) and clone there.
    """
    try:
        threads = len(os.listdir("/proc/self/task"))
    except OSError:  # no usable /proc: notebook 05 comes here on purpose
        threads = 1
    if threads > 1:
        raise RuntimeError(
            f"clone() from a process with {threads} threads could hang the child. "
            "Cure: call it in a fork, labkit.fork.forked(function)."
        )
    arguments = _CloneArgs(flags=flags, exit_signal=SIGCHLD)
    ctypes.pythonapi.PyOS_BeforeFork()
    pid: int = _libc.syscall(SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        raise _error(number, "clone", _names(flags, "CLONE_"))
    return pid


def unshare(flags: int) -> None:
    """Move this process into new namespaces (for PID: its next children). See unshare(2).

    Args:
        flags: `CLONE_NEW*` constants joined with `|`.

    Raises:
        OSError: the kernel refused.
    """
    if _libc.unshare(flags) < 0:
        raise _error(ctypes.get_errno(), "unshare", _names(flags, "CLONE_"))


def setns(fd: int, flags: int = 0) -> None:
    """Move this process into the namespace that a descriptor names. See setns(2).

    Args:
        fd: descriptor of an open `/proc/PID/ns/KIND`, or a PID file descriptor.
        flags: the kind that it must be, as a `CLONE_NEW*` constant; 0 allows any.

    Raises:
        OSError: the kernel refused.
    """
    if _libc.setns(fd, flags) < 0:
        raise _error(ctypes.get_errno(), "setns", str(fd), _names(flags, "CLONE_"))


def mount(
    source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str = ""
) -> None:
    """Mount a file system, or change how a mount behaves. See mount(2).

    Args:
        source: a device, a folder, or any word for a file system without one ("proc").
        target: the folder to mount on.
        fstype: the file system's type, None with MS_BIND or a change of propagation.
        flags: `MS_*` constants joined with `|`.
        data: options of the file system, such as "size=1m".

    Raises:
        OSError: the kernel refused.
    """
    text = [None if word is None else os.fsencode(word) for word in (source, target, fstype)]
    if _libc.mount(*text, flags, os.fsencode(data) if data else None) < 0:
        words = (repr(source), repr(target), repr(fstype), _names(flags, "MS_"))
        raise _error(ctypes.get_errno(), "mount", *words)


def set_read_only(target: str, read_only: bool = True, *, recursive: bool = False) -> None:
    """Make a mount read-only or writable. See mount_setattr(2); Linux 5.12 or newer.

    Args:
        target: a mount point.
        read_only: False makes it writable again.
        recursive: also every mount below it.

    Raises:
        OSError: the kernel refused.
    """
    setting = MOUNT_ATTR_RDONLY
    attributes = (ctypes.c_uint64 * 4)(*((setting, 0) if read_only else (0, setting)))
    flags = AT_RECURSIVE if recursive else 0
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    path = os.fsencode(target)
    if _libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, attributes, size) < 0:
        words = "MOUNT_ATTR_RDONLY" if read_only else "0"
        raise _error(ctypes.get_errno(), "mount_setattr", repr(target), words)


def umount(target: str, flags: int = 0) -> None:
    """Take the topmost mount off a folder. See umount2(2).

    Args:
        target: the folder.
        flags: 0 or MNT_DETACH (let go now, clean up when nobody uses it).

    Raises:
        OSError: the kernel refused.
    """
    if _libc.umount2(os.fsencode(target), flags) < 0:
        raise _error(ctypes.get_errno(), "umount", repr(target), _names(flags, "MNT_"))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make another mount the root of this mount namespace. See pivot_root(2).

    Args:
        new_root: a mount point, the new `/`.
        put_old: a folder at or below new_root where the old `/` goes.

    Raises:
        OSError: the kernel refused.
    """
    number = SYS_PIVOT_ROOT.get(os.uname().machine)
    if number is None:
        raise OSError(errno.ENOSYS, f"pivot_root: its number on {os.uname().machine} is not known")
    if _libc.syscall(number, os.fsencode(new_root), os.fsencode(put_old)) < 0:
        raise _error(ctypes.get_errno(), "pivot_root", repr(new_root), repr(put_old))


def sethostname(name: str) -> None:
    """Set the host name of this UTS namespace. See sethostname(2).

    Args:
        name: at most 64 bytes.

    Raises:
        OSError: the kernel refused.
    """
    text = os.fsencode(name)
    if _libc.sethostname(text, ctypes.c_size_t(len(text))) < 0:
        raise _error(ctypes.get_errno(), "sethostname", repr(name))


def set_parent_death_signal(number: int) -> None:
    """Let the kernel send this process a signal when its parent ends. See PR_SET_PDEATHSIG(2const).

    Args:
        number: a signal number; 0 switches it off.

    Raises:
        OSError: the kernel refused.
    """
    if _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0) < 0:
        raise _error(ctypes.get_errno(), "prctl", "PR_SET_PDEATHSIG", str(number))


def restore_signals() -> None:
    """Give signals that Python treats in its own way their default action back, before an exec.

    Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays ignored across exec (execve(2)):
    `yes | head` would go on with an error instead of ending. For SIGINT it has a handler, which
    would swallow one that comes just before the exec; where our starter ignored it, it stays so.
    SIGCHLD is no matter of Python's: a starter who ignores it would take our children's statuses.
    """
    for number in (SIGPIPE, SIGXFSZ, SIGCHLD):
        _libc.signal(number, SIG_DFL)
    if not ignored_signals() >> (SIGINT - 1) & 1:
        _libc.signal(SIGINT, SIG_DFL)


def ignored_signals() -> int:
    """Return which signals this process ignores; bit n-1 stands for signal n. See sigaction(2)."""
    action = (ctypes.c_void_p * 32)()  # struct sigaction begins with the handler
    found = 0
    for number in range(1, NSIG + 1):
        if _libc.sigaction(number, None, action) == 0 and action[0] == SIG_IGN:
            found |= 1 << (number - 1)
    return found


def set_signal_mask(mask: int) -> int:
    """Choose which signals have to wait, and return those that had to before. See sigprocmask(2).

    Args:
        mask: bit n-1 stands for signal n. SIGKILL and SIGSTOP never wait.
    """
    before = _signal_set(0)
    _libc.sigprocmask(SIG_SETMASK, _signal_set(mask), before)
    return int(before[0])


def write(fd: int, data: bytes) -> int:
    """Write as os.write does, and take back the SIGPIPE that comes where nobody reads.

    For who lets SIGPIPE wait and hears of the reader's end by the error. See write(2), pipe(7).

    Args:
        fd: where to.
        data: what.

    Returns:
        how many bytes were taken.

    Raises:
        OSError: the kernel refused.
    """
    pipe = _signal_set(1 << (SIGPIPE - 1))
    before = set_signal_mask(ALL_SIGNALS)
    try:
        return os.write(fd, data)
    except BrokenPipeError:
        _libc.sigtimedwait(pipe, None, (ctypes.c_long * 2)())  # without waiting
        raise
    finally:
        set_signal_mask(before)


def poll(*fds: int, seconds: float | None = None) -> set[int]:
    """Wait until something can be read, and return where; a descriptor's end counts. See poll(2).

    Args:
        *fds: descriptors, also above 1023, which select(2) does not take.
        seconds: return an empty set after as many; None waits as long as it takes.
    """
    import select  # which no container start needs

    events = select.poll()
    for fd in fds:
        events.register(fd, select.POLLIN)
    return {fd for fd, _ in events.poll(None if seconds is None else max(seconds, 0) * 1000)}


def signalfd(mask: int) -> int:
    """Return a descriptor from which signals can be read that wait. See signalfd(2).

    Args:
        mask: which ones, as for `set_signal_mask`, which must hold them back.

    Raises:
        OSError: no descriptor is left.
    """
    fd: int = _libc.signalfd(-1, _signal_set(mask), os.O_CLOEXEC)
    if fd < 0:
        raise _error(ctypes.get_errno(), "signalfd", hex(mask))
    return fd


def read_signal(fd: int) -> tuple[int, bool]:
    """Wait for the next signal. See signalfd(2).

    Args:
        fd: what `signalfd` returned.

    Returns:
        its number; and whether the kernel sent it by itself, as a terminal does for Ctrl-C, and
        no process did with kill(2).

    Raises:
        OSError: fd is something else.
    """
    info = os.read(fd, 128)  # struct signalfd_siginfo: ssi_signo, ssi_errno, ssi_code, …
    number, code = (int.from_bytes(info[at : at + 4], sys.byteorder) for at in (0, 8))
    return number, code == SI_KERNEL


def set_link_up(name: str) -> None:
    """Switch a network interface of this network namespace on. See netdevice(7).

    Args:
        name: such as "lo", which also gets its address 127.0.0.1 then.

    Raises:
        OSError: the kernel refused.
    """
    # struct ifreq: a name of 16 bytes, then for these two requests the flags.
    request = ctypes.create_string_buffer(os.fsencode(name)[:15], 40)
    fd = _libc.socket(AF_INET, SOCK_DGRAM | os.O_CLOEXEC, 0)
    if fd < 0:
        raise _error(ctypes.get_errno(), "socket", "AF_INET", "SOCK_DGRAM")
    try:
        for call, number in (("SIOCGIFFLAGS", SIOCGIFFLAGS), ("SIOCSIFFLAGS", SIOCSIFFLAGS)):
            if _libc.ioctl(fd, ctypes.c_ulong(number), request) < 0:
                raise _error(ctypes.get_errno(), "ioctl", call, repr(name))
            flags = ctypes.c_short.from_buffer(request, 16)
            flags.value |= IFF_UP
    finally:
        os.close(fd)


# What usually lies behind an answer, and what helps: (call, errno), or (any call, errno).
_NO_RIGHT = (
    "it needs CAP_SYS_ADMIN in the user namespace that owns the target. "
    "Cure: work in the lab kernel or `labkit run`, or as root; `labkit doctor` tells more"
)
_NOT_SHARED = "both must be mount points whose propagation is private. Cure: mount --make-rprivate"
_USUALLY = {
    ("", errno.EPERM): _NO_RIGHT,
    ("", errno.EACCES): _NO_RIGHT,
    ("", errno.EINVAL): "the flags do not go together, or an argument is not what the call expects",
    ("", errno.ENOENT): "a path does not exist. Cure: create it first (os.makedirs)",
    ("", errno.EBUSY): "something still uses it: a working directory, an open file, a mount below",
    ("", errno.ENOSYS): "an old kernel, or a seccomp filter that hides the call, as older Docker "
    "does. Cure: a newer kernel, or a container started with a wider seccomp profile",
    ("", errno.ENOSPC): "a limit in /proc/sys/user is reached. Cure: raise it there, or end some",
    ("", errno.ENOMEM): "the PID namespace's first process has ended. Cure: make a new namespace",
    ("clone", errno.EPERM): "no CAP_SYS_ADMIN here, or user namespaces are restricted. "
    "Cure: add CLONE_NEWUSER, or work as root; `labkit doctor` tells which",
    ("unshare", errno.EPERM): "no CAP_SYS_ADMIN here, or user namespaces are restricted. "
    "Cure: add CLONE_NEWUSER, or work as root; `labkit doctor` tells which",
    ("unshare", errno.EINVAL): "CLONE_NEWUSER needs a process with one thread. "
    "Cure: call it in a fork, labkit.fork.forked(function)",
    ("setns", errno.EINVAL): "the descriptor is no namespace of that kind, or this process has "
    "several threads. Cure: call it in a fork, labkit.fork.forked(function)",
    ("mount", errno.EPERM): "this mount namespace belongs to another user namespace, or proc "
    "would show more than the /proc that is here. Cure: a new mount (and PID) namespace first",
    ("mount", errno.EINVAL): "the target is no mount point, or the file system refuses the options",
    ("mount", errno.EBUSY): "the file system is mounted there already",
    ("mount", errno.ENODEV): "the kernel does not know this file system. Cure: see "
    "/proc/filesystems for those it does",
    ("umount", errno.EINVAL): "nothing is mounted there, or the mount came with the namespace and "
    "is locked. Cure: see /proc/self/mountinfo",
    ("pivot_root", errno.EINVAL): _NOT_SHARED,
    ("pivot_root", errno.EBUSY): "new_root is the current root. Cure: bind-mount it on itself",
    ("sethostname", errno.EINVAL): "a host name has at most 64 bytes",
    ("ioctl", errno.ENODEV): "there is no such network interface here. Cure: see `ip link`",
    ("ioctl", errno.EPERM): "it needs CAP_NET_ADMIN in the user namespace that owns this network "
    "namespace. Cure: a network namespace of its own",
}


def _signal_set(mask: int) -> "ctypes.Array[ctypes.c_uint64]":
    """Return a `sigset_t`, see sigsetops(3): 1,024 bits, of which the kernel uses 64."""
    return (ctypes.c_uint64 * 16)(mask)


def _error(number: int, call: str, *arguments: str) -> OSError:
    message = f"{call}({', '.join(arguments)}): {os.strerror(number)}"
    usually = _USUALLY.get((call, number)) or _USUALLY.get(("", number))
    return OSError(number, f"{message}. Usually: {usually}." if usually else message)


def _names(flags: int, prefix: str) -> str:
    """Return the flags as the kernel writes them: `CLONE_NEWNS|CLONE_NEWPID`, `0`."""
    known = {name: bit for name, bit in globals().items() if name.startswith(prefix)}
    names = [name for name, bit in known.items() if flags & bit]
    rest = flags & ~sum(known.values())
    return "|".join(names + [hex(rest)] * bool(rest)) or "0"
