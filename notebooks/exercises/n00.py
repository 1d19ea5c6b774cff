"""Notebook 00: what a container is made of."""

from labkit import procfs
from labkit.exercise import PYTHON, SH, Answer, exercise
from labkit.exercise.observe import STAYS, expect, expect_guesses, ids_inside, listed, observed
from labkit.netlink import links

WAIT = (
    "The last thing that your line starts should be exactly `sleep 1000`, and not in the "
    "background: `check` looks while it sleeps."
)
SYNTAX = (
    "The shell could not read your line; what it says stands below. Is a quote or a bracket open?"
)
HINTS = {"yntax error": SYNTAX, "unexpected EOF": SYNTAX, "": WAIT}
WHY = {
    "number": "The kernel starts to count again in a new PID namespace, whatever `ps` may say.",
    "alone": "`/proc` is a mounted file system. Who mounted this one, and in which PID namespace?",
}
FIVE = {"uts": "--uts", "pid": "--pid --fork", "mnt": "--mount", "net": "--net", "ipc": "--ipc"}


@exercise(
    "00.1",
    SH,
    "Which of the five kinds of namespace holds the host name? Experiment 1 used it.",
    "`--ipc` has to go, and `--uts` takes its place.",
)
def a_name_of_its_own(answer: Answer) -> str:
    """The sleep's host name is box, and the sandbox's is as before."""
    with observed(answer.start(), STAYS, HINTS, crash="", blocked=True) as (run, sleep):
        outside = run.program.ppid
        run.until(lambda: "box" in (procfs.hostname(sleep.pid), procfs.hostname(outside)))
        inside, named = procfs.hostname(sleep.pid), procfs.hostname(outside)
        expect(
            named == "lab",
            "a host name outside that is still `lab`",
            f"`{named}` outside",
            "`hostname` ran in the UTS namespace that everybody shares. Which option of `unshare` "
            "asks for a new one?",
        )
        expect(
            inside == "box",
            "the host name `box` where the sleep runs",
            f"`{inside}`",
            "The name belongs to the new namespace. Both `hostname` and `sleep` must run in the "
            "same one: `sh -c '…; …'`.",
        )
        return "`box` where the sleep runs, `lab` outside"


@exercise(
    "00.2",
    PYTHON,
    "Experiment 2 without `--mount-proc`: run it in the shell above, and look at what `ps` lists.",
    "The kernel counts in the new PID namespace, but the `/proc` that is there was mounted for "
    "the old one.",
)
def who_is_number_1(answer: Answer) -> str:
    """The sleep is in a new PID namespace, with the old /proc, and the predictions are right."""
    command, number, alone = answer.values("command", "number", "alone")
    run = answer.command("sh", "-c", str(command))
    with observed(run, STAYS, HINTS, crash="", blocked=True) as (_, sleep):
        shown = listed(sleep.pid)
    expect(
        len(sleep.pids) == 3,
        "`sleep 1000` in a new PID namespace",
        "it is in the old one" if len(sleep.pids) < 3 else "more than one new one",
        "`--pid` begins a new count for the *next* process, and `--fork` starts that one.",
    )
    expect(
        sleep.pids[-1] == 1,
        "`sleep 1000` started by `unshare` itself",
        f"it is number {sleep.pids[-1]}: something else was there first",
        "Is that a shell? `unshare` starts a command without one.",
    )
    expect(
        len(shown) > 1,
        "a `/proc` that was mounted for the old namespace",
        "a `/proc` that shows the sleep alone",
        "Leave `--mount-proc` out: this is about what happens without.",
    )
    form = "Guess: the kernel will tell. Numbers, `True` and `False` are written without quotes."
    guesses, kernel = {"number": number, "alone": alone}, {"number": sleep.pids[-1], "alone": False}
    expect_guesses(guesses, kernel, form, "`{}` as the kernel shows it", WHY)
    return f"the sleep is number {number}, and its `/proc` tells about the others: as you predicted"


@exercise(
    "00.3",
    SH,
    "Begin with the command of the section “All five together”. It ends in `sh`, which can take "
    "`-c '…; …; sleep 1000'`.",
    "Inside, three commands: `hostname box`, then `ip link set lo up`, then `exec sleep 1000`. "
    "With `exec` the shell becomes the sleep and hands on its number 1.",
)
def a_container_in_one_line(answer: Answer) -> str:
    """The sleep is PID 1 in five namespaces, has its /proc, its name, and lo is up."""
    with observed(answer.start(), STAYS, HINTS, crash="", blocked=True) as (run, sleep):
        outside = run.program.ppid
        own, shared = procfs.namespaces(sleep.pid), procfs.namespaces(outside)
        missing = [kind for kind in FIVE if own[kind] == shared[kind]]
        expect(
            not missing,
            "`sleep 1000` in five new namespaces",
            f"it shares {', '.join(missing)} with the outside",
            f"Add `{' '.join(FIVE[kind] for kind in missing)}`.",
        )
        expect(
            sleep.pids[-1] == 1,
            "`sleep 1000` as PID 1",
            f"it is PID {sleep.pids[-1]}",
            "Somebody else is number 1, a shell perhaps. `exec sleep 1000` makes the shell "
            "*become* the sleep.",
        )
        shown = listed(sleep.pid)
        beside = sum(len(process.pids) == len(sleep.pids) for process in run.processes()) > 1
        hint = "`--mount-proc` mounts a new one."
        if shown and beside:
            hint = "Is something else started in there, with `&` perhaps? Nobody buries it, either."
        expect(
            shown == {1},
            "a `/proc` that shows the sleep alone",
            "a `/proc` that tells about others, too" if shown else "an empty `/proc`",
            hint,
        )
        name = run.eventually(lambda: procfs.hostname(sleep.pid), "box")
        hint = "Let a shell inside set the name before it becomes the sleep."
        expect(name == "box", "the host name `box` inside", f"`{name}`", hint)
        expect(
            procfs.hostname(outside) == "lab",
            "a host name outside that is still `lab`",
            f"`{procfs.hostname(outside)}` outside",
            "Set the name inside, after `unshare`.",
        )
        expect(
            run.eventually(lambda: {n.name: n.up for n in links(sleep.pid)}.get("lo"), True),
            "an interface `lo` that is up inside",
            "`lo` is down",
            "A new network namespace has a `lo` that is down: `ip link set lo up`, inside.",
        )
        return "PID 1 in five namespaces of its own, called `box`, with its own `/proc` and `lo`"


@exercise(
    "00.4",
    SH,
    "The namespace is new, but no user of the outside has a number in it yet. Which of the options "
    "that begin with `--map-` gives you root's?",
    "`--map-root-user`, or `-r` for short, makes you number 0 in it.",
)
def root_of_nothing(answer: Answer) -> str:
    """The sleep is user 0 of a user namespace that is not the sandbox's."""
    with observed(answer.start(), STAYS, HINTS, crash="", blocked=True) as (run, sleep):
        expect(
            procfs.namespaces(sleep.pid)["user"] != procfs.namespaces(run.program.ppid)["user"],
            "`sleep 1000` in a new user namespace",
            "it shares the one outside",
            "Root of the outside is not what is asked. `unshare --user` makes a new one.",
        )
        user = run.eventually(lambda: ids_inside(sleep, "uid")[1], 0)
        expect(
            user == 0,
            "`sleep 1000` as user 0 in it",
            "a user without a number inside: 65534, nobody" if user is None else f"user {user}",
            "A new user namespace is empty: its `uid_map` must say who outside is who inside. "
            "`unshare` has an option that writes it."
            if user is None
            else "It has a number, but not root's. One option of unshare maps you to root.",
        )
        return "user 0 in a user namespace of its own, and its `uid_map` says who that is outside"
