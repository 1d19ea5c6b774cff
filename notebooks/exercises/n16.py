"""Notebook 16: detached."""

import json
import os
import secrets
from pathlib import Path

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import SLEEP, expect


@exercise(
    "16.1",
    PYTHON,
    "`subprocess.Popen` has an argument for a new session, and one for each of the three streams.",
    "`start_new_session=True`; `subprocess.DEVNULL` for stdin, stdout and stderr.",
)
def let_go(answer: Answer) -> str:
    """The answer has ended; its sleep has a session and no stream of ours."""
    with answer.outlived(MYDOCKER[0], PYTHON) as run:
        run.until(lambda: run.find("sleep", "2000") or run.status is not None)
        sleep = run.until(lambda: run.find(*SLEEP))  # its words come a moment after its exec
        hint = "`Popen` does not wait; the program ends, the `sleep` stays."
        expect(sleep, "a process `sleep 1000` that stays", run.summary(), hint)
        pid = sleep.pid if sleep else 0
        hint = "`start_new_session=True` calls setsid(2)."
        expect(os.getsid(pid) == pid, "a session of its own", "the session of your program", hint)
        for fd, name in enumerate(("input", "output", "errors")):
            found = str(Path(f"/proc/{pid}/fd/{fd}").readlink()).partition(":")[0]
            expect(found == "/dev/null", f"/dev/null as its {name}", found, "`subprocess.DEVNULL`")
    return "a process that no terminal ends and no reader waits for"


@exercise(
    "16.2",
    PYTHON,
    "A record is a line `TIME LENGTH`, and LENGTH bytes behind it.",
    "`readline` for the one, `read(int(length))` for the other, as long as there is a line.",
)
def read_a_log(answer: Answer) -> str:
    """The answer's file holds the bytes of each record and nothing else."""
    pieces = [b"one\n", secrets.token_bytes(200), b"\n\n", b"2026-01-01 5\n", b"end"]
    with (answer.folder / "log").open("wb") as file:
        for number, piece in enumerate(pieces):
            file.write(f"2026-11-26T12:00:0{number}.000+00:00 {len(piece)}\n".encode() + piece)
    with answer.start() as run:
        run.wait()
    path = answer.folder / "written"
    expect(path.is_file(), "a file `written`", "none", "In the folder where the program starts.")
    written = path.read_bytes()
    hint = "Times and lengths belong to the log, not to what was written."
    expect(b"2026-11-26T" not in written, "no times", "times", hint)
    hint = "Read as many bytes as the line says; a newline may be one of them."
    wanted = b"".join(pieces)
    found = f"{len(written)} bytes, others than these"
    expect(written == wanted, f"{len(wanted)} bytes as they were written", found, hint)
    return "what a container wrote, byte for byte"


@exercise(
    "16.3",
    "mydocker/manage.py",
    'A pattern for a rest of any length: `case ["rm", *names]`.',
    "For each name: wait, then print.",
)
def wait_for_several(answer: Answer) -> str:
    """`wait` prints the statuses of those that are named, in their order."""
    data = answer.folder / "data"
    for name, status in (("one", 3), ("two", 0), ("three", 137)):
        folder = data / f"containers/{name}@x"
        folder.mkdir(parents=True)
        state = {"id": name, "status": "stopped", "pid": 0, "created": 0, "exit": status}
        (folder / "state.json").write_text(json.dumps(state))

    def said(*names: str) -> str:
        with answer.command("env", f"MYDOCKER_DATA={data}", *MYDOCKER, "wait", *names) as run:
            run.wait()
        return run.output

    hint = "One container is waited for as before."
    expect(said("one") == "3\n", "`3` of `wait one`", f"`{said('one').strip()}`", hint)
    found = said("three", "one", "two").split()
    hint = "A line for each, in the order of the names."
    expect(found == ["137", "3", "0"], "`137 3 0` of three", f"`{' '.join(found)}`", hint)
    return "three statuses, in the order of the names"
