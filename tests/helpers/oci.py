"""OCI runtimes beside each other: each starts a container of the same bundle in the same place."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from labkit import linux, procfs
from labkit.course import workbook
from labkit.exercise.root import make_root
from tests.helpers.course import open_folder
from tests.helpers.images import PYTHON

PROGRAMS = "sh cat echo id sleep true"
IDS = 65536 if os.geteuid() == 0 else 1
SPACES = ("--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")
FLAGS = linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET
FLAGS |= linux.CLONE_NEWIPC | linux.CLONE_NEWUTS | linux.CLONE_NEWCGROUP
KINDS = ("pid", "mount", "network", "ipc", "uts", "cgroup")
CONFIG: dict[str, Any] = {
    "ociVersion": "1.0.2",
    "root": {"path": "rootfs"},
    "hostname": "inside",
    "process": {
        "args": ["sh", "-c", "echo ready; exec sleep 1000"],
        "env": ["PATH=/bin", "A=b=c"],
        "cwd": "/",
        "user": {"uid": 0, "gid": 0},
    },
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
    ],
    "linux": {"namespaces": [{"type": kind} for kind in KINDS]},
}


def hold():
    """Make the namespaces of a place, and tell the PID of its first process."""
    hear, say = os.pipe()
    pid = linux.clone(FLAGS)
    if pid == 0:
        os.read(hear, 1)
        os.setgid(0)
        os.setuid(0)
        linux.set_parent_death_signal(signal.SIGKILL)
        linux.mount("proc", "/proc", "proc")
        linux.mount("run", "/run", "tmpfs")
        # The cgroups can be seen, and not be changed: neither runc nor crun makes any.
        linux.mount("groups", "/sys/fs/cgroup", "tmpfs")  # one file system lies on a place once
        linux.mount("cgroup", "/sys/fs/cgroup", "cgroup2", linux.MS_RDONLY)
        print("ready", flush=True)
        adopt()
    for kind, own in ("uid", os.geteuid()), ("gid", os.getegid()):
        if IDS == 1 and kind == "gid":
            Path(f"/proc/{pid}/setgroups").write_text("deny")
        Path(f"/proc/{pid}/{kind}_map").write_text(f"0 {100000 if IDS > 1 else own} {IDS}")
    print(pid, flush=True)
    os.write(say, b"g")
    os.waitpid(pid, 0)


def adopt():
    """Adopt whatever a runtime leaves, and tell what becomes of it, until nobody listens."""
    listener = os.fork()
    if listener == 0:
        sys.stdin.read()
        os._exit(0)
    ended = None
    while ended != listener:
        ended, status = os.wait()
        print(ended, os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


class Place:
    """Namespaces of our own, in which containers are made by one runtime."""

    def __init__(self, runtime):
        self.name, self.folder = runtime, open_folder()
        self.bundle = self.folder / "bundle"
        make_root(self.bundle / "rootfs", *PROGRAMS.split())
        shutil.copytree(
            os.environ.get("OURS") or workbook.install(workbook.runtime()) / "mydocker",
            self.folder / "mydocker",
        )
        self.runtime = {
            "runc": ["runc", "--root", "/run/runc"],
            "crun": ["crun", "--root", "/run/crun"],
            "ours": [PYTHON, "-S", "-m", "mydocker.oci", "--root", "/run/ours"],
        }[runtime]
        if IDS > 1:
            subprocess.run(["chown", "-R", "100000:100000", self.bundle], check=True)
        self.holder = subprocess.Popen(
            [sys.executable, "-c", "from tests.helpers.oci import hold; hold()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid, self.ended, self.count = int(self.holder.stdout.readline()), {}, 0
        assert self.holder.stdout.readline() == "ready\n"

    def close(self):
        self.holder.communicate(timeout=60)
        shutil.rmtree(self.folder)

    def do(self, *words, status=0, stdout=None):
        """Run a command there; return what it said."""
        who = ["--setuid", "0", "--setgid", "0"] if IDS > 1 else ["--preserve-credentials"]
        # Files, since what a runtime leaves behind keeps them: no pipe would end.
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            run = subprocess.run(
                ["nsenter", "--target", str(self.pid), *SPACES, *who, "--", *map(str, words)],
                env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "PYTHONPATH": str(self.folder)},
                text=True,
                timeout=60,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=stdout or output,
                stderr=errors,
            )
            output.seek(0)
            errors.seek(0)
            run.stdout, run.stderr = output.read(), errors.read()
        assert status is None or run.returncode == status, (run.returncode, run.stderr)
        return run

    def __call__(self, *words, **options):
        return self.do(*self.runtime, *words, **options)

    def status(self, name):
        return json.loads(self("state", name).stdout)["status"]

    def end_of(self, pid):
        """Wait for the end of a process, and return its status."""
        while pid not in self.ended:
            ended, status = map(int, self.holder.stdout.readline().split())
            self.ended[ended] = status
        return self.ended[pid]

    def write(self, changes):
        """Write config.json with changes, each by the path of a field."""
        config = copy.deepcopy(CONFIG)
        for path, value in changes.items():
            *above, last = path.split(".")
            part = config
            for name in above:
                part = part.setdefault(name, {})
            part[last] = [*part[last], *value] if path == "mounts" else value
        (self.bundle / "config.json").write_text(json.dumps(config))

    def create(self, **changes):
        """Return a container that is created."""
        self.write(changes)
        return Container(self)


class Container:
    def __init__(self, place):
        place.count += 1
        self.place, self.name = place, f"c{place.count}"
        hear, say = os.pipe()
        self.output = os.fdopen(hear)
        words = ["create", "--bundle", place.bundle, "--pid-file", "/run/pid", self.name]
        try:
            place(*words, stdout=say)
        finally:
            os.close(say)
        self.pid = int(place.do("cat", "/run/pid").stdout)

    def start(self):
        self.place("start", self.name)
        return self

    def begin(self):
        """Start it, and wait until it is its command."""
        self.start()
        assert self.output.readline() == "ready\n"
        while self.read("cmdline") != "sleep\x001000\x00":  # the shell is about to become it
            pass
        return self

    @property
    def entry(self):
        """Its folder in the place's /proc, below ours."""
        return f"{self.place.pid}/root/proc/{self.pid}"

    def read(self, name):
        return Path(f"/proc/{self.entry}/{name}").read_text()

    def field(self, name):
        """What its /proc/PID/status says."""
        return " ".join(procfs.status(self.entry)[name].split())

    def limit(self, name):
        return re.search(f"^{name}  +(\\S+) +(\\S+)", self.read("limits"), re.MULTILINE).groups()

    def mount(self, target):
        """The topmost mount on a path."""
        return [mount for mount in procfs.mounts(self.entry) if mount.target == target][-1]

    def inside(self, path):
        return Path(f"/proc/{self.entry}/root/{path}")

    def namespaces(self):
        """The kinds in which it is not in the place's."""
        own, other = procfs.namespaces(self.entry), procfs.namespaces(self.place.pid)
        return {kind for kind in own if own[kind] != other[kind]}

    def end(self):
        self.place("delete", "--force", self.name)
        self.output.close()
