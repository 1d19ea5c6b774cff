"""A sandbox for programs that nobody has read: answers to exercises, notebooks that are graded.

On top of what `labkit.sandbox` does, a program in it can write nothing but one folder, has a
network of its own in which only the loopback is up, and room for a few hundred processes. There is
always a user namespace, whose root cannot undo that.

Run as a program, it starts another one:
`python -m labkit.hardened [--terminal] [--ready FD] FOLDER PROGRAM [ARGUMENT …]`.
"""

import argparse
import contextlib
import os
import resource
import signal
import stat
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NoReturn

from labkit import linux, sandbox

if TYPE_CHECKING:
    import subprocess
    from typing import Any

PID_MAX = 400  # the kernel wants more than 300
NPROC = 1000  # the same by an older means, which counts the whole user namespace, the lab's too


def run(main: Callable[[], int], folder: str) -> int:
    """Run a function as PID 2 of a hardened sandbox, otherwise as `sandbox.run` does.

    Its working directory is the folder, which is all that can be written.
    """
    _make_read_only(folder)

    def set_up() -> None:
        if not os.isatty(0):  # a terminal of the machine's would have no name in here
            flags = linux.MS_NOSUID | linux.MS_NOEXEC
            linux.mount("devpts", "/dev/pts", "devpts", flags, "newinstance,ptmxmode=666")
        linux.set_link_up("lo")
        os.chdir(folder)  # not the folder below the new mount
        _limit_processes()

    flags = linux.CLONE_NEWNET | linux.CLONE_NEWUSER
    return sandbox.run(main, session=True, flags=flags, set_up=set_up)


def main(words: Sequence[str]) -> int:
    """Start a program in a hardened sandbox, which ends with this process's parent."""
    parser = argparse.ArgumentParser(prog="labkit.hardened", allow_abbrev=False)
    parser.add_argument("--terminal", action="store_true", help="stdin becomes its terminal")
    parser.add_argument("--ready", metavar="FD", type=int, help="gets a byte when it begins")
    parser.add_argument("folder", help="all that it can write")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    given = parser.parse_args(words)
    linux.set_parent_death_signal(signal.SIGKILL)
    if given.ready is not None:
        os.set_inheritable(given.ready, False)

    def start() -> NoReturn:
        if given.terminal:
            os.login_tty(0)
        if given.ready is not None:
            os.write(given.ready, b"1")
        sandbox.become(given.program, os.environ)

    return run(start, given.folder)


def first_process(launcher: int) -> int:
    """Return the PID of a sandbox's PID 1, its launcher's only child; 0 where there is none."""
    from labkit import procfs  # half of this module's own import: a launcher does without

    return next((process.pid for depth, process in procfs.tree(launcher) if depth == 1), 0)


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
    """Limit a process, or this one, for good; a lower limit stays. See prlimit(2).

    Args:
        kind: a RLIMIT_ constant of `resource`.
        most: of what that counts.
        pid: of the process.

    Raises:
        OSError: no such process, or not this user's.
    """
    hard = resource.prlimit(pid, kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.prlimit(pid, kind, (most, most))


def linux_version() -> tuple[int, ...]:
    """Return the first two numbers of this kernel's version."""
    return tuple(int("".join(filter(str.isdigit, n))) for n in os.uname().release.split(".")[:2])


def _make_read_only(folder: str) -> None:
    """Make all mounts but one read-only.

    The user namespace that follows cannot undo it, see mount_namespaces(7): mounts that come from
    a more privileged one are locked as they are.
    """
    rootless = not sandbox.has_capability(sandbox.CAP_SYS_ADMIN)
    sandbox.unshare(linux.CLONE_NEWNS | (linux.CLONE_NEWUSER if rootless else 0))
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


def _limit_processes() -> None:
    """Keep a fork without end from taking the processor from everybody else."""
    limit(resource.RLIMIT_NPROC, NPROC)  # means nothing to the machine's root
    if linux_version() >= (6, 14):  # before, it was one number for the whole machine
        with contextlib.suppress(OSError), open("/proc/sys/kernel/pid_max", "w") as file:
            file.write(str(PID_MAX))


if __name__ == "__main__":
    sandbox.be_program(main)
