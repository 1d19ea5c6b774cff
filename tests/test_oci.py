"""One bundle under runc, crun and ours: what the kernel shows is the same.

Each test runs once for each of them. Where they differ, the test has an answer for each.
"""

import json
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from labkit import linux, procfs
from tests.helpers.oci import IDS, KINDS, Place
from tests.helpers.tools import needed

RUNTIMES = ("runc", "crun", "ours")
several_ids = pytest.mark.skipif(IDS == 1, reason="one ID alone: there is no other user inside")


@pytest.fixture(scope="module", params=RUNTIMES)
def where(request):
    if request.param != "ours":
        path = shutil.which(request.param, path="/usr/bin:/usr/sbin")  # Debian's runc is in sbin
        needed(path or request.param, request.param)
    place = Place(request.param)
    yield place
    place.close()


@pytest.fixture
def place(where):
    """The place, with nothing in it; whatever is left in it goes with the test."""
    before = where.count
    yield where
    for number in range(before + 1, where.count + 1):
        where("delete", "--force", f"c{number}")


def running(place, **changes):
    return place.create(**changes).begin()


# The process


def test_arguments_environment_and_folder(place):
    box = running(place, **{"process.cwd": "/tmp/made"})
    assert box.read("cmdline") == "sleep\x001000\0"
    shown = box.read("environ").split("\0")
    assert {"PATH=/bin", "A=b=c"} <= {*shown}
    assert os.readlink(f"/proc/{box.entry}/cwd") == "/tmp/made"


def test_nothing_of_the_callers_is_left_to_the_command(place):
    box = running(place)
    assert sorted(os.listdir(f"/proc/{box.entry}/fd")) == ["0", "1", "2"]
    assert int(box.field("SigBlk"), 16) == 0
    ignored = int(box.field("SigIgn"), 16)
    assert ignored & ~(1 << 31) == 0  # 32 is the C library's own, and a shell may have it ignored


def test_it_leads_a_session(place):
    box = running(place)
    fields = box.read("stat").rpartition(")")[2].split()
    assert fields[2] == fields[3]


def test_the_first_user_has_only_its_own_group(place):
    box = running(place)
    assert box.field("Uid").split()[0] == box.field("Gid").split()[0] == outside(0)


def outside(number):
    """An ID of the place, as this machine counts it."""
    base = 100000 if IDS > 1 else os.geteuid()
    return str(base + number)


@several_ids
def test_user_and_groups(place):
    user = {"uid": 33, "gid": 44, "additionalGids": [55, 66]}
    box = running(place, **{"process.user": user})
    assert box.field("Uid") == " ".join([outside(33)] * 4)
    assert box.field("Gid") == " ".join([outside(44)] * 4)
    groups = {outside(55), outside(66)}
    assert {*box.field("Groups").split()} - {outside(44)} == groups


@several_ids
def test_no_groups(place):
    assert running(place, **{"process.user": {"uid": 33, "gid": 44}}).field("Groups") == ""


def test_umask(place):
    box = running(place, **{"process.user": {"uid": 0, "gid": 0, "umask": 0o27}})
    assert box.field("Umask") == "0027"


def test_umask_unless_given(place):
    assert running(place).field("Umask") == "0022"


def test_limits(place):
    limits = [
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 4096},
        {"type": "RLIMIT_CPU", "soft": 1000, "hard": 1000},
    ]
    box = running(place, **{"process.rlimits": limits})
    assert box.limit("Max open files") == ("100", "200")
    assert box.limit("Max core file size") == ("0", "4096")
    assert box.limit("Max cpu time") == ("1000", "1000")


def test_oom_score(place):
    assert running(place, **{"process.oomScoreAdj": 555}).read("oom_score_adj") == "555\n"


@pytest.mark.parametrize("wanted", [True, False])
def test_no_new_privileges(place, wanted):
    box = running(place, **{"process.noNewPrivileges": wanted})
    assert box.field("NoNewPrivs") == str(int(wanted))


def test_no_capabilities_unless_given(place):
    box = running(place)
    assert {int(box.field(f"Cap{kind}"), 16) for kind in SETS.values()} == {0}


SETS = {"effective": "Eff", "permitted": "Prm", "inheritable": "Inh", "bounding": "Bnd"}
SETS |= {"ambient": "Amb"}
CHOWN, KILL, CHROOT = 1 << 0, 1 << 5, 1 << 18


def test_capabilities(place):
    """Of root, an exec makes all that is in the bounding set permitted and effective."""
    names = ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_CHROOT"]
    asked = {"effective": names[:1], "permitted": names[:2], "bounding": names}
    box = running(place, **{"process.capabilities": asked})
    found = {kind: int(box.field(f"Cap{kind}"), 16) for kind in SETS.values()}
    every = CHOWN | KILL | CHROOT
    assert found == {"Eff": every, "Prm": every, "Inh": 0, "Bnd": every, "Amb": 0}


@several_ids
def test_capabilities_of_another_user(place):
    """Of another, it makes those permitted that are ambient."""
    names = ["CAP_CHOWN", "CAP_KILL"]
    asked = dict.fromkeys(SETS, names) | {"ambient": names[:1]}
    changes = {"process.capabilities": asked, "process.user": {"uid": 33, "gid": 44}}
    box = running(place, **changes)
    found = {kind: int(box.field(f"Cap{kind}"), 16) for kind in SETS.values()}
    both = CHOWN | KILL
    assert found == {"Eff": CHOWN, "Prm": CHOWN, "Inh": both, "Bnd": both, "Amb": CHOWN}


# Namespaces

SHORT = {"mount": "mnt", "network": "net"}


@pytest.mark.parametrize("left_out", [None, *(kind for kind in KINDS if kind != "mount")])
def test_namespaces(place, left_out):
    kinds = [kind for kind in KINDS if kind != left_out]
    changes: dict[str, object] = {"linux.namespaces": [{"type": kind} for kind in kinds]}
    if left_out == "uts":
        changes["hostname"] = ""
    if left_out == "pid":  # the place's own would be mounted twice
        changes["process.args"] = ["sleep", "1000"]
        box = place.create(**changes).start()
    else:
        box = running(place, **changes)
    assert box.namespaces() == {SHORT.get(kind, kind) for kind in kinds}


def test_a_namespace_that_is_there(place):
    first = running(place)
    listed = [{"type": kind} for kind in KINDS if kind not in ("network", "ipc")]
    there = f"/proc/{first.pid}/ns"
    listed += [{"type": "network", "path": f"{there}/net"}, {"type": "ipc", "path": f"{there}/ipc"}]
    second = running(place, **{"linux.namespaces": listed})
    kinds = ("net", "ipc", "uts", "pid")
    links = [
        [os.readlink(f"/proc/{box.entry}/ns/{kind}") for kind in kinds] for box in (first, second)
    ]
    assert [a == b for a, b in zip(*links, strict=True)] == [True, True, False, False]


def test_a_user_namespace(place):
    row = [{"containerID": 0, "hostID": 0, "size": IDS if IDS == 1 else 1000}]
    if IDS > 1:
        row.append({"containerID": 5000, "hostID": 6000, "size": 10})
    kinds = {"linux.namespaces": [{"type": kind} for kind in (*KINDS, "user")]}
    box = running(place, **kinds, **{"linux.uidMappings": row, "linux.gidMappings": row})
    assert "user" in box.namespaces()
    for kind in "uid", "gid":
        lines = place.do("cat", f"/proc/{box.pid}/{kind}_map").stdout.splitlines()
        assert [[*map(int, line.split())] for line in lines] == [[*part.values()] for part in row]
    assert box.field("Uid").split()[0] == outside(0)


def test_host_name(place):
    box = running(place)
    shown = place.do("nsenter", "--target", box.pid, "--uts", "cat", "/proc/sys/kernel/hostname")
    assert shown.stdout == "inside\n"


def test_the_loopback_is_up(place):
    box = running(place)
    shown = place.do("nsenter", "--target", box.pid, "--net", "ip", "-o", "link", "show", "lo")
    assert ",UP," in shown.stdout


# The root, and what is mounted in it


@pytest.mark.parametrize("read_only", [True, False])
def test_root(place, read_only):
    box = running(place, **{"root": {"path": "rootfs", "readonly": read_only}})
    assert box.mount("/").options.split(",")[0] == ("ro" if read_only else "rw")
    assert sorted(os.listdir(box.inside("/"))) == sorted(os.listdir(place.bundle / "rootfs"))
    targets = {mount.target for mount in mounts_of(box)}
    assert not [target for target in targets if "bundle" in target]


def test_an_absolute_root(place):
    box = running(place, **{"root": {"path": str(place.bundle / "rootfs")}})
    assert box.inside("/bin/sh").exists()


def mounts_of(box):
    return procfs.mounts(box.entry)


def mounted(place, *options, kind="tmpfs", source="tmpfs", target="/mnt"):
    entry = {"destination": target, "type": kind, "source": source, "options": [*options]}
    return running(place, mounts=[entry])


@pytest.mark.parametrize(
    "word", ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "relatime", "rw"]
)
def test_mount_flags(place, word):
    assert word in mounted(place, word).mount("/mnt").options.split(",")


def test_mount_data(place):
    box = mounted(place, "size=128k", "mode=751", target="/data")
    found = os.statvfs(box.inside("/data"))
    assert found.f_blocks * found.f_frsize == 128 << 10
    assert stat.S_IMODE(os.stat(box.inside("/data")).st_mode) == 0o751


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("private", "private"),
        ("rprivate", "private"),
        ("shared", "shared"),
        ("rshared", "shared"),
        ("unbindable", "unbindable"),
    ],
)
def test_propagation(place, word, shown):
    if place.name == "crun":  # makes all private once more
        shown = "private"
    assert mounted(place, word).mount("/mnt").propagation.split(":")[0] == shown


@pytest.fixture
def shown(place):
    folder = place.folder / "shown"
    folder.mkdir(exist_ok=True)
    (folder / "file").write_text("of ours\n")
    (folder / "program").write_text("")
    return folder


@pytest.mark.parametrize(
    "words", [["bind"], ["rbind", "ro"], ["bind", "nosuid", "nodev", "noexec"]]
)
def test_a_folder_of_ours(place, shown, words):
    box = mounted(place, *words, kind="bind", source=str(shown))
    assert box.inside("/mnt/file").read_text() == "of ours\n"
    assert {*words} - {"bind", "rbind"} <= {*box.mount("/mnt").options.split(",")}


def test_a_file_of_ours(place, shown):
    box = mounted(place, "bind", "ro", kind="bind", source=str(shown / "file"), target="/a/b/file")
    assert box.inside("/a/b/file").read_text() == "of ours\n"


def test_a_mount_stays_in_the_root(place, shown):
    """A link in the bundle's files leads to a place in there."""
    os.symlink(f"../../../..{shown}", place.bundle / "rootfs/link")
    subprocess.run(["mkdir", "-p", f"{place.bundle}/rootfs{shown}/new"], check=True)
    box = mounted(place, target="/link/new")
    assert box.mount(f"{shown}/new").fstype == "tmpfs"
    assert not (shown / "new").exists()


def test_a_link_to_nowhere(place):
    """What only runc makes for it."""
    os.symlink("/no/where", place.bundle / "rootfs/dangling")
    place.write({"mounts": [{"destination": "/dangling/new", "type": "tmpfs", "source": "tmpfs"}]})
    name = f"c{place.count + 1}"
    assert failed(place, "create", "--bundle", place.bundle, name) == (place.name != "runc")
    place("delete", "--force", name)
    assert not Path("/no").exists()


def test_mounts_are_in_order(place):
    entries = [
        {"destination": target, "type": "tmpfs", "source": "tmpfs", "options": ["size=64k"]}
        for target in ("/mnt", "/mnt/a", "/mnt/a/b")
    ]
    box = running(place, mounts=entries)
    assert [m.target for m in mounts_of(box) if m.target.startswith("/mnt")] == [
        "/mnt",
        "/mnt/a",
        "/mnt/a/b",
    ]


def test_a_cgroup_mount(place):
    box = mounted(place, "ro", "nosuid", kind="cgroup", source="cgroup", target="/sys/fs/cgroup")
    assert box.mount("/sys/fs/cgroup").fstype == "cgroup2"
    assert {"ro", "nosuid"} <= {*box.mount("/sys/fs/cgroup").options.split(",")}


def test_devices_that_are_always_there(place):
    box = running(place)
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        found, here = os.stat(box.inside(f"/dev/{name}")), os.stat(f"/dev/{name}")
        assert (found.st_mode, found.st_rdev) == (here.st_mode, here.st_rdev)
    links = {name: os.readlink(box.inside(f"/dev/{name}")) for name in ("fd", "stdin", "ptmx")}
    assert links["fd"] == "/proc/self/fd"
    assert links["stdin"] in ("/proc/self/fd/0", "fd/0")
    assert links["ptmx"] == "pts/ptmx"


def test_masked_paths(place):
    paths = ["/proc/cpuinfo", "/proc/tty", "/proc/there/is/none"]
    box = running(place, **{"linux.maskedPaths": paths})
    assert box.inside("/proc/cpuinfo").read_bytes() == b""
    assert os.listdir(box.inside("/proc/tty")) == []
    assert box.mount("/proc/tty").options.split(",")[0] == "ro"


def test_read_only_paths(place):
    box = running(place, **{"linux.readonlyPaths": ["/proc/sys", "/proc/there/is/none"]})
    assert box.mount("/proc/sys").options.split(",")[0] == "ro"
    assert box.mount("/proc").options.split(",")[0] == "rw"


def test_sysctl(place):
    wanted = {"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"}
    box = running(place, **{"linux.sysctl": wanted})
    shown = place.do("nsenter", "--target", box.pid, "--net", "--ipc", "cat", *map(path_of, wanted))
    assert shown.stdout == "1\n1\n"


def path_of(name):
    return f"/proc/sys/{name.replace('.', '/')}"


def test_a_sysctl_of_the_whole_machine(place):
    place.write({"linux.sysctl": {"vm.swappiness": "10"}})
    assert failed(place, "create", "--bundle", place.bundle, "no")


# The words


def failed(place, *words):
    """Whether a word fails, and says why: ours with status 1, in one sentence."""
    run = place(*words, status=None)
    lines = run.stderr.splitlines()
    if place.name == "ours" and run.returncode:
        assert run.returncode == 1
        [line] = map(json.loads, lines)
        assert line["level"] == "error"
        assert "\n" not in line["msg"]
    return run.returncode != 0 and bool(lines)


def test_states(place):
    box = place.create(annotations={"a": "b"})
    state = json.loads(place("state", box.name).stdout)
    assert state["status"] == "created"
    assert (state["id"], state["pid"]) == (box.name, box.pid)
    assert (state["bundle"], state["annotations"]["a"]) == (str(place.bundle), "b")
    assert state["ociVersion"].startswith("1.")
    box.begin()
    assert place.status(box.name) == "running"
    place("kill", box.name, "KILL")
    assert box.place.end_of(box.pid) == -9
    state = json.loads(place("state", box.name).stdout)
    assert (state["status"], state.get("pid", 0)) == ("stopped", 0)
    place("delete", box.name)
    assert failed(place, "state", box.name)


def test_nothing_runs_before_start(place):
    box = place.create(**{"process.args": ["sh", "-c", "echo ran"]})
    assert not linux.poll(box.output.fileno(), seconds=0)
    box.start()
    assert box.output.readline() == "ran\n"


@pytest.mark.parametrize(
    ("script", "status"), [("exit 7", 7), ("exit 0", 0), ("kill -9 $$", 0), ("nosuch", 127)]
)
def test_exit_status(place, script, status):
    """PID 1 is safe from its own SIGKILL, and ends with what the shell says next."""
    box = place.create(**{"process.args": ["sh", "-c", f"{script}"]}).start()
    assert place.end_of(box.pid) == status


@pytest.mark.parametrize(
    ("word", "number"), [("TERM", 15), ("SIGTERM", 15), ("15", 15), ("KILL", 9), ("USR1", 10)]
)
def test_kill(place, word, number):
    box = running(place)
    # Only what PID 1 has a handler for reaches it from inside; from outside, SIGKILL does, too.
    place("kill", box.name, word)
    if number == 9:
        assert place.end_of(box.pid) == -9
    else:
        assert place.status(box.name) == "running"


def test_kill_of_one_that_is_created(place):
    box = place.create()
    place("kill", box.name, "KILL")
    assert place.end_of(box.pid) == -9
    assert place.status(box.name) == "stopped"


def test_an_unknown_signal(place):
    if place.name == "crun":  # some versions of it send none, and say nothing
        box = running(place)
        place("kill", box.name, "NOSUCH", status=None)
        assert place.status(box.name) == "running"
    else:
        assert failed(place, "kill", running(place).name, "NOSUCH")


@pytest.mark.parametrize("word", ["start", "state", "kill", "delete"])
def test_an_unknown_container(place, word):
    assert failed(place, word, "nobody")


def test_delete_by_force_of_an_unknown_container(place):
    place("delete", "--force", "nobody")


def test_an_id_that_exists(place):
    box = running(place)
    assert failed(place, "create", "--bundle", place.bundle, box.name)
    assert place.status(box.name) == "running"


def test_start_twice(place):
    assert failed(place, "start", running(place).name)


def test_start_of_a_stopped_one(place):
    box = running(place)
    place("kill", box.name, "KILL")
    place.end_of(box.pid)
    assert failed(place, "start", box.name)


def test_kill_of_a_stopped_one(place):
    box = running(place)
    place("kill", box.name, "KILL")
    place.end_of(box.pid)
    assert failed(place, "kill", box.name, "TERM")


def test_delete_of_a_running_one(place):
    box = running(place)
    assert failed(place, "delete", box.name)
    assert place.status(box.name) == "running"


def test_delete_by_force_of_a_running_one(place):
    box = running(place)
    place("delete", "--force", box.name)
    assert place.end_of(box.pid) == -9
    assert failed(place, "state", box.name)


@pytest.mark.parametrize("name", ["../up", "a/b", ""])
def test_an_id_that_would_lead_elsewhere(place, name):
    place.write({})
    assert failed(place, "create", "--bundle", place.bundle, name)


def test_a_command_that_is_not_there(place):
    """runc and crun tell it when they create, ours by the status of the command."""
    if place.name == "ours":
        assert place.end_of(place.create(**{"process.args": ["nosuch"]}).start().pid) == 127
        return
    place.write({"process.args": ["nosuch"]})
    assert failed(place, "create", "--bundle", place.bundle, "no")
    assert failed(place, "state", "no")


def test_a_bundle_that_is_not_there(place):
    assert failed(place, "create", "--bundle", place.folder / "none", "no")


def test_no_json(place):
    (place.bundle / "config.json").write_text("{")
    assert failed(place, "create", "--bundle", place.bundle, "no")


def test_after_a_failure_the_id_is_free(place):
    place.write({"root.path": "none"})
    assert failed(place, "create", "--bundle", place.bundle, f"c{place.count + 1}")
    assert running(place)


# What runc and crun have beside the specification: one more command


def execute(place, box, *words, status=0, **changes):
    process = {"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0}}
    (place.folder / "process.json").write_text(json.dumps(process | changes))
    process_file = place.folder / "process.json"
    return place("exec", "--process", process_file, *words, box.name, status=status).stdout


def test_exec(place):
    box = running(place)
    script = "echo $A $PWD; read word < /proc/1/comm; echo $word; exit 7"
    changes = {"args": ["sh", "-c", script], "env": ["PATH=/bin", "A=b"], "cwd": "/bin"}
    assert execute(place, box, status=7, **changes) == "b /bin\nsleep\n"


def test_exec_detached(place):
    box = running(place)
    execute(place, box, "--detach", "--pid-file", "/run/second", args=["sleep", "1000"])
    second = place.do("cat", "/run/second").stdout.strip()
    one, other = (procfs.namespaces(f"{place.pid}/root/proc/{pid}") for pid in (box.pid, second))
    assert one == other
    place("kill", box.name, "KILL")
    assert place.end_of(int(second)) == -9  # as its PID namespace has ended


def test_exec_takes_on_what_its_process_says(place):
    box = running(place)
    changes = {
        "args": ["sh", "-c", "cat /proc/self/status; umask"],
        "user": {"uid": 0, "gid": 0, "umask": 0o27},
        "capabilities": {
            kind: ["CAP_KILL"] for kind in SETS if kind not in ("inheritable", "ambient")
        },
        "noNewPrivileges": True,
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}],
    }
    shown = execute(place, box, **changes)
    assert "NoNewPrivs:\t1" in shown
    assert f"CapBnd:\t{KILL:016x}" in shown
    assert f"CapEff:\t{KILL:016x}" in shown
    if place.name != "runc":  # whose exec passes over it
        assert shown.endswith("\n0027\n")


def test_exec_into_a_stopped_one(place):
    box = running(place)
    place("kill", box.name, "KILL")
    place.end_of(box.pid)
    with pytest.raises(AssertionError, match=r"stopped|not running"):
        execute(place, box)


# What ours does not implement, it says

RULE = {"defaultAction": "SCMP_ACT_ALLOW"}
REFUSED = {
    "domainname": "x",
    "hooks.prestart": [{"path": "/bin/true"}],
    "hooks.poststop": [{"path": "/bin/true"}],
    "process.apparmorProfile": "x",
    "process.selinuxLabel": "x",
    "process.scheduler": {"policy": "SCHED_BATCH"},
    "process.ioPriority": {"class": "IOPRIO_CLASS_IDLE"},
    "process.execCPUAffinity": {"initial": "0"},
    "linux.cgroupsPath": "/x",
    "linux.resources": {"memory": {"limit": 1 << 26}},
    "linux.devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}],
    "linux.seccomp": RULE,
    "linux.rootfsPropagation": "shared",
    "linux.mountLabel": "x",
    "linux.intelRdt": {"closID": "x"},
    "linux.personality": {"domain": "LINUX32"},
    "linux.timeOffsets": {"monotonic": {"secs": 1}},
    "mounts": [{"destination": "/x", "type": "tmpfs", "uidMappings": [{"size": 1}]}],
    "vm": {"kernel": {"path": "/x"}},
}


@pytest.fixture(scope="module")
def ours():
    place = Place("ours")
    yield place
    place.close()


@pytest.mark.parametrize("field", REFUSED)
def test_what_is_not_implemented_is_refused(ours, field):
    ours.write({field: REFUSED[field]})
    said = ours("create", "--bundle", ours.bundle, "no", status=1).stderr
    message = json.loads(said)["msg"]
    assert message.startswith(f"config.json: {field}")
    assert message.endswith(" is not implemented")
    assert "there is no container" in ours("state", "no", status=1).stderr


@pytest.mark.parametrize("words", ["kill --all", "pause", "list", "run", "update"])
def test_a_word_that_is_not_implemented(ours, words):
    run = ours(*words.split(), "no", status=None)
    assert run.returncode in (1, 2)
    assert "no such word" in run.stderr or "--all" in run.stderr
