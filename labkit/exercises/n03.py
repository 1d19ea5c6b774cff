"""Notebook 03: the first container."""

from pathlib import Path

from labkit import procfs
from labkit.exercise import PYTHON, Answer, ended_well, exercise, want
from labkit.procfs import Process

SLEEP = ("sleep", "1000")


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
    with answer.start() as trial:
        sleep = trial.until(lambda: trial.find(*SLEEP))
        ended_well(trial, "`sleep 1000` as PID 1 of a new PID namespace")
        want(
            sleep,
            "a process `sleep 1000` that stays",
            trial.summary(),
            "The program itself should wait for the sleep: `os.waitpid(pid, 0)`.",
        )
        assert sleep
        want(
            len(sleep.pids) == 3 and sleep.pids[-1] == 1,
            "`sleep 1000` as PID 1 of a new PID namespace",
            f"PID {sleep.pids[-1]}" + " of the sandbox's own" * (len(sleep.pids) == 2),
            "Which flag begins a new count? The child of that `clone` is number 1.",
        )
        want(
            _listed(trial.program) != ["1"] and _listed(trial.program),
            "a `/proc` outside that is as it was",
            "the sleep's `/proc` has covered the one outside",
            "The child mounted in a table that it shares. A new one comes with `CLONE_NEWNS`.",
        )
        listed = _listed(sleep)
        want(
            listed == ["1"],
            "a `/proc` that shows PID 1 and nobody else to the sleep",
            f"{len(listed)} processes in it",
            "It still reads the old `/proc`. Mount a new one, in the child, before `exec`.",
        )
        return "`sleep` is PID 1, its `/proc` holds one process, the one outside is as it was"


@exercise(
    "03.2",
    "mydocker/init.py",
    "`labkit.linux` has `sethostname`.",
    "The command inherits what `init` has set, so the line goes before the fork.",
)
def a_name_for_the_container(answer: Answer) -> str:
    """The command's host name is box, and outside it is as before."""
    Path(answer.folder, "stay").write_text("#!/bin/sh\nexec sleep 1000\n")
    Path(answer.folder, "stay").chmod(0o755)
    wanted = "the host name `box` where the command runs"
    with answer.start("run", "-ti", "./stay") as trial:
        sleep = trial.until(lambda: trial.find(*SLEEP))
        want(sleep, "a container whose command runs", trial.summary())
        assert sleep
        trial.until(lambda: procfs.hostname(sleep.pid) == "box")
        found = procfs.hostname(sleep.pid)
        outside = procfs.hostname(trial.program.pid)
        want(
            outside == "lab",
            "a host name outside that is as it was",
            f"`{outside}` outside",
            "Set it inside: `init` is the first who is in the new UTS namespace.",
        )
        want(
            found == "box",
            wanted,
            f"`{found}`",
            "Does your line run before the command starts? After `os.waitpid` it is too late.",
        )
        return "`box` inside, `lab` outside"


@exercise(
    "03.3",
    PYTHON,
    "`ps` skips a folder in `/proc` in which it finds no file `stat`.",
    "What is mounted on a folder hides what was in it: an empty tmpfs on `/proc/PID`, say.",
)
def a_process_that_ps_does_not_show(answer: Answer) -> str:
    """The sleep lives, and ps shows everybody but it."""
    with answer.start() as trial:
        sleep = trial.until(lambda: trial.find(*SLEEP))
        ended_well(trial, "`sleep 1000`, alive and hidden")
        want(
            sleep,
            "a process `sleep 1000` that stays",
            trial.summary(),
            "Ending it is one way to hide it, but that is not what is asked.",
        )
        assert sleep
        number = str(sleep.pids[1])
        trial.until(lambda: number not in _listed(trial.program))
        listed = _listed(trial.program)
        want(
            listed,
            "a `ps` that shows the others",
            "no process at all in `/proc`",
            "You have hidden all of `/proc`. Cover the folder of one process.",
        )
        want(
            number not in listed,
            "a `/proc` in which the sleep is missing",
            "the sleep stands in it, under whatever name",
            "What decides is not the name but the folder: cover `/proc/PID`.",
        )
        want(
            sleep.pids[1:] == (int(number),),
            "a sleep in the same PID namespace as the program",
            "one that hides in a PID namespace of its own",
        )
        return f"the kernel has the sleep, and `/proc` shows the {len(listed)} others"


def _listed(process: Process) -> list[str]:
    """Return the PIDs that `ps` would show to a process: those with a file `stat`."""
    proc = Path(f"/proc/{process.pid}/root/proc")
    return [
        path.name for path in proc.iterdir() if path.name.isdigit() and (path / "stat").exists()
    ]
