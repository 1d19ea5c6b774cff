"""Notebook 05: the vanishing /proc."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from labkit import procfs
from labkit.exercise import PYTHON, RUN, SH, Answer, exercise
from labkit.exercise.observe import CONTAINER, expect, expect_guesses, keeps_running, observed
from labkit.exercise.sandboxed_run import Limits
from labkit.procfs import Mount, Process

# Commands, each with a hint at its status.
STATUSES = {
    "sh -c 'exit 300'": "A status has eight bits. What is left of 300?",
    "nosuch": "Shells and runtimes have a number of their own for: not found.",
    "/etc/passwd": "It is found, but nobody may execute it. That has another number.",
    "sh -c 'kill -9 $$; exit 3'": "This shell is PID 1, and who may kill PID 1?",
    "sleep 1000": "128 and the signal's number.",
}


@exercise(
    "05.1",
    "mydocker/init.py",
    "The table of propagation types has one that hears and does not speak.",
    "`MS_SLAVE` takes the place of `MS_PRIVATE`; `MS_REC` stays.",
)
def news_in_one_direction(answer: Answer) -> str:
    """What the machine mounts comes in, what the container mounts does not go out."""
    for name in ("usb", "own"):
        Path(answer.folder, name).mkdir()
    inside = "echo > up; read word < down; mount -t tmpfs own own"
    machine = "read word < up; mount -t tmpfs usb usb; echo > down"
    one = "(A mount has one propagation type at a time.)"
    with _machine(answer, inside, machine, one) as (outer, inner):
        before = [mount.target for mount in procfs.mounts(outer.ppid)]
        here = [mount.target for mount in procfs.mounts(outer.pid) if mount.source != "usb"]
        usb = [mount.target for mount in procfs.mounts(inner.pid) if mount.source == "usb"]
        names = {
            target.replace(str(answer.folder), "…") for target in Counter(here) - Counter(before)
        }
        expect(
            not names,
            "no mount of the container's on the machine",
            f"one that was made in the container, on `{'`, `'.join(sorted(names))}`",
            "Something is still shared. Does your flag reach all mounts below `/` (`MS_REC`), "
            "and before proc is mounted?",
        )
        hint = "Private is deaf in both directions. Which type still hears its master?"
        expect(usb, "in the container, what the machine mounts later", "nothing of it", hint)
        return "a mount of the machine came in, one of the container did not go out"


@exercise(
    "05.2",
    PYTHON,
    "Three of the five stand in this notebook, in other words. Try the others in a cell: "
    '`shell.show("python3 -m mydocker run …; echo status $?")`.',
    "300 modulo 256; 127; 126; nothing inside kills PID 1; from outside 9 does.",
)
def statuses(answer: Answer) -> str:
    """The guesses are the statuses with which the runtime ends."""
    script = "\n".join(f"{RUN} {command}; echo $? >> found" for command in STATUSES)
    # The time is ours, not the answer's; ten Pythons start, in a VM without KVM perhaps.
    run = answer.command("sh", "-c", script, limits=Limits(seconds=90))
    starts = "a runtime that starts five containers"
    why = "This is no fault of the numbers. Does your version 3 work? Is the machine very busy?"
    with observed(run, starts, why) as (_, sleep):
        os.kill(sleep.pid, signal.SIGKILL)  # from outside
        run.wait()
    numbers = Path(answer.folder, "found").read_text().split()
    found = dict(zip(STATUSES, map(int, numbers), strict=True))
    (guesses,) = answer.values("statuses")
    form = "A number from 0 to 255, without quotes."
    expect_guesses(guesses, found, form, "the status with which `{}` ends", STATUSES)
    return f"{', '.join(numbers)}, each as you said"


@exercise(
    "05.3",
    "mydocker/init.py",
    "A tmpfs is mounted as proc is: any word as its source, and `tmpfs` as its type.",
    '`mount("shm", "/dev/shm", "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV)`, behind the line that '
    "makes the mounts private.",
)
def shared_memory_of_its_own(answer: Answer) -> str:
    """A tmpfs with three flags lies on the container's /dev/shm, and not on the machine's."""
    with _machine(answer, ":", ":") as (outer, inner):
        expect(
            len(_shm(outer.pid)) == len(_shm(outer.ppid)),
            "a `/dev/shm` of the machine that is as it was",
            "a new one that came from the container",
            "Your line comes before the mounts are private, so the machine got it, too.",
        )
        expect(
            all(Path(f"/proc/{inner.pid}/root/dev", name).exists() for name in ("shm", "null")),
            "a `/dev` in the container as it is outside, with a folder `shm`",
            "something else, which covers it",
            "Mount on `/dev/shm`, not on `/dev`, which holds more.",
        )
        found = _shm(inner.pid)[-1:]
        own = _device(inner) != _device(outer)
        expect(
            own and found and found[0].fstype == "tmpfs",
            "a tmpfs on `/dev/shm` that the machine does not have",
            f"{found[0].fstype} on it" if own and found else "the files of the machine's",
            "A new file system is wanted, of type `tmpfs`, before `execvp`. (A bind mount would "
            "show the same files once more.)",
        )
        missing = {"noexec", "nosuid", "nodev", "rw"} - set(found[0].options.split(","))
        expect(
            not missing,
            "the three flags on it: noexec, nosuid, nodev",
            f"no {', '.join(sorted(missing))}",
            "The fourth argument of `mount`: the same flags as for proc.",
        )
        return "a tmpfs of the container's own on `/dev/shm`, and the machine's is as it was"


@exercise(
    "05.4",
    SH,
    "`nsenter --uts=FILE COMMAND` runs a command in the UTS namespace that a file "
    "`/proc/PID/ns/uts` stands for. A process of the machine has such a file, in the machine's "
    "`/proc`.",
    "Version 3 only *covers* the machine's `/proc`. `umount /proc` takes the cover off.",
)
def a_name_for_the_machine(answer: Answer) -> str:
    """From inside, the machine's host name has become mine."""
    wanted = "the host name `mine` on the machine"
    hint = (
        "`hostname` names the UTS namespace that you are in: the container's. `/proc/1` in there "
        "is the container's PID 1, too, and `/proc/self` is you. Is there another `/proc`?"
    )
    run = answer.command("sh", "-c", f"{RUN} sh {SH}; exec sleep 3000")
    with keeps_running(run, wanted, hint):
        machine = run.program.pid
        run.until(lambda: procfs.hostname(machine) == "mine" or run.find("sleep", "3000"))
        name = procfs.hostname(machine)
        expect(name == "mine", wanted, f"`{name}`", hint)
        return "the machine is called `mine`, by somebody in a container"


@contextmanager
def _machine(
    answer: Answer, inside: str, outside: str, hint: str = ""
) -> Iterator[tuple[Process, Process]]:
    """Run a container on a machine whose mounts are shared; yield a process of both.

    First the one does what stands `inside`, in sh, the other what stands `outside`. The hint is
    for a container that does not start.
    """
    for name in ("up", "down"):
        os.mkfifo(Path(answer.folder, name))
    Path(answer.folder, "inside").write_text(f"{inside}\nexec sleep 1000\n")
    words = ["unshare", "--mount", "--propagation", "shared", "sh", "-c"]
    run = answer.command(*words, f"{RUN} sh inside & {outside}; wait $!")
    why = f"`init` did not come as far as the command. What it printed says why. {hint}"
    with observed(run, CONTAINER, why.rstrip()) as (_, inner):
        yield run.program, inner


def _shm(pid: int) -> list[Mount]:
    """Return what a process has on /dev/shm, the topmost last."""
    return [mount for mount in procfs.mounts(pid) if mount.target == "/dev/shm"]


def _device(process: Process) -> int:
    """Return the number of the file system that a process sees at /dev/shm."""
    return Path(f"/proc/{process.pid}/root/dev/shm").stat().st_dev
