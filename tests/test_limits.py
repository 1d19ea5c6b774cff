"""Limits: what a container may use, what it used, and that its group goes with it."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labkit import cgroup, linux, no_limits
from labkit.course import workbook
from tests.helpers.many import Many

WHY = no_limits()
real = pytest.mark.skipif(bool(WHY), reason=WHY)
EAT = "head -c 200000000 /dev/zero | tail"
MIB = 1 << 20
PROGRAMS = "sh cat grep head tail sleep dd"


class Limited(Many):
    """A user of the kind that we are, whose containers have groups below `base`."""

    def __init__(self, base):
        self.base = base
        super().__init__("root" if os.geteuid() == 0 else "one ID")
        self.ok("image", "build", "eater", *PROGRAMS.split())

    def environment(self):
        return super().environment() | ({"MYDOCKER_CGROUP": str(self.base)} if self.base else {})

    def ok(self, *words, **options):
        run = self(*words, **options)
        assert run.returncode == 0, (words, run.returncode, run.stdout, run.stderr)
        return run.stdout

    def groups(self):
        return sorted(p.name for p in self.base.iterdir() if re.fullmatch("[0-9a-f]{12}", p.name))

    def detached(self, name, *words, options=()):
        """Start one that sleeps, or does something else; return its group."""
        command = words or ("sleep", "1000")
        self.ok("run", "-d", "--name", name, *options, "eater", *command)
        return Path(self.state(name)["cgroup"])

    def clean(self):
        super().clean()
        assert self.groups() == []


@pytest.fixture(scope="module")
def one_limited():
    with cgroup.lab_group() as base:
        yield Limited(base)


@pytest.fixture
def limited(one_limited):
    yield one_limited
    one_limited.clean()


OPTIONS = """
import json, sys
from mydocker.options import Options, UsageError
def limits(words):
    try:
        return Options([*words, "--rootfs", "/", "true"]).limits
    except UsageError as error:
        return str(error)
print(json.dumps([limits(words) for words in json.loads(sys.argv[1])]))
"""


def asked(*options):
    """What the newest runtime asks of the kernel for some options, or how it refuses them."""
    command = [sys.executable, "-c", OPTIONS, json.dumps(options)]
    folder = workbook.install(workbook.runtime())
    return json.loads(subprocess.check_output(command, cwd=folder, text=True))


def test_limits_are_spelled_as_dockers():
    limits = {
        "--memory 64m": {"memory.max": 64 * MIB},
        "--memory=1G": {"memory.max": 1024 * MIB},
        "--memory 8388608": {"memory.max": 8 * MIB},
        "--memory 8192k --pids-limit 5": {"memory.max": 8 * MIB, "pids.max": 5},
        "--cpus 0.5": {"cpu.max": "50000 100000"},
        "--cpus 1": {"cpu.max": "100000 100000"},
        "--cpuset-cpus 0,2-3": {"cpuset.cpus": "0,2-3"},
        "": {},
    }
    assert asked(*map(str.split, limits)) == list(limits.values())


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("--memory", ["", "much", "5m", "-64m", "m", "64mm", "1.5", "17179869184g"]),
        ("--pids-limit", ["", "0", "-1", "few"]),
        ("--cpus", ["", "0", "0.001", "nan", "inf", "100000", "-1", "one"]),
        ("--cpuset-cpus", [""]),
    ],
)
def test_what_is_no_limit_is_refused_in_a_sentence(option, values):
    for value, said in zip(values, asked(*([option, value] for value in values)), strict=True):
        assert str(said).startswith(f"option {option} wants "), value


def test_a_refusal_names_the_least_that_may_be_asked_for():
    memory, cpus = asked(["--memory", "5m"], ["--cpus", "0.001"])
    assert "at least 6m" in memory
    assert "at least 0.01" in cpus


@pytest.fixture
def nowhere():
    """Words that start a program where no group is ours, on any machine."""
    if WHY:
        yield ()
        return
    with cgroup.lab_group() as base:
        group = base / "a/b"
        group.mkdir(parents=True)
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh")


def test_where_no_group_is_ours_a_limit_is_refused_and_all_else_runs(many, nowhere):
    said = many.refusal("run", "--memory", "64m", "small", "true", prefix=nowhere)
    user = "" if many.kind == "root" else "--user "
    cure = f"Cure: systemd-run {user}--scope -p Delegate=yes mydocker run ..."
    assert said == f"no limits: no cgroup was handed over to us alone. {cure}"
    assert many.ok("run", "small", "echo", "hi", prefix=nowhere) == "hi\n"
    many.ok("run", "-d", "--name", "web", "small", "sleep", "1000", prefix=nowhere)
    said = many.refusal("pause", "web")
    assert said == "container web has no cgroup that could be frozen"
    assert "-- / --" in many.ok("stats", "--no-stream", "web")
    many.ok("rm", "-f", "web")


@real
def test_more_memory_ends_it_with_137_and_the_state_says_why(limited):
    assert (
        limited("run", "--name", "big", "--memory", "64m", "eater", "sh", "-c", EAT).returncode
        == 137
    )
    assert limited.state("big")["oomKilled"]
    limited.ok("run", "--name", "small", "--memory", "64m", "eater", "sh", "-c", "exit 0")
    assert not limited.state("small")["oomKilled"]


@real
def test_it_ends_as_a_whole(limited):
    script = f"({EAT}) & wait; echo goes on"
    run = limited("run", "--memory", "64m", "eater", "sh", "-c", script)
    assert (run.returncode, run.stdout) == (137, "")


@real
def test_the_least_that_may_be_asked_for_is_enough_to_start(limited):
    assert limited.ok("run", "--memory", "6m", "eater", "cat", "/proc/self/comm") == "cat\n"


@real
def test_a_fork_bomb_is_lines_in_a_log_and_others_do_not_notice(limited):
    bomb = "bomb() { bomb | bomb & }; bomb; sleep 1"
    group = limited.detached("bomb", "sh", "-c", bomb, options=["--pids-limit", "20"])
    most = 0
    while group.exists():
        try:
            most = max(most, int((group / "pids.current").read_text()))
        except OSError:
            break
        assert limited.ok("run", "eater", "cat", "/proc/self/comm") == "cat\n"
    limited.ok("wait", "bomb")
    assert most <= 20
    assert "fork" in limited.ok("logs", "bomb")


@real
def test_a_share_of_the_processors_is_kept(limited):
    group = limited.detached("busy", "sh", "-c", "while :; do :; done", options=["--cpus", "0.2"])

    def used():
        return int((group / "cpu.stat").read_text().split()[1]) / 1e6

    begin, before = time.monotonic(), used()
    time.sleep(2)
    assert (used() - before) / (time.monotonic() - begin) < 0.3
    assert int((group / "cpu.max").read_text().split()[0]) == 20_000


@real
def test_a_cpuset_cannot_be_left(limited):
    if "cpuset" not in (limited.base / "cgroup.subtree_control").read_text():
        assert "cpuset was not handed over" in limited.refusal(
            "run", "--cpuset-cpus", "0", "eater", "cat"
        )
        return
    words = ("grep", "Cpus_allowed_list", "/proc/self/status")
    assert limited.ok("run", "--cpuset-cpus", "0", "eater", *words).split()[1] == "0"
    assert "cpuset.cpus x: Invalid argument" in limited.refusal(
        "run", "--cpuset-cpus", "x", "eater", "cat"
    )


@real
def test_exec_is_in_the_group_and_ends_with_it(limited):
    group = limited.detached("web", options=["--memory", "64m"])
    run = limited.background("exec", "web", "sh", "-c", "echo in; exec sleep 1000")
    assert run.stdout.readline() == "in\n"
    assert int((group / "pids.current").read_text()) == 2
    assert limited("exec", "web", "sh", "-c", EAT).returncode == 137
    assert run.wait(60) == 137
    assert limited.ok("wait", "web") == "137\n"


@real
def test_it_sees_its_group_as_the_root_and_may_read_its_limits(limited):
    limited.detached("web", options=["--memory", "64m"])
    for words in (("exec", "web"), ("run", "--memory", "64m", "eater")):
        files = "/proc/self/cgroup", "/sys/fs/cgroup/memory.max"
        assert limited.ok(*words, "cat", *files) == f"0::/\n{64 * MIB}\n"
    lift = "echo max > /sys/fs/cgroup/memory.max"
    assert "Read-only" in limited("exec", "web", "sh", "-c", lift).stderr


ENDS = {
    "by itself": ["run", "--memory", "64m", "eater", "true"],
    "no such command": ["run", "--memory", "64m", "eater", "nosuch"],
    "detached, no such command": ["run", "-d", "--memory", "64m", "eater", "nosuch"],
    "no such processor": ["run", "--cpuset-cpus", "x", "eater", "cat"],
    "on a root": ["run", "--memory", "64m", "--rootfs", "/nosuch", "cat"],
}


@real
@pytest.mark.parametrize("end", ENDS)
def test_no_group_outlives_its_container(limited, end):
    limited(*ENDS[end])
    assert limited.groups() == []


@real
def test_no_group_outlives_a_monitor_that_was_killed_beyond_the_next_command(limited):
    names = [f"c{number}" for number in range(8)]
    for name in names:
        limited.detached(name)
    for name in random.sample(names, 4):
        limited.kill_monitor(name)
    limited.ok("ps")
    running = sorted(row["CONTAINER ID"] for row in limited.rows())
    assert len(running) == 4
    assert limited.groups() == running


@real
def test_what_is_left_in_a_group_is_ended_and_only_there(limited):
    running = limited.detached("web")
    left, other = limited.base / "0123456789ab", limited.base / "somebody"
    sleeps = []
    for folder in (left, other):
        folder.mkdir()
        sleeps.append(subprocess.Popen(["sleep", "1000"]))
        (folder / "cgroup.procs").write_text(str(sleeps[-1].pid))
    limited.ok("ps")
    assert sleeps[0].wait(60) == -signal.SIGKILL
    assert (left.exists(), other.exists(), sleeps[1].poll()) == (False, True, None)
    assert limited.groups() == [running.name]
    sleeps[1].kill()
    sleeps[1].wait()
    other.rmdir()


@real
def test_nobody_is_moved(limited):
    def place(pid):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cgroup").read_text()

    # Those in the group that was delegated; what systemd does elsewhere meanwhile is its own.
    group = str(limited.base.parent).removeprefix("/sys/fs/cgroup")
    there = {entry.name: place(entry.name) for entry in Path("/proc").glob("[0-9]*")}
    there = {pid: where for pid, where in there.items() if where and f"::{group}/" in where}
    limited.detached("web", options=["--memory", "64m"])
    limited.ok("exec", "web", "cat", "/proc/self/comm")
    assert str(os.getpid()) in there
    assert [pid for pid, where in there.items() if place(pid) not in (None, where)] == []


@real
def test_a_leaf_below_a_group_of_ours_is_enough(limited):
    """As in a terminal of JupyterLab: no lab has set anything."""
    above = limited.base.parent
    go = f'echo $$ > {above}/labkit/cgroup.procs; unset MYDOCKER_CGROUP; exec "$@"'
    words = ("run", "-d", "--memory", "64m", "eater", "sleep", "1000")
    told = limited.ok(*words, prefix=("sh", "-c", go, "sh")).strip()
    assert (above / told / "memory.max").read_text() == f"{64 * MIB}\n"
    limited.ok("rm", "-f", told)
    assert not (above / told).exists()


@real
def test_another_leaf_is_none_of_ours(limited):
    """As where a group was delegated to somebody else's program, which is in one below."""
    leaf = limited.base.parent / "container"
    leaf.mkdir()
    go = f'echo $$ > {leaf}/cgroup.procs; unset MYDOCKER_CGROUP; exec "$@"'
    words = ("run", "-d", "--name", "web", "eater", "sleep", "1000")
    limited.ok(*words, prefix=("sh", "-c", go, "sh"))
    assert limited.state("web")["cgroup"] is None
    limited.ok("rm", "-f", "web")
    leaf.rmdir()


@real
def test_no_other_user_can_lock_what_containers_are_in(limited):
    for group in (limited.base, limited.base.parent):
        assert group.stat().st_mode & 0o077 == 0


@real
def test_paused_it_stands_still_and_is_listed_so(limited):
    limited.detached("web", "sh", "-c", "while :; do echo; done")
    limited.ok("pause", "web")
    log = Path(limited.state("web")["bundle"], "log")
    [row] = limited.rows()
    assert re.fullmatch(r"Up .* \(Paused\)", row["STATUS"])
    time.sleep(0.2)
    before = log.stat().st_size
    assert not linux.poll(linux.watch(str(log.parent), linux.IN_MODIFY), seconds=1)
    assert log.stat().st_size == before
    assert limited.refusal("pause", "web") == "container web is paused"
    assert limited.refusal("exec", "web", "cat") == "container web is paused"
    limited.ok("unpause", "web")
    assert linux.poll(linux.watch(str(log.parent), linux.IN_MODIFY), seconds=60)
    assert limited.refusal("unpause", "web") == "container web is running"


@real
def test_a_paused_one_can_be_ended(limited):
    trap = "trap 'exit 7' TERM; while :; do sleep 0.1; done"
    for name in ("killed", "asked", "removed"):
        limited.detached(name, "sh", "-c", trap)
        limited.ok("pause", name)
    limited.ok("kill", "killed")
    assert limited.ok("wait", "killed") == "137\n"
    limited.ok("stop", "asked")
    assert limited.ok("wait", "asked") == "7\n"
    limited.ok("rm", "-f", "removed")


@real
def test_stats_are_dockers_columns(limited):
    burn = ("sh", "-c", "while :; do :; done")
    limited.detached("busy", *burn, options=["--memory", "64m", "--cpus", "0.2"])
    limited.detached("idle")
    header, idle, busy = limited.ok("stats", "--no-stream").splitlines()
    assert re.split(" {2,}", header) == [
        "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "PIDS"
    ]  # fmt: skip
    _, name, cpu, memory, _, pids = re.split(" {2,}", busy)
    assert (name, memory.split(" / ")[1], pids) == ("busy", "64MiB", "1")
    assert 0 < float(cpu.removesuffix("%")) < 30
    assert re.split(" {2,}", idle)[1:3] == ["idle", "0.00%"]
