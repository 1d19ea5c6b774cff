"""Notebook 19: limits."""

import json
import resource
import sys

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect, observed

# Prints what the options ask the kernel for, or how they were refused.
ASK = """
import json, sys
from mydocker.options import Options, UsageError
try:
    print(json.dumps(Options([*sys.argv[1:], "--rootfs", "/", "true"]).limits))
except UsageError as error:
    print(json.dumps(str(error)))
"""


@exercise(
    "19.1",
    PYTHON,
    "`resource.setrlimit` is for the process that calls it, and for the children that it makes.",
    "`resource.prlimit(pid, …)` sets a limit of another process.",
    "Two numbers: the soft limit counts, and can be raised up to the hard one.",
)
def for_one_alone(answer: Answer) -> str:
    """The sleep has both limits at 20, the answer its own."""
    with observed(answer.start(), "a process `sleep 1000` that stays") as (run, sleep):

        def limits(pid: int) -> tuple[int, int]:
            return resource.prlimit(pid, resource.RLIMIT_NOFILE)

        soft, hard = run.eventually(lambda: limits(sleep.pid), (20, 20))
        hint = "`RLIMIT_NOFILE` is the one for open files."
        found = "more" if soft > 20 else "fewer"
        expect(soft == 20, "20 open files for the sleep", found, hint)
        hint = "Whatever is below the hard limit can be raised again. Set both."
        expect(hard == 20, "a hard limit of 20", hard, hint)
        hint = "A child inherits what its parent has, so set the limit for the child, not before."
        own = limits(run.program.pid)[0]
        expect(own > 20, "your program's own limit as it was", own, hint)
    return "a limit of one process"


@exercise(
    "19.2",
    "mydocker/limits.py",
    "One line in `LIMITS`, beside that of `--memory`.",
    "It is a number of bytes, and what understands one is there.",
)
def a_part_that_is_safe(answer: Answer) -> str:
    """`--memory-reservation` sets memory.low, beside the other limits."""

    def asked(*words: str) -> object:
        with answer.command(sys.executable, "-c", ASK, *words) as run:
            run.wait()
        try:
            return json.loads(run.output)
        except ValueError:
            return run.summary()

    found = asked("--memory-reservation", "32m")
    wanted = {"memory.low": 32 << 20}
    hint = "The option's name, the group's file, and what makes bytes of `32m`."
    expect(found == wanted, f"`{wanted}`", f"`{found}`", hint)
    found = asked("--memory", "64m", "--memory-reservation=33554432")
    wanted = {"memory.max": 64 << 20, "memory.low": 32 << 20}
    expect(found == wanted, f"`{wanted}`", f"`{found}`", "All others stay as they were.")
    found = asked("--memory-reservation", "much")
    hint = "What is no number of bytes is refused in a sentence."
    expect(isinstance(found, str), "a refusal of `much`", f"`{found}`", hint)
    return "memory.low, and all else as before"
