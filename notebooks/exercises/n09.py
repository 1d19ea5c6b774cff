"""Notebook 09: without root."""

import secrets
import sys
from pathlib import Path

from labkit import procfs
from labkit.exercise import MYDOCKER, PYTHON, SH, Answer, exercise
from labkit.exercise.observe import CONTAINER, STAYS, expect, expect_guesses, ids_inside, observed
from labkit.procfs import Process

RUN = (*MYDOCKER, "run")
USER = ("unshare", "--map-user=1000", "--map-group=1000")  # an ordinary user, whoever we are
CAP_SYS_ADMIN = 21  # linux/capability.h
# Runs the answer, and where the kernel has refused something, says which map is still missing.
WATCHED = f"""
import runpy
from pathlib import Path
try:
    runpy.run_path({PYTHON!r}, run_name="__main__")
except PermissionError as error:
    for name in ("gid_map", "uid_map"):
        if not Path("/proc/self", name).read_text():
            error.add_note(f"{{name}} is still empty")
    raise
"""
REFUSED = {
    "is still empty": "The kernel refused a map. The ID inside comes first, then the one outside: "
    "you are 0 there.",
    "PermissionError": "Before `gid_map`, `setgroups` takes `deny`; afterwards it takes nothing "
    "more, and each map is taken once.",
}
DEPTH = {
    "pid": "NSpid in `/proc/PID/status` of the sleep holds one number for each.",
    "user": "When does `container.clone` ask for a user namespace?",
}
ENVIRONMENT = (
    "What does the inner Python need from its environment? It is clean, and `-e` adds to it."
)


@exercise(
    "09.1",
    PYTHON,
    "`become`, at the beginning of this notebook, does it for user 1000.",
    "`/proc/self/uid_map` takes `1234 0 1`: first ID inside, first ID outside (you are 0 there), "
    "how many. Before `gid_map`, `/proc/self/setgroups` takes `deny`.",
)
def another_number(answer: Answer) -> str:
    """The sleep is user and group 1234 in a user namespace of its own."""
    wanted = "`sleep 1000` as user and group 1234 of a user namespace"
    stay = "Your program becomes `sleep`, or waits for it."
    run = answer.command(sys.executable, "-c", WATCHED)
    with observed(run, STAYS, stay, crash=REFUSED, blocked=True) as (_, sleep):
        user, group = {*ids_inside(sleep, "uid")}, {*ids_inside(sleep, "gid")}
        expect(
            procfs.namespaces(sleep.pid)["user"] != procfs.namespaces(run.program.ppid)["user"],
            wanted,
            "a sleep without a user namespace of its own",
            "A number alone is not a namespace: `linux.unshare(linux.CLONE_NEWUSER)`.",
        )
        expect(
            user != {None},
            "user 1234",
            "a user who stands on no map, so the kernel shows 65534",
            "`/proc/self/uid_map` is still empty. It takes one line: first ID inside, first ID "
            "outside, how many. (Python tells that the kernel refused it when you close the file.)",
        )
        hint = "The first number of the map is the ID inside."
        expect(user == {1234}, "user 1234", f"user {_names(user)}", hint)
        expect(
            group == {1234},
            "group 1234",
            "a group that stands on no map" if group == {None} else f"group {_names(group)}",
            "Groups have a map of their own, `gid_map`, accepted after `deny` in `setgroups`.",
        )
        return "`sleep` is user 1234 and group 1234 inside"


@exercise(
    "09.2",
    "mydocker/init.py",
    "Exec gives root its capabilities back, all that are in the *bounding set*. So the set has to "
    "become smaller, before the exec.",
    "`ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)`",
)
def a_root_that_may_not_mount(answer: Answer) -> str:
    """The command of user 1000 has all capabilities but CAP_SYS_ADMIN, with --init and without."""
    for words in (["sleep", "1000"], ["--init", "sleep", "1000"]):
        hint = "Whoever prepares the container still needs CAP_SYS_ADMIN: for the mounts."
        run = answer.command(*USER, *RUN, *words)
        with observed(run, CONTAINER, hint, crash="") as (_, sleep):
            lacks = _every_capability() & ~_capabilities(sleep)
            expect(
                lacks >> CAP_SYS_ADMIN & 1,
                f"a command without CAP_SYS_ADMIN, for `run {' '.join(words)}`",
                "one that has it",
                "What root gives away it has again after exec. Make its bounding set smaller, in "
                "the process that becomes the command. (`prctl` is silent when it fails, and "
                "returns -1. It takes the capability's number, not its bit.)",
            )
            expect(
                lacks == 1 << CAP_SYS_ADMIN,
                "a command that has all the other capabilities",
                f"one that lacks {lacks.bit_count() - 1} more",
                "One capability is enough: number 21.",
            )
    return "root inside has every capability but CAP_SYS_ADMIN"


@exercise(
    "09.3",
    PYTHON,
    "The inner `mydocker` is an ordinary command of the outer container. Who is it there, and does "
    "the kernel refuse it the five namespaces?",
    "The environment is clean in there, and a shell finds `python3` by PATH. `-e` hands them on.",
    'M = "python3 -m mydocker run -e PATH"',
)
def three_deep(answer: Answer) -> str:
    """The command leads three PID namespaces deep, and the prediction is what it shows."""
    prediction, command = answer.values("prediction", "command")
    # The shell in between stays in the user namespace from which we count.
    words = ("sh", "-c", 'sh -c "$1"; exit $?', "sh", str(command))
    wanted = "`sleep 1000`, three containers deep"
    hint = "Each container's command is the next `mydocker`. Does it find what it needs?"
    with observed(answer.command(*USER, *words), wanted, hint, crash=ENVIRONMENT) as (run, sleep):
        outside = procfs.namespaces(run.program.pid)
        found = {
            kind: len({_namespace(p, kind) for p in run.processes()} - {outside[kind], 0})
            for kind in ("pid", "uts", "user")
        }
        deep = min(len(sleep.pids) - 2, found["pid"], found["uts"])
        hint = "The command of one `mydocker run` may be `mydocker run` again. Three are wanted."
        expect(deep == 3, wanted, f"{deep} deep", hint)
    kernel = {kind: found[kind] for kind in DEPTH}
    asked = "as many new `{}` namespaces as the kernel has made"
    expect_guesses(prediction, kernel, "A number each, without quotes.", asked, DEPTH)
    return f"new PID namespaces: {found['pid']}, new user namespaces: {found['user']}"


@exercise(
    "09.4",
    SH,
    "The container's `/proc` shows the container. Notebook 05: what a mount covers is still there.",
    "What you have mounted you may also unmount: you are root here.",
    "`umount /proc`, then look into `/proc/*/cmdline`. The words in there end with a zero byte.",
)
def a_look_outside(answer: Answer) -> str:
    """The answer, a container's command, has found a word that only a process outside knows."""
    word = f"word-{secrets.token_hex(8)}"
    script = 'sh -c "sleep 1000; :" "$1" & shift; exec "$@"'
    words = [*RUN, "sh", SH]
    with answer.command(*USER, "sh", "-c", script, "sh", word, *words) as run:
        run.wait()
        wanted = "the word in the file `found`"
        found = Path(answer.folder, "found")
        hint = "Your script stays in its folder and writes it there: `… > found`."
        expect(found.is_file(), wanted, "no such file", hint)
        text = found.read_text(errors="replace")
        expect(
            word in text,
            wanted,
            "a file without it" if text.strip() else "an empty file",
            "In the container's `/proc` there is nobody but the container. Whose `/proc` was there "
            "before?",
        )
        return "a word that only a process outside the container had"


def _names(numbers: set[int | None]) -> str:
    return " and ".join(sorted("nobody" if n is None else str(n) for n in numbers))


def _namespace(process: Process, kind: str) -> int:
    """Return a process's namespace of a kind; 0 for a process that has ended meanwhile."""
    try:
        return procfs.namespaces(process.pid)[kind]
    except (OSError, KeyError):
        return 0


def _capabilities(process: Process) -> int:
    return int(procfs.status(process.pid)["CapEff"], 16)


def _every_capability() -> int:
    return (2 << int(Path("/proc/sys/kernel/cap_last_cap").read_text())) - 1
