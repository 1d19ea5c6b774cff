"""Notebook 02: namespaces."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from labkit import procfs
from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import SLEEP, STAYS, expect, fail_if_crashed, keeps_running, observed
from labkit.exercise.sandboxed_run import SandboxedRun
from labkit.procfs import Process

SIX = {"mnt", "uts", "ipc", "pid", "net", "cgroup"}
# Takes the place of init.py, which ends at once in this version.
STAY = """
import os


def run_container_init_process(*_):
    os.execvp("sleep", ["sleep", "1000"])
"""
SECOND = ("sleep", "2000")
WAIT = "The program itself should wait for both, for example by `signal.pause()`."
NOT_BOTH = {
    "Cannot allocate memory": "The kernel starts nobody in a PID namespace whose number 1 has "
    "ended. Who was first there? It must still live.",
    "Invalid argument": "After `unshare` it is settled where the next children begin, so the "
    "kernel refuses one more new namespace. Ask once, and then make them with `os.fork()`.",
    "": "Each of the two needs a process of its own: fork, then `exec` in the child. (A shell in "
    f"between would be number 1, and take all others with it when it ends.) {WAIT}",
}
CRASHED = {
    "Read-only": "Only the working folder can be written to here.",
    "": "Open the file in `/proc` before the child ends: later it is gone.",
}
PRISON = ("unshare", "--uts", "--net", "sh", "-c", 'hostname box && exec "$@"', "sh")


@exercise(
    "02.1",
    "mydocker/container_process.py",
    "`NAMESPACES` is one number: each flag is one bit in it, and `|` joins them.",
    "Put `| CLONE_NEWCGROUP` at its end.",
)
def a_sixth_namespace(answer: Answer) -> str:
    """The container has six namespaces of its own."""
    (answer.folder / "mydocker/init.py").write_text(STAY)
    wanted = "a container with six namespaces of its own"
    hint = "`init` was not reached. What the answer printed says why."
    with observed(answer.start("run", "-ti", "/bin/sh"), wanted, hint) as (run, sleep):
        own, shared = procfs.namespaces(sleep.pid), procfs.namespaces(run.program.pid)
        made = [kind for kind in own if own[kind] != shared[kind]]
        missing = [kind for kind in own if kind in SIX - {*made}]
        expect(
            not missing,
            wanted,
            f"it shares {', '.join(missing)} with its parent",
            "The five have to stay: join the new flag to them with `|`. (`&` keeps only the bits "
            "that both have.)"
            if missing != ["cgroup"]
            else "`CLONE_NEWCGROUP` is imported already. Where do the five stand?",
        )
        expect(len(made) == 6, wanted, f"it has {len(made)}", "One flag more is enough.")
        return f"its own: {', '.join(made)}"


@exercise(
    "02.2",
    PYTHON,
    "`clone(CLONE_NEWPID)` makes a namespace with each call. Another call makes one for all the "
    "children that follow.",
    "`linux.unshare(linux.CLONE_NEWPID)` once, then fork and `exec` twice, and wait.",
)
def two_in_one(answer: Answer) -> str:
    """Both sleeps are children of the program, and numbers 1 and 2 of one new PID namespace."""
    both = "`sleep 1000` and `sleep 2000`, both children of your program"
    run = answer.start()

    def second() -> Process | None:
        return run.find(*SLEEP) and run.find(*SECOND)

    with observed(run, both, NOT_BOTH, blocked=True, find=second) as (_, other):
        # A shell in between is gone by now, and what was below it.
        first = expect(run.find(*SLEEP), both, run.summary(), NOT_BOTH[""])
        expect(
            len(first.pids) > 2 and len(other.pids) > 2,
            "both in a new PID namespace",
            f"`sleep {1000 if len(first.pids) < 3 else 2000}` in the one that was there before",
            "`unshare` counts for the children that come after it. The process that calls it "
            "stays where it is, and `exec` makes no new process.",
        )
        expect(
            procfs.namespaces(first.pid)["pid"] == procfs.namespaces(other.pid)["pid"],
            "both in the same new PID namespace",
            "two namespaces, one for each",
            "`clone(CLONE_NEWPID)` makes a namespace with each call. `unshare` makes one, for all "
            "children that follow.",
        )
        numbers = (first.pids[-1], other.pids[-1])
        expect(
            numbers == (1, 2),
            "`sleep 1000` as number 1, `sleep 2000` as number 2",
            f"they are {numbers[0]} and {numbers[1]}",
            "Numbers are given in the order of birth. Does another process come first, a shell "
            "perhaps?",
        )
        return "PIDs 1 and 2 of one namespace, and their parent has no number in it"


@exercise(
    "02.3",
    PYTHON,
    "Open `/proc/PID/ns/uts` of the child while it lives, keep the descriptor, then end the child.",
    '`held = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)`, then `os.kill(pid, signal.SIGKILL)` '
    "and `os.waitpid(pid, 0)`.",
)
def a_namespace_with_nobody_in_it(answer: Answer) -> str:
    """A UTS namespace is called survivor, is held open, and no process is in it."""
    wanted = "a UTS namespace that is held open, with no process in it"
    stay = "The program itself has to stay: a descriptor is closed when its process ends."
    with keeps_running(answer.start(), wanted, stay) as run:
        held = run.until(lambda: next(_held_alone(run), None))
        fail_if_crashed(run, wanted, CRASHED)
        expect(run.is_blocked(), wanted, run.summary(), stay)
        outside = _uts(run.program.ppid)
        inside = [process.pid for process in _living(run) if _uts(process.pid) != outside]
        found = "a process is still in the new one" if inside else "no namespace but the first"
        hint = "Hold it first, then end the child: `os.kill(pid, signal.SIGKILL)`."
        if run.program.pid in inside:
            found = "your program is in the new one itself"
            hint = "It need not go in: the open descriptor is enough to keep a namespace."
        elif not inside:
            hint = (
                "When the last process is gone and nobody holds it open, it is gone too. Open "
                "`/proc/PID/ns/uts` before, and keep the descriptor open."
            )
        expect(held, wanted, found, hint)
        command = ["nsenter", f"--uts={held}", "uname", "-n"]
        name = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        expect(
            name == "survivor",
            "the host name `survivor` in it",
            f"`{name}`",
            "The child was ended before it had set the name, or this is another namespace. "
            "`os.read(named, 1)` waits for it.",
        )
        return "nobody is in it, it is held open, and its host name is `survivor`"


@exercise(
    "02.4",
    PYTHON,
    "Somebody has never left the namespaces that you want to go to: the sandbox's PID 1.",
    '`linux.setns(os.open("/proc/1/ns/uts", os.O_RDONLY))` before the sleep; then the same for '
    "`net`.",
)
def break_out(answer: Answer) -> str:
    """The sleep is in the sandbox's UTS and network namespaces, though the program began in others.

    The prison is not made by the answer but around it.
    """
    hint = (
        "The program should become the sleep, or wait for it. Where the kernel refused something, "
        "what the answer printed says so."
    )
    number = (
        "`setns` wants a descriptor, which is a number: `os.open(path, os.O_RDONLY)` gives one."
    )
    crash = {"ArgumentError": number, "Bad file descriptor": number}
    run = answer.command(*PRISON, sys.executable, PYTHON)
    with observed(run, STAYS, hint, crash=crash, blocked=True) as (_, sleep):
        outside = procfs.namespaces(run.program.ppid)
        run.until(lambda: procfs.namespaces(sleep.pid)["net"] == outside["net"])
        own = procfs.namespaces(sleep.pid)
        name = procfs.hostname(sleep.pid)
        expect(
            own["uts"] == outside["uts"],
            "`sleep 1000` in the UTS namespace of the sandbox",
            f"another one, with the host name `{name}`",
            "You have renamed the prison, and are still in it."
            if name == "lab"
            else "Somebody in `/proc` is outside, and `linux.setns` moves the process that calls "
            "it to where another is. A new namespace is not the old one.",
        )
        expect(
            own["net"] == outside["net"],
            "`sleep 1000` in the network namespace of the sandbox",
            "the prison's, without a way out",
            "`setns` moves a process in one kind at a time. Do the same with `net`.",
        )
        return "the sleep is in the same UTS and network namespaces as PID 1 of the sandbox"


def _held_alone(run: SandboxedRun) -> Iterator[str]:
    """Yield paths of UTS namespaces that are held open and in which no process is."""
    held = []
    for process in _living(run):
        place = Path(f"/proc/{process.pid}")
        held += [(str(link.readlink()), str(link)) for link in (place / "fd").iterdir()]
        held += [(m.root, f"{place}/root{m.target}") for m in procfs.mounts(process.pid)]
    # Read last: whoever is in a new one was there before it could be held.
    inhabited = {_uts(pid) for pid in (run.program.ppid, *(p.pid for p in _living(run)))}
    yield from (path for name, path in held if name[:4] == "uts:" and name not in inhabited)


def _living(run: SandboxedRun) -> list[Process]:
    return [process for process in run.processes() if process.state != "Z"]


def _uts(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/uts").readlink())
