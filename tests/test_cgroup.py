"""cgroup: a lab gets a group for limits where one was delegated; else a sentence says why not."""

import os
import signal
import subprocess
import sys

import pytest

from labkit import cgroup, doctor
from tests.helpers.processes import Kernel, until

HERE = "0::/user.slice/run-1.scope\n"
V1 = "4:memory:/\n2:cpu,cpuacct:/\n"


@pytest.fixture
def group(tmp_path, monkeypatch):
    """A folder that looks like the group of a scope with this process alone, which is ours."""
    (tmp_path / "cgroup").write_text(HERE)
    mount = f"30 24 0:26 / {tmp_path} rw,nosuid - cgroup2 cgroup2 rw\n"
    (tmp_path / "mountinfo").write_text(mount)
    group = tmp_path / "user.slice/run-1.scope"
    group.mkdir(parents=True)
    (group / "cgroup.controllers").write_text("cpu io memory pids\n")
    (group / "cgroup.procs").write_text(f"{os.getpid()}\n")
    monkeypatch.setattr(cgroup, "PROC", tmp_path)
    monkeypatch.setattr(os, "getxattr", lambda *_: b"1")
    return group


def test_a_process_alone_in_a_delegated_group_goes_to_a_leaf_and_hands_controllers_on(group):
    assert cgroup.take_leaf() == group
    assert (group / "labkit/cgroup.procs").read_text() == str(os.getpid())
    assert (group / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_a_process_in_such_a_leaf_stays_there(group, tmp_path):
    (tmp_path / "cgroup").write_text(f"{HERE.rstrip()}/labkit\n")
    assert cgroup.take_leaf() == group
    assert not (group / "labkit").exists()


def refused(group):
    """The one sentence; nothing was touched."""
    before = sorted(group.rglob("*"))
    said = doctor.no_limits()
    assert sorted(group.rglob("*")) == before
    assert said.count("Cure: ") == 1
    return said


def test_where_v1_holds_the_controllers_that_is_said(group, tmp_path):
    (tmp_path / "cgroup").write_text(V1 + HERE)
    said = refused(group)
    assert said.startswith(
        "cgroup v1 holds memory, cpu. Cure: systemd.unified_cgroup_hierarchy=1 for Linux"
    )


def test_where_v2_is_not_mounted_or_read_only_that_is_said(group, tmp_path, monkeypatch):
    real = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: type("Read only", (), {"f_flag": os.ST_RDONLY}))
    read_only = refused(group)
    assert read_only.startswith("cgroup v2 is read-only or not mounted, as in containers. Cure:")
    monkeypatch.setattr(os, "statvfs", lambda _: real)
    (tmp_path / "mountinfo").write_text("")
    assert refused(group) == read_only


CURE = "Cure: a group of its own, systemd-run --user --scope -p Delegate=yes .venv/bin/labkit lab"


def test_a_group_with_other_processes_is_left_alone(group):
    (group / "cgroup.procs").write_text(f"1\n{os.getpid()}\n")
    assert refused(group).startswith(f"run-1.scope has other processes, too. {CURE}")


@pytest.mark.parametrize("reason", ["no mark", "no cpu"])
def test_a_group_that_is_not_delegated_is_left_alone(group, monkeypatch, reason):
    if reason == "no cpu":
        (group / "cgroup.controllers").write_text("memory pids\n")
    else:
        monkeypatch.setattr(os, "getxattr", lambda *_: os.stat("/nosuch/mark"))
        monkeypatch.setattr(os, "geteuid", lambda: os.stat(group).st_uid + 1)
    wanted = f"run-1.scope is not delegated with memory, pids and cpu. {CURE}"
    assert refused(group).startswith(wanted)


def test_an_ordinary_users_own_group_counts_as_delegated(group, monkeypatch):
    monkeypatch.setattr(os, "getxattr", lambda *_: os.stat("/nosuch/mark"))
    if os.getuid() == 0:
        os.chown(group, 1000, -1)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(group).st_uid)
    assert cgroup.take_leaf() == group


# ---- where limits can be had: `make test-vm` runs these

WHY = doctor.no_limits()
real = pytest.mark.skipif(bool(WHY), reason=WHY)


def labs():
    """The groups of labs that there are now."""
    return sorted(path.name for path in cgroup.take_leaf().glob("lab-*"))


def lab(folder):
    folder.mkdir()
    return Kernel(folder)


@real
def test_each_lab_has_a_group_of_its_own_which_ends_with_it(tmp_path):
    before = labs()
    kernels = [lab(tmp_path / name) for name in ("one", "other")]
    ask = "import os; group = os.environ['MYDOCKER_CGROUP']; print(group)"
    groups = {kernel.run(ask) for kernel in kernels}
    assert len(groups) == 2
    for kernel in kernels:
        assert kernel.run("print(open(f'{group}/cgroup.procs').read())") == ""
        kernel.run("os.makedirs(f'{group}/a/b')")
        assert kernel.run("print(os.path.exists(f'{group}/a/memory.max'))") == "True"
        kernel.client.stop_channels()
        kernel.manager.shutdown_kernel()
    assert labs() == before
    assert not [group for group in groups if os.path.exists(group)]


@real
def test_what_a_killed_lab_leaves_the_next_one_removes(tmp_path):
    before = labs()
    killed = lab(tmp_path / "killed")
    killed.run("import os; os.mkdir(os.environ['MYDOCKER_CGROUP'] + '/container')")
    (left,) = set(labs()) - set(before)
    os.kill(killed.pids[0], signal.SIGKILL)
    events = cgroup.take_leaf() / left / "cgroup.events"
    until(lambda: "populated 0" in events.read_text())
    kernel = lab(tmp_path / "next")
    assert left not in labs()
    kernel.end()
    killed.end()


@real
def test_as_a_program_it_becomes_a_command_in_the_leaf():
    command = [sys.executable, "-m", "labkit.cgroup", "cat", "/proc/self/cgroup"]
    assert subprocess.check_output(command, text=True).strip().endswith("/labkit")
