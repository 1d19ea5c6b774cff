"""Start-up times of a container that runs /bin/true. `make bench` prints them; nothing is judged.

Ratios are to crun, to runc, and to Python's own bare start, below which no version can get; that of
`labkit run` to the runtime that it starts stands below, and should be at most 1.5; and that of the
newest version, with all that it has (an image's layers, its locks), to runc on the same files, with
the mounts, masks and capabilities of `runc spec`, at most 0.9.

Every round starts each candidate once, in turn, so that a busy moment meets all of them. A peer
that is missing or does not succeed is named as such and not timed.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jupyter_client.manager import start_new_kernel

from labkit import linux, sandbox
from labkit.course import workbook

PYTHON = "python -S -c pass"
RUNTIME, RUN = "mydocker, version 7", "labkit run"
NEWEST, RUNC = "mydocker, the newest, tiny", "runc, the files of tiny"
ROUNDS = int(os.environ.get("ROUNDS", "40"))
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


def bundle_of_layer(folder: Path, layer: Path) -> None:
    """An OCI bundle as `runc spec` has it, of an image's one layer; without limits, as ours."""
    folder.mkdir()
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["true"]}
    config["root"]["path"] = str(layer)
    config["mounts"] = [m for m in config["mounts"] if m["type"] != "cgroup"]
    kinds = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "cgroup"]
    del config["linux"]["resources"]
    (folder / "config.json").write_text(json.dumps(config))


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


def candidates(folder: Path) -> dict[str, Callable[[], float]]:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's Python keeps compiled files

    def own(upto: str | None = None) -> list[str]:
        program = workbook.install(workbook.runtime(upto)) / workbook.START
        return [sys.executable, "-S", str(program), "run", "/bin/true"]

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
    found["mydocker, version 3"] = process(own("05"), folder)
    found["mydocker, version 6"] = process(own("08"), folder)
    found[RUNTIME] = process(own("09"), folder)
    found[RUN] = process([labkit, "run", "--upto", "09", true], folder)
    os.environ["MYDOCKER_DATA"] = str(folder / "data")
    newest = [*own()[:-1], "tiny", "true"]
    subprocess.run(newest, check=True, capture_output=True)  # which builds the image
    found[NEWEST] = process(newest, folder)
    if shutil.which("runc"):
        [layer] = (folder / "data/layers").iterdir()
        bundle_of_layer(folder / "same", layer)
        run = ["runc", "run", "--bundle", "same", f"labkit-bench-same-{os.getpid()}"]
        found[RUNC] = process(run, folder)
    return found


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
    try:
        client.execute_interactive(IN_A_KERNEL)
        with tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder:
            everyone = candidates(Path(folder)) | {"clone in a lab kernel": in_a_kernel}
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
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    report(times, failed, list(everyone))
    return 0


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
    for name, other in ((RUN, RUNTIME), (NEWEST, RUNC)):
        if name in medians and other in medians:
            print(f"{f'{name} / {other}':50} {medians[name] / medians[other]:7.2f}")


if __name__ == "__main__":
    sys.exit(sandbox.run(bench))
