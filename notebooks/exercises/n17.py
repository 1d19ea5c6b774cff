"""Notebook 17: the right process."""

import json

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import SLEEP, expect
from labkit.exercise.sandboxed_run import SandboxedRun

START = 'trap "$0" TERM; sleep 1000 & echo $! > pid; trap - TERM; exec "$@"'


@exercise(
    "17.1",
    PYTHON,
    "A descriptor of `os.pidfd_open` can be waited for with `select`, which takes a time-out.",
    "`select.select([process], [], [], 1)[0]` is empty where it has not ended within a second.",
)
def stop_it(answer: Answer) -> str:
    """The answer ends a process that listens by SIGTERM, and one that ignores it by SIGKILL."""
    for action, wanted in (("-", "TERM"), ("", "KILL")):
        command = ("sh", "-c", START, action, MYDOCKER[0], PYTHON)
        with answer.outlived(*command) as run:
            _wait_for_end(run)
            who = "one that listens" if wanted == "TERM" else "one that ignores SIGTERM"
            hint = "SIGTERM can be ignored. SIGKILL can't."
            expect(_has_ended(run), f"the end of {who}", "a process that runs", hint)
            said = run.output.split()
            hint = "TERM where SIGTERM was enough, KILL where it was not; and nothing else."
            expect(said == [wanted], f"`{wanted}` for {who}", f"`{' '.join(said)}`", hint)
    return "asked first, and ended where that was not enough"


@exercise(
    "17.2",
    "mydocker/manage.py",
    "Where does `stop` know that a container has ended?",
    'A state has a "name".',
)
def stop_tells_names(answer: Answer) -> str:
    """`stop` prints the name of each container that it has stopped, in their order."""
    data = answer.folder / "data"
    for name in ("one", "two"):
        folder = data / f"containers/{name}@x"
        folder.mkdir(parents=True)
        state = {"id": f"{name}0000", "status": "stopped", "pid": 0, "created": 0, "exit": 0}
        (folder / "state.json").write_text(json.dumps(state))

    def said(*words: str) -> str:
        with answer.command("env", f"MYDOCKER_DATA={data}", *MYDOCKER, *words) as run:
            run.wait()
        return run.output

    found = said("stop", "two", "one0").split()
    hint = "The name, not the ID, also where an ID was given; in the order of the words."
    expect(found == ["two", "one"], "`two one` of `stop two one0`", f"`{' '.join(found)}`", hint)
    hint = "Only `stop` tells names."
    found = said("rm", "two").split()
    expect(not found, "nothing of `rm two`", f"`{' '.join(found)}`", hint)
    return "the name of each that has ended"


def _wait_for_end(run: SandboxedRun) -> None:
    run.until(lambda: run.find("sleep", "2000"))


def _has_ended(run: SandboxedRun) -> bool:
    """Wait for the end of the process that was to be ended: a SIGKILL takes a moment."""
    return bool(run.until(lambda: not run.find(*SLEEP)))
