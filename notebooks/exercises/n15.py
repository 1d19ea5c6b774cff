"""Notebook 15: a container has a state."""

import fcntl
import json
import os

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect

# What the state says, and whether the lock is held.
CASES = {
    "web": ("running", True),
    "crashed": ("running", False),
    "job": ("stopped", False),
    "ending": ("stopped", True),
}


@exercise(
    "15.1",
    PYTHON,
    "`flock(folder, LOCK_SH | LOCK_NB)` fails with BlockingIOError where somebody holds LOCK_EX.",
    "Ask both: the state may say running after a crash, and a monitor lives on for a moment after "
    "it has noted the end.",
)
def who_is_alive(answer: Answer) -> str:
    """The answer names the one container whose state and lock agree that it runs."""
    held = []
    for name, (status, alive) in CASES.items():
        folder = answer.folder / "containers" / name
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"id": name, "status": status}))
        if alive:
            held.append(os.open(folder, os.O_RDONLY))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
    try:
        (found,) = answer.values("alive")
    finally:
        for descriptor in held:
            os.close(descriptor)
    expect(isinstance(found, list), "a list of names", type(found).__name__, "`alive = [ … ]`")
    names = ", ".join(sorted(map(str, found)))  # a folder's order is the disk's
    hint = "A state says running also after a crash: ask the lock."
    expect("crashed" not in found, "only those that run", names, hint)
    hint = "One that has noted its end runs no more, though its monitor holds the lock yet."
    expect("ending" not in found, "only those that run", names, hint)
    hint = "Its state says running, and its lock is held."
    expect(found == ["web"], "web", names or "nobody", hint)
    return "of four folders, the one whose container runs"


@exercise(
    "15.2",
    PYTHON,
    "A file that is opened to write is the same file for those who have it open.",
    "Write another file beside it, whole, and put it in its place with `os.rename`.",
)
def as_a_whole(answer: Answer) -> str:
    """A reader that has the file open gets the old state, one that comes later the new one."""
    path = answer.folder / "state.json"
    before = {"id": "0123456789ab", "name": "web", "status": "running", "pid": 42}
    path.write_text(json.dumps(before))
    with path.open() as reader:
        with answer.start() as run:
            run.wait()
        old = reader.read()
    expect(path.exists(), "a `state.json`", "none", "What is renamed is the new one.")
    try:
        after = json.loads(path.read_text())
    except ValueError:
        after = path.read_text()
    wanted = before | {"status": "stopped", "exit": 3}
    hint = '`state | {"status": "stopped", "exit": 3}`, written by `json.dump`.'
    expect(after == wanted, f"`{json.dumps(wanted)}`", f"`{after}`", hint)
    hint = "Its reader got the new one, or a mixture: it was written over."
    expect(old == json.dumps(before), "the old state for a slow reader", f"`{old}`", hint)
    left = sorted(entry.name for entry in answer.folder.iterdir() if entry.name.startswith("state"))
    hint = "A copy is left; `os.rename` takes the name away with the file."
    expect(left == ["state.json"], "one file", ", ".join(left), hint)
    return "the old state for a reader that came before, the new one for all others"


@exercise(
    "15.3",
    "mydocker/manage.py",
    "`containers()` yields a state for each; `ps` and `ps -a` show how the two differ.",
    'A state has an "id", and a "status".',
)
def only_the_ids(answer: Answer) -> str:
    """`ps -q` and `ps -aq` print IDs, `ps -a` prints what it did."""
    data = answer.folder / "data"
    ids = {"web": "aaaaaaaaaaaa", "job": "bbbbbbbbbbbb"}
    folders = {name: data / f"containers/{name}@x" for name in ids}
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        state = {"id": ids[name], "status": "running", "pid": 1, "created": 0, "words": ["sh"]}
        (folder / "state.json").write_text(json.dumps(state))
    monitor = os.open(folders["web"], os.O_RDONLY)
    fcntl.flock(monitor, fcntl.LOCK_EX)

    def said(*options: str) -> str:
        with answer.command("env", f"MYDOCKER_DATA={data}", *MYDOCKER, "ps", *options) as run:
            run.wait()
        return run.output

    hint = "A line for each container, its ID, and no header."
    found = said("-q").split()
    expect(found == [ids["web"]], f"`{ids['web']}` of `ps -q`", f"`{' '.join(found)}`", hint)
    hint = "With `-a` also those that have ended."
    found = sorted(said("-aq").split())
    wanted = sorted(ids.values())
    expect(found == wanted, f"`{' '.join(wanted)}` of `ps -aq`", f"`{' '.join(found)}`", hint)
    lines = said("-a").splitlines()
    hint = "`ps` and `ps -a` print their table as before."
    expect(len(lines) == 3 and "NAMES" in lines[0], "a table of `ps -a`", f"`{lines[:1]}`", hint)
    os.close(monitor)
    return "IDs alone, of those that run and of all"
