"""In the class VM, as root: three learners of its hub, of whom two do harm. Does the third notice?

`make test-vm` calls it, in its phase "a class server".
"""

import csv
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests

from tests.helpers.hub_kernel import Kernel
from tests.hub import PATIENCE, Learner, wait
from tests.vm_host import Failure, expect

HUB = "http://127.0.0.1:8888"
PASSWORDS = Path("/var/lib/labkit-hub/passwords.csv")
SLICE = Path("/sys/fs/cgroup/system.slice")
MAX_PROCESSES = 512
GLUTTON = "eaten = []\nwhile True:\n    eaten.append(bytearray(b'x') * 2**22)"
BOMB = "import subprocess\nsubprocess.Popen(['perl', '-e', 'fork while 1'])"


def main() -> int:
    """Let them work; return 0 where nobody but the two had to suffer."""
    with PASSWORDS.open() as file:
        passwords = dict(csv.reader(file))
    names = ("bomb", "glutton", "worker")
    bomb, glutton, worker = learners = [
        Learner(HUB, name, passwords[name], Path(f"/home/learner-{name}")) for name in names
    ]
    with ThreadPoolExecutor() as pool:
        print("s to a server:", *(f"{took:.0f}" for took in pool.map(Learner.log_in, learners)))
    check_permissions()

    kernel = Kernel(server=(glutton.server, glutton.token))
    kernel.execute_cell_input(GLUTTON)
    wait(lambda: count("glutton", "memory.events", "oom_kill"), "the end of who fills memory")
    kernel.stop()
    expect(is_answering(glutton), "with the kernel that filled memory its server ended")

    Kernel(server=(bomb.server, bomb.token)).run(BOMB)
    wait(lambda: count("bomb", "pids.events", "max"), "the fork bomb's limit")
    worker.pass_exercise()
    expect(is_answering(worker), "the worker's server does not answer")
    here = int((group("bomb") / "pids.current").read_text())
    expect(here > MAX_PROCESSES / 2, f"of the bomb {here} processes were left meanwhile")
    print(f"an exercise passed beside {here} processes of a fork bomb")

    bomb.stop()
    wait(lambda: not group("bomb").exists(), "the end of the bomb")
    expect(is_answering(worker), "with the bomb the worker's server ended")
    return 0


def check_permissions() -> None:
    """What a learner's account must not do, not even outside of a lab, as in a terminal."""
    for command in (
        "ls /home/learner-bomb",
        f"cat {PASSWORDS}",
        "cat /home/vagrant/.labkit-token",
        "touch /home/vagrant/mydocker/notebooks/03-the-first-container.ipynb",
        # The group is theirs, to make others in it; its limits are root's, and so is the way out.
        *(f"echo max > {group('worker')}/{name}" for name in ("memory.max", "pids.max")),
        f"echo max > {group('worker')}/cpu.max",
        f"echo 1G > {group('worker')}/memory.swap.max",
        f"echo $$ > {SLICE}/cgroup.procs",
    ):
        words = ["runuser", "-u", "learner-worker", "--", "sh", "-c", command]
        run = subprocess.run(words, capture_output=True, text=True)
        expect("Permission denied" in run.stderr, f"{command}: {run}")


def group(name: str) -> Path:
    """The cgroup of a learner's server."""
    return SLICE / f"jupyter-{name}-singleuser.service"


def count(name: str, file: str, what: str) -> int:
    """What a file of that cgroup counts, such as memory.events."""
    words = (group(name) / file).read_text().split()
    return int(words[words.index(what) + 1])


def is_answering(learner: Learner) -> bool:
    address = f"{learner.server}api/status"
    return requests.get(address, headers=learner.headers, timeout=PATIENCE).ok


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"hub_limits: {failure}")
