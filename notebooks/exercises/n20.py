"""Notebook 20: measured and paused."""

import sys
from pathlib import Path

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect, observed

# Makes containers, with a lock and a group of plain files each, and calls the runtime:
# `python3 -c CONTAINERS DATA NAME=MEMORY … -- COMMAND …`.
CONTAINERS = """
import fcntl, json, os, subprocess, sys
data, *words = sys.argv[1:]
here = os.stat("/proc/self/ns/pid").st_ino
for number, word in enumerate(words[: words.index("--")]):
    name, _, memory = word.partition("=")
    folder = f"{data}/containers/{name}@x"
    os.makedirs(folder)
    state = {"id": f"{number:012}", "status": "running", "pid": os.getpid(), "namespace": here}
    state |= {"cgroup": f"{folder}/group" if memory else None, "created": number}
    json.dump(state, open(f"{folder}/state.json", "w"))
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_EX)
    os.mkdir(f"{folder}/group")
    for file, text in {
        "memory.current": memory, "memory.max": 64 << 20, "memory.stat": "inactive_file 0",
        "cpu.stat": "usage_usec 0", "pids.current": "1", "cgroup.freeze": "0",
    }.items():
        open(f"{folder}/group/{file}", "w").write(str(text))
subprocess.run(words[words.index("--") + 1 :], env=os.environ | {"MYDOCKER_DATA": data})
"""


@exercise(
    "20.1",
    "mydocker/stats.py",
    "`states.sort(key=…, reverse=True)`, before the rows are made.",
    "`now[state['id']]` is what `look` returned; its third number is the memory.",
)
def who_uses_most(answer: Answer) -> str:
    """`stats` orders containers by their memory, and keeps those that nobody counts."""
    used = {"small": "4096", "none": "", "large": "3000000", "middle": "900000"}
    words = [f"{name}={memory}" for name, memory in used.items()]
    command = (*MYDOCKER, "stats", "--no-stream", *used)
    data = str(answer.folder / "data")
    with answer.command(sys.executable, "-c", CONTAINERS, data, *words, "--", *command) as run:
        run.wait()
    found = [line.split()[1] for line in run.output.splitlines() if line[:12].isdecimal()]
    hint = "All containers have a row, also those without a group."
    expect(sorted(found) == sorted(used), "a row for each of four", " ".join(found), hint)
    hint = "By the number of bytes, not by the text that shows them; the largest first."
    wanted = ["large", "middle", "small", "none"]
    expect(found == wanted, " ".join(wanted), " ".join(found), hint)
    return "the largest first, the unknown last"


@exercise(
    "20.2",
    PYTHON,
    "unshare(2) takes CLONE_NEWCGROUP.",
    "Whoever is not root needs a user namespace with it, in one call.",
)
def at_the_root(answer: Answer) -> str:
    """The answer has become a sleep in a cgroup namespace of its own."""
    with observed(answer.start(), "a process `sleep 1000` that stays") as (run, sleep):
        found = sleep.pid == run.program.pid
        expect(found, "your program as the sleep", "a child of it", "`os.execvp`")
        namespace = Path(f"/proc/{sleep.pid}/ns/cgroup").readlink()
        own = namespace != Path("/proc/self/ns/cgroup").readlink()
        hint = "`linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWCGROUP)` comes before exec."
        expect(own, "a cgroup namespace of its own", "ours", hint)
    return "a process that takes its group for the root"
