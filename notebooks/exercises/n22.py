"""Notebook 22: a network."""

import contextlib
import json
import sys

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect
from labkit.exercise.sandboxed_run import SandboxedRun

# Prints what three calls of `take` return or raise, while 2 and 5 are another process's.
TAKE = """
import fcntl, json, os, signal
from mydocker import addresses
hear, say = os.pipe()
if os.fork() == 0:
    other = open("addresses", "w")
    for number in (2, 5):
        fcntl.lockf(other, fcntl.LOCK_EX, 1, number)
    os.write(say, b"x")
    signal.pause()
os.read(hear, 1)
network = {"name": "demo", "subnet": "10.44.0.0/24", "gateway": "10.44.0.1", "bits": 24}
network["file"] = os.open("addresses", os.O_RDWR)
for words in ({}, {"wanted": 7}, {"wanted": 5}):
    try:
        print(json.dumps(addresses.take(network, **words)))
    except (OSError, TypeError) as error:
        print(json.dumps(str(error.args[-1])))
"""


@exercise(
    "22.1",
    PYTHON,
    "`fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)` locks byte `number`.",
    'BlockingIOError: somebody has it. `open("places", "a+")` makes the file where there is none.',
)
def one_of_five(answer: Answer) -> str:
    """Whoever ends, however, leaves a number; six at once are one too many."""

    def begin() -> tuple[SandboxedRun, str]:
        run = stack.enter_context(answer.start())
        run.until(lambda: "\n" in run.output or run.status is not None)
        return run, run.output.strip()

    with contextlib.ExitStack() as stack:
        runs = [begin() for _ in range(5)]
        found = ", ".join(said for _, said in runs)
        hint = "Each locks the lowest byte that nobody has, and keeps the file open."
        expect(found == "0, 1, 2, 3, 4", "0, 1, 2, 3, 4", f"`{found}`", hint)
        sixth, said = begin()
        sixth.until(lambda: sixth.status is not None)
        hint = "When no byte is free: `full`, and status 1."
        expect((said, sixth.status) == ("full", 1), "`full` and 1", f"`{said}`", hint)
        runs[3][0].close()
        hint = "What the kernel shall take back must not be written anywhere."
        expect((said := begin()[1]) == "3", "3, after that one was killed", f"`{said}`", hint)
    return "a place for each, and none lost"


@exercise(
    "22.2",
    "mydocker/addresses.py",
    "A wanted number is one to try in place of all: `[wanted]`.",
    "Where `lock` returns False, the sentence is another one.",
)
def the_address_that_you_want(answer: Answer) -> str:
    """`take` gives a wanted number, or refuses; without one, the lowest that is free."""
    with answer.command(sys.executable, "-c", TAKE) as run:
        run.until(lambda: run.output.count("\n") >= 3 or run.status is not None)
    try:
        found = [json.loads(line) for line in run.output.splitlines()]
    except ValueError:
        found = [run.output.strip()]
    wanted = [[3, "10.44.0.3"], [7, "10.44.0.7"], "number 5 is taken"]
    hint = "2 and 5 are taken: wanted are none, 7, 5."
    expect(found == wanted, f"`{wanted}`", f"`{found}`", hint)
    return "the number that is wanted, or a refusal"
