"""Notebook 28: podman."""

import json
import sys

from labkit.exercise import SH, Answer, exercise
from labkit.exercise.observe import expect, fail_if_crashed

# In place of a runtime: says who it is, and what it was asked.
STAND_IN = """#!/bin/sh
echo "pid $$"
for word; do echo "word $word"; done
exit 3
"""
WORDS = ("--log", "a  b", "create", "*", "")
UNKNOWN = {
    "hooks": {"prestart": [{"path": "/x"}]},
    "linux": {"seccomp": {"a": [{"b": 1}, {"b": 2}]}},
}
KNOWN = {"hostname": "box", "linux": {"seccomp": {}, "maskedPaths": ["/proc/keys"]}}
# Prints what `refuse_unknown` says to each.
ASK = """
import json, sys
from mydocker.config import refuse_unknown
for text in sys.argv[1:]:
    try:
        print("granted", refuse_unknown(json.loads(text)))
    except OSError as error:
        print(error)
"""


@exercise(
    "28.1",
    SH,
    '`echo "$@" >> words` appends a line.',
    "To become it, and not to be above it: `exec`, then its path and all the words.",
)
def a_spy_that_lets_through(answer: Answer) -> str:
    """Two calls are two lines in a file; the runtime gets the same words in the same process."""
    runtime = answer.folder / "runtime"
    runtime.write_text(STAND_IN)
    runtime.chmod(0o755)
    call = f'RUNTIME=./runtime sh {SH} "$@" & wait $!; echo "ended $? of $!"'
    for _ in range(2):
        with answer.command("sh", "-c", call, "sh", *WORDS) as run:
            run.wait()
    lines = run.output.splitlines()
    words = [line.removeprefix("word ") for line in lines if line.startswith("word")]
    hint = "Append to `words`, then become `$RUNTIME`, with the same words."
    hint = '`"$@"`, in quotes.' if words else hint
    expect(words == list(WORDS), "the words as they came", words or "none", hint)
    *_, (_, status, _, child) = [line.split() for line in lines if line.startswith("ended")]
    expect(status == "3", "the runtime's status", status, "With `exec`, it is the spy's own.")
    hint = "`exec`: conmon waits for the process that it has called."
    expect(f"pid {child}" in lines, "the runtime in the spy's place", "a child of it", hint)
    path = answer.folder / "words"
    noted = path.read_text().splitlines() if path.exists() else []
    expect(len(noted) == 2, "a line for each call", f"{len(noted)} lines", "`>>` appends.")
    expect("create" in noted[-1], "the words in it", noted[-1], '`echo "$@"`')
    return "a runtime that does not notice that it is watched"


@exercise(
    "28.2",
    "mydocker/config.py",
    "One function that finds, and one that raises, once, with what was found.",
    "A generator finds: `yield field`, and `yield from` for the parts.",
)
def all_that_is_refused(answer: Answer) -> str:
    """The error names each field that is not implemented, once, and comes only where one is."""
    asked = (json.dumps(UNKNOWN | {"intelRdt": 1}), json.dumps(KNOWN))
    with answer.command(sys.executable, "-c", ASK, *asked) as run:
        run.wait()
    fail_if_crashed(run, "a sentence", "`refuse_unknown(value)` raises an OSError, or returns.")
    said, granted = [*run.output.splitlines(), "", ""][:2]
    expect(granted == "granted None", "nothing refused where all is known", granted, "Only if any.")
    for field in ("hooks.prestart.path", "linux.seccomp.a.b", "intelRdt"):
        hint = "Go on where one is found."
        expect(field in said, f"a sentence that names {field}", said, hint)
        hint = "`dict.fromkeys` keeps each once, in order: a filter has hundreds of one field."
        expect(said.count(field) == 1, f"{field} once", said, hint)
    return "a sentence with all that is missing"
