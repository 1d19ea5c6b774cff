"""Notebook 08: PID 1's job."""

import os
import random
import signal
import sys

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import (
    CONTAINER,
    CPU_ALLOWANCE,
    SLEEP,
    expect,
    expect_guesses,
    fail_if_crashed,
    observed,
    rests,
    used,
    written,
)
from labkit.exercise.sandboxed_run import SandboxedRun

ORPHANS = f"""#!{sys.executable}
import os
ended, alive = os.pipe()
for number in range(20):
    if os.fork() == 0:
        os.fork()  # the parent ends at once, so this one is an orphan
        os._exit(number)
    os.wait()
os.close(alive)
os.read(ended, 1)  # until all have ended
os.execvp("sleep", ["sleep", "1000"])
"""
# Ends with a status, after an orphan that has failed, and before one that goes on.
LEAVES = "(sh -c 'exit 7' &); sleep 0.2; sleep 1000 & exit $0"
DIES = "kill -{} $$; exit 3"
# Seconds: an init that looks for ended children every second is soon enough.
REAP_TIMEOUT = 1.0
# Notes the signals that arrive. Of those that are pending, sigwait takes the lowest number first.
# Two equal ones become one, unless the first is taken before the second is sent. So the small init
# shares a processor with us and has the lowest priority there: whenever it wakes us, it waits.
NOTES = f"""#!{sys.executable}
import os
import signal
for pid in (0, 1):
    os.sched_setaffinity(pid, [min(os.sched_getaffinity(0))])
os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
with open("noted", "w", buffering=1) as notes:
    while True:
        number = signal.sigwait(signal.valid_signals() - {{signal.SIGCHLD}})
        print(signal.Signals(number).name, file=notes)
"""
LAST = signal.SIGPWR
OTHERS = ("INT", "HUP", "QUIT", "USR1", "USR2", "ALRM", "CONT", "WINCH", "RTMIN")
EARLY = "PID 1 must not end before the command does, whoever else has ended meanwhile."
RUNS = {
    "A": ("sh", "-c", DIES.format("TERM")),
    "B": ("sh", "-c", DIES.format("KILL")),
    "C": ("--init", "sh", "-c", DIES.format("TERM")),
    "D": ("sh", "-c", f'trap "exit 4" TERM; {DIES.format("TERM")}'),
}
WHY = {
    "A": "The shell is PID 1, and has no handler for SIGTERM.",
    "B": "SIGKILL ends PID 1 when it comes from outside. Where does this one come from?",
    "C": "With `--init` somebody else is PID 1. What is the status of who is ended by signal n?",
    "D": "`trap` sets up a handler. Does the protection of PID 1 cover that as well?",
}


@exercise(
    "08.1",
    PYTHON,
    "PID 1 forks, its child becomes the command. Then PID 1 waits for *all* that end, as "
    "`reap` does.",
    "`pid, status = os.wait()` in a loop takes whoever has ended. When it was the command, leave "
    "with its status: `os._exit(os.waitstatus_to_exitcode(status))`.",
)
def a_tiny_init(answer: Answer) -> str:
    """PID 1 is not the command, reaps twenty orphans, and ends with the command's status."""
    answer.script("orphans", ORPHANS)
    crash = (
        "What it printed says why. (What PID 1 ignores, its child ignores too; and whoever "
        "ignores SIGCHLD can't wait for anybody's status.)"
    )
    stays = "a command that runs as long as it likes"
    with observed(answer.start("./orphans"), stays, EARLY, crash=crash) as (run, sleep):
        expect(
            len(sleep.pids) > 2,
            "a new PID namespace",
            "a command in the sandbox's own",
            "`linux.clone(linux.CLONE_NEWPID)`",
        )
        expect(
            sleep.pids[-1] != 1,
            "a command below PID 1",
            "a command that is PID 1 itself",
            "PID 1 forks, and the child becomes the command.",
        )

        def orphans() -> int:
            return sum(process.name == "orphans" for process in run.processes())

        zombies = run.eventually(orphans, 0)
        expect(
            not zombies,
            "no zombie after twenty orphans have ended",
            f"{zombies} zombies",
            "PID 1 waits for its own child alone. `os.wait()` takes whoever has ended.",
        )
        expect(run.status is None and run.find(*SLEEP), stays, run.summary(), EARLY)
        rests(run)
    for status in (random.randrange(20, 120), 0):
        _must_end_with(status, answer)
    with answer.start("sh", "-c", DIES.format("KILL")) as run:
        expect(
            run.wait(),
            "a program that does not end with 0 when a signal has ended its command",
            run.summary(),
            "`status >> 8` knows nothing of signals. `os.waitstatus_to_exitcode(status)` does.",
        )
    return "twenty orphans ended and none is a zombie; the command's status came through"


@exercise(
    "08.2",
    "mydocker/init.py",
    "Every signal that is handed on passes `hand_on`, where `number` says which one it is.",
    "`signal` has SIGTERM and SIGINT: `if number == signal.SIGTERM:`, and then another `number`.",
)
def another_signal(answer: Answer) -> str:
    """The small init hands SIGTERM on as SIGINT, and the others as they are."""
    answer.script("stay", NOTES)
    notes = answer.folder / "noted"

    def noted() -> list[str]:
        return written(notes).split()

    def handed_on(number: int) -> list[str]:
        """Return what arrives of a signal: all before LAST, which the small init takes after it."""
        before = len(noted())
        run.kill(number)
        if run.until(lambda: len(noted()) > before):
            run.kill(LAST)
            run.until(lambda: noted()[-1] == LAST.name)
        return noted()[before:]

    with answer.start("run", "--init", "./stay") as run:
        expect(run.until(notes.exists), CONTAINER, run.summary())
        for sent in ("SIGTERM", *(f"SIG{name}" for name in OTHERS)):
            arrives = "SIGINT" if sent == "SIGTERM" else sent
            wanted = f"a command that gets {arrives} when `mydocker` gets {sent}"
            *got, last = handed_on(getattr(signal, sent)) or [""]
            hint = "Does the small init still work? What it printed says why not."
            expect(last, wanted, "one that got none", hint)
            hint = "Only SIGTERM becomes another one."
            if last != LAST.name:
                wanted = f"a command that gets {LAST.name} when `mydocker` gets it"
                got = [last]
            elif len(got) > 1:
                hint = "One signal came, and one is to be handed on: `number = …` replaces it."
            elif sent == "SIGTERM":
                hint = "Your line must come before the signal is sent."
            found = f"one that got {' and '.join(got)}"
            expect(last == LAST.name and got == [arrives], wanted, found, hint)
    return "SIGTERM arrives as SIGINT, SIGUSR1 as it is"


@exercise(
    "08.3",
    PYTHON,
    "For each ask: who is PID 1, has it a handler, does the signal come from inside?",
    'Run them: `Shell().show("python3 -m mydocker run …; echo $?")`, with `from labkit.shell '
    "import Shell`.",
)
def four_statuses(answer: Answer) -> str:
    """The prediction holds what the kernel makes of four commands."""
    statuses = {}
    for letter, words in RUNS.items():
        with answer.command(*MYDOCKER, "run", *words) as run:
            statuses[letter] = run.wait()
        fail_if_crashed(run, f"a container that runs {letter} to its end")
    (prediction,) = answer.values("prediction")
    form = "Leave the letters, and write a number from 0 to 255 behind each, without quotes."
    expect_guesses(prediction, statuses, form, "what the kernel made of {}, just now", WHY)
    return "four commands, and each ended with the status that you predicted"


@exercise(
    "08.4",
    PYTHON,
    "Who ends the others when `mydocker` is gone? The kernel ends PID 1, and with it all the rest. "
    "So it is PID 1, your program, that has to stay.",
    "The death signal is a setting of the process that gets it: whoever has asked for it can "
    "take it back.",
    "`linux.set_parent_death_signal(0)`",
)
def outlive_mydocker(answer: Answer) -> str:
    """The sleep lives in the container after mydocker was ended by SIGKILL."""
    with answer.outlived(*MYDOCKER, "run", sys.executable, PYTHON) as run:
        sleep = run.until(lambda: run.find(*SLEEP) or run.find("sleep", "2000"))
        expect(
            sleep and sleep.command[1] == "1000",
            "`sleep 1000` in the container",
            "no such process, your program has ended" if sleep else run.summary(),
            "Your program is PID 1, and the container ends when it does. It becomes the sleep by "
            "`os.execvp`, or waits for it.",
        )
        mydocker = expect(run.find(*MYDOCKER), "`sleep 1000` in the container", "one that is alone")
        os.kill(mydocker.pid, signal.SIGKILL)
        run.until(lambda: run.find("sleep", "2000"))  # its parent has heard of it
        run.until(lambda: not run.find(*SLEEP))  # where it ends, it is about to
        expect(
            run.find(*SLEEP),
            "a `sleep 1000` that goes on when `mydocker` is ended by SIGKILL",
            "nothing of the container is left",
            "A session of its own or another parent is no help: when PID 1 ends, everybody in its "
            "PID namespace does.",
        )
        return "`mydocker` was ended by SIGKILL, and the `sleep` in its container went on"


def _must_end_with(status: int, answer: Answer) -> None:
    """Run a command that leaves others behind, one of which has failed."""
    with answer.start("sh", "-c", LEAVES, str(status)) as run:
        if run.until(lambda: run.find(*SLEEP) and not run.find("sh", "-c", LEAVES)):
            most = _spent(run) + CPU_ALLOWANCE
            run.until(lambda: run.status is not None or _spent(run) > most, REAP_TIMEOUT)
        expect(
            run.status is not None,
            "the end of the program when its command has ended",
            f"one that goes on: {run.summary()}",
            "The command has left a process behind. PID 1 reaps all that end, but when the "
            "command was it, PID 1 ends at once, and the kernel ends whoever is left.",
        )
        expect(
            run.status == status,
            "a program that ends with the status of its command",
            f"status {run.status}" if run.status in (0, 1, 7, 255) else "another status",
            "That was the status of an orphan, which failed before. Whose status counts?"
            if run.status == 7
            else "The status goes two steps: from the command to PID 1, and from PID 1 to you. "
            "What `wait` gives becomes a number by `os.waitstatus_to_exitcode`.",
        )


def _spent(run: SandboxedRun) -> float:
    return sum(seconds for _, seconds in used(run).values())
