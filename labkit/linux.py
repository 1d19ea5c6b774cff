"""The system calls that Python lacks, under the names that the kernel gives them.

Here stand the calls, their flags (plain integers, joined with `|`) and errors that explain
themselves: where the kernel refuses, each raises OSError, which names the call, its arguments and
what usually lies behind the answer. Policy and printing do not belong here.

Each container start imports a copy of it, so it imports little: in place of `signal` (4 ms on
Python 3.11) and `ctypes` (1.5 ms) their inner halves, `_signal` and `_ctypes`, CPython's own.
"""

import _ctypes
import _signal  # type: ignore[import-not-found]
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# linux/sched.h
CLONE_PARENT = 0x00008000
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_INTO_CGROUP = 0x200000000

# linux/mount.h
MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_SYNCHRONOUS = 1 << 4
MS_REMOUNT = 1 << 5
MS_DIRSYNC = 1 << 7
MS_NOSYMFOLLOW = 1 << 8
MS_NOATIME = 1 << 10
MS_NODIRATIME = 1 << 11
MS_BIND = 1 << 12
MS_REC = 1 << 14
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MOUNT_ATTR_RDONLY = 1

MNT_DETACH = 2  # linux/fs.h
AT_FDCWD, AT_RECURSIVE = -100, 0x8000  # linux/fcntl.h
RESOLVE_IN_ROOT = 0x10  # linux/openat2.h
# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h

IN_MODIFY, IN_MOVED_TO = 0x2, 0x80  # linux/inotify.h

SI_KERNEL = 0x80  # asm-generic/siginfo.h

SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914  # linux/sockios.h
AF_INET, SOCK_DGRAM = 2, 2  # linux/socket.h; `import socket` would cost 6 ms
IFF_UP = 1  # linux/if.h

# the same numbers on every architecture
SYS_CLONE3, SYS_OPENAT2, SYS_MOUNT_SETATTR = 435, 437, 442
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41}  # asm/unistd.h


class _Functions:
    """Those of the C library and of Python, as `ctypes.PyDLL(None, use_errno=True)` has them."""

    _handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> "Any":
        function = _Function((name, self))
        setattr(self, name, function)
        return function


def _c_type(base: "Any", **attributes: object) -> "Any":
    return type(base)("_CType", (base,), {f"_{name}_": value for name, value in attributes.items()})


# Of C's types, those that are wanted here, under the letters of the module `struct`.
_char, _string, _short, _int, _uint32, _long, _word, _uint64 = (
    _c_type(_ctypes._SimpleCData, type=letter) for letter in "czhiIlLQ"
)
# PYTHONAPI: the interpreter's lock is kept, since clone() must not let another thread in.
_FLAGS = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO
_Function = _c_type(_ctypes.CFuncPtr, flags=_FLAGS, restype=_int)
_libc = _Functions()
_libc.syscall.restype = _long
_libc.mount.argtypes = [_string] * 3 + [_word, _string]
_libc.prctl.argtypes = [_int] + [_word] * 4


def clone(flags: int = 0, *, cgroup: int | None = None) -> int:
    """Fork this process, as os.fork does; the child starts in new namespaces. See clone(2).

    Args:
        flags: `CLONE_*` constants.
        cgroup: an open folder of cgroup v2; the child is born there, in place of ours.

    Raises:
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
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, five that stay 0, cgroup
    number = 0 if flags & CLONE_PARENT else _signal.SIGCHLD
    flags |= 0 if cgroup is None else CLONE_INTO_CGROUP
    arguments = (_uint64 * 11)(flags, 0, 0, 0, number, 0, 0, 0, 0, 0, cgroup or 0)
    _libc.PyOS_BeforeFork()
    pid = _libc.syscall(SYS_CLONE3, arguments, _word(_ctypes.sizeof(arguments)))
    if pid == 0:
        _libc.PyOS_AfterFork_Child()
        return 0
    _libc.PyOS_AfterFork_Parent()
    return _checked(pid, "clone", flags=(flags, "CLONE_"))


def unshare(flags: int) -> None:
    """Move this process into the new namespaces that flags (`CLONE_NEW*`) name. See unshare(2).

    A new PID namespace is not for itself, but for the children that it makes from then on.
    """
    _checked(_libc.unshare(flags), "unshare", flags=(flags, "CLONE_"))


def setns(fd: int, flags: int = 0) -> None:
    """Move this process into the namespace of an open `/proc/PID/ns/KIND`. See setns(2).

    Args:
        fd: that, or a PID file descriptor.
        flags: the kind that it must be, as a `CLONE_NEW*` constant; 0 allows any.
    """
    _checked(_libc.setns(fd, flags), "setns", fd, flags=(flags, "CLONE_"))


def mount(
    source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str = ""
) -> None:
    """Mount a file system, or change how a mount behaves. See mount(2).

    Args:
        source: a device, a folder, or any word for a file system without one ("proc").
        target: the folder to mount on.
        fstype: None with MS_BIND or a change of propagation.
        flags: `MS_*` constants.
        data: options of the file system, such as "size=1m".
    """
    text = [None if word is None else os.fsencode(word) for word in (source, target, fstype)]
    result = _libc.mount(*text, flags, os.fsencode(data) if data else None)
    _checked(result, "mount", repr(source), repr(target), repr(fstype), flags=(flags, "MS_"))


def set_read_only(target: str, read_only: bool = True, *, recursive: bool = False) -> None:
    """Make a mount, or all below it too, read-only or writable. See mount_setattr(2)."""
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd
    attributes = (_uint64 * 4)()
    attributes[0 if read_only else 1] = MOUNT_ATTR_RDONLY
    size = _word(_ctypes.sizeof(attributes))
    path, flags = os.fsencode(target), AT_RECURSIVE * recursive
    result = _libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, attributes, size)
    _checked(result, "mount_setattr", repr(target), "MOUNT_ATTR_RDONLY" if read_only else 0)


def open_in_root(root: int, path: str) -> int:
    """Open a path as a process would whose root is a folder: no link and no ".." leads out of it.

    Args:
        root: an open folder.
        path: the path in it.

    Returns:
        a descriptor for the place alone, by which nothing is read or written. See openat2(2).
    """
    # struct open_how: flags, mode, resolve
    how = (_uint64 * 3)(os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
    size = _word(_ctypes.sizeof(how))
    result = _libc.syscall(SYS_OPENAT2, root, os.fsencode(path), how, size)
    return _checked(result, "openat2", root, repr(path), "O_PATH", "RESOLVE_IN_ROOT")


def umount(target: str, flags: int = 0) -> None:
    """Take the topmost mount off a folder; with MNT_DETACH also one in use. See umount2(2)."""
    result = _libc.umount2(os.fsencode(target), flags)
    _checked(result, "umount", repr(target), flags=(flags, "MNT_"))


def pivot_root(new_root: str, put_old: str) -> None:
    """Make another mount `/`, and put the old one on a folder at or below it. See pivot_root(2)."""
    number = SYS_PIVOT_ROOT.get(os.uname().machine, -1)  # -1 is no call: ENOSYS
    result = _libc.syscall(number, os.fsencode(new_root), os.fsencode(put_old))
    _checked(result, "pivot_root", repr(new_root), repr(put_old))


def sethostname(name: str) -> None:
    """Set the host name, of at most 64 bytes, of this UTS namespace. See sethostname(2)."""
    text = os.fsencode(name)
    _checked(_libc.sethostname(text, _word(len(text))), "sethostname", repr(name))


def set_parent_death_signal(number: int) -> None:
    """Get this signal when the parent ends, or none: 0. See PR_SET_PDEATHSIG(2const)."""
    result = _libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    _checked(result, "prctl", "PR_SET_PDEATHSIG", number)


def set_dumpable(allowed: bool) -> None:
    """Let no other process trace us or read our memory, or let it; exec does. See prctl(2)."""
    result = _libc.prctl(PR_SET_DUMPABLE, int(allowed), 0, 0, 0)
    _checked(result, "prctl", "PR_SET_DUMPABLE", int(allowed))


def limit_bounding_set(keep: int) -> None:
    """Leave only these, a bit each, of the capabilities that an exec gives. See capabilities(7)."""
    number = 0
    while _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0:  # EINVAL after the last
        if not keep >> number & 1:
            result = _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
            _checked(result, "prctl", "PR_CAPBSET_DROP", number)
        number += 1


def limit_capabilities(keep: int) -> None:
    """Give up all capabilities but these, a bit each; none stays inheritable. See capset(2)."""
    header, sets = (_uint32 * 2)(LINUX_CAPABILITY_VERSION_3), (_uint32 * 6)()
    _checked(_libc.capget(header, sets), "capget")
    # Twice effective, permitted, inheritable: the low 32 bits, the high ones.
    kept = (sets[1] | sets[4] << 32) & keep
    set_capabilities(kept, kept, 0)


def keep_capabilities() -> None:
    """Keep the permitted ones also as another user; an exec ends that. See capabilities(7)."""
    _checked(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl", "PR_SET_KEEPCAPS", 1)


def set_capabilities(effective: int, permitted: int, inheritable: int, ambient: int = 0) -> None:
    """Have these capabilities in each set, a bit each, and no others. See capset(2)."""
    header, sets = (_uint32 * 2)(LINUX_CAPABILITY_VERSION_3), (effective, permitted, inheritable)
    halves = [bits >> shift & 0xFFFFFFFF for shift in (0, 32) for bits in sets]
    result = _libc.capset(header, (_uint32 * 6)(*halves))
    _checked(result, "capset", *map(hex, sets))
    for number in range(ambient.bit_length()):
        if ambient >> number & 1:
            result = _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)
            _checked(result, "prctl", "PR_CAP_AMBIENT", "PR_CAP_AMBIENT_RAISE", number)


def set_no_new_privileges() -> None:
    """Gain no rights by exec from now on, for good. See PR_SET_NO_NEW_PRIVS(2const)."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl", "PR_SET_NO_NEW_PRIVS")


def set_seccomp_filter(steps: "Iterable[tuple[int, int, int, int]]") -> None:
    """Let the kernel ask a filter before each system call from now on. See seccomp(2).

    Args:
        steps: a program of classic BPF: what to do, how many steps to skip if so, if not, a value.
    """
    # struct sock_filter: 16, 8, 8 and 32 bits; struct sock_fprog: how many, and where they are.
    words = [code | yes << 16 | no << 24 | value << 32 for code, yes, no, value in steps]
    filters = (_uint64 * len(words))(*words)
    program = (_uint64 * 2)(len(words), _ctypes.addressof(filters))
    address = _ctypes.addressof(program)
    result = _libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, address, 0, 0)
    _checked(result, "prctl", "PR_SET_SECCOMP", "SECCOMP_MODE_FILTER", f"{len(words)} steps")


def restore_signals() -> None:
    """Give signals that Python treats in its own way their default action back, before an exec.

    Python ignores SIGPIPE and SIGXFSZ, and what is ignored stays ignored across exec (execve(2)):
    `yes | head` would go on with an error instead of ending. For SIGINT it has a handler, which
    would swallow one that comes just before the exec; where our starter ignored it, it stays so.
    SIGCHLD is no matter of Python's: a starter that ignores it would take our children's statuses.
    """
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ, _signal.SIGCHLD):
        _signal.signal(number, _signal.SIG_DFL)
    if _signal.getsignal(_signal.SIGINT) != _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def map_one_id(kind: str, outside: int, pid: int | str = "self") -> None:
    """Let 0 in a user namespace stand for one ID outside. See user_namespaces(7).

    Args:
        kind: "uid" or "gid"; for groups, setgroups(2) is switched off first, as the kernel wants.
        outside: the ID.
        pid: a process in the namespace.
    """
    lines = {"setgroups": "deny"} if kind == "gid" else {}
    lines[f"{kind}_map"] = f"0 {outside} 1"
    for name, text in lines.items():
        path = f"/proc/{pid}/{name}"
        try:
            with open(path, "w") as file:
                file.write(text)
        except OSError as error:
            cause = "user namespaces are restricted here; `labkit doctor` tells by what"
            message = f"writing {text!r} to {path}: {error.strerror}. Usually: {cause}."
            raise OSError(error.errno, message) from None


def write(fd: int, data: bytes) -> int:
    """Write as os.write does, and take back the SIGPIPE that comes where nobody reads. See pipe(7).

    For a process that lets SIGPIPE wait and hears of the reader's end by BrokenPipeError.
    """
    before = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    try:
        return os.write(fd, data)
    except BrokenPipeError:
        _signal.sigtimedwait([_signal.SIGPIPE], 0)
        raise
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, before)


def signalfd(numbers: "Iterable[int]") -> int:
    """Return a descriptor for signals that sigprocmask(2) holds back. See signalfd(2)."""
    mask = sum(1 << (number - 1) for number in numbers)
    signals = (_uint64 * 16)(mask)  # sigset_t: 1,024 bits, of which the kernel uses 64
    return _checked(_libc.signalfd(-1, signals, os.O_CLOEXEC), "signalfd", hex(mask))


def read_signal(fd: int) -> tuple[int, bool]:
    """Wait for the next signal of a descriptor that `signalfd` returned.

    Returns:
        its number; and whether the kernel sent it by itself, as a terminal does for Ctrl-C, and
        no process did with kill(2).
    """
    info = os.read(fd, 128)  # struct signalfd_siginfo: ssi_signo, ssi_errno, ssi_code, …
    number, code = (int.from_bytes(info[at : at + 4], sys.byteorder) for at in (0, 8))
    return number, code == SI_KERNEL


def watch(path: str, events: int) -> int:
    """Return a descriptor that can be read when something happens in a folder. See inotify(7).

    Args:
        path: the folder.
        events: `IN_*` constants.
    """
    fd = _checked(_libc.inotify_init1(os.O_CLOEXEC), "inotify_init1", "O_CLOEXEC")
    result = _libc.inotify_add_watch(fd, os.fsencode(path), _uint32(events))
    _checked(result, "inotify_add_watch", repr(path), hex(events))
    return fd


def poll(*fds: int, writing: "Iterable[int]" = (), seconds: float | None = None) -> set[int]:
    """Wait until something can be read or written, and return where. See poll(2).

    A descriptor's end counts, and an error: whoever reads or writes then hears which it is.

    Args:
        *fds: descriptors to read, also above 1023, which select(2) does not take.
        writing: descriptors to write.
        seconds: return an empty set after as many; None waits as long as it takes.
    """
    import select  # which a container's first process does not need

    events = select.poll()
    for fd in {*fds, *writing}:
        events.register(fd, select.POLLIN * (fd in fds) | select.POLLOUT * (fd in writing))
    return {fd for fd, _ in events.poll(None if seconds is None else max(seconds, 0) * 1000)}


def exit_status(status: int) -> int:
    """Return what a shell makes of a status of wait(2): 128+n where signal n has ended it."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def set_link_up(name: str) -> None:
    """Switch a network interface on; "lo" also gets its address 127.0.0.1. See netdevice(7)."""
    # struct ifreq: a name of 16 bytes, then for these two requests the flags.
    interface = (_char * 40)(*os.fsencode(name)[:15])
    flags = _short.from_buffer(interface, 16)
    fd = _checked(_libc.socket(AF_INET, SOCK_DGRAM | os.O_CLOEXEC, 0), "socket", "AF_INET")
    try:
        result = _libc.ioctl(fd, _word(SIOCGIFFLAGS), interface)
        _checked(result, "ioctl", "SIOCGIFFLAGS", repr(name))
        flags.value |= IFF_UP
        result = _libc.ioctl(fd, _word(SIOCSIFFLAGS), interface)
        _checked(result, "ioctl", "SIOCSIFFLAGS", repr(name))
    finally:
        os.close(fd)


# What usually lies behind an answer, and what helps: of one call, or of any.
_NO_NAMESPACE = (
    "no CAP_SYS_ADMIN here, or user namespaces are restricted. "
    "Cure: add CLONE_NEWUSER, or work as root; `labkit doctor` tells which"
)
_ONE_THREAD = "several threads. Cure: call it in a fork, labkit.fork.forked(function)"
_USUALLY = {
    "EPERM": "no CAP_SYS_ADMIN in the user namespace that owns the target. Cure: work in the lab "
    "kernel or `labkit run`, or as root; `labkit doctor` tells more",
    "EINVAL": "the flags do not go together, or an argument is not what the call expects",
    "ENOENT": "a path does not exist. Cure: create it first (os.makedirs)",
    "EBUSY": "something still uses it: a working directory, an open file, a mount below",
    "ENOSYS": "an old kernel, or a container's seccomp filter. Cure: a newer one, or a wider one",
    "ENOSPC": "a limit in /proc/sys/user is reached. Cure: raise it there, or end some",
    "ENOMEM": "the PID namespace's first process has ended. Cure: make a new namespace",
    "clone EPERM": _NO_NAMESPACE,
    "clone EBADF": "the descriptor is of no folder in cgroup v2. Cure: open that, or leave it out",
    "clone EACCES": "a cgroup in a part of the tree that is not ours. Cure: "
    "systemd-run --user --scope COMMAND starts it in ours",
    "unshare EPERM": _NO_NAMESPACE,
    "unshare EINVAL": f"a second CLONE_NEWPID, or CLONE_NEWUSER in a process with {_ONE_THREAD}",
    "setns EINVAL": f"a descriptor of another kind, or a process with {_ONE_THREAD}",
    "mount EPERM": "this mount namespace belongs to another user namespace, or proc would show "
    "more than the /proc that is here. Cure: a new mount (and PID) namespace first",
    "mount EINVAL": "the target is no mount point, or the file system refuses the options",
    "mount EBUSY": "the file system is mounted there already",
    "mount ENODEV": "an unknown file system. Cure: see /proc/filesystems for those it may be",
    "umount EINVAL": "nothing is mounted there, or the mount came with the namespace and is "
    "locked. Cure: see /proc/self/mountinfo",
    "pivot_root EINVAL": "both must be mount points, and private. Cure: mount --make-rprivate",
    "pivot_root EBUSY": "new_root is the current root. Cure: bind-mount it on itself",
    "sethostname EINVAL": "a host name has at most 64 bytes",
    "prctl EACCES": "a filter needs no_new_privs first, or CAP_SYS_ADMIN",
    "ioctl ENODEV": "there is no such network interface here. Cure: see `ip link`",
    "ioctl EPERM": "no CAP_NET_ADMIN here. Cure: a network namespace of its own",
}


def _checked(
    result: int, call: str, *arguments: object, flags: "tuple[int, str] | None" = None
) -> int:
    """Return what a call returned, or raise the kernel's answer with its usual cause.

    The flags come last among the arguments, with the beginning of their names. To look those up
    takes longer than most calls.
    """
    if result >= 0:
        return result
    number = _ctypes.get_errno()
    arguments = (*arguments, _names(*flags)) if flags else arguments
    message = f"{call}({', '.join(map(str, arguments))}): {os.strerror(number)}"
    name = errno.errorcode.get(number, "")
    usually = _USUALLY.get(f"{call} {name}") or _USUALLY.get(name)
    raise OSError(number, f"{message}. Usually: {usually}." if usually else message)


def _names(flags: int, prefix: str) -> str:
    """Return the flags as the kernel writes them: `CLONE_NEWNS|CLONE_NEWPID`, `0`."""
    known = {name: bit for name, bit in globals().items() if name.startswith(prefix)}
    names = [name for name, bit in known.items() if flags & bit]
    rest = flags & ~sum(known.values())
    return "|".join(names + [hex(rest)] * bool(rest)) or "0"
