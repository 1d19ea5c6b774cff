"""Notebook 14's locks: what gets out of a container, layer by layer, and what runc makes of it."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from labkit.course import workbook
from labkit.exercise.root import make_root
from tests.helpers.processes import ORDINARY, machine

RUNTIME = workbook.install(workbook.runtime("14"))
DOCKER = 0xA80425FB  # what docker leaves of the capabilities, as its /proc/self/status shows it
MKNOD, SYS_ADMIN, NET_BIND_SERVICE, ALL = 1 << 27, 1 << 21, 1 << 10, (1 << 41) - 1
STATUS = ["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"]
MOUNTS = ["cat", "/proc/self/mountinfo"]
PROGRAMS = ("sh", "cat", "grep", "mount", "sleep", "true", "umount", "unshare", "chroot")
EVERYBODY = pytest.mark.parametrize(
    "prefix", [[], ORDINARY], ids=["as this user", "without capabilities"]
)
# A container for each attempt and each number of layers: `python3 -S -c TABLE ROOT DEVICE MARK`.
TABLE = """
import ctypes, errno, json, os, stat, sys, warnings
from mydocker import capabilities, linux, masks, rootfs, seccomp
from mydocker.container import clone

root, device, mark = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
add_key, keyctl = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
assert libc.syscall(keyctl, 1, None) > 0  # a session keyring of our own
assert libc.syscall(add_key, b"user", b"password", b"secret", 6, -3) > 0

def umount_proc():
    linux.umount("/proc", linux.MNT_DETACH)
    return any(name.isdigit() and name != "1" for name in os.listdir("/proc"))

def chroot_twice():
    os.chdir("/")
    os.chroot("/tmp")
    for _ in range(50):
        os.chdir("..")
    os.chroot(".")
    return os.path.exists(mark)

def mount_something():
    linux.mount("none", "/tmp", "tmpfs")
    return True

def own_user_namespace():
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS)
    return mount_something()

def opened(path, flags):
    os.close(os.open(path, flags))
    return True

def change_a_setting():
    with open("/proc/sys/kernel/ns_last_pid", "w") as setting:
        setting.write("1000")
    return True

def core_pattern():
    return opened("/proc/sys/kernel/core_pattern", os.O_WRONLY)

def mask_taken_off():
    linux.umount("/proc/sys")
    return change_a_setting()

def open_a_disk():
    path = f"/tmp/device-{os.getpid()}"
    os.mknod(path, stat.S_IFBLK | 0o600, int(device))
    try:
        return opened(path, os.O_RDONLY)
    finally:
        os.remove(path)

def read_a_key():
    return libc.syscall(keyctl, 10, -3, b"user", b"password", 0) > 0

def as_in_09():
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("proc", "/proc", "proc")

def chroot():
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    linux.mount("proc", f"{root}/proc", "proc")
    os.chroot(root)
    os.chdir("/")

def pivot_root():
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    rootfs.enter(root, False, [])

def limit():
    linux.limit_bounding_set(capabilities.bits(capabilities.DEFAULT))
    linux.limit_capabilities(capabilities.bits(capabilities.DEFAULT))

def load():
    linux.set_no_new_privileges()
    linux.set_seccomp_filter(seccomp.program({*capabilities.DEFAULT}))

ATTEMPTS = (umount_proc, chroot_twice, mount_something, own_user_namespace, change_a_setting,
            core_pattern, mask_taken_off, open_a_disk, read_a_key)
LOCKS = [pivot_root, masks.mask_paths, limit, load]
COLUMNS = [[as_in_09], [chroot], *(LOCKS[:n] for n in range(1, 5))]

def tried(attempt, layers):
    ready, go = os.pipe()
    pid = clone()
    if pid == 0:
        os.close(go)
        os.read(ready, 1)  # until its IDs are mapped
        status = 3
        try:
            for layer in layers:
                layer()
            try:
                status = 0 if attempt() else 1
            except OSError:
                status = 1
        finally:
            os._exit(status)
    os.close(ready)
    os.close(go)
    return {0: "out", 1: "no"}.get(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "failed")

print(json.dumps({a.__name__: " ".join(tried(a, c) for c in COLUMNS) for a in ATTEMPTS}))
"""
IN_A_USER_NAMESPACE = {
    "umount_proc": "out no no no no no",
    "chroot_twice": "out out no no no no",
    "mount_something": "out out out out no no",
    "own_user_namespace": "out no out out out no",
    "change_a_setting": "out out out no no no",
    "core_pattern": "no no no no no no",
    "mask_taken_off": "no no no out no no",
    "open_a_disk": "no no no no no no",
    "read_a_key": "out out out out out no",
}
AS_ROOT = IN_A_USER_NAMESPACE | {
    "core_pattern": "out out out no no no",
    "open_a_disk": "out out out out no no",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("root")
    folder.chmod(0o755)  # for other users of the container, too
    make_root(folder, *PROGRAMS)
    for name in ("proc", "tmp"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="module")
def seccomp():
    """The runtime's module, loaded here."""
    sys.path.insert(0, str(RUNTIME))
    try:
        return import_module("mydocker.seccomp")
    finally:
        sys.path.remove(str(RUNTIME))


def python(*words, prefix=()):
    line = [*prefix, sys.executable, "-S", *words]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(RUNTIME)}
    return subprocess.run(line, capture_output=True, text=True, timeout=60, env=environment)


def command(root, *words):
    return [sys.executable, "-S", str(RUNTIME / "start.py"), "run", "--rootfs", str(root), *words]


def mydocker(root, *words, prefix=()):
    return python(*command(root, *words)[2:], prefix=prefix)


def status(text):
    """The lines that STATUS prints: name to number."""
    found = {name: words.strip() for name, words in re.findall(r"(\w+):(.*)", text)}
    return {name: int(word, 16 if name.startswith("Cap") else 10) for name, word in found.items()}


def locks(root, *options, prefix=()):
    """Bounding set, no_new_privs and seccomp's mode of a command."""
    run = mydocker(root, *options, *STATUS, prefix=prefix)
    assert run.returncode == 0, run.stderr
    found = status(run.stdout)
    assert found["CapPrm"] == found["CapEff"] == found["CapBnd"]
    assert found["CapInh"] == found["CapAmb"] == 0
    return found["CapBnd"], found["NoNewPrivs"], found["Seccomp"]


def device():
    """The number of a block device that we may open, where there is one."""
    for path in sorted(Path("/sys/class/block").glob("*/dev")):
        node = Path("/dev", path.parent.name)
        try:
            os.close(os.open(node, os.O_RDONLY))
        except OSError:
            continue
        return node.stat().st_rdev
    return None


@pytest.mark.skipif(os.geteuid() != 0, reason="for root's container, which has no user namespace")
def test_what_gets_out_of_roots_container_layer_by_layer(root, tmp_path):
    number = device()
    mark = tmp_path / "mark"
    mark.touch()
    run = python("-c", TABLE, str(root), str(number or os.makedev(7, 0)), str(mark))
    found, wanted = json.loads(run.stdout), dict(AS_ROOT)
    if number is None:  # nobody opens one here, so nothing is told by that
        found.pop("open_a_disk")
        wanted.pop("open_a_disk")
    assert found == wanted


def test_what_gets_out_of_a_users_container_layer_by_layer(root, tmp_path):
    mark = tmp_path / "mark"
    mark.touch()
    words = ["-c", TABLE, str(root), str(os.makedev(8, 0)), str(mark)]
    found, wanted = json.loads(python(*words, prefix=ORDINARY).stdout), dict(IN_A_USER_NAMESPACE)
    if os.geteuid() == 0:  # the user behind that root is the owner of the machine's settings
        wanted["core_pattern"] = AS_ROOT["core_pattern"]
    assert found == wanted


@EVERYBODY
def test_by_default_all_locks_are_closed(root, prefix):
    assert locks(root, prefix=prefix) == (DOCKER & ~MKNOD, 1, 2)


def test_a_container_of_an_image_is_locked_for_each_kind_of_user(mydocker):
    mydocker("run", "tiny", "true")  # which builds it
    found = status(mydocker.ok("run", "tiny", *STATUS))
    assert (found["CapBnd"], found["NoNewPrivs"], found["Seccomp"]) == (DOCKER & ~MKNOD, 1, 2)
    script = "umount /proc/sys || mount -t tmpfs none /tmp || echo held"
    assert mydocker("run", "tiny", "sh", "-c", script).stdout == "held\n"


@EVERYBODY
@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("--cap-add SYS_ADMIN", DOCKER & ~MKNOD | SYS_ADMIN),
        ("--cap-add cap_sys_admin --cap-add=mknod", DOCKER | SYS_ADMIN),
        ("--cap-drop net_bind_service", DOCKER & ~MKNOD & ~NET_BIND_SERVICE),
        ("--cap-drop ALL --cap-add NET_BIND_SERVICE", NET_BIND_SERVICE),
        ("--cap-add ALL --cap-drop sys_admin", ALL & ~SYS_ADMIN),
        ("--cap-add ALL --cap-drop ALL --cap-drop sys_admin", ALL & ~SYS_ADMIN),
        ("--cap-drop SYS_ADMIN --cap-add SYS_ADMIN", DOCKER & ~MKNOD | SYS_ADMIN),
    ],
)
def test_capabilities_are_added_and_dropped_as_docker_does(root, options, kept, prefix):
    mine = status(subprocess.run(STATUS, capture_output=True, text=True, check=True).stdout)
    possible = ALL if prefix or os.geteuid() else mine["CapBnd"]
    assert locks(root, *options.split(), prefix=prefix) == (kept & possible, 1, 2)


@EVERYBODY
@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("--security-opt seccomp=unconfined", (1, 0)),
        ("--security-opt no-new-privileges=false", (0, 2)),
        ("--privileged", (0, 0)),
    ],
)
def test_an_option_opens_one_lock(root, options, found, prefix):
    assert locks(root, *options.split(), prefix=prefix)[1:] == found


@EVERYBODY
def test_a_privileged_container_has_every_capability_and_no_mask(root, prefix):
    mine = status(subprocess.run(STATUS, capture_output=True, text=True, check=True).stdout)
    kept = ALL if prefix or os.geteuid() else mine["CapBnd"]
    assert locks(root, "--privileged", prefix=prefix) == (kept, 0, 0)
    mounts = mydocker(root, "--privileged", *MOUNTS, prefix=prefix).stdout
    assert not re.search(r" /(proc|sys)/\S+ ", mounts)
    assert mydocker(root, "--privileged", "umount", "/proc", prefix=prefix).returncode == 0


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ("--cap-add sys_admni true", 125, "unknown capability SYS_ADMNI"),
        ("--cap-add= true", 125, "unknown capability "),
        ("--cap-drop", 1, "option --cap-drop wants a value"),
        ("--security-opt seccomp=a.json true", 1, "--security-opt does not know seccomp=a.json"),
    ],
)
def test_what_is_no_lock_is_named(root, words, status, says):
    run = mydocker(root, *words.split())
    assert run.returncode == status
    assert says in json.loads(run.stderr)["msg"]


@EVERYBODY
def test_the_init_above_a_command_is_locked_in_as_well(root, prefix):
    words = ["grep", "-hE", STATUS[2], "/proc/1/status", "/proc/self/status"]
    lines = mydocker(root, "--init", *words, prefix=prefix).stdout.splitlines()
    assert len(lines) == 14
    assert lines[:7] == lines[7:]
    assert status("\n".join(lines))["Seccomp"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's container has one user")
@pytest.mark.parametrize(
    "options", ["", "--init", "--cap-drop ALL", "--cap-add ALL", "--privileged"]
)
def test_another_user_of_the_container_has_no_capability(root, options):
    words = [*options.split(), "-u", "1000:1000", *STATUS]
    found = status(mydocker(root, *words).stdout)
    assert {found[f"Cap{name}"] for name in ("Prm", "Eff", "Inh", "Amb")} == {0}
    locked = options != "--privileged"
    assert (found["NoNewPrivs"], found["Seccomp"]) == (int(locked), 2 * locked)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's container has one user")
@pytest.mark.parametrize("options", ["", "--init"])
def test_another_users_container_ends_with_its_runtime(root, options):
    words = [*options.split(), "-u", "1000", "sh", "-c", "echo up; exec sleep 1000"]
    with subprocess.Popen(command(root, *words), stdout=subprocess.PIPE) as run:
        assert run.stdout.readline() == b"up\n"
        run.kill()
        assert run.stdout.read() == b""  # the last one that could write to it has ended


@EVERYBODY
def test_a_masked_file_is_empty_and_a_masked_folder_too(root, prefix):
    script = "for p in /proc/keys /proc/acpi /sys/firmware; do cat $p $p/* 2>/dev/null; done; :"
    run = mydocker(root, "sh", "-c", script, prefix=prefix)
    assert (run.returncode, run.stdout) == (0, "")


@EVERYBODY
def test_the_machine_is_as_before(root, prefix):
    before, programs = machine(), sorted(root.rglob("*"))
    mydocker(root, "true", prefix=prefix)
    mydocker(root, "--privileged", "mount", "-t", "tmpfs", "none", "/tmp", prefix=prefix)
    assert machine() == before
    assert sorted(root.rglob("*")) == programs


# The filter.
PROGRAM = {
    "load": 0x20,
    "equal": 0x15,
    "greater": 0x25,
    "any bit": 0x45,
    "return": 0x06,
}
DEFAULT = {"CHOWN", "SYS_CHROOT", "KILL"}
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
ALLOW, KILL = 0x7FFF0000, 0x80000000
X86, ARM, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def answer(steps, number, *arguments, architecture=X86):
    """What the filter answers to a call, as the kernel would run it."""
    call = {0: number, 4: architecture}
    call |= {16 + 8 * n: argument & 0xFFFFFFFF for n, argument in enumerate(arguments)}
    at = register = 0
    compare = {
        PROGRAM["equal"]: lambda value: register == value,
        PROGRAM["greater"]: lambda value: register > value,
        PROGRAM["any bit"]: lambda value: register & value,
    }
    while True:
        what, yes, no, value = steps[at]
        at += 1
        if what == PROGRAM["load"]:
            register = call[value]
        elif what == PROGRAM["return"]:
            return value
        else:
            at += yes if compare[what](value) else no


@pytest.mark.parametrize(
    ("machine", "architecture", "mount", "getpid", "clone"),
    [("x86_64", X86, 165, 39, 56), ("aarch64", ARM, 40, 172, 220)],
)
def test_what_the_filter_answers(seccomp, machine, architecture, mount, getpid, clone):
    steps = seccomp.program(DEFAULT, machine)

    def says(*call):
        return answer(steps, *call, architecture=architecture)

    assert says(mount) == EPERM
    assert says(getpid) == ALLOW
    assert says(435) == ENOSYS  # clone3
    assert says(470) == ENOSYS  # newer than the filter
    assert says(0x40000000 + getpid) == ENOSYS  # x32
    assert says(clone, 17) == ALLOW  # a fork: SIGCHLD
    assert says(clone, 0x10000000 | 17) == EPERM  # CLONE_NEWUSER
    assert says(clone, 0x003D0F00) == ALLOW  # a thread of glibc's
    other = I386 if architecture != I386 else X86
    assert answer(steps, getpid, architecture=other) == KILL


def test_a_capability_opens_its_calls(seccomp):
    steps = seccomp.program(DEFAULT | {"SYS_ADMIN"}, "x86_64")
    assert answer(steps, 165) == ALLOW
    assert answer(steps, 435) == ALLOW
    assert answer(steps, 56, 0x10000000) == ALLOW
    assert answer(steps, 250) == EPERM  # keyctl: for nobody
    assert answer(steps, 175) == EPERM  # init_module wants SYS_MODULE
    assert answer(seccomp.program(DEFAULT | {"BPF"}, "x86_64"), 321) == ALLOW


def test_another_processor_is_told_what_helps(seccomp):
    with pytest.raises(OSError, match=r"no filter for sparc64.*seccomp=unconfined"):
        seccomp.program(DEFAULT, "sparc64")


@pytest.mark.parametrize(
    ("column", "header"),
    [
        (1, f"/usr/include/{os.uname().machine}-linux-gnu/asm/unistd_64.h"),
        (2, "/usr/include/asm-generic/unistd.h"),
    ],
)
def test_the_numbers_are_the_kernels(seccomp, column, header):
    if not Path(header).is_file():
        pytest.skip(f"there is no {header} here (Debian: linux-libc-dev)")
    lines = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", Path(header).read_text(), re.M)
    numbers = {name: int(number) for name, number in lines}
    words = [line.split()[1:] for line in seccomp.REFUSED.strip().split("\n")]
    calls = [line[n : n + 3] for line in words for n in range(0, len(line), 3)]
    machine = "x86_64" if column == 1 else "aarch64"
    assert seccomp.PROCESSORS[machine][1] == numbers["clone"]
    known = [call for call in calls if call[0] in numbers]
    assert {call[0] for call in calls} - {*numbers} <= {"open_tree_attr"}  # newer than some headers
    assert [int(call[column]) for call in known] == [numbers[call[0]] for call in known]


REAL = """
import ctypes, errno, json, os
from mydocker import capabilities, linux, seccomp
libc = ctypes.CDLL(None, use_errno=True)
steps = seccomp.program({*capabilities.DEFAULT})
linux.limit_capabilities(0)
linux.set_no_new_privileges()
linux.set_seccomp_filter(steps)
said = {}
for step, answer in zip(steps, steps[1:]):
    if step[0] != seccomp.EQUAL or answer != seccomp.REFUSE:
        continue
    number = step[3]
    result = libc.syscall(number, -1, -1, -1, -1, -1, -1)
    said[number] = errno.errorcode[ctypes.get_errno()] if result < 0 else "worked"
print(json.dumps(said))
"""


def test_the_kernel_refuses_each_call_of_the_table(seccomp):
    said = json.loads(python("-c", REAL, prefix=ORDINARY).stdout)
    assert len(said) >= 30
    assert {*said.values()} == {"EPERM"}


# The call getpid(2) as a program of 32 bits makes it, without a filter and with one.
OF_32_BITS = """
import ctypes, mmap, os
from mydocker import linux, seccomp
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
for filtered in (False, True):
    pid = os.fork()
    if pid == 0:
        if filtered:
            linux.set_no_new_privileges()
            linux.set_seccomp_filter(seccomp.program(set()))
        os._exit(call() != os.getpid())
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="for a processor of this kind")
def test_a_call_of_32_bits_ends_the_process(seccomp):
    without, with_filter = map(int, python("-c", OF_32_BITS).stdout.split())
    assert without in (0, -signal.SIGSEGV)  # a kernel may know no calls of 32 bits
    assert with_filter == -signal.SIGSYS if without == 0 else without


EVERYDAY = """
import multiprocessing, os, socket, sqlite3, subprocess, tempfile, threading
from mydocker import capabilities, linux, seccomp
linux.set_no_new_privileges()
linux.set_seccomp_filter(seccomp.program({*capabilities.DEFAULT}))
done = []
threads = [threading.Thread(target=done.append, args=[n]) for n in range(9)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert sorted(done) == [*range(9)]
assert subprocess.run("ls / | sort | head -n 1", shell=True, capture_output=True).stdout
with multiprocessing.Pool(2) as pool:
    assert pool.map(abs, [-1, -2]) == [1, 2]
a, b = socket.socketpair()
a.send(b"x")
assert b.recv(1) == b"x"
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
with tempfile.NamedTemporaryFile() as file:
    sqlite3.connect(file.name).execute("create table t (x)")
    os.chmod(file.name, 0o600)
print("all")
"""


def test_everyday_programs_notice_nothing(seccomp):
    run = python("-c", EVERYDAY, prefix=ORDINARY)
    assert run.stdout == "all\n", run.stderr


# Other runtimes, with the same lists in their configuration.
def bundle(folder, root, capabilities, *command):
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    names = [f"CAP_{name}" for name in capabilities]
    sets = ("bounding", "effective", "permitted")
    process = {"terminal": False, "args": command, "capabilities": dict.fromkeys(sets, names)}
    config["process"] |= process
    config["root"] = {"path": str(root)}
    config["mounts"] = [m for m in config["mounts"] if m["destination"] != "/sys/fs/cgroup"]
    kinds = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [kind for kind in kinds if kind["type"] != "cgroup"]
    config["linux"].pop("resources", None)
    (folder / "config.json").write_text(json.dumps(config))


def peer(runtime, folder):
    """Run a bundle; for crun without the cgroups that it refuses beside those of version 1."""
    hybrid = "mountpoint -q /sys/fs/cgroup/unified && umount /sys/fs/cgroup/unified"
    script = f"{hybrid}; exec {runtime} run --bundle {folder} locks-{os.getpid()}"
    command = ["unshare", "--mount", "sh", "-c", script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout


peers = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(
            name,
            marks=pytest.mark.skipif(
                os.geteuid() != 0 or not shutil.which("runc") or not shutil.which(name),
                reason=f"it takes root, runc and {name}",
            ),
        )
        for name in ("runc", "crun")
    ],
)


@peers
def test_a_process_has_the_capabilities_that_a_peer_gives_it(runtime, root, tmp_path):
    names = ["AUDIT_WRITE", "KILL", "NET_BIND_SERVICE"]
    bundle(tmp_path, root, names, *STATUS)
    theirs = status(peer(runtime, tmp_path))
    add = [word for name in names for word in ("--cap-add", name)]
    options = ["--cap-drop", "ALL", *add, "--security-opt", "seccomp=unconfined"]
    assert status(mydocker(root, *options, *STATUS).stdout) == theirs


@peers
def test_the_paths_are_masked_and_read_only_as_under_a_peer(runtime, root, tmp_path):
    bundle(tmp_path, root, [], *MOUNTS)
    theirs = paths(peer(runtime, tmp_path))
    ours = paths(mydocker(root, *MOUNTS).stdout)
    newer = {path: ours.pop(path) for path in [*ours] if path not in theirs}
    assert {*newer} <= {"/proc/interrupts", "/sys/devices/virtual/powercap"}
    assert ours == theirs


def paths(mountinfo):
    """The mounts below /proc and /sys: whether they are read-only, and what shows there."""
    found = {}
    for line in mountinfo.splitlines():
        words = line.split()
        if re.match("/(proc|sys)/", words[4]) and words[4] != "/sys/fs/cgroup":
            kind = words[words.index("-") + 1]
            device = words[3] == "/null"
            found[words[4]] = "null" if device else (words[5].split(",")[0], kind)
    return found
