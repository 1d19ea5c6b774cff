"""Notebook 08."""

from tests.answers.stub import solved

INIT = """
import os, signal, sys
from labkit import linux
command = sys.argv[1:]
pid = linux.clone({flags})
if pid == 0:
    {before}
    child = os.fork()
    if child == 0:
        os.execvp(command[0], command)
    {wait}
_, status = os.waitpid(pid, 0)
{end}
"""
PID = "linux.CLONE_NEWPID"
ONE = "_, status = os.waitpid(child, 0); os._exit(os.waitstatus_to_exitcode(status))"
ANY = "_, status = os.wait(); os._exit(os.waitstatus_to_exitcode(status))"
LOOP = "[None for _ in iter(os.wait, None) if _[0] == child and os._exit(_[1] >> 8)]"
END = "sys.exit(os.waitstatus_to_exitcode(status))"
FIRST_FAILURE = "[0 for p, s in iter(os.wait, None) if (p == child or s) and os._exit(s >> 8)]"
KEPT = """
    ended = code = 0
    while ended != child:
        ended, status = os.wait()
        code = code or os.waitstatus_to_exitcode(status)
    os._exit(code)"""
LAST_FAILURE = """
    ended = code = 0
    while ended != child:
        ended, status = os.wait()
        code = os.waitstatus_to_exitcode(status) or code
    os._exit(code)"""
SHIFTED = """
    ended = 0
    while ended != child:
        ended, status = os.wait()
    os._exit(status >> 8)"""
ALL = """
    while True:
        try:
            _, status = os.wait()
        except ChildProcessError:
            os._exit(os.waitstatus_to_exitcode(status))"""
ITS_OWN = """
    code = 0
    while True:
        try:
            ended, status = os.wait()
            code = os.waitstatus_to_exitcode(status) if ended == child else code
        except ChildProcessError:
            os._exit(code)"""
WAITS = """
    ended = 0
    while ended != child:
        ended, status = os.wait()
    import time
    end = time.{clock}() + {seconds}
    {late}
    os._exit(os.waitstatus_to_exitcode(status))"""
LATE = WAITS.format(clock="monotonic", seconds=9, late="time.sleep(9)")
LATE_AND_BUSY = WAITS.format(
    clock="process_time", seconds=9, late="while time.process_time() < end: pass"
)
AGAIN = """
    ended = 0
    while ended != child:
        ended, status = os.waitpid(-1, os.WNOHANG)
    os._exit(os.waitstatus_to_exitcode(status))"""
IF = "    if number == signal.SIGTERM:\n        number = signal.SIGINT\n"
IGNORE = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
FORKS = """
import os, signal
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
while True:
    os.wait()
"""

WRONG = {
    "08.1": [
        (INIT.format(flags=PID, before="", wait=ONE, end=END), "20 zombies"),
        (INIT.format(flags=PID, before="", wait=ANY, end=END), "must not end before"),
        (INIT.format(flags=PID, before="", wait=LOOP, end=""), "two steps"),
        (INIT.format(flags=PID, before=IGNORE, wait=ONE, end=END), "ignores SIGCHLD"),
        (INIT.format(flags="0", before="", wait=LOOP, end=END), "CLONE_NEWPID"),
        ("print('PID 1: no zombies')", "must not end before"),
        (INIT.format(flags=PID, before="", wait=FIRST_FAILURE, end=END), "must not end before"),
        (INIT.format(flags=PID, before="", wait=KEPT, end=END), "Whose status counts"),
        (INIT.format(flags=PID, before="", wait=LAST_FAILURE, end=END), "Whose status counts"),
        (INIT.format(flags=PID, before="", wait=SHIFTED, end=END), "knows nothing of signals"),
        (INIT.format(flags=PID, before="", wait=ALL, end=END), "when the command was it"),
        (INIT.format(flags=PID, before="", wait=ITS_OWN, end=END), "when the command was it"),
        (INIT.format(flags=PID, before="", wait=LATE, end=END), "ends at once"),
        (INIT.format(flags=PID, before="", wait=LATE_AND_BUSY, end=END), "ends at once"),
        (INIT.format(flags=PID, before="", wait=AGAIN, end=END), "again and again"),
    ],
    "08.2": [
        (solved("08.2", "if number == signal.SIGTERM", "if True"), "Only SIGTERM"),
        (solved("08.2", "number = signal.SIGINT", "print('SIGINT')"), "got SIGTERM"),
        (solved("08.2", "signal.SIGTERM", "SIGTERM"), "says why not"),
        (
            solved(
                "08.2",
                IF,
                "",
                "leads else command, number)",
                "leads else command, number)\n    if number == 15:\n        number = 2",
            ),
            "before the signal is sent",
        ),
        (solved("08.2", IF, "    number = {15: 2, 2: 15}.get(number, number)\n"), "Only SIGTERM"),
        (solved("08.2", IF, f"{IF}        os.killpg(command, 15)\n"), "replaces it"),
        (solved("08.2", IF, "    if number == 15:\n        os.kill(command, 2)\n"), "replaces it"),
        (solved("08.2", IF, "    if number in (1, 15):\n        number = 2\n"), "Only SIGTERM"),
        (solved("08.2", IF, "    if number in (12, 15):\n        number = 2\n"), "Only SIGTERM"),
        (solved("08.2", IF, "    if number <= 15:\n        number = 2\n"), "Only SIGTERM"),
        (solved("08.2", IF, "    if number in (15, 28):\n        number = 2\n"), "Only SIGTERM"),
        (solved("08.2", IF, f"{IF}        os.kill(command, number)\n"), "replaces it"),
        (solved("08.2", IF, f"{IF}    os.kill(command, number)\n"), "replaces it"),
        (
            solved("08.2", IF, f"{IF}    if number == 1:\n        os.kill(command, 1)\n"),
            "replaces it",
        ),
        (solved("08.2", IF, f"{IF}    if number > 31:\n        return\n"), "says why not"),
    ],
    "08.3": [
        ('prediction = {"A": 143, "B": 137, "C": 143, "D": 4}', "no handler"),
        ('prediction = {"A": 3, "B": 137, "C": 143, "D": 4}', "from outside"),
        ('prediction = {"A": 3, "B": 3, "C": 3, "D": 4}', "somebody else is PID 1"),
        ('prediction = {"A": 3, "B": 3, "C": 143, "D": 3}', "sets up a handler"),
        ('prediction = {"A": "3", "B": "3", "C": "143", "D": "4"}', "a number from 0 to 255"),
        ("print(3, 3, 143, 4)", "Write `prediction = …`"),
        ("prediction = [3, 3, 143, 4]", "Leave the letters"),
        ("prediction = 143", "no handler"),
    ],
    "08.4": [
        (FORKS, "A session of its own"),
        (
            "import os\nos.execvp('setsid', ['setsid', 'nohup', 'sleep', '1000'])",
            "ends when it does",
        ),
        ("import os\nos.setsid()", "your program has ended"),
        ("print('sleep 1000 goes on')", "os.execvp"),
    ],
}
