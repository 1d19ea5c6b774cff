"""Notebook 26: create and start."""

import json
import os
import stat
import sys

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect, keeps_running, rests
from labkit.exercise.root import make_root

OCI = ("unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "mydocker.oci")
# Prints for each command what `command_of` says to it.
ASK = """
import os, sys
from mydocker import ocinit
for name in sys.argv[1:]:
    try:
        found = ocinit.command_of({"args": [name, "x"], "env": ["PATH=one:two", "A=b=c"]})
        print(name, *found.words, *found.environment.values())
    except OSError as error:
        print(name, error.errno and os.strerror(error.errno), error.filename)
"""
HERE, DENIED, NONE = (
    "{0} {0} x one:two b=c",
    "{0} Permission denied {0}",
    "{0} No such file or directory {0}",
)


@exercise(
    "26.1",
    PYTHON,
    "`open` waits at a FIFO until somebody opens the other end.",
    '`open("go").read(1)` returns when something has been written.',
)
def on_your_marks(answer: Answer) -> str:
    """The program waits at its FIFO, and becomes the sleep when somebody has written."""
    go = answer.folder / "go"
    wanted = "a program that waits at a FIFO `go`"
    hint = "Read from `go` before the program becomes `sleep`."
    with keeps_running(answer.start(), wanted, hint) as run:
        there = run.until(lambda: go.exists() and stat.S_ISFIFO(go.stat().st_mode))
        expect(there and run.is_blocked(), wanted, run.summary(), hint)
        rests(run)
        waiting = run.program.pid
        expect(not run.find("sleep", "1000"), wanted, "a sleep already", hint)
        try:
            say = os.open(go, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads there
            say = None
        expect(say is not None, wanted, "one that does not open it to read", hint)
        hint = "`open` returns when somebody opens the other end. Read a byte: that is the word."
        with os.fdopen(say or -1, "wb", 0) as word:
            run.is_blocked()
            found = "a sleep before anything was written"
            expect(not run.find("sleep", "1000"), wanted, found, hint)
            word.write(b"s")
        sleep = run.until(lambda: run.find("sleep", "1000"))
        hint = "With one byte it shall go on: `read(1)`, then exec."
        expect(sleep, "a sleep, once somebody has written", run.summary(), hint)
        same = sleep is not None and sleep.pid == waiting
        expect(same, "the same process, become `sleep`", "another one", "exec, not fork.")
    return "a process that waits at a FIFO, and then becomes its command"


@exercise(
    "26.2",
    "mydocker/ocinit.py",
    "`os.get_exec_path(variables)` gives the folders, `os.access(path, os.X_OK)` says yes or no.",
    "`OSError(code, os.strerror(code), name)`, with `errno.ENOENT` or `errno.EACCES`.",
)
def told_at_once(answer: Answer) -> str:
    """A command that is not there, or is no program, is refused with its name, in `create`."""
    for name, mode in ("one/plain", 0o644), ("two/good", 0o755), ("two/plain", 0o644):
        path = answer.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
        path.chmod(mode)
    wanted = {"good": HERE, "./two/good": HERE, "nosuch": NONE, "./good": NONE}
    wanted |= {"plain": DENIED, "./one/plain": DENIED}
    with answer.command(sys.executable, "-c", ASK, *wanted) as run:
        run.wait()
    found = dict(zip(wanted, run.output.splitlines(), strict=False))
    hints = {
        HERE: "In any of the folders is enough; a name with `/` is no matter of PATH.",
        NONE: "ENOENT, where no file is there.",
        DENIED: "EACCES, where a file is there that can't be executed.",
    }
    for name, form in wanted.items():
        line = form.format(name)
        expect(found.get(name) == line, line, found.get(name) or run.summary(), hints[form])
    make_root(answer.folder / "rootfs", "true")
    process = {"args": ["nosuch"], "env": ["PATH=/bin"], "cwd": "/"}
    namespaces = {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    config = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "linux": namespaces}
    (answer.folder / "config.json").write_text(json.dumps(config | {"process": process}))
    with answer.command(*OCI, "--root", "states", "create", "--bundle", ".", "one") as run:
        run.wait()
    said = "No such file or directory: 'nosuch'"
    hint = "`be_init` calls `command_of` before it says PREPARED: `create` hears no more then."
    told = run.status == 1 and said in run.output
    expect(told, f"a `create` that fails: {said}", run.summary(), hint)
    left = [path.name for path in (answer.folder / "states").iterdir()]
    expect(not left, "no state that is left", f"{left}", hint)
    return "a sentence before anything runs"
