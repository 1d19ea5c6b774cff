"""The lab kernel's container: what a lab does inside does not reach the machine.

    launcher        outside; new mount, PID, UTS and IPC namespaces, for an ordinary user also a
      |             user namespace; hands signals on and goes when its own parent goes
    PID 1           inside; mounts proc, reaps orphans, hands signals on
      |
    PID 2           the Jupyter kernel, or the runtime of `labkit run`

PID 1 dies with the launcher, and a PID namespace dies with its PID 1: whatever a lab started is
gone then, however the end came. Run as a program (the kernelspec does), it starts ipykernel.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NoReturn

from labkit import linux, places

CAP_SYS_ADMIN = 21  # linux/capability.h
FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
KEYS = (signal.SIGINT, signal.SIGQUIT)  # Ctrl-C, Ctrl-\
HOSTNAME = "lab"
# Settings around Jupyter that would change what a lab prints. Of Python's, the path is where
# somebody may have put the course. Under pytest (the last one) ipykernel would not capture what
# child processes write.
UNSETTLING = (
    *("PYTHON", "LANG", "LC_", "PS_", "MYDOCKER_"),
    *("QUOTING_STYLE", "POSIXLY_CORRECT", "PYTEST_CURRENT_TEST"),
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
    flags: int = 0,
    set_up: Callable[[], None] = lambda: None,
) -> int:
    """Run a function as PID 2 of a new sandbox and wait for it.

    Args:
        main: called in the sandbox; what it returns is the exit status.
        session: give the sandbox a session of its own: a Ctrl-C in the launcher's terminal or a
            signal to its process group then reaches the launcher alone, which hands it on once.
        watch: PID whose end shall end the sandbox too.
        flags: further namespaces, as `CLONE_NEW*` constants.
        set_up: called by PID 1 when proc is mounted.

    Returns:
        the exit status of PID 2, or 128+n where signal n ended it.

    Raises:
        OSError: the kernel refused a namespace; the message says why.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take statuses from us
    watched = None if watch is None else os.pidfd_open(watch)
    if not has_capability(CAP_SYS_ADMIN):
        flags |= linux.CLONE_NEWUSER
    flags |= linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC
    unshare(flags)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.sethostname(HOSTNAME)
    # From here on they wait until they are read, to be handed on.
    signals = {*FORWARDED, *KEYS, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals) - {signal.SIGCHLD}
    launcher = os.pidfd_open(os.getpid())
    child = os.fork()
    if child == 0:
        finish(lambda: _be_first_process(main, launcher, session, before, set_up))
    return _supervise(child, session, watched)


def has_capability(bit: int) -> bool:
    """Say whether this process has a capability (of linux/capability.h), see capabilities(7)."""
    with open("/proc/self/status", errors="replace", newline="\n") as file:
        words = dict(line.split(":", 1) for line in file)
    return bool(int(words["CapEff"], 16) >> bit & 1)


def main(words: Sequence[str]) -> int:
    """Start ipykernel in a sandbox, with the arguments that Jupyter gives a kernel."""
    from labkit import cgroup  # which other sandboxes need not load

    parent = int(os.environ.get("JPY_PARENT_PID", "0")) or None
    with contextlib.ExitStack() as held:
        group = ""
        with contextlib.suppress(OSError):  # without limits, then: doctor says why
            group = str(held.enter_context(cgroup.lab_group()))
        return run(lambda: become_kernel(words, group), session=True, watch=parent)


def become_kernel(words: Sequence[str], group: str) -> NoReturn:
    """Execute ipykernel, with the same surroundings everywhere; HOME, proxies and the like stay.

    Args:
        words: Jupyter's arguments.
        group: the folder below which containers may have control groups, or "".
    """
    # The kernel's specification names it by a path that climbs out of its own folder.
    python = os.path.normpath(sys.executable)
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "PYTHONPATH" or not name.startswith(UNSETTLING)
    }
    settled = {
        "LC_ALL": "C.UTF-8",
        # As in an activated virtual environment: `python3` in a cell is the kernel's own.
        "PATH": os.path.dirname(python) + os.pathsep + os.environ.get("PATH", os.defpath),
        "MYDOCKER_DATA": f"{places.mine()}/images",
        **({"MYDOCKER_CGROUP": group} if group else {}),
        "PYTHON_COLORS": "0",  # of tracebacks, from 3.13 on: ipykernel forces colours
        # Inside there is no such PID as the one that is set, and ipykernel would end at once. The
        # launcher watches that; PID 1 is the parent here, which ipykernel takes for one that stays.
        "JPY_PARENT_PID": "1",
    }
    become([python, *KERNEL, *words, *PROFILE], kept | settled)


def become(program: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Execute a program in place of this one.

    What our starter ignores (nohup: SIGHUP; a script's `&`: SIGINT and SIGQUIT) it does not: exec
    would hand it on to every command in it.
    """
    for number in (*FORWARDED, *KEYS):
        signal.signal(number, signal.SIG_DFL)
    os.execvpe(program[0], list(program), environment)


def unshare(flags: int) -> None:
    """Enter new namespaces; with CLONE_NEWUSER, this user is root in it.

    Raises:
        OSError: the kernel refused; the message says why.
    """
    user, group = os.geteuid(), os.getegid()
    linux.unshare(flags)
    if not flags & linux.CLONE_NEWUSER:
        return
    linux.map_one_id("uid", user)
    linux.map_one_id("gid", group)


def _be_first_process(
    main: Callable[[], int],
    launcher: int,
    session: bool,
    mask: Iterable[int],
    set_up: Callable[[], None],
) -> int:
    """PID 1: lives as long as PID 2 and the launcher do."""
    linux.set_parent_death_signal(signal.SIGKILL)
    if linux.poll(launcher, seconds=0):  # it was gone before the line above
        return 128 + signal.SIGKILL
    os.close(launcher)
    if session:
        os.setsid()
    try:
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC)
        set_up()
    except OSError as error:
        sys.exit(f"labkit sandbox: {error.strerror}")
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        finish(main)
    return _supervise(child, session)


def _supervise(child: int, session: bool, watched: int | None = None) -> int:
    """Hand signals on to a child, reap whatever ends, and return the child's exit status."""
    signals = linux.signalfd(signal.valid_signals())
    waiting = {signals} if watched is None else {signals, watched}
    while True:
        ready = linux.poll(*waiting)
        if watched in ready:
            os.kill(child, signal.SIGKILL)
            waiting = {signals}
        if signals not in ready:
            continue
        number, _ = linux.read_signal(signals)
        if number == signal.SIGCHLD:
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == child:
                    return linux.exit_status(ended[1])
        # In a session that others share, the terminal sends keys to each process by itself.
        elif session or number not in KEYS:
            os.kill(child, number)


def finish(body: Callable[[], object]) -> NoReturn:
    """Run the rest of a forked process, whose exit status the body returns, or 0 by anything else.

    It never returns into the caller's code.
    """
    status = 1
    try:
        result = body()
        status = result if isinstance(result, int) else 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except Exception:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # full, gone, closed
                stream.flush()
        os._exit(status & 0xFF)  # which is all that wait(2) tells


def be_program(main: Callable[[Sequence[str]], int]) -> NoReturn:
    """Call a main function with the words of the command line, as what Python was started for."""
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError as error:
        sys.exit(f"labkit sandbox: {error.strerror or error}")


if __name__ == "__main__":
    be_program(main)
