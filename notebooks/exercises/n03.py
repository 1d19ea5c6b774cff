"""Notebook 03: the first container."""

from pathlib import Path

from labkit import procfs
from labkit.exercise import PYTHON, STAY, Answer, exercise
from labkit.exercise.observe import CONTAINER, STAYS, expect, listed, observed, waits_for, written
from labkit.exercise.sandboxed_run import PROGRAM_PID

WAIT = (
    "The program itself should wait for the sleep, `os.waitpid(pid, 0)`, and no error should end "
    "it before."
)
# Goes below command.py: PID 1 comes out of a fork when the command has noted what it is called, or
# when a child has ended that is another program.
HELD = """
import os
import time


def held():
    ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not os.path.exists("born") and not os.waitid(os.P_ALL, 0, ended):
        time.sleep(0.01)


if os.getpid() == 1:
    os.register_at_fork(after_in_parent=held)
"""


@exercise(
    "03.1",
    PYTHON,
    "Two namespaces are needed: one in which counting starts again, and one in which mounting "
    "`/proc` stays private.",
    "After `clone` the child mounts `proc` on `/proc`, then `os.execvp` makes it `sleep`. The "
    "parent waits.",
)
def a_proc_of_its_own(answer: Answer) -> str:
    """The sleep is PID 1 and alone in its /proc; the program's own /proc still tells of itself."""
    wanted = "`sleep 1000` as PID 1 of a new PID namespace"
    hints = {
        "operand": "The list that exec is given begins with the program's own name.",
        "Traceback": "What it printed says what the child met.",
        "": WAIT,
    }
    with observed(answer.start(), STAYS, hints, crash="", blocked=True) as (run, sleep):
        expect(
            len(sleep.pids) > 2 and sleep.pids[-1] == 1,
            wanted,
            f"PID {sleep.pids[-1]} of "
            + ("the namespace that it was in before" if len(sleep.pids) == 2 else "a new one"),
            "A process keeps its number for life, so a new count begins with a child: `clone` with "
            "which flag?"
            if len(sleep.pids) == 2
            else "Who is PID 1 there? The child itself must become the sleep, with `exec`.",
        )
        expect(
            PROGRAM_PID in listed(run.program.pid),
            "a `/proc` outside that is as it was",
            "the sleep's `/proc` has covered the one outside",
            "The child mounted in a table of mounts that it shares with the program. It needs "
            "`CLONE_NEWNS` for itself alone.",
        )
        shown = run.eventually(lambda: listed(sleep.pid), {1})
        expect(
            shown == {1},
            "a `/proc` that shows PID 1 and nobody else to the sleep",
            f"{len(shown)} processes in it",
            "It still reads the old `/proc`. Mount a new one, in the child, before `exec`.",
        )
        waits_for(run, sleep.pid)
        return "`sleep` is PID 1, its `/proc` holds one process, the one outside is as it was"


@exercise(
    "03.2",
    "mydocker/init.py",
    "`linux.py` has `sethostname`.",
    "The command inherits what `init` has set, so the line goes before the fork.",
)
def a_name_for_the_container(answer: Answer) -> str:
    """The command's host name is box, and outside it is as before."""
    answer.script("stay", STAY.replace("exec", "uname -n > born.half; mv born.half born; exec"))
    with Path(answer.folder, "mydocker/command.py").open("a") as file:
        file.write(HELD)
    hint = (
        "`init` did not come as far as the command: an error stopped it, as what it printed says, "
        "or it became another program."
    )
    run = answer.start("run", "-ti", "./stay")
    with observed(run, CONTAINER, hint) as (_, sleep):
        found = run.eventually(lambda: procfs.hostname(sleep.pid), "box")
        outside = procfs.hostname(run.program.pid)
        expect(
            outside == "lab",
            "a host name outside that is as it was",
            f"`{outside}` outside",
            "Set it inside: `init` is the first who is in the new UTS namespace.",
        )
        expect(
            found == "box",
            "the host name `box` where the command runs",
            f"`{found}`",
            "Does your line tell the kernel, and before the command starts? After `os.waitpid` it "
            "is too late."
            if found == outside
            else "Exactly `box`: small letters, and nothing behind them.",
        )
        name = written(answer.folder / "born").strip()
        expect(
            name == "box",
            "the host name `box` when the command starts",
            f"`{name}`, and another one later",
            "Behind the fork nobody knows who is faster, init or the command. Set it before.",
        )
        return "`box` inside, `lab` outside"


@exercise(
    "03.3",
    PYTHON,
    "`ps` reads `/proc/PID/stat` of each folder in `/proc`, and skips those where it finds none.",
    "What is mounted on a folder hides what was in it: an empty tmpfs on `/proc/PID`, say.",
)
def a_process_that_ps_does_not_show(answer: Answer) -> str:
    """The sleep lives, and ps shows everybody but it."""
    covered = "The kernel lets nobody remove or rename what is in `/proc`. But it can be covered."
    hint = "Ending it is one way to hide it, but that is not what is asked. " + WAIT
    run = answer.start()
    crash = {"PermissionError: ": covered}
    with observed(
        run, STAYS, hint, crash=crash, blocked=True, find=lambda: run.running("sleep")
    ) as (_, sleep):
        number = sleep.pids[1]
        expect(
            len(sleep.pids) == 2,
            "a sleep in the same PID namespace as the program",
            "one in a PID namespace of its own",
            "Let it start as it was, with `fork`, and change what `ps` reads.",
        )

        def others() -> set[int]:
            return {1, *(process.pids[1] for process in run.processes())} - {number}

        everybody = run.program.ppid  # the sandbox's PID 1, which has the mounts of all
        run.until(lambda: listed(everybody) == others())
        shown, expected = listed(everybody), others()
        expect(
            number in listed(run.program.pid) or number not in shown,
            "a `/proc` that hides the sleep from everybody",
            "only your program does not see it",
            "It has mounts of its own. Cover the folder in those that all share.",
        )
        expect(
            number not in shown,
            "a `/proc` in which the sleep is missing",
            "the sleep stands in it, under whatever name",
            "What decides is not the name but the folder: cover `/proc/PID`, in the mounts that "
            "all share.",
        )
        expect(
            shown >= expected,
            "a `ps` that shows the others",
            f"{len(shown & expected)} of {len(expected)} in `/proc`",
            "You have hidden more than one process. Cover the folder of the sleep alone.",
        )
        waits_for(run, sleep.pid)
        return f"the kernel has the sleep, and `/proc` shows the {len(shown)} others"
