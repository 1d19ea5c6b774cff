"""Notebook 07: a real terminal."""

import os
import re
import signal
import sys
import termios
from pathlib import Path
from typing import Any

from labkit.exercise import PYTHON, RUN, Answer, exercise
from labkit.exercise.observe import (
    CONTAINER,
    SLEEP,
    at_terminal,
    expect,
    fail_if_crashed,
    observed,
    rests,
    stat_of,
    waits_for,
)
from labkit.exercise.sandboxed_run import CRASH, SandboxedRun
from labkit.procfs import Process

KEY = "\x1d"
HANG_UP_TIMEOUT = 5.0  # seconds, of which the monitor itself waits one
NOBODY = "Who is left when you are gone, and how does he hear of it?"
IN_THE_BACKGROUND = (
    "A process was left, and the kernel refused it: in a group of its own it is in the background "
    "(notebook 06 met the same). Leave it in your group, or let it hold signals back: "
    "`signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())`."
)
WAITS = (
    "What does it wait for? It may hold the other end of its pipe itself: close that first. Or is "
    "it the child that is to be ended? It was the parent who got SIGKILL."
)
CRASHED = "Does the rest still work? What it printed says why not."
LOCAL_FLAGS, CHARACTERS = 3, 6  # where tcgetattr has them
SIZES = ((33, 121), (44, 99), (25, 132))  # lines and columns: at the start, then two changes


@exercise(
    "07.1",
    PYTHON,
    "After SIGKILL no line of yours runs, not `finally`, not `atexit`, no handler. Somebody else "
    "has to do it: another process.",
    "`os.fork()` before `ready`. The child waits in `os.read` on a pipe, until nobody is left who "
    "could write to it.",
    "The child first closes its own copy of the end that you hold, or it waits for itself.",
)
def be_the_watchdog(answer: Answer) -> str:
    """The terminal is raw while the program runs, and as before when SIGKILL has ended it."""
    ours, fresh_terminal = os.openpty()
    fresh = termios.tcgetattr(fresh_terminal)
    fresh[CHARACTERS][termios.VERASE] = b"\x08"  # not as every terminal is
    os.close(ours)
    os.close(fresh_terminal)
    for patient in (False, True):  # or who gives it back after a while would pass by luck
        _killed(answer, fresh, patient)
    return "raw while the program ran, and as before when SIGKILL had ended it"


@exercise(
    "07.2",
    PYTHON,
    "`copy_size` in `terminal.py` is what you need, once for the start and once for each change.",
    "When the window changes, the kernel sends SIGWINCH to the foreground group of its terminal. "
    "`signal.signal(signal.SIGWINCH, …)` sets up a handler; it is called with two arguments.",
    "TIOCGWINSZ gets the size of descriptor 0, TIOCSWINSZ sets that of `ours`.",
)
def the_size_follows(answer: Answer) -> str:
    """The terminal of the sleep has the size of the answer's at the start and after each change."""
    first, *later = SIZES
    stays = "a process `sleep 1000` that stays, at a terminal of its own"
    leave = "Leave the other lines as they are."
    script = f'stty rows {first[0]} cols {first[1]}; exec "{sys.executable}" {PYTHON}'
    run = answer.command("sh", "-c", script, terminal=True)
    with observed(run, stays, leave, blocked=True) as (_, sleep):
        own, its = (Path(f"/proc/{pid}/fd/0") for pid in (run.program.pid, sleep.pid))
        expect(not own.samefile(its), stays, "one at yours", leave)
        start = f"a terminal of {_words(first)}, as yours when your program starts"
        hint = "A new terminal has 0 lines and 0 columns until somebody sets its size."
        _has_size(run, sleep, first, start, hint)
        hint = "The size is set at the start, and has to be set again for each SIGWINCH."
        for size in later:
            _set_size(run.program, size)
            wanted = f"a terminal of {_words(size)}, when yours has become so"
            _has_size(run, sleep, size, wanted, hint)
            hint = "The first change was passed on, and there may be many."
        waits_for(run, sleep.pid)
    return f"the size of its terminal follows: {', then '.join(map(_words, SIZES))}"


@exercise(
    "07.3",
    "mydocker/relay.py",
    '`read` returns what was read. Where our terminal has been closed, that is nothing, `b""`.',
    "After the `try` you have `data`: look whether the key is in it, and forget it where it is.",
    "Our terminal is descriptor 0 where `os.isatty(0)`. The container's has another number.",
)
def a_key_to_hang_up(answer: Answer) -> str:
    """Ctrl-] at our terminal ends the container; in a pipe and in an output it is a byte."""
    for typed in (KEY, f"x{KEY}y"):
        _hangs_up(answer, typed)
    with answer.start("run", "-it", "sh", "-c", 'read a; echo "got $a"', terminal=True) as run:
        run.send("abc\r")
        run.wait()
        wanted = "a container that gets what else is typed"
        fail_if_crashed(run, wanted, CRASHED)
        hint = "Only what holds byte 29 is the end."
        expect("got abc" in run.output, wanted, "one that does not", hint)
    for script, hint in (
        (
            f"printf 'a\\035b\\n' | {RUN} -it cat | od -An -c",
            "the relay whose source is descriptor 0, and only where that is a terminal: "
            "`os.isatty(0)`",
        ),
        (f"{RUN} -t printf 'a\\035b\\n' | od -An -c", "which relay is this? `self.source`"),
    ):
        with answer.command("sh", "-c", script, terminal=True) as run:
            run.wait()
            wanted = f"three bytes and the end of a line, for `{script}`"
            fail_if_crashed(run, wanted, CRASHED)
            got = run.output.split()
            found = f"`{' '.join(got)}`" if got else "nothing"
            hint = f"Only a person's key counts: {hint}."
            expect(got[:3] == ["a", "035", "b"], wanted, found, hint)
    return "the key ends a container with status 129, and passes as a byte where nobody types"


def _hangs_up(answer: Answer, typed: str) -> None:
    """Type something with the key in it at a container that stays, and look what is left."""
    script = f'{RUN} -it sleep 1000; echo "status $?"; exec sleep 2000'
    run = answer.command("sh", "-c", script, terminal=True)
    with observed(run, CONTAINER, CRASHED):
        rests(run)
        run.send(typed)
        run.until(lambda: run.find("sleep", "2000"), HANG_UP_TIMEOUT)
        keys = "Ctrl-]" if typed == KEY else "x, Ctrl-] and y at once"
        wanted = f"the end of `mydocker`, with 129, after {keys}"
        hint = "A read may return several keys." if typed != KEY else ""
        status = re.search("^status ([0-9]+)$", run.output, re.MULTILINE)
        status = expect(status, wanted, "one that goes on", hint)
        hint = (
            "Whoever only leaves does not hang up. Let `Monitor` do it, as for a closed terminal."
        )
        why = CRASHED if CRASH in run.output else hint
        expect(status[1] == "129", wanted, f"status {status[1]}", why)
        expect(not run.find(*SLEEP), "a container that is gone", "one that lives on", hint)


def _killed(answer: Answer, fresh: list[Any], patient: bool) -> None:
    """Run the answer, for a while where it shall be `patient`, end it by SIGKILL, and look.

    The terminal was `fresh`: with these settings.
    """
    program = (sys.executable, PYTHON)
    peculiar = ("sh", "-c", 'stty erase ^H; exec "$@"', "sh")
    with answer.outlived(*peculiar, *program, terminal=True) as run:

        def raw() -> bool:
            return not _settings(run)[LOCAL_FLAGS] & (termios.ICANON | termios.ECHO)

        run.until(lambda: run.find("sleep", "2000") or ("ready" in run.output and raw()))
        stays = "a program that prints `ready` and stays"
        hint = "The last three lines need no change. What the program printed says why it ended."
        started = expect(run.find(*program), stays, "one that has ended", hint)
        hint = "Leave the last three lines as they are."
        expect("ready" in run.output, stays, "one that prints nothing", hint)
        rests(run)
        expect(
            raw() and not (patient and run.until(lambda: not raw())),
            "a raw terminal while the program runs",
            "one that is not",
            "It has to be raw when you say `ready`, and as long as you run: nobody knows how long.",
        )
        groups = {group for process in run.processes() for group in stat_of(process.pid)[2:3]}
        os.kill(started.pid, signal.SIGKILL)
        back = run.until(lambda: run.find("sleep", "2000") and _settings(run) == fresh)
        wanted, found = "a terminal as it was, after SIGKILL", "one with other settings than before"
        hint = "Not what every terminal has is wanted, but what this one had: `settings`."
        expect(back or raw(), wanted, found, hint)
        left = run.find(*program)
        found = f"a raw one, and {'a process of yours that waits' if left else 'nobody is left'}"
        hint = WAITS if left else IN_THE_BACKGROUND if len(groups) > 1 else NOBODY
        expect(back, wanted, found, hint)


def _has_size(
    run: SandboxedRun, sleep: Process, size: tuple[int, int], wanted: str, hint: str
) -> None:
    """Raise `Incorrect` where the terminal of a sleep does not get a size."""
    run.until(lambda: _size(sleep) == size)
    crash = "What it printed says why. (A handler is called with two arguments.)"
    fail_if_crashed(run, wanted, crash)
    own, its = _size(run.program), _size(sleep)
    which = "Which of the two is asked for its size, and which gets it?"
    expect(own == size, "your own terminal as it was", f"one of {_words(own)}", which)
    if its == size[::-1]:
        hint = "The kernel's structure has the lines first, `os.get_terminal_size` the columns."
    expect(its == size, wanted, f"one of {_words(its)}", hint)


def _size(process: Process) -> tuple[int, int]:
    """Return lines and columns of the terminal that is a process's input."""
    lines, columns = at_terminal(process, termios.tcgetwinsize)
    return lines, columns


def _set_size(process: Process, size: tuple[int, int]) -> None:
    at_terminal(process, lambda terminal: termios.tcsetwinsize(terminal, size))


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} by {size[1]}"


def _settings(run: SandboxedRun) -> list[Any]:
    return list(at_terminal(run.program, termios.tcgetattr))
