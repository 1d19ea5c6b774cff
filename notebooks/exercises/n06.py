"""Notebook 06: a terminal of its own."""

import os
import termios
from pathlib import Path
from typing import Any

from labkit.exercise import PYTHON, RUN, Answer, exercise
from labkit.exercise.observe import STAYS, at_terminal, expect, observed, stat_of, waits_for
from labkit.procfs import Process

OUTPUT_FLAGS = 1  # where tcgetattr has them


@exercise(
    "06.1",
    PYTHON,
    "Four steps, in this order: make a terminal, be a session's leader, take the terminal, become "
    "`sleep`. All but the first happen in the child.",
    "`os.setsid()` makes the leader. A terminal that it opens then is its controlling terminal: "
    "`os.open(os.ttyname(theirs), os.O_RDWR)`. `os.dup2` puts it at 0, 1 and 2.",
    "`os.login_tty(theirs)` does the three steps of the child at once.",
)
def a_terminal_for_sleep(answer: Answer) -> str:
    """The sleep leads a session whose controlling terminal is its three streams."""
    stay = (
        "Wait for it with `os.waitpid(pid, 0)`, and keep your end of the terminal open as long: "
        "when that is closed, the kernel sends SIGHUP to the session."
    )
    with observed(answer.start(), STAYS, stay, crash="", blocked=True) as (run, sleep):
        session, terminal = _session(sleep)
        expect(
            session == sleep.pid,
            "a `sleep` that is the leader of its session",
            "a `sleep` in the session of somebody else",
            "The child calls `os.setsid()` before it becomes `sleep`.",
        )
        expect(
            terminal,
            "a session with a controlling terminal",
            f"a session without one, `sleep` has {_kind(sleep)} as its input",
            "What was open before counts for nothing. The leader opens the terminal after "
            "`os.setsid()`, or asks for it with the request `termios.TIOCSCTTY`.",
        )
        others = [fd for fd in (0, 1, 2) if _device(sleep, fd) != terminal]
        expect(
            not others,
            "that terminal at descriptors 0, 1 and 2 of `sleep`",
            f"something else at {' and '.join(map(str, others))}",
            "`os.dup2(terminal, 0)`, and the same for 1 and 2.",
        )
        waits_for(run, sleep.pid)
        return "`sleep` leads its session, and its three streams are the controlling terminal"


@exercise(
    "06.2",
    "mydocker/terminal.py",
    "`open_terminal` has a flag of the terminal switched off already: ECHO, one of the *local* "
    "flags, `settings[3]`. ONLCR is one of the *output* flags, `settings[1]`.",
    "Ask `os.isatty(1)`. Your lines come after the loop that copies our settings.",
)
def no_carriage_return_in_a_pipe(answer: Answer) -> str:
    """ONLCR is off where the output is no terminal, and on where it is one."""
    expect(
        not _adds_return(_inside(answer, f"{RUN} -t sleep 1000", terminal=False)),
        "a terminal that leaves `\\n` alone, for `run -t … | cat`",
        "one that makes `\\r\\n` of it",
        "Change its output flags, and set them again with `termios.tcsetattr`.",
    )
    piped = _inside(answer, f"{RUN} -it sleep 1000 | cat")
    expect(
        not _adds_return(piped),
        "a terminal that leaves `\\n` alone, for `run -it … | cat` typed at a terminal",
        "one that makes `\\r\\n` of it",
        "The input is a terminal here, the output is not. It is the output that counts. Change the "
        "container's settings after ours have been copied to it.",
    )
    typed = _inside(answer, f"{RUN} -it sleep 1000")
    expect(
        _adds_return(typed),
        "a terminal that makes `\\r\\n` of `\\n`, for `run -it …` at a terminal",
        "one that leaves `\\n` alone, so that lines on the screen become stairs",
        "Only where our output is no terminal: `os.isatty(1)`.",
    )
    typed[OUTPUT_FLAGS] &= ~termios.ONLCR
    expect(
        piped == typed,
        "a terminal that otherwise is as it was",
        "one in which more is off",
        "`tty.setraw`, for one, switches off more than the end of a line, and so does OPOST. "
        "One flag is enough: ONLCR.",
    )
    expect(
        _adds_return(_inside(answer, f"{RUN} -t sleep 1000 </dev/null 2>/dev/null")),
        "a terminal that makes `\\r\\n` of `\\n`, for `run -t … </dev/null 2>/dev/null` at one",
        "one that leaves `\\n` alone",
        "The output is a terminal. What input and errors are does not matter: `os.isatty(1)`.",
    )
    expect(
        not _adds_return(_inside(answer, f"stty -onlcr; {RUN} -it sleep 1000 | cat")),
        "a terminal that leaves `\\n` alone, where ours does so already",
        "one that makes `\\r\\n` of it",
        "Who toggles the flag switches it on where it was off: `&= ~termios.ONLCR`.",
    )
    return "into a pipe `\\n` stays `\\n`, at a terminal it becomes `\\r\\n`"


def _session(process: Process) -> tuple[int, int]:
    """Return the PID of a process's session's leader, and its controlling terminal's device."""
    _state, _parent, _group, session, terminal, *_ = stat_of(process.pid)
    return int(session), int(terminal)


def _device(process: Process, stream: int) -> int:
    """Return which device a stream is, in the form of tty_nr in proc_pid_stat(5)."""
    device = Path(f"/proc/{process.pid}/fd/{stream}").stat().st_rdev
    major, minor = os.major(device), os.minor(device)
    return major << 8 | minor & 0xFF | (minor & ~0xFF) << 12


def _kind(process: Process) -> str:
    """Say in a few words what the input of a process is."""
    path = str(Path(f"/proc/{process.pid}/fd/0").readlink())
    return "a terminal" if path.startswith("/dev/pts/") else f"`{path.split(':')[0]}`"


def _inside(answer: Answer, script: str, *, terminal: bool = True) -> list[Any]:
    """Return the settings of the terminal of the container that a script starts."""
    run = answer.command("sh", "-c", script, terminal=terminal)
    with observed(run, "a container whose command runs") as (_, command):
        return at_terminal(command, termios.tcgetattr)


def _adds_return(settings: list[Any]) -> bool:
    flags = settings[OUTPUT_FLAGS]
    return bool(flags & termios.OPOST and flags & termios.ONLCR)
