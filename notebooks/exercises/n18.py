"""Notebook 18: into a running container."""

import json
import secrets

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect

START = (
    'unshare --user --map-root-user --uts sh -c "hostname $0; exec sleep 1000" & echo $! > pid; '
    'until grep -qs sleep /proc/$!/comm; do :; done; exec "$@"'
)


@exercise(
    "18.1",
    PYTHON,
    "`os.pidfd_open(pid)` is a handle of the process, `linux.setns(handle, flags)` enters.",
    "A UTS namespace belongs to a user namespace: enter that, too, `CLONE_NEWUSER | CLONE_NEWUTS`.",
)
def the_name_in_there(answer: Answer) -> str:
    """The answer prints the host name that only its neighbour's namespace knows."""
    name = f"box-{secrets.token_hex(4)}"
    with answer.command("sh", "-c", START, name, MYDOCKER[0], PYTHON) as run:
        run.wait()
    found = run.output.strip()
    last = found.rpartition("\n")[2]  # what an error is called stands in its last line
    hint = "setns(2), then `os.uname().nodename`."
    expect(found == name, "the host name in there", f"`{last[-200:]}`", hint)
    return "a host name that is seen from inside alone"


@exercise(
    "18.2",
    "mydocker/join.py",
    "The state of a container that has ended has an `exit`.",
    "Raise an OSError with that sentence before `reach` raises its own.",
)
def what_became_of_it(answer: Answer) -> str:
    """`exec` tells the status of a container that has ended."""
    data = answer.folder / "data"
    for name, status in (("web", 3), ("job", 137)):
        folder = data / f"containers/{name}@x"
        folder.mkdir(parents=True)
        state = {"id": f"{name}0000", "status": "stopped", "pid": 0, "created": 0, "exit": status}
        more: dict[str, object] = {"environment": {}, "user": None, "cwd": None, "capabilities": []}
        (folder / "state.json").write_text(json.dumps(state | more | {"security_opt": []}))
        with answer.command(
            "env", f"MYDOCKER_DATA={data}", *MYDOCKER, "exec", f"{name}0", "true"
        ) as run:
            run.wait()
        wanted = f"container {name} has ended with {status}"
        hint = "The container's name, also where its ID was given, and the `exit` of its state."
        expect(f'"{wanted}"' in run.output, f"`{wanted}`", f"`{run.output.strip()}`", hint)
    return "a refusal that says what became of it"
