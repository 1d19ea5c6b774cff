"""`make test-vm`: the class VM from `vagrant up` to `vagrant destroy`; are its promises kept?

Everything runs in a mount and a PID namespace of its own, with a libvirt of its own: so it needs no
systemd, two of these runs do not meet, and nothing is left behind however this ends. The VM has no
network but the forwarded ports. The tables at the end say what each phase and each notebook took.

    FULL=1               also what only a release must show again
    NN="03 19"           these notebooks alone
    LABKIT_DRIVER=qemu   emulate, also where KVM would work
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.vm_host import (
    BUILD,
    REPORTS,
    ROOT,
    Failure,
    Host,
    expect,
    fail,
    is_answering,
    last_line,
    listening,
    port_of,
    token_of,
    vagrant_home,
)

TOOLS = {
    "vagrant": "vagrant vagrant-libvirt",
    "libvirtd": "libvirt-daemon libvirt-daemon-driver-qemu",
    "virsh": "libvirt-clients",
    "qemu-img": "qemu-utils",
    f"qemu-system-{os.uname().machine}": "qemu-system-x86",
    "ssh": "openssh-client",
    "unshare": "util-linux",
}
INSIDE = "LABKIT_TEST_VM_INSIDE"
FULL = os.environ.get("FULL", "") not in ("", "0")
NN = os.environ.get("NN", "").split()
# In these root is another case. An ordinary user's lab has a user namespace around it, and there
# the kernel decides otherwise: mounts from outside are locked (03.3), `/` cannot be shared with the
# machine's (05), only the machine's root may put keys into a terminal (06), and version 7 makes a
# user namespace only where it is refused the others (09). Root's groups have other owners (19, 20);
# with groups, its switches have no user namespace (23), and podman works differently for it (28).
ROOT_TOO = ("03", "05", "06", "09", "19", "20", "23", "28")
# A session's own group is not delegated: so each run gets one that is, as a learner would have it.
SCOPE = {
    "user": "systemd-run --user --scope -q -p Delegate=yes ",
    "root": "sudo systemd-run --scope -q -p Delegate=yes ",
}
LIMITS = ("tests/test_cgroup.py", "tests/test_limits.py")
# As an ordinary user; root has had them outside the VM. Each word and field of a bundle: FULL=1.
RUNTIMES = ("tests/test_oci.py", "tests/test_podman.py")
SOME = "states exit_status exec exec_takes_on_what_its_process_says capabilities"
GOAL = 45  # seconds of a quiet machine for a notebook and user, told and not judged
# Without jsonschema's grammar of addresses: eleven emulated seconds of nbformat's import.
START = "import sys; sys.modules['rfc3987_syntax'] = None; import pytest; sys.exit(pytest.main())"
PYTEST = f".venv/bin/python -c {shlex.quote(START)} -q -p no:xdist -p no:cacheprovider"


def main() -> int:
    """Run the phases; return 0 where every promise held."""
    if os.environ.get(INSIDE):
        return inside()
    if os.geteuid() != 0:
        return fail("a libvirt of its own needs root. Try: sudo make test-vm")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        return fail(f"{', '.join(missing)} not found. On Debian: apt install {packages}")
    there = {path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb")}
    if unknown := {*NN} - there:
        return fail(f'there is no notebook {", ".join(sorted(unknown))}. For example: NN="03 19"')
    plugins = subprocess.run(["vagrant", "plugin", "list"], capture_output=True, text=True).stdout
    if "vagrant-libvirt" not in plugins:
        return fail(
            f"Vagrant has no libvirt provider in {vagrant_home()}. "
            "Cure, as this user: vagrant plugin install vagrant-libvirt"
        )
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vm.", dir=BUILD) as folder:
        namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [*namespaces, sys.executable, "-m", "tests.vm"]
        child = subprocess.Popen(command, cwd=ROOT, env=os.environ | {INSIDE: folder})
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
        test.keep_logs()
        return fail(str(failure))
    finally:
        test.print_times()
    print(f"\nThe VM keeps its promises. Reports: {REPORTS.relative_to(ROOT)}/")
    return 0


class Test(Host):
    """One VM, from `vagrant up` to `vagrant destroy`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.address = ""
        self.seconds: dict[str, dict[str, float]] = defaultdict(dict)  # notebook: user: seconds

    def phases(self) -> Iterable[tuple[bool, str, Callable[[], None]]]:
        """All phases in their order; those of a release do not run otherwise."""
        always, release = True, FULL
        return (
            (release, "a corrupt box is refused", self.corrupt_box),
            (release, "bad settings are named", self.bad_settings),
            (always, "vagrant up to an answering JupyterLab", self.up),
            (always, "only with the token, only on 127.0.0.1", self.only_for_us),
            (always, "what is inside", self.what_is_inside),
            (always, "a kernel talks through ipc", self.ipc),
            (always, "nbval in the VM, as the ordinary user", self.as_ordinary_user),
            (always, "nbval in the VM, as root", self.as_root),
            (always, "limits and other runtimes", self.limits),
            (always, "the vanishing /proc on the VM's own mounts", self.vanishing_proc),
            (always, "JupyterLab comes back when killed", self.killed_jupyterlab),
            (release, "vagrant provision that changes nothing", self.provision_again),
            (always, "a newer course, a learner's notebook", self.newer_course),
            (always, "vagrant halt saves the work", self.halt),
            (always, "vagrant up again, its port taken", self.up_with_the_port_taken),
            (release, "vagrant reload", self.reload),
            (release, "vagrant up forwards an ended port again", self.end_forwarding),
            (release, "an interrupted vagrant up, then another", self.interrupted_up),
            (always, "vagrant destroy saves the work first", self.destroy),
            (release, "a class server", self.class_server),
            (release, "the first vagrant up interrupted, then a token", self.first_up_interrupted),
            (release, "a destroy that cannot save is refused", self.refused_destroy),
        )

    def run(self) -> None:
        """What it stands on, then the phases."""
        shutil.rmtree(REPORTS, ignore_errors=True)
        REPORTS.mkdir(parents=True)
        self.prepare()
        self.choose_driver()
        self.start_libvirt()
        for runs, name, act in self.phases():
            if runs:
                with self.phase(name):
                    act()

    def keep_logs(self) -> None:
        """What QEMU and the VM say, before they are gone: for who looks for a failure's cause."""
        for log in Path("/var/log/libvirt/qemu").glob("*.log"):
            shutil.copy(log, REPORTS)
        if self.address:
            with suppress(Failure):
                self.ssh("sudo journalctl --boot --no-pager --lines=500")

    def print_times(self) -> None:
        """One table of the phases, one of the notebooks."""
        print("\nphase                                           seconds  machine slower by")
        for name, seconds in self.times.items():
            print(f"{name:<48} {seconds:6.1f} {self.slow[name]:18.1f}")
        print("\nnotebook, with its kernel's start             as user   as root")
        for name, users in sorted(self.seconds.items()):
            print(f"{name:<43}", *(told(users[user]) for user in ("user", "root") if user in users))
        print(f"* more than {GOAL} s")

    # ---- what is promised

    def up(self) -> None:
        self.address = last_line(self.vagrant("up"))
        self.page_answers()

    def killed_jupyterlab(self) -> None:
        self.ssh("sudo systemctl kill --signal=KILL labkit && labkit-url")
        self.page_answers()

    def provision_again(self) -> None:
        self.vagrant("provision")

    def as_ordinary_user(self) -> None:
        self.notebooks("user", self.numbers())

    def as_root(self) -> None:
        numbers = self.numbers()
        self.notebooks("root", [number for number in numbers if FULL or number in ROOT_TOO])

    def numbers(self) -> list[str]:
        """The notebooks, by their numbers."""
        there = (path.name[:2] for path in (self.course / "notebooks").glob("*.ipynb"))
        return sorted(number for number in there if number in NN or not NN)

    def halt(self) -> None:
        names = ["mine.md", "练习.ipynb", "作业.ipynb", f"{'长' * 40}.md"]
        for name in names:
            self.ssh(f"echo '# {name}' > mydocker/mine/{name}")
        self.ssh("sudo chown root: mydocker/mine/练习.ipynb")
        self.ssh("sudo chmod 600 mydocker/mine/练习.ipynb")
        self.vagrant("halt")
        for name in names:
            expect(self.saved(name) == f"# {name}\n", f"halt lost {name}")

    def up_with_the_port_taken(self) -> None:
        """The work and the token are still there."""
        before = self.address
        with listening(port_of(before)):
            self.up()
            expect(port_of(self.address) != port_of(before), f"the taken port: {self.address}")
        expect(self.ssh("cat mydocker/mine/mine.md") == "# mine.md\n", "mine.md is gone")
        expect(token_of(self.address) == token_of(before), "another token")
        told = self.ssh("labkit-url").strip()
        expect(told == self.address, f"labkit-url says {told}, not {self.address}")

    def reload(self) -> None:
        expect(last_line(self.vagrant("reload")) == self.address, "another address")
        self.page_answers()

    def destroy(self) -> None:
        self.ssh("echo '# more' >> mydocker/mine/mine.md")
        self.vagrant("destroy", "--force")
        expect(self.saved("mine.md") == "# mine.md\n# more\n", "destroy did not save")
        self.nothing_left()

    def class_server(self) -> None:
        """LABKIT_HUB=1: a hub whose learners cannot disturb each other, and whose work is saved."""
        said = self.vagrant("up", LABKIT_HUB="1", LABKIT_HUB_MEMORY="512")
        self.address = last_line(said)
        status, page = self.fetch(f"{self.address}hub/login")
        expect(status == 200 and b"password" in page, f"the hub's page: {status}")
        self.ssh(
            "printf 'bomb\\nglutton\\nworker\\n' | sudo tee /var/lib/labkit-hub/learners.txt"
            " && sudo systemctl restart labkit-hub && labkit-url"
        )
        self.ssh("cd mydocker && sudo .venv/bin/python -m tests.hub_limits")
        self.vagrant("destroy", "--force")
        book = "learner-worker/03-the-first-container.ipynb"
        expect("# worker" in self.saved(book), "destroy did not save the worker's copy")
        self.nothing_left()

    def first_up_interrupted(self) -> None:
        self.interrupt_up()
        self.address = last_line(self.vagrant("up", LABKIT_TOKEN="class-2026"))
        expect(token_of(self.address) == "class-2026", f"not the token: {self.address}")
        expect(port_of(self.address) == int(self.environment["LABKIT_PORT"]), "another port")
        self.page_answers()

    def refused_destroy(self) -> None:
        """Where the work cannot be asked for."""
        self.virsh("destroy", self.virsh("list", "--name").strip())
        said = self.vagrant("destroy", "--force", fails=True)
        expect("Nothing is destroyed" in said, f"destroy of a VM that is off: {said}")
        expect(self.virsh("list", "--all", "--name").strip(), "the VM is gone")
        self.vagrant("destroy", "--force", LABKIT_DISCARD="1")
        self.nothing_left()

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
        page = self.fetch(self.address)
        expect(page[0] == 200 and b"JupyterLab" in page[1], f"the page: {page[0]}")
        (REPORTS / "page.html").write_bytes(page[1])
        status, body = self.fetch(f"{base}/api/kernelspecs?token={token_of(self.address)}")
        expect(status == 200 and "labkit" in json.loads(body)["kernelspecs"], "no labkit kernel")

    def only_for_us(self) -> None:
        base = self.address.partition("/lab/")[0]
        expect(len(token_of(self.address)) >= 32, "a short token")
        expect(self.fetch(f"{base}/api/kernelspecs")[0] == 403, "answers without its token")
        port = port_of(self.address)
        listeners = self.command("listeners", "ss", "-Hltn", f"sport = :{port}").split("\n")
        places = {line.split()[3] for line in listeners if line}
        expect(places == {f"127.0.0.1:{port}"}, f"listens on {places}")

    def what_is_inside(self) -> None:
        with listening(0) as server:  # user-mode networks show the host's loopback as 10.0.2.2
            to = f"/dev/tcp/10.0.2.2/{server.getsockname()[1]}"
            reach = f"timeout {self.allow(5):.0f} bash -c '<{to}'; echo $?"
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
        status, body = self.fetch(kernels, data=b'{"name": "labkit"}', headers=header)
        expect(status == 201, f"starting a kernel: {status}")
        kernel = json.loads(body)["id"]
        path = f"$(mydocker/.venv/bin/jupyter --runtime-dir)/kernel-{kernel}.json"
        transport = json.loads(self.ssh(f"cat {path}"))["transport"]
        expect(transport == "ipc", f"the kernel's transport is {transport}")
        controllers = "/sys/fs/cgroup/system.slice/labkit.service/lab-*/cgroup.subtree_control"
        self.wait_until(
            lambda: "memory" in self.ssh(f"cat {controllers} 2>&1; true").split(),
            "a lab of the service has no group with controllers",
        )
        self.fetch(f"{kernels}/{kernel}", method="DELETE", headers=header)

    def notebooks(self, user: str, numbers: Sequence[str]) -> None:
        """Compare what the notebooks print here with what they hold.

        Two pytests share them: the imports of a third, which hands out work, take half a minute.
        """
        if not numbers:  # NN names none that root has as well
            return
        limits = (
            f"--nbval-kernel-startup-timeout={self.allow(120):.0f} "
            f"--nbval-cell-timeout={self.allow(300):.0f}"
        )
        names = [f"notebooks/{number}-*.ipynb" for number in numbers]
        reports = [f"/tmp/{user}-{half}.xml" for half in (1, 2)]
        halves = zip(reports, (names[::2], names[1::2] or names), strict=True)
        self.at_once(
            f"{SCOPE[user]}{PYTEST} --nbval {limits} --junitxml={report} {' '.join(half)}"
            for report, half in halves
        )
        tests = bad = 0
        for half, there in enumerate(reports, 1):
            report = REPORTS / f"nbval-{user}-{half}.xml"
            report.write_text(self.ssh(f"cat {there}"))
            suite = xml.etree.ElementTree.parse(report).getroot().find("testsuite")
            tests += int(suite.get("tests"))
            bad += sum(int(suite.get(kind)) for kind in ("failures", "errors", "skipped"))
            for cell in suite.iter("testcase"):
                name = cell.get("classname").removeprefix("notebooks.")
                seconds = self.seconds[name].get(user, 0)
                self.seconds[name][user] = seconds + float(cell.get("time"))
        expect(
            (tests > 100 or bool(NN)) and not bad, f"{tests} cells, {bad} not passed: see {REPORTS}"
        )
        compared = sum(user in users for users in self.seconds.values())
        expect(compared == len(names), f"{compared} notebooks compared, not {len(names)}")
        print(f"      {tests} cells of {compared} notebooks compared")

    def at_once(self, commands: Iterable[str]) -> str:
        """Run commands beside each other in the VM's course; return what they print."""
        begin = " ".join(f'{command} & all="$all $!";' for command in commands)
        end = "status=0; for pid in $all; do wait $pid || status=$?; done; exit $status"
        return self.ssh(f"cd mydocker || exit; {begin} {end}")

    def limits(self) -> None:
        """What can't be tried where version 1 holds the controllers, nor runtimes beside systemd.

        Nothing may be skipped, but what needs more IDs than the box has. Root has had 19 and 20.
        """
        oci, podman = RUNTIMES
        some = (podman, *(f"{oci}::test_{name}" for name in SOME.split()))
        runtimes = RUNTIMES if FULL else some
        # The box has no newuidmap, so no users with more IDs than one.
        # /tmp has nosuid and nodev there: what is bound from it read-only, runc refuses a user.
        run = f"TMPDIR=/var/tmp {{}}{PYTEST} -rs -k 'not (more and IDs)' {{}}"
        for user in SCOPE if FULL else ["user"]:
            wanted = [LIMITS, runtimes] if user == "user" else [LIMITS]
            there = [" ".join(filter(self.is_there, names)) for names in wanted]
            files = [names for names in there if names]
            said = self.at_once(run.format(SCOPE[user], names) for names in files)
            skips = re.findall("SKIPPED .*", said)  # the other's dots may stand before one
            others = [line for line in skips if "one ID alone" not in line]
            passed = len(re.findall(r"\d passed", said))
            expect(not others and 0 < passed == len(files), f"as {user}: {said}")

    def is_there(self, test: str) -> bool:
        """Whether this edition of the course has a test's file."""
        return (self.course / test.partition("::")[0]).exists()

    def vanishing_proc(self) -> None:
        """As a learner on a systemd machine meets it: as root, with no sandbox in between."""
        install = (
            "from labkit.course import workbook; "
            "print(workbook.install(workbook.runtime('{}')) / workbook.START)"
        )
        program = {
            upto: self.ssh(f'cd mydocker && .venv/bin/python -c "{install.format(upto)}"').strip()
            for upto in ("04", "05")
        }
        run = "sudo mydocker/.venv/bin/python -S {} run -ti /bin/true"
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
        theirs, ours = "03-the-first-container", "04-exec"
        headings = {theirs: "# 03 The first container", ours: "# 04 exec"}
        self.ssh(f"sed -i 's/{headings[theirs]}/# 03 Mine/' mydocker/mine/{theirs}.ipynb")
        for name, heading in headings.items():
            book = self.course / "notebooks" / f"{name}.ipynb"
            text = book.read_text()
            expect(heading in text, f"{name} has another heading")
            book.write_text(text.replace(heading, "# 00 Newer"))
        said = self.vagrant("provision")
        expect(f"it lies beside yours as {theirs}.newer.ipynb" in said, "nobody was told")
        for name, heading in (
            (theirs, "# 03 Mine"),
            (f"{theirs}.newer", "# 00 Newer"),
            (ours, "# 00 Newer"),
        ):
            self.ssh(f"grep -q '{heading}' mydocker/mine/{name}.ipynb")
        self.page_answers()

    def end_forwarding(self) -> None:
        """What a closed terminal does to the ssh that leads from the host's port to the VM."""
        pid_file = next(self.course.glob(".vagrant/machines/default/libvirt/pids/ssh_*.pid"))
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
        port = port_of(self.address)
        self.wait_until(lambda: not is_answering(port), "the port still answers")
        self.up()

    def interrupted_up(self) -> None:
        self.vagrant("halt")
        self.interrupt_up()
        self.up()
        expect(self.ssh("cat mydocker/mine/mine.md") == "# mine.md\n", "mine.md is gone")

    def interrupt_up(self) -> None:
        """`vagrant up`, and Ctrl-C while the VM boots."""
        with self.started("vagrant", "up", cwd=self.course) as up:
            boots = any("Waiting for" in line or "Starting domain" in line for line in up.stdout)
            expect(boots, "`vagrant up` ended before the VM booted")
            os.killpg(up.pid, signal.SIGINT)
            up.communicate()

    def nothing_left(self) -> None:
        domains = self.virsh("list", "--all", "--name")
        expect(not domains.strip(), f"libvirt still knows {domains}")

    def saved(self, name: str) -> str:
        copies = sorted((self.course / "saved").glob(f"*/{name}"))
        return copies[-1].read_text() if copies else ""


def told(seconds: float) -> str:
    """Seconds as the table shows them, marked where the goal is missed."""
    return f"{seconds:8.1f}{'*' if seconds > GOAL else ' '}"


if __name__ == "__main__":
    sys.exit(main())
