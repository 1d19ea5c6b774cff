"""`make test-vm`: the class VM from `vagrant up` to `vagrant destroy`; are its promises kept?

Everything runs in a mount and a PID namespace of its own, with a libvirt of its own: so it needs no
systemd, two of these runs do not meet, and nothing is left behind however this ends. The VM has no
network but the forwarded ports. The table at the end says what each phase took.

    LABKIT_DRIVER=qemu   emulate, also where KVM would work
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
BOX = BUILD / "mydocker-libvirt.box"
REPORTS = BUILD / "test-vm"
BOX_MB = 350  # the most that a class should have to copy
TOOLS = {
    "vagrant": "vagrant vagrant-libvirt",
    "libvirtd": "libvirt-daemon libvirt-daemon-driver-qemu",
    "virsh": "libvirt-clients",
    "qemu-img": "qemu-utils",
    f"qemu-system-{os.uname().machine}": "qemu-system-x86",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}
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
INSIDE = "LABKIT_TEST_VM_INSIDE"


class Failure(Exception):
    """One thing that is not as promised, or a step that ended badly."""


def main() -> int:
    """Run all phases; return 0 where every promise held."""
    if os.environ.get(INSIDE):
        return inside()
    if os.geteuid() != 0:
        return fail("a libvirt of its own needs root. Try: sudo make test-vm")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        return fail(f"{', '.join(missing)} not found. On Debian: apt install {packages}")
    plugins = subprocess.run(["vagrant", "plugin", "list"], capture_output=True, text=True).stdout
    if "vagrant-libvirt" not in plugins:
        return fail(
            f"Vagrant has no libvirt provider in {vagrant_home()}. "
            "Cure, as this user: vagrant plugin install vagrant-libvirt"
        )
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vm.", dir=BUILD) as folder:
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*namespaces, sys.executable, __file__]
        child = subprocess.Popen(command, env=os.environ | {INSIDE: folder})
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: child.kill())
        status = child.wait()
    return status if status >= 0 else fail(f"ended by signal {-status}", 128 - status)


def inside() -> int:
    """The phases, in the namespaces; the first failure ends them."""
    if phases := os.fork():  # PID 1 reaps what libvirt's daemons leave to it, and nothing else
        while True:
            pid, status = os.wait()
            if pid == phases:
                return os.waitstatus_to_exitcode(status)
    test = Test(Path(os.environ[INSIDE]))
    try:
        test.run()
    except Failure as failure:
        return fail(str(failure))
    print("\nphase                                    seconds")
    for name, seconds in test.times.items():
        print(f"{name:<40} {seconds:7.1f}")
    print(f"\nThe VM keeps its promises. Reports: {REPORTS.relative_to(ROOT)}/")
    return 0


class Test:
    """One VM, from `vagrant up` to `vagrant destroy`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.course = folder / "course"
        self.times: dict[str, float] = {}
        self.began = time.monotonic()
        self.ssh_port = free_port()
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("LABKIT_")} | {
            "VAGRANT_HOME": str(own_home(folder / "vagrant")),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "LABKIT_SSH_PORT": str(self.ssh_port),
            "LABKIT_PORT": str(free_port()),
            "LABKIT_OFFLINE": "1",
        }

    def run(self) -> None:
        """All phases in their order."""
        shutil.rmtree(REPORTS, ignore_errors=True)
        REPORTS.mkdir(parents=True)
        self.prepare()
        self.choose_driver()
        self.start_libvirt()
        with self.phase("a corrupt box is refused"):
            self.corrupt_box()
        with self.phase("bad settings are named"):
            self.bad_settings()
        with self.phase("vagrant up to an answering JupyterLab"):
            self.address = last_line(self.vagrant("up"))
            self.page_answers()
        with self.phase("only with the token, only on 127.0.0.1"):
            self.only_for_us()
        with self.phase("what is inside"):
            self.what_is_inside()
        with self.phase("a kernel talks through ipc"):
            self.ipc()
        with self.phase("nbval in the VM, as the ordinary user"):
            self.notebooks("ordinary", "")
        with self.phase("nbval in the VM, as root"):
            self.notebooks("root", "sudo ")
        with self.phase("the vanishing /proc on the VM's own mounts"):
            self.vanishing_proc()
        with self.phase("JupyterLab comes back when killed"):
            self.ssh("sudo systemctl kill --signal=KILL labkit && labkit-url")
            self.page_answers()
        with self.phase("vagrant provision that changes nothing"):
            self.vagrant("provision")
        with self.phase("a newer course, a learner's notebook"):
            self.newer_course()
        with self.phase("vagrant halt saves the work"):
            names = ["mine.md", "练习.ipynb", "作业.ipynb", f"{'长' * 40}.md"]
            for name in names:
                self.ssh(f"echo '# {name}' > mydocker/notebooks/{name}")
            self.ssh("sudo chown root: mydocker/notebooks/练习.ipynb")
            self.ssh("sudo chmod 600 mydocker/notebooks/练习.ipynb")
            self.vagrant("halt")
            for name in names:
                expect(self.saved(f"notebooks/{name}") == f"# {name}\n", f"halt lost {name}")
        before = self.address
        with self.phase("vagrant up again, its port taken"), listening(port_of(before)):
            self.address = last_line(self.vagrant("up"))
            expect(port_of(self.address) != port_of(before), f"the taken port: {self.address}")
            self.page_answers()
        with self.phase("the work and the token are still there"):
            expect(self.ssh("cat mydocker/notebooks/mine.md") == "# mine.md\n", "mine.md is gone")
            expect(token_of(self.address) == token_of(before), "another token")
            self.same_address()
        with self.phase("vagrant reload"):
            expect(last_line(self.vagrant("reload")) == self.address, "another address")
            self.page_answers()
        with self.phase("vagrant up forwards the port again where that has ended"):
            self.end_forwarding()
            self.address = last_line(self.vagrant("up"))
            self.page_answers()
        with self.phase("an interrupted vagrant up, then another"):
            self.interrupted_up()
        with self.phase("vagrant destroy saves the work first"):
            self.ssh("echo '# more' >> mydocker/notebooks/mine.md")
            self.vagrant("destroy", "--force")
            expect(self.saved("notebooks/mine.md") == "# mine.md\n# more\n", "destroy did not save")
            self.nothing_left()
        with self.phase("the first vagrant up interrupted, then another with a token"):
            self.interrupt_up()
            self.address = last_line(self.vagrant("up", LABKIT_TOKEN="class-2026"))
            expect(token_of(self.address) == "class-2026", f"not the token: {self.address}")
            expect(port_of(self.address) == int(self.environment["LABKIT_PORT"]), "another port")
            self.page_answers()
        with self.phase("vagrant destroy is refused where the work cannot be asked for"):
            self.virsh("destroy", self.virsh("list", "--name").strip())
            said = self.vagrant("destroy", "--force", fails=True)
            expect("Nothing is destroyed" in said, f"destroy of a VM that is off: {said}")
            expect(self.virsh("list", "--all", "--name").strip(), "the VM is gone")
            self.vagrant("destroy", "--force", LABKIT_DISCARD="1")
            self.nothing_left()

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
                shutil.copy(source, target)
        (self.course / "build").mkdir()
        (self.course / "build" / BOX.name).symlink_to(BOX)
        shutil.copy(BUILD / "SHA256SUMS", self.course / "build")

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
                log = (REPORTS / f"{command[0]}.log").open("w")
                daemon = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
                wait_for(Path("/run/libvirt", name), daemon)
            self.virsh("version")

    def choose_driver(self) -> None:
        """KVM where it boots a kernel, not where there is only a device file."""
        driver = os.environ.get("LABKIT_DRIVER", "")
        if not driver:
            with self.phase("does KVM boot a kernel here?"):
                driver = "kvm" if kvm_boots() else "qemu"
        self.environment["LABKIT_DRIVER"] = driver
        print(f"      {'hardware virtualisation' if driver == 'kvm' else 'software emulation'}")

    # ---- what is promised

    def corrupt_box(self) -> None:
        sums = self.course / "build" / "SHA256SUMS"
        good = sums.read_text()
        sums.write_text(re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, good))
        said = self.vagrant("up", fails=True)
        sums.write_text(good)
        expect("checksum" in said, f"a wrong checksum is not named:\n{said}")

    def bad_settings(self) -> None:
        for name, value in (("LABKIT_CPUS", "two"), ("LABKIT_PORT", "80"), ("LABKIT_TOKEN", "a&b")):
            said = self.vagrant("status", fails=True, **{name: value})
            expect(said.startswith(f"Vagrantfile: {name} "), f"{name}={value}: {said}")
            expect(len(said.splitlines()) == 1, said)

    def page_answers(self) -> None:
        base = self.address.partition("/lab/")[0]
        page = fetch(self.address)
        expect(page[0] == 200 and b"JupyterLab" in page[1], f"the page: {page[0]}")
        (REPORTS / "page.html").write_bytes(page[1])
        status, body = fetch(f"{base}/api/kernelspecs?token={token_of(self.address)}")
        expect(status == 200 and "labkit" in json.loads(body)["kernelspecs"], "no labkit kernel")

    def only_for_us(self) -> None:
        base = self.address.partition("/lab/")[0]
        expect(len(token_of(self.address)) >= 32, "a short token")
        expect(fetch(f"{base}/api/kernelspecs")[0] == 403, "answers without its token")
        port = port_of(self.address)
        listeners = self.command("listeners", "ss", "-Hltn", f"sport = :{port}").split("\n")
        places = {line.split()[3] for line in listeners if line}
        expect(places == {f"127.0.0.1:{port}"}, f"listens on {places}")

    def what_is_inside(self) -> None:
        with listening(0) as server:  # user-mode networks show the host's loopback as 10.0.2.2
            reach = f"timeout 5 bash -c '</dev/tcp/10.0.2.2/{server.getsockname()[1]}'; echo $?"
            expect(self.ssh(f"{reach} 2>/dev/null").strip() != "0", "the VM reaches the outside")
        for command, answer in (
            ("stat -fc %T /sys/fs/cgroup", "cgroup2fs"),
            ("findmnt -no PROPAGATION /", "shared"),
            ("unshare --user --map-root-user id -u", "0"),
            ("ps -o user= -p $(systemctl show -P MainPID labkit)", "vagrant"),
            ("stat -c '%a %U' .labkit-token", "600 vagrant"),
            ("cd mydocker && .venv/bin/labkit doctor | tail -1", "The labs can run here."),
        ):
            said = self.ssh(command).strip()
            expect(said == answer, f"`{command}` says {said!r}, not {answer!r}")

    def ipc(self) -> None:
        """A kernel's messages pass through sockets in a folder of the user's, not through TCP."""
        kernels = f"{self.address.partition('/lab/')[0]}/api/kernels"
        header = {"Authorization": f"token {token_of(self.address)}"}
        status, body = fetch(kernels, data=b'{"name": "labkit"}', headers=header)
        expect(status == 201, f"starting a kernel: {status}")
        kernel = json.loads(body)["id"]
        path = f"$(mydocker/.venv/bin/jupyter --runtime-dir)/kernel-{kernel}.json"
        transport = json.loads(self.ssh(f"cat {path}"))["transport"]
        expect(transport == "ipc", f"the kernel's transport is {transport}")
        fetch(f"{kernels}/{kernel}", method="DELETE", headers=header)

    def notebooks(self, name: str, prefix: str) -> None:
        arguments = f"notebooks -p no:cacheprovider -q --junitxml=/tmp/{name}.xml"
        self.ssh(f"cd mydocker && {prefix}.venv/bin/labkit test {arguments}")
        report = REPORTS / f"nbval-{name}.xml"
        report.write_text(self.ssh(f"cat /tmp/{name}.xml"))
        suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
        tests = int(suite.get("tests"))
        bad = sum(int(suite.get(kind)) for kind in ("failures", "errors", "skipped"))
        expect(tests > 100 and not bad, f"{tests} cells, {bad} not passed: see {report}")
        print(f"      {tests} cells compared")

    def vanishing_proc(self) -> None:
        """As a learner on a systemd machine meets it: as root, with no sandbox in between."""
        install = (
            "from labkit import workbook; "
            "print(workbook.install(workbook.runtime('{}')) / 'mydocker/main.py')"
        )
        program = {
            upto: self.ssh(f'cd mydocker && .venv/bin/python -c "{install.format(upto)}"').strip()
            for upto in ("04", "05")
        }
        run = "sudo PYTHONPATH=mydocker mydocker/.venv/bin/python -S {} run -ti /bin/true"
        old, new = (run.format(program[upto]) for upto in ("04", "05"))
        error = self.ssh(f"{old} >/dev/null; ls /proc/self/exe 2>&1; {old} 2>&1; true")
        expect("cannot access '/proc/self/exe'" in error, f"/proc has not vanished: {error}")
        expect("/proc/self/exe: no such file" in error, f"not the article's error: {error}")
        self.ssh("sudo umount /proc && test -e /proc/self/exe")
        cured = self.ssh(f"set -e; for i in $(seq 10); do {new}; done; echo ten")
        expect(cured.strip().endswith("ten"), f"version 3 on the VM's own mounts: {cured}")
        mounts = self.ssh("findmnt -no TARGET /proc")
        expect(mounts.count("/proc") == 1, f"a mount was left: {mounts}")

    def newer_course(self) -> None:
        theirs, ours = "notebooks/03-the-first-container.ipynb", "notebooks/04-exec.ipynb"
        self.ssh(f"echo >> mydocker/{theirs}")
        for name in (theirs, ours):
            with (self.course / name).open("a") as notebook:
                notebook.write(" \n")
        self.vagrant("provision")
        text = (self.course / theirs).read_text()
        edited = text.removesuffix(" \n") + "\n"
        expect(self.ssh(f"cat mydocker/{theirs}") == edited, "the learner's notebook changed")
        expect(self.ssh(f"cat mydocker/{theirs}.delivered") == text, "no delivered one beside it")
        delivered = (self.course / ours).read_text()
        expect(self.ssh(f"cat mydocker/{ours}") == delivered, "an unchanged notebook stayed old")
        self.page_answers()

    def end_forwarding(self) -> None:
        """What a closed terminal does to the ssh that leads from the host's port to the VM."""
        pid_file = next(self.course.glob(".vagrant/machines/default/libvirt/pids/ssh_*.pid"))
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        wait_until(lambda: not is_answering(port_of(self.address)), "the port still answers")

    def interrupted_up(self) -> None:
        self.vagrant("halt")
        self.interrupt_up()
        self.address = last_line(self.vagrant("up"))
        self.page_answers()
        expect(self.ssh("cat mydocker/notebooks/mine.md") == "# mine.md\n", "mine.md is gone")

    def interrupt_up(self) -> None:
        """`vagrant up`, and Ctrl-C while the VM boots."""
        up = subprocess.Popen(
            ["vagrant", "up"],
            cwd=self.course,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        next(line for line in up.stdout if "Waiting for" in line or "Starting domain" in line)
        os.killpg(up.pid, signal.SIGINT)
        up.communicate()

    def nothing_left(self) -> None:
        domains = self.virsh("list", "--all", "--name")
        expect(not domains.strip(), f"libvirt still knows {domains}")

    def same_address(self) -> None:
        told = self.vagrant("ssh", "-c", "labkit-url").strip()
        expect(told == self.address, f"labkit-url says {told}, not {self.address}")

    # ---- hands

    def saved(self, name: str) -> str:
        copies = sorted((self.course / "saved").glob(f"*/{name}"))
        return copies[-1].read_text() if copies else ""

    def vagrant(self, *words: str, fails: bool = False, **settings: str) -> str:
        return self.command(
            f"vagrant-{words[0]}", "vagrant", *words, cwd=self.course, fails=fails, **settings
        )

    def virsh(self, *words: str) -> str:
        return self.command("virsh", "virsh", "-c", "qemu:///system", *words)

    def ssh(self, command: str) -> str:
        config = self.folder / "ssh_config"
        if not config.exists():
            config.write_text(self.vagrant("ssh-config"))
        return self.command("ssh", "ssh", "-F", str(config), "default", command)

    def command(
        self, name: str, *words: str, cwd: Path | None = None, fails: bool = False, **settings: str
    ) -> str:
        """Run a command; return what it printed. Its log stays, and a failure shows the end."""
        log = REPORTS / f"{len(list(REPORTS.glob('[0-9]*.log'))):03}-{name}.log"
        lines = []
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=self.environment | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        watch = threading.Timer(900, process.kill)
        watch.start()
        began = time.monotonic()
        with log.open("w") as output:
            for line in process.stdout:
                if "Progress:" in line:
                    continue
                lines.append(line)
                print(f"{time.monotonic() - began:6.1f}  {line}", end="", file=output, flush=True)
        status = process.wait()
        watch.cancel()
        said = "".join(lines)
        if (status != 0) != fails:
            end = "\n".join(said.splitlines()[-25:])
            where = log.relative_to(ROOT)
            raise Failure(f"`{' '.join(words)}` ended with {status} ({where}):\n{end}")
        return said

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say what is going on and how long it took."""
        print(f"{time.monotonic() - self.began:5.0f} s  {name}", flush=True)
        began = time.monotonic()
        yield
        self.times[name] = time.monotonic() - began


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


def kvm_boots() -> bool:
    """Whether KVM brings the box's kernel to the point where it misses its disk."""
    if not os.access("/dev/kvm", os.W_OK):
        return False
    machine = os.uname().machine
    console = "ttyS0" if machine == "x86_64" else "ttyAMA0"
    command = [f"qemu-system-{machine}", "-accel", "kvm", "-m", "512", "-nographic", "-no-reboot"]
    command += ["-kernel", str(BUILD / "vmlinuz"), "-append", f"console={console} panic=-1"]
    try:
        said = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=15)
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


def wait_for(path: Path, daemon: subprocess.Popen) -> None:
    """Until a daemon has made its socket; one that ends is a failure."""
    otherwise = f"{daemon.args[0]} did not start: see {REPORTS / daemon.args[0]}.log"
    wait_until(lambda: path.exists() or daemon.poll() is not None, otherwise)
    expect(path.exists(), otherwise)


def wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    """Until a condition holds; after a minute it is a failure."""
    end = time.monotonic() + 60
    while not condition():
        expect(time.monotonic() < end, otherwise)
        time.sleep(0.1)


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


def fetch(address: str, **more: Any) -> tuple[int, bytes]:
    """Status and body; no proxy in between. `more` is urllib's: data, headers, method."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(address, **more), timeout=120) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


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


if __name__ == "__main__":
    sys.exit(main())
