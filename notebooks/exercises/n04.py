"""Notebook 04: exec."""

import signal
import sys
from pathlib import Path

from labkit import procfs
from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import CONTAINER, SLEEP, STAYS, expect, expect_guesses, observed
from labkit.exercise.sandboxed_run import PROGRAM_PID, SandboxedRun
from labkit.procfs import Process

# Sets up whatever is asked about, stops until the judge has looked, and becomes another program.
EXPERIMENT = """
import os, signal, threading
if os.fork() == 0:
    signal.pause()
os.chdir("/")
file = open("/etc/passwd")
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, print)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
threading.Thread(target=threading.Event().wait, daemon=True).start()
os.kill(os.getpid(), signal.SIGSTOP)
os.execvp("sleep", ["sleep", "1000"])
"""
WAIT = "The program must become the sleep or wait for it."
MACHINE_BUSY = "This is no fault of yours. Is the machine very busy? Check once more."
WHY = {
    "its PID": "It is still the same process: exec makes no new one.",
    "its child": "It is still the same process, so its children are still its children.",
    "its second thread": "All threads run in the memory of the old program, which is gone.",
    "its working directory": "That belongs to the process, not to the program.",
    "a file that Python opened": "Python marks what it opens close-on-exec.",
    "a signal that it ignores": "To ignore takes no code, so the kernel can go on doing it.",
    "a handler for a signal": "A handler is a function of the old program, which is gone.",
    "a signal that it blocks": "The mask of blocked signals belongs to the process.",
}


@exercise(
    "04.1",
    PYTHON,
    "What needs the old program's memory cannot outlive it.",
    "The table in this notebook tells of all but one; `man 2 execve` has that, too.",
)
def what_survives(answer: Answer) -> str:
    """The guesses are what /proc shows of a process before and after it becomes a sleep."""
    with answer.command(sys.executable, "-c", EXPERIMENT) as run:
        stopped = run.until(lambda: run.program.state == "T")
        expect(stopped, "an experiment that runs", run.summary(), MACHINE_BUSY)
        program = run.program
        before = _everything(run, program)
        run.kill(signal.SIGCONT)
        expect(run.until(lambda: run.find(*SLEEP)), "its exec", run.summary(), MACHINE_BUSY)
        after = _everything(run, program)
    survives = {name: before[name] == after[name] for name in before}
    (guesses,) = answer.values("survives")
    form = "True: the process has it after `exec` as it had it before. False: gone, or another."
    asked = "`{}` survives: {}, as `/proc` shows before and after"
    expect_guesses(guesses, survives, form, asked, WHY)
    return f"{sum(survives.values())} of {len(survives)} survive, and you knew which"


@exercise(
    "04.2",
    PYTHON,
    "`os.set_inheritable(file.fileno(), True)` takes close-on-exec off.",
    "`os.execvp` makes this process another program; everything else makes a second process.",
)
def a_file_handed_on(answer: Answer) -> str:
    """The program itself has become the sleep, and still has the file open."""
    letter = Path(answer.folder, "letter")
    letter.write_text("Dear sleep\n")
    delivered = _file(letter)  # whatever bears that name later
    hint = "Let the program itself become the sleep, with `os.execvp`."
    crash = {"integer": "A descriptor is a number: `file.fileno()`."}
    hints = {"operand": "The list that exec is given begins with the program's own name.", "": hint}
    with observed(answer.start(), STAYS, hints, crash=crash) as (run, sleep):
        expect(
            sleep.pids[1:] == (PROGRAM_PID,),
            "one process, which Python began and in which `sleep` goes on",
            run.summary(),
            "`fork`, `subprocess` and `os.system` make a second process. In a shell, too, it is "
            "the word `exec` that makes none.",
        )
        files = _open_files(sleep)
        expect(
            delivered in files,
            "`letter` among the open files of `sleep`",
            f"{len(files)} descriptors, none of them `letter`",
            "Python marks what it opens close-on-exec, unless you say otherwise. (And a `with` "
            "block closes it.)",
        )
        return "one process, first `python3`, now `sleep`, and `letter` is open in it"


@exercise(
    "04.3",
    "mydocker/init.py",
    "Which signals does Python ignore? Look: `signal.getsignal(signal.SIGPIPE)`. There is one "
    "more, SIGXFSZ.",
    "`signal.signal(number, signal.SIG_DFL)` gives a signal its default action back. For both, "
    "before `execv`.",
)
def nothing_ignored(answer: Answer) -> str:
    """The container's command ignores none of the signals that Python ignores."""
    answer.script("stay")
    hints = {
        "Invalid argument": "SIGKILL and SIGSTOP are the kernel's own: nobody may change what they "
        "do.",
        "": "`init` did not come as far as the command. What it printed says why.",
    }
    run = answer.start("run", "-ti", "./stay")
    with observed(run, CONTAINER, hints) as (_, sleep):
        # Not all: who was started by make ignores 32 and 33, which glibc keeps for itself.
        both = {signal.SIGPIPE, signal.SIGXFSZ}
        ignored = _signals(sleep, "SigIgn") & both
        names = ", ".join(signal.Signals(number).name for number in sorted(ignored))
        expect(
            not ignored,
            "a command that ignores no signal because of Python",
            f"it ignores {names}",
            "One is left. A second line of the same kind cures it."
            if len(ignored) == 1
            else "Python ignores them, and exec keeps that. Set them to `signal.SIG_DFL` before "
            "`execv`: behind it no line runs.",
        )
        expect(
            not _signals(sleep, "SigBlk") & both,
            "a command that gets these signals",
            "it blocks them",
            "To block is another way not to hear. Their default is all that is wanted.",
        )
        return "neither SIGPIPE nor SIGXFSZ is in the command's `SigIgn`"


@exercise(
    "04.4",
    PYTHON,
    "`comm` is the name of the file that was executed. A symbolic link to it has a name of its "
    "own.",
    "`args` in `ps` is what the caller of exec wrote: `os.execv(path, [name, …])`. The first "
    "word need not be the program's name.",
)
def a_sleep_called_nothing(answer: Answer) -> str:
    """A process runs the file of sleep; its comm and its first argument are nothing."""
    wanted = "a process that runs the file of `sleep` and stays"
    hints = {
        "answer ended": WAIT,
        "": "A copy is another file. `/proc/PID/exe` must lead to the program `sleep` itself.",
    }
    crash = {
        "FileNotFoundError": "exec needs a file. `os.execvp` looks for it in PATH, `os.execv` "
        "takes a path to it; the name in the list is another matter."
    }
    run = answer.start()
    with observed(run, wanted, hints, crash=crash, blocked=True, find=lambda: run.running("sleep")):
        run.until(lambda: _names(run) == ("nothing", "nothing"))
        comm, args = _names(run)
        hint = "`args` is the list that exec was given. Its first word is yours to choose."
        expect(args == "nothing", "`args` that begin with `nothing`", f"`{args}`", hint)
        expect(
            comm == "nothing",
            "`nothing` as the kernel's own name, `comm`",
            f"`{comm}`",
            "exec sets `comm` anew, to the name of the file that it executes. By which name did "
            "you call the file?",
        )
        return "`comm` and `args` say `nothing`; `exe` leads to `sleep`"


def _everything(run: SandboxedRun, process: Process) -> dict[str, object]:
    """Return what /proc shows of each thing that WHY names."""
    place = Path(f"/proc/{process.pid}")
    now = next(p for p in run.processes() if p.pid == process.pid)
    found: list[object] = [
        now.pids,
        [child.pid for child in run.processes() if child.ppid == process.pid],
        len(list((place / "task").iterdir())),
        (place / "cwd").readlink(),
        _file(Path("/etc/passwd")) in _open_files(process),
        signal.SIGUSR1 in _signals(process, "SigIgn"),
        signal.SIGUSR2 in _signals(process, "SigCgt"),
        signal.SIGHUP in _signals(process, "SigBlk"),
    ]
    return dict(zip(WHY, found, strict=True))


def _open_files(process: Process) -> list[tuple[int, int]]:
    return [_file(path) for path in Path(f"/proc/{process.pid}/fd").iterdir()]


def _file(path: Path) -> tuple[int, int]:
    """Return the device and the inode of a file, whatever its name."""
    return path.stat().st_dev, path.stat().st_ino


def _signals(process: Process, kind: str) -> set[int]:
    """Return the signals in a mask of /proc/PID/status, such as SigIgn; see proc_pid_status(5)."""
    mask = int(procfs.status(process.pid)[kind], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def _names(run: SandboxedRun) -> tuple[str, str]:
    """Return comm and the first argument of the process that runs sleep."""
    if not (sleep := run.running("sleep")):
        raise ProcessLookupError("it has ended")
    return sleep.name, (*sleep.command, "")[0]
