"""Start-up times of a container that runs /bin/true. `make bench` prints them; nothing is judged.

Ratios are to crun, to runc, and to Python's own bare start, below which no version can get. Below
stand pairs, and what each ratio should be at most. Where runc is one of two, both have the same
files, the mounts and masks of `runc spec`, and our capabilities and filter of system calls.

Every round starts each candidate once, in turn, so that a busy moment meets all of them. A peer
that is missing or does not succeed is named as such and not timed.
"""

import errno
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from jupyter_client.manager import start_new_kernel

from labkit import linux, procfs, sandbox
from labkit.course import workbook

PYTHON = "python -S -c pass"
RUNTIME, RUN = "mydocker, version 7", "labkit run"
NEWEST, RUNC = "mydocker, the newest, tiny", "runc, the files of tiny"
DETACHED = "mydocker run -d, to the prompt"
ON_A_NETWORK = "mydocker run --network"
EXEC, RUNC_EXEC = "mydocker exec", "runc exec"
PS, HELP = "mydocker ps, of 200", "mydocker help"
PAIRS = {
    (RUN, RUNTIME): 1.5,
    (NEWEST, RUNC): 0.9,
    (DETACHED, NEWEST): 1.5,
    (ON_A_NETWORK, NEWEST): 1.6,
    (EXEC, RUNC_EXEC): 0.7,
    (PS, HELP): 3,
}
FOREVER = ["sleep", "100000"]
THERE = f"labkit-bench-there-{os.getpid()}"  # runc's container to enter
ROUNDS = int(os.environ.get("ROUNDS", "40"))
GIBIBYTE = 1024  # MiB, as blocks through a published port
SINK = """
import socket
with socket.create_server(("", 80)) as server:
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        while connection.recv(1 << 20):
            pass
        connection.close()
"""
FIVE = ["--uts", "--pid", "--fork", "--mount-proc", "--net", "--ipc"]
IN_A_KERNEL = """
import os, time
from labkit import linux
from labkit.fork import forked

FLAGS = (linux.CLONE_NEWUTS | linux.CLONE_NEWPID | linux.CLONE_NEWNS | linux.CLONE_NEWNET
         | linux.CLONE_NEWIPC)

def start():
    pid = linux.clone(FLAGS)
    if pid == 0:
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        linux.mount("proc", "/proc", "proc", linux.MS_NOSUID)
        os.execv("/bin/true", ["true"])
    assert os.waitpid(pid, 0)[1] == 0

def timed():
    before = time.perf_counter()
    said = forked(start)
    assert said == "", said
    return time.perf_counter() - before
"""


def bundle(folder: Path) -> Path:
    """An OCI bundle whose root shows the machine's programs, for runc and crun."""
    for name in ("", "dev", "proc"):
        (folder / "rootfs" / name).mkdir()
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["/bin/true"]}
    shown = [name for name in ("usr", "bin", "lib", "lib64") if Path("/", name).exists()]
    config["mounts"] = [m for m in config["mounts"] if m["destination"] == "/proc"] + [
        {"destination": f"/{n}", "type": "bind", "source": f"/{n}", "options": ["rbind", "ro"]}
        for n in shown
    ]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def bundle_of_layer(folder: Path, data: Path, command: list[str]) -> None:
    """An OCI bundle of an image's one layer, locked as our containers are; without limits."""
    folder.mkdir()
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    [layer] = (data / "layers").iterdir()
    config["root"]["path"] = str(layer)
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    kinds = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "cgroup"]
    del config["linux"]["resources"]
    sys.path.insert(0, str(Path(own()[-1]).parent))
    kept = [f"CAP_{name}" for name in import_module("mydocker.capabilities").DEFAULT]
    kept_in = dict.fromkeys(("bounding", "effective", "permitted"), kept)
    config["process"] |= {"terminal": False, "args": command, "capabilities": kept_in}
    ours, refuse = import_module("mydocker.seccomp"), {"action": "SCMP_ACT_ERRNO"}
    calls = [name for row in ours.REFUSED.splitlines() for name in row.split()[1::3]]
    rules = [refuse | {"names": calls}, refuse | {"names": ["clone3"], "errnoRet": errno.ENOSYS}]
    for flag in (1 << bit for bit in range(32) if ours.NEW_NAMESPACES >> bit & 1):
        argument = {"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append(refuse | {"names": ["clone"], "args": [argument]})
    config["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    (folder / "config.json").write_text(json.dumps(config))


def started(command: list[str], folder: Path) -> None:
    null = subprocess.DEVNULL
    subprocess.run(command, cwd=folder, stdin=null, stdout=null, stderr=null, check=True)


def process(command: list[str], folder: Path) -> Callable[[], float]:
    def start() -> float:
        before = time.perf_counter()
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        elapsed = time.perf_counter() - before
        if run.returncode:
            said = (run.stderr or run.stdout).strip().splitlines() or ["no word"]
            raise RuntimeError(f"status {run.returncode}: {said[-1]}")
        return elapsed

    return start


def own(*words: str, upto: str | None = None) -> list[str]:
    """The words that start our runtime as it stands after a notebook, or the newest."""
    program = workbook.install(workbook.runtime(upto)) / workbook.START
    return [sys.executable, "-S", str(program), *words]


def candidates(folder: Path) -> dict[str, Callable[[], float]]:
    labkit = str(Path(sys.executable).parent / "labkit")
    true = "/bin/true"
    found = {
        PYTHON: process([sys.executable, "-S", "-c", "pass"], folder),
        "unshare": process(["unshare", *FIVE, true], folder),
        "bubblewrap": process(
            ["bwrap", "--unshare-all", "--dev-bind", "/", "/", "--proc", "/proc", true], folder
        ),
    }
    if shutil.which("runc"):
        bundle(folder)
        for runtime in ("crun", "runc"):
            found[runtime] = process([runtime, "run", f"labkit-bench-{os.getpid()}"], folder)
    found["mydocker, version 3"] = process(own("run", true, upto="05"), folder)
    found["mydocker, version 6"] = process(own("run", true, upto="08"), folder)
    found[RUNTIME] = process(own("run", true, upto="09"), folder)
    found[RUN] = process([labkit, "run", "--upto", "09", true], folder)
    started(own("run", "-d", "--name", "there", "tiny", *FOREVER), folder)  # which builds the image
    found[NEWEST] = process(own("run", "tiny", "true"), folder)
    started(own("network", "create", "bench"), folder)
    found[ON_A_NETWORK] = process(own("run", "--network", "bench", "tiny", "true"), folder)
    if shutil.which("runc"):
        bundle_of_layer(folder / "same", folder / "data", ["true"])
        bundle_of_layer(folder / "there", folder / "data", FOREVER)
        run = ["runc", "run", "--bundle", "same", f"labkit-bench-same-{os.getpid()}"]
        found[RUNC] = process(run, folder)
        started(["runc", "run", "--detach", "--bundle", "there", THERE], folder)
    # Not right after one of its own kind, which would have warmed the processor's caches for it.
    found[EXEC] = process(own("exec", "there", "true"), folder)
    if shutil.which("runc"):
        found[RUNC_EXEC] = process(["runc", "exec", THERE, "true"], folder)
    found[DETACHED] = process(own("run", "-d", "--rm", "tiny", "true"), folder)
    return found


def crowd(folder: Path) -> dict[str, Callable[[], float]]:
    for _ in range(200):
        started(own("run", "-d", "tiny", *FOREVER), folder)
    return {PS: process(own("ps"), folder), HELP: process(own("help"), folder)}


def throughput(folder: Path) -> str:
    """Say how fast a published port takes data, and socat, on the same way: loopback, bridge."""
    started(own("network", "create", "ports"), folder)
    run = ["run", "-d", "--name", "sink", "--network", "ports", "-p", "0:80", "-v", "/usr:/usr:ro"]
    started(own(*run, "tiny", "/usr/bin/python3", "-S", "-c", SINK), folder)
    while "ready" not in subprocess.run(own("logs", "sink"), capture_output=True, text=True).stdout:
        time.sleep(0.01)
    said = subprocess.run(own("inspect", "sink"), capture_output=True, text=True, check=True)
    state = json.loads(said.stdout)
    port = int(state["ports"][0].split("-")[0].split(":")[1])
    ours, other = [], []
    for _ in range(ROUNDS // 8 or 1):
        ours.append(upload(port))
        if shutil.which("socat"):
            other.append(by_socat(state["address"]))
    peer = f"{statistics.median(other):.0f} by socat" if other else "socat is not installed"
    return f"1 GiB into a published port: {statistics.median(ours):.0f} MiB/s; {peer}"


def upload(port: int) -> float:
    """Return how many MiB a second go to a port, until the other side has closed it."""
    block = bytes(1 << 20)
    before = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(GIBIBYTE):
            connection.sendall(block)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
    return GIBIBYTE / (time.perf_counter() - before)


def by_socat(address: str) -> float:
    """Return the same of socat, at the switch, where a container can be reached."""
    everyone, title = procfs.processes().values(), ("mydocker: switch of ports",)
    [switch] = [process.pid for process in everyone if process.command[:1] == title]
    words = ["socat", "-b65536", "-t60", "TCP-LISTEN:9,reuseaddr", f"TCP:{address}:80"]

    def there() -> float:
        linux.set_link_up("lo")
        with subprocess.Popen(words) as relay:
            while relay.poll() is None:
                with suppress(ConnectionRefusedError):  # it does not listen yet
                    return upload(9)
        raise RuntimeError("socat does not listen")

    return procfs.inside(switch, "net", there)


def clean() -> None:
    rows = subprocess.run(own("ps", "-a"), capture_output=True, text=True).stdout.splitlines()
    if rows[1:]:
        subprocess.run(own("rm", "-f", *(row.split()[0] for row in rows[1:])), check=True)
    for name in ("bench", "ports"):
        subprocess.run(own("network", "rm", name), capture_output=True)
    if shutil.which("runc"):
        subprocess.run(["runc", "delete", "--force", THERE], capture_output=True)


def bench() -> int:
    # crun refuses machines that mount cgroup v1 and v2 side by side; this mount is only ours.
    if os.path.ismount("/sys/fs/cgroup/unified"):
        linux.umount("/sys/fs/cgroup/unified")
    manager, client = start_new_kernel(kernel_name="labkit")

    def in_a_kernel() -> float:
        answer: list[str] = []
        reply = client.execute_interactive(
            "print(timed())", output_hook=lambda m: answer.append(m["content"].get("text", ""))
        )
        if reply["content"]["status"] != "ok":
            raise RuntimeError(reply["content"]["evalue"])
        return float("".join(answer))

    failed: dict[str, str] = {}
    times: dict[str, list[float]] = {}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps compiled files
    try:
        client.execute_interactive(IN_A_KERNEL)
        with tempfile.TemporaryDirectory(prefix="labkit-bench-") as name:
            folder = Path(name)
            os.environ["MYDOCKER_DATA"] = str(folder / "data")
            try:
                everyone = candidates(folder) | {"clone in a lab kernel": in_a_kernel}
                measure(everyone, times, failed)
                fast = throughput(folder)
                measure(many := crowd(folder), times, failed)
            finally:
                clean()
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    report(times, failed, [*everyone, *many])
    print(fast)
    return 0


def measure(
    everyone: dict[str, Callable[[], float]], times: dict[str, list[float]], failed: dict[str, str]
) -> None:
    for round_ in range(ROUNDS + 2):
        print(f"\rround {round_ + 1} of {ROUNDS + 2}", end="", flush=True)
        for name, start in everyone.items():
            if name in failed:
                continue
            try:
                elapsed = start()
            except FileNotFoundError:
                failed[name] = "not installed"
            except RuntimeError as error:
                failed[name] = f"failed: {error}"
            else:
                if round_ >= 2:  # the first two fill caches
                    times.setdefault(name, []).append(elapsed)


def report(times: dict[str, list[float]], failed: dict[str, str], names: list[str]) -> None:
    medians = {name: statistics.median(values) for name, values in times.items()}
    peers = [name for name in ("crun", "runc", PYTHON) if name in medians]
    heads = (f"{'/ ' + peer.split()[0]:>8}" for peer in peers)
    print(f"\r{'start of /bin/true':30}  median", *heads)
    for name in names:
        if name in failed:
            print(f"{name:30}  {failed[name]}")
            continue
        ratios = (f"{medians[name] / medians[peer]:8.2f}" for peer in peers)
        print(f"{name:30} {medians[name] * 1000:4.1f} ms", *ratios)
    for (name, other), most in PAIRS.items():
        if name in medians and other in medians:
            ratio = medians[name] / medians[other]
            print(f"{f'{name} / {other}':60} {ratio:5.2f}, at most {most}")


if __name__ == "__main__":
    sys.exit(sandbox.run(bench))
