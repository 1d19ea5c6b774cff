"""Notebook 24: published ports."""

import sys

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect

# Starts a program, reads a port's number, and calls there twice: prints where the answers are from.
CALLS = """
import os, socket, subprocess, sys
program = subprocess.Popen([sys.executable, sys.argv[1]], stdout=subprocess.PIPE, text=True)
port = program.stdout.readline().strip()
for _ in range(2) if port.isdecimal() else ():
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=60) as caller:
            said = b"".join(iter(lambda: caller.recv(100), b"")).decode(errors="replace")
        here, there = (os.readlink(f"/proc/{pid}/ns/net") for pid in ("self", program.pid))
        known = {there: "from a network of its own", here: "from the network out here"}
        print(known.get(said, "something else"))
    except OSError as error:
        print(error.strerror or "no answer")
        break
else:
    print("" if port.isdecimal() else "no number")
program.kill()
"""

# Publishes ports, and prints what is published, the number that the kernel chose as PORT.
PUBLISH = """
import re
from types import SimpleNamespace as Options
from mydocker.options import UsageError
from mydocker.ports import Ports
for setting in GIVEN:
    try:
        [name] = Ports(Options(ports=[setting])).names
        print(re.sub(r":\\d{4,}-", ":PORT-", name))
    except UsageError:
        print("refused")
"""


@exercise(
    "24.1",
    PYTHON,
    '`listener = socket.create_server(("127.0.0.1", 0))`, and `listener.getsockname()[1]`.',
    "`linux.unshare(linux.CLONE_NEWNET)`, with `from mydocker import linux`, and then `accept`.",
)
def two_feet(answer: Answer) -> str:
    """The program is in a network of its own, and answers at a port out here, twice."""
    with answer.command(sys.executable, "-c", CALLS, PYTHON) as run:
        run.wait()
    wanted = "from a network of its own"
    for said in (*run.output.splitlines(), "nothing", "nothing")[:2]:
        hint = {
            "no number": "Listen, then leave; and print the number alone, with `flush=True`.",
            "from the network out here": "`linux.unshare` comes before `accept`.",
        }.get(said, "A socket stays in the network where it was made; a second caller may come.")
        expect(said == wanted, f"two answers {wanted}", said, hint)
    return "a network of its own, and a socket out here"


@exercise(
    "24.2",
    "mydocker/ports.py",
    "What stands in front of the words when there are three, two, one of them?",
    'Port `"0"` is any that is free.',
)
def any_port_out_here(answer: Answer) -> str:
    """One number is a container's port, which any free one out here leads to."""
    wanted = {"80": "127.0.0.1:PORT->80/tcp", "127.0.0.2:0:81": "127.0.0.2:PORT->81/tcp"}
    wanted |= {"0:82": "127.0.0.1:PORT->82/tcp"}
    wanted |= dict.fromkeys(("0", "", "x", ":80", "1:2:3:4"), "refused")
    with answer.command(sys.executable, "-c", PUBLISH.replace("GIVEN", repr([*wanted]))) as run:
        run.wait()
    found = [*run.output.splitlines(), *[""] * len(wanted)]
    for (setting, line), said in zip(wanted.items(), found, strict=False):
        hint = "One number is the port in there." if setting == "80" else "All else is as before."
        expect(said == line, f"`{line}` for `-p {setting}`", f"`{said}`", hint)
    return "a port in there, and the kernel's choice out here"
