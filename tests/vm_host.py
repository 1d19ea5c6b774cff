"""The host's side of `make test-vm`: a libvirt of its own, Vagrant, ssh, and their time-outs."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
BOX = BUILD / "mydocker-libvirt.box"
REPORTS = BUILD / "test-vm"
BOX_MB = 350  # the most that a class should have to copy
# Where libvirt writes. Each lies in the test's own folder here.
LIBVIRT = [f"{place}/libvirt" for place in ("/etc", "/run", "/var/lib", "/var/cache", "/var/log")]
QEMU_CONF = """user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
"""
ACCOUNT = {
    Path("/etc/passwd"): "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n",
    Path("/etc/group"): "libvirt-qemu:x:64055:\n",
}
# What a quiet machine needs LOOP_SECONDS for. The VM has two processors.
LOOP = "n = 0\nfor i in range(5_000_000): n = (n * 31 + i) % 1000003"
LOOP_SECONDS = 0.5
PROCESSORS = 2


class Failure(Exception):
    """One thing that is not as promised, or a step that ended badly."""


class Host:
    """Where the VM runs: folders, settings, commands and their time-outs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.course = folder / "course"
        self.times: dict[str, float] = {}
        self.slow: dict[str, float] = {}  # how slow the machine was when a phase began
        self.slowness = 1.0
        self.began = time.monotonic()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("LABKIT_")} | {
            "VAGRANT_HOME": str(own_home(folder / "vagrant")),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "LABKIT_SSH_PORT": str(free_port()),
            "LABKIT_PORT": str(free_port()),
            "LABKIT_OFFLINE": "1",
        }

    # ---- what it stands on

    def prepare(self) -> None:
        """The course as a stranger has it, in a folder of its own, with the box."""
        expect(BOX.exists(), "there is no build/mydocker-libvirt.box. Cure: make box")
        for box in BUILD.glob("mydocker-*.box"):
            size = box.stat().st_size // 10**6
            expect(size < BOX_MB, f"{box.name} has {size} MB, more than {BOX_MB}")
        self.course.mkdir()
        for name in (ROOT / "vm" / "files").read_text().split():
            source, target = ROOT / name, self.course / name
            if source.is_dir():
                skip = shutil.ignore_patterns("__pycache__", "work", ".*")
                shutil.copytree(source, target, ignore=skip)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy(source, target)
        (self.course / "build").mkdir()
        (self.course / "build" / BOX.name).symlink_to(BOX)
        shutil.copy(BUILD / "SHA256SUMS", self.course / "build")

    def choose_driver(self) -> None:
        """KVM where it boots a kernel, not where there is only a device file."""
        driver = os.environ.get("LABKIT_DRIVER", "")
        if not driver:
            with self.phase("does KVM boot a kernel here?"):
                driver = "kvm" if kvm_boots(self.allow(15)) else "qemu"
        self.environment["LABKIT_DRIVER"] = driver
        print(f"      {'hardware virtualisation' if driver == 'kvm' else 'software emulation'}")

    def start_libvirt(self) -> None:
        """virtlogd and libvirtd with folders of their own."""
        for place in LIBVIRT:
            own = self.folder / "libvirt" / place.strip("/").replace("/", "-")
            own.mkdir(parents=True)
            mount_over(own, Path(place))
        for file, line in ACCOUNT.items():  # libvirtd looks it up before it reads its settings
            own = self.folder / "libvirt" / file.name
            own.write_text(file.read_text() + line)
            mount_over(own, file)
        Path("/etc/libvirt/qemu").mkdir()
        Path("/etc/libvirt/qemu.conf").write_text(QEMU_CONF)
        Path("/var/lib/libvirt/images").mkdir()
        settings = self.folder / "libvirtd.conf"
        settings.write_text('log_outputs="3:stderr"\nauth_unix_rw="none"\n')
        with self.phase("libvirt"):
            for command, name in (
                (["virtlogd"], "virtlogd-sock"),
                (["libvirtd", "--config", str(settings)], "libvirt-sock"),
            ):
                self.start_daemon(command, Path("/run/libvirt", name))
            self.virsh("version")

    def start_daemon(self, command: list[str], made: Path) -> None:
        """Until a daemon has made its socket; one that ends is a failure."""
        log = REPORTS / f"{command[0]}.log"
        with log.open("w") as output:
            daemon = subprocess.Popen(
                command, stdout=output, stderr=output, stdin=subprocess.DEVNULL
            )
        otherwise = f"{command[0]} did not start: see {log}"
        self.wait_until(lambda: made.exists() or daemon.poll() is not None, otherwise)
        expect(made.exists(), otherwise)

    # ---- time

    def allow(self, seconds: float) -> float:
        """A time-out here, from one that is generous on a quiet machine."""
        return seconds * self.slowness

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say what is going on and how long it took, after a look at how slow this machine is."""
        now = self.slow[name] = slowness()
        self.slowness = max(self.slowness, now)
        print(
            f"{time.monotonic() - self.began:5.0f} s  {name} (time-outs x {self.slowness:.1f})",
            flush=True,
        )
        began = time.monotonic()
        yield
        self.times[name] = time.monotonic() - began

    def wait_until(
        self, condition: Callable[[], bool], otherwise: str, seconds: float = 60
    ) -> None:
        """Until a condition holds; after so many seconds of a quiet machine it is a failure."""
        end = time.monotonic() + self.allow(seconds)
        while not condition():
            expect(time.monotonic() < end, otherwise)
            time.sleep(0.1)

    # ---- commands

    def vagrant(self, *words: str, fails: bool = False, **settings: str) -> str:
        """Vagrant in the course's folder."""
        return self.command(
            f"vagrant-{words[0]}", "vagrant", *words, cwd=self.course, fails=fails, **settings
        )

    def virsh(self, *words: str) -> str:
        """libvirt's own command."""
        return self.command("virsh", "virsh", "-c", "qemu:///system", *words)

    def ssh(self, command: str) -> str:
        """Run a command in the VM, over the one connection.

        To connect may be refused for a moment and is tried again: no command has begun then. A
        command is never run twice.
        """
        config = self.folder / "ssh_config"
        if not config.exists():
            config.write_text(self.vagrant("ssh-config"))
        ssh = ["ssh", "-F", str(config), "-o", "ControlPath=/run/libvirt/test-vm-ssh"]

        def done(*words: str) -> bool:
            words = (*ssh, "-E", str(REPORTS / "ssh.log"), *words, "default")
            return subprocess.run(words, **QUIET).returncode == 0

        if not done("-O", "check"):
            connect = ["-o", "ControlMaster=yes", "-f", "-N"]
            otherwise = f"no connection to the VM's ssh: see {REPORTS / 'ssh.log'}"
            self.wait_until(lambda: done(*connect), otherwise, 120)
        return self.command("ssh", *ssh, "default", command)

    @contextmanager
    def started(
        self, *words: str, cwd: Path | None = None, seconds: float = 1800, **settings: str
    ) -> Iterator[subprocess.Popen]:
        """A command and its output; it is killed when its time is over."""
        limit = {"LABKIT_TIMEOUT": f"{self.allow(300):.0f}"}  # for a start: its ssh, then the page
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=self.environment | limit | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        watch = threading.Timer(self.allow(seconds), lambda: os.killpg(process.pid, signal.SIGKILL))
        watch.start()
        try:
            yield process
        finally:
            watch.cancel()

    def command(
        self, name: str, *words: str, cwd: Path | None = None, fails: bool = False, **settings: Any
    ) -> str:
        """Run a command; return what it printed. Its log stays, and a failure shows the end."""
        log = REPORTS / f"{len(list(REPORTS.glob('[0-9]*.log'))):03}-{name}.log"
        lines = []
        began = time.monotonic()
        with self.started(*words, cwd=cwd, **settings) as process, log.open("w") as output:
            for line in process.stdout:
                if "Progress:" in line:
                    continue
                lines.append(line)
                print(f"{time.monotonic() - began:6.1f}  {line}", end="", file=output, flush=True)
            status = process.wait()
        said = "".join(lines)
        if (status != 0) != fails:
            end = "\n".join(said.splitlines()[-25:])
            where = log.relative_to(ROOT)
            raise Failure(f"`{' '.join(words)}` ended with {status} ({where}):\n{end}")
        return said

    def fetch(self, address: str, **more: Any) -> tuple[int, bytes]:
        """Status and body; no proxy in between. `more` is urllib's: data, headers, method."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(address, **more)
        try:
            with opener.open(request, timeout=self.allow(120)) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""


QUIET: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
}


def slowness() -> float:
    """How many times slower than a quiet machine this one is now, at least 1.

    By the clock, and with as many loops at once as the VM has processors, so other work counts.
    """
    began = time.monotonic()
    loops = [subprocess.Popen([sys.executable, "-I", "-c", LOOP]) for _ in range(PROCESSORS)]
    for loop in loops:
        loop.wait()
    return max(1.0, (time.monotonic() - began) / LOOP_SECONDS)


def vagrant_home() -> Path:
    """Where Vagrant keeps this user's boxes and plugins."""
    return Path(os.environ.get("VAGRANT_HOME") or "~/.vagrant.d").expanduser()


def own_home(folder: Path) -> Path:
    """A home for Vagrant with boxes of its own and this user's plugins."""
    folder.mkdir()
    for name in ("plugins.json", "gems"):
        if (plugins := vagrant_home() / name).exists():
            (folder / name).symlink_to(plugins.resolve())
    return folder


def kvm_boots(seconds: float) -> bool:
    """Whether KVM brings the box's kernel to the point where it misses its disk."""
    if not os.access("/dev/kvm", os.W_OK):
        return False
    machine = os.uname().machine
    console = "ttyS0" if machine == "x86_64" else "ttyAMA0"
    command = [f"qemu-system-{machine}", "-accel", "kvm", "-m", "512", "-nographic", "-no-reboot"]
    command += ["-kernel", str(BUILD / "vmlinuz"), "-append", f"console={console} panic=-1"]
    try:
        said = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return False
    return b"Kernel panic - not syncing: VFS" in said.stdout


def mount_over(source: Path, target: Path) -> None:
    """Bind `source` over `target`; where there is none, over the folder that it would be in."""
    if not target.exists():
        if source.is_relative_to(target.parent):
            raise Failure(f"there is no {target}. Cure: sudo mkdir {target}")
        (source / target.name).mkdir()
        target = target.parent
    subprocess.run(["mount", "--bind", str(source), str(target)], check=True)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A server on 127.0.0.1 that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", port)) as server:
        yield server


def is_answering(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def port_of(address: str) -> int:
    return int(re.search(r":(\d+)/", address)[1])


def token_of(address: str) -> str:
    return address.partition("token=")[2]


def last_line(text: str) -> str:
    line = text.splitlines()[-1]
    expect(line.startswith("http://127.0.0.1:"), f"the last line is no address: {line!r}")
    return line


def expect(truth: object, otherwise: str) -> None:
    if not truth:
        raise Failure(otherwise)


def fail(message: str, status: int = 1) -> int:
    print(f"test-vm: {message}", file=sys.stderr)
    return status
