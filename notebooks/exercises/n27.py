"""Notebook 27: nobody stays."""

import json
import sys

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect, fail_if_crashed, hint_for
from labkit.exercise.root import make_root

OCI = ("unshare", "--user", "--map-root-user", "--mount", sys.executable, "-m", "mydocker.oci")
# Notes when two processes were made; asks the answer, also for a PID that no process can have.
TWO = """
sh -c 'printf "odd) S 1" > /proc/$$/comm; sleep 1000 & wait' & odd=$!
sleep 1000 & plain=$!
until grep -q odd /proc/$odd/comm; do :; done
for pid in $plain $odd; do sed 's/.*) //' /proc/$pid/stat | cut -d ' ' -f 20; done > made
exec "$0" "$1" $plain $odd 4194304
"""


@exercise(
    "27.1",
    "mydocker/oci.py",
    'A function `run(folder, given)`, and `"run": run` in `WORDS`.',
    "The words are functions here: `create(folder, given)`, then the PID that `look_up` knows.",
    "`os.waitpid(pid, 0)` returns the PID and the status; `main` takes what your function returns.",
)
def all_in_one(answer: Answer) -> str:
    """`run` starts a bundle, waits for it, has its status, and leaves no state."""
    folder = answer.folder
    make_root(folder / "rootfs", "sh")
    for status in (7, 0):
        script = f"echo in here; exit {status}"
        process = {"args": ["sh", "-c", script], "env": ["PATH=/bin"], "cwd": "/"}
        namespaces = {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
        config = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "linux": namespaces}
        (folder / "config.json").write_text(json.dumps(config | {"process": process}))
        with answer.command(*OCI, "--root", "states", "run", "--bundle", ".", "one") as run:
            run.until(lambda: run.status is not None)
        hints = {
            "no such word": '`"run": run` in `WORDS`, by which `main` finds it.',
            "": "`create` alone lets it wait at the FIFO: `start(folder, given)` as well.",
        }
        hint = hint_for(run, hints)
        expect("in here" in run.output, "a command that runs", run.summary(), hint)
        hint = "`return` the status: `linux.exit_status(os.waitpid(pid, 0)[1])`."
        expect(run.status == status, f"the status {status}", run.summary(), hint)
        left = [path.name for path in (folder / "states").iterdir()]
        expect(not left, "no state that is left", f"{left}", "`delete` is part of it.")
    return "a container from its beginning to its end"


@exercise(
    "27.2",
    PYTHON,
    'The last `)` ends the name: `rpartition(")")`. What follows begins with field 3.',
    "To open the file of a process that is gone raises FileNotFoundError.",
)
def the_second_number(answer: Answer) -> str:
    """The program prints when each process was made, whatever its name, and which is gone."""
    with answer.command("sh", "-c", TWO, sys.executable, PYTHON) as run:
        run.wait()
    fail_if_crashed(run, "a line for each process", "Where there is no such file, it is `gone`.")
    found = [*run.output.splitlines(), *["nothing"] * 3]
    made = [*(answer.folder / "made").read_text().split(), "gone"]
    wanted = {
        "the time of a `sleep`": "Field 22; the PID is field 1, and a list begins with 0.",
        "the time of `odd) S 1`": "A `)` and spaces are in its name. Count from the last `)`.",
        "`gone` for another": "Where there is no such file, it is `gone`.",
    }
    for (what, hint), right, line in zip(wanted.items(), made, found, strict=False):
        expect(line == right, what, line, hint)
    return "what a PID lacks to be a name"
