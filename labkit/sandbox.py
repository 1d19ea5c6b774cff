"""The lab kernel's container: what a lab does inside does not reach the machine.

    launcher        outside; new mount, PID, UTS and IPC namespaces, for an ordinary user also a
      |             user namespace; hands signals on and goes when its own parent goes
    PID 1           inside; mounts proc, reaps orphans, hands signals on
      |
    PID 2           the Jupyter kernel, or the runtime of `labkit run`

PID 1 dies with the launcher, and a PID namespace dies with its PID 1: whatever a lab started is
gone then, however the end came. Run as a program (the kernelspec does), it starts ipykernel.

A *sealed* sandbox is for programs that nobody has read: it can write nothing but one folder, has
a network of its own in which only the loopback is up, and room for a few hundred processes. It
always has a user namespace, whose root cannot take the seal off.
"""

import contextlib
import fcntl
import os
import re
import resource
import signal
import stat
import sys
import termios
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from labkit import linux, procfs

if TYPE_CHECKING:
    import subprocess
    from typing import Any

CAP_SYS_ADMIN = 21  # linux/capability.h
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
HOSTNAME = "lab"
DEVPTS = linux.MS_NOSUID | linux.MS_NOEXEC
PID_MAX = 400  # of a sealed sandbox; the kernel wants more than 300
NPROC = 1000  # the same by an older means, which counts the whole user namespace, the lab's too
FILES = 1024  # that a lab may have open, at least: the Linux kernel's own default
# Settings around Jupyter that would change what a lab prints. Of Python's, the path is where
# somebody may have put the course. Under pytest (the last one) ipykernel would not capture what
# child processes write.
UNSETTLING = re.compile(
    r"(PYTHON(?!PATH$)|LANG|LC_|PS_|MYDOCKER_)|(QUOTING_STYLE|POSIXLY_CORRECT|PYTEST_CURRENT_TEST)$"
)
# -P: the folder in which it starts has no say in the kernel's own imports. In those of cells it
# has. Its own profile: a learner's IPython may show things in other ways.
KERNEL = ("-P", "-m", "ipykernel_launcher")
PROFILE = (
    "--profile=labkit",
    "--IPKernelApp.auto_create=True",
    "--IPKernelApp.exec_lines=__import__('sys').path.insert(0, '')",
)


def run(
    main: Callable[[], int],
    *,
    session: bool = False,
    watch: int | None = None,
    sealed: str = "",
) -> int:
    """Run a function as PID 2 of a new sandbox and wait for it.

    Args:
        main: called in the sandbox; what it returns is the exit status.
        session: give the sandbox a session of its own: a Ctrl-C in the launcher's terminal or a
            signal to its process group then reaches the launcher alone, which hands it on once.
        watch: PID whose end shall end the sandbox too.
        sealed: the one folder that can be written; without it, whatever this user can write, and
            the network is the machine's.

    Returns:
        the exit status of PID 2, or 128+n where signal n ended it.

    Raises:
        OSError: the kernel refused a namespace; the message says why.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take statuses from us
    watched = None if watch is None else os.pidfd_open(watch)
    _enter_namespaces(sealed)
    alive, launcher = os.pipe()
    # Signals wait until somebody is there to hand them on.
    signals = {*FORWARDED, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals) - {signal.SIGCHLD}
    child = os.fork()
    if child == 0:
        os.close(launcher)
        _child(lambda: _be_first_process(main, alive, session, before, bool(sealed)))
    os.close(alive)
    return _supervise(child, session, before, watched)


def main(words: Sequence[str]) -> int:
    """Start a program in a sandbox; without one, ipykernel.

    Args:
        words: `[--sealed FOLDER] [--terminal] [--ready FD] -- PROGRAM [ARGUMENT …]`, or in place
            of the last part the arguments that Jupyter gives a kernel. With `--terminal`,
            descriptor 0 becomes the program's controlling terminal. With `--ready`, a byte is
            written to that descriptor when the sandbox is made and the program begins.
    """
    words, sealed, terminal, ready = list(words), "", False, -1
    if words[:1] == ["--sealed"]:
        sealed = words[1]
        del words[:2]
    if words[:1] == ["--terminal"]:
        terminal = bool(words.pop(0))
    if words[:1] == ["--ready"]:
        ready = int(words[1])
        os.set_inheritable(ready, False)
        del words[:2]
    if words[:1] == ["--"]:
        parent, program = None, words[1:]
        linux.set_parent_death_signal(signal.SIGKILL)
    else:
        # Inside there is no such PID; ipykernel would end at once. This launcher watches it
        # instead, and inside PID 1 is the parent, which ipykernel takes for one that never goes.
        parent = int(os.environ.get("JPY_PARENT_PID", "0")) or None
        os.environ["JPY_PARENT_PID"] = "1"
        # The kernel's specification names it by a path that climbs out of its own folder.
        sys.executable = os.path.normpath(sys.executable)
        _settle()
        program = [sys.executable, *KERNEL, *words, *PROFILE]

    def start() -> int:
        # What our starter ignores (nohup: SIGHUP; a script's `&`: SIGINT and SIGQUIT) a lab does
        # not: exec would hand it on to every command in it.
        for number in (*FORWARDED, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        if terminal:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        if ready >= 0:
            os.write(ready, b"1")
        os.execvp(program[0], program)

    return run(start, session=True, watch=parent, sealed=sealed)


def first_process(launcher: int) -> int:
    """Return the PID of a sandbox's PID 1, 0 where there is none (yet).

    Args:
        launcher: PID of its launcher, which has no other child.
    """
    try:
        with open(f"/proc/{launcher}/task/{launcher}/children") as file:
            return int(file.read() or 0)
    except FileNotFoundError:  # it is gone, or this kernel does not keep such lists
        below = (process.pid for depth, process in procfs.tree(launcher) if depth == 1)
        return next(below, 0)


def end(launcher: "subprocess.Popen[Any]") -> None:
    """Kill a sandbox's launcher; return when everything in the sandbox is gone."""
    gone = None
    with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
        if first := first_process(launcher.pid):
            gone = os.pidfd_open(first)
    launcher.kill()
    launcher.wait()
    if gone is not None:
        linux.poll(gone)  # with PID 1 all others have ended
        os.close(gone)


def limit(kind: int, most: int, pid: int = 0) -> None:
    """Limit a process, for good, see prlimit(2); where a lower limit holds already, that stays.

    Args:
        kind: a RLIMIT_ constant of `resource`.
        most: of what that counts.
        pid: of the process; 0 is this one.

    Raises:
        OSError: no such process, or not this user's.
    """
    hard = resource.prlimit(pid, kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.prlimit(pid, kind, (most, most))


def _settle() -> None:
    """Give a lab the same surroundings everywhere, but leave it HOME, proxies and the like."""
    for name in filter(UNSETTLING.match, tuple(os.environ)):
        del os.environ[name]
    os.environ["LC_ALL"] = "C.UTF-8"
    os.environ["PYTHON_COLORS"] = "0"  # of tracebacks, from 3.13 on: ipykernel forces colours
    # As in an activated virtual environment: `python3` in a cell is the kernel's own.
    folder = os.path.dirname(sys.executable)
    os.environ["PATH"] = folder + os.pathsep + os.environ.get("PATH", os.defpath)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(FILES, hard), hard))


def _enter_namespaces(sealed: str) -> None:
    flags = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    rootless = not procfs.has_capability(CAP_SYS_ADMIN)
    if sealed:
        _seal(sealed, rootless)
        flags |= linux.CLONE_NEWNET
    _unshare(flags, rootless or bool(sealed))
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.sethostname(HOSTNAME)
    if sealed:
        if not os.isatty(0):  # a terminal of the machine's would have no name in here
            linux.mount("devpts", "/dev/pts", "devpts", DEVPTS, "newinstance,ptmxmode=666")
        linux.set_link_up("lo")
        os.chdir(sealed)  # not the folder below the new mount


def _seal(folder: str, rootless: bool) -> None:
    """Make all mounts but one read-only.

    The user namespace that follows cannot undo it, see mount_namespaces(7): mounts that come from
    a more privileged one are locked as they are.
    """
    _unshare(linux.CLONE_NEWNS, rootless)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    _cover_sockets()
    linux.mount(folder, folder, None, linux.MS_BIND)
    linux.set_read_only("/", recursive=True)
    linux.set_read_only(folder, False)
    # Where the only proc is locked as read-only, no other may be mounted.
    linux.set_read_only("/proc", False)


def _cover_sockets() -> None:
    """Lay something else over every socket that has a name: a mount's being read-only stops none.

    Behind one may be a terminal multiplexer, a session bus, another kernel, and all do as told.
    """
    with open("/proc/net/unix", errors="surrogateescape") as file:
        fields = [line.rstrip("\n").split(maxsplit=7) for line in file]
    for name in {words[7] for words in fields if len(words) > 7 and words[7].startswith("/")}:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # it is gone
            if os.access(name, os.W_OK) and stat.S_ISSOCK(os.stat(name).st_mode):
                linux.mount("/dev/null", name, None, linux.MS_BIND)


def _unshare(flags: int, own_user: bool) -> None:
    """Enter new namespaces, perhaps below a user namespace in which this user is root."""
    user, group = os.geteuid(), os.getegid()
    linux.unshare(flags | (linux.CLONE_NEWUSER if own_user else 0))
    if own_user:  # user_namespaces(7) wants this order
        _write("/proc/self/uid_map", f"0 {user} 1")
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", f"0 {group} 1")


def _be_first_process(
    main: Callable[[], int], alive: int, session: bool, mask: Iterable[int], sealed: bool
) -> int:
    """PID 1: lives as long as PID 2 and the launcher do."""
    linux.set_parent_death_signal(signal.SIGKILL)
    if linux.poll(alive, seconds=0):  # the launcher was gone before the line above
        return 128 + signal.SIGKILL
    os.close(alive)
    if session:
        os.setsid()
    flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
    try:
        linux.mount("proc", "/proc", "proc", flags)
    except OSError as error:
        print(f"labkit sandbox: {error.strerror}", file=sys.stderr)
        return 1
    if sealed:
        _limit_processes()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _child(main)
    return _supervise(child, session, mask)


def _limit_processes() -> None:
    """Keep a fork without end from taking the processor from everybody else."""
    limit(resource.RLIMIT_NPROC, NPROC)  # means nothing to the machine's root
    release = [int("".join(filter(str.isdigit, n))) for n in os.uname().release.split(".")[:2]]
    if release >= [6, 14]:  # before, it was one number for the whole machine
        with contextlib.suppress(OSError):
            _write("/proc/sys/kernel/pid_max", str(PID_MAX))


def _supervise(child: int, session: bool, mask: Iterable[int], watched: int | None = None) -> int:
    """Hand signals on to a child, reap whatever ends, and return the child's exit status."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken)  # a signal's number becomes a byte in this pipe
    for caught in (*FORWARDED, signal.SIGCHLD):
        signal.signal(caught, lambda *_: None)
    for key in (signal.SIGINT, signal.SIGQUIT):
        # In a session that others share, the terminal sends these to each process by itself.
        signal.signal(key, (lambda *_: None) if session else signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    while True:
        ready = linux.poll(wake) if watched is None else linux.poll(wake, watched)
        if watched in ready:
            os.kill(child, signal.SIGKILL)
            watched = None
        if wake not in ready:
            continue
        for number in os.read(wake, 4096):
            if number != signal.SIGCHLD:
                os.kill(child, number)
                continue
            while (ended := _reap()) is not None:
                if ended[0] == child:
                    status = os.waitstatus_to_exitcode(ended[1])
                    return status if status >= 0 else 128 - status


def _reap() -> tuple[int, int] | None:
    """Return PID and wait status of a child that has ended, None while all live."""
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, status) if pid else None


def _child(body: Callable[[], int]) -> NoReturn:
    """Run the rest of a forked process; never returns into the caller's code."""
    status = 1
    try:
        status = body()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except Exception:
        import traceback  # 7 ms that only a failure needs

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # full, gone, closed
                stream.flush()
        os._exit(status)


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        reason = "user namespaces are restricted here; `labkit doctor` tells by what"
        message = f"writing {text!r} to {path}: {error.strerror}. Usually: {reason}."
        raise OSError(error.errno, message) from None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        print(f"labkit sandbox: {error.strerror or error}", file=sys.stderr)
        sys.exit(1)
