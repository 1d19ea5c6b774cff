"""SandboxedRun: a program can not leave it, use more than it may, or leave anything behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import procfs
from labkit.exercise.sandboxed_run import Limits, SandboxedRun
from tests.helpers.processes import ORDINARY, gone, until_gone

SLEEP = ("sleep", "1000")
FORK = """
import os, time
try:
    while os.fork():
        pass
except OSError:  # PID_MAX is reached
    pass
time.sleep(1000)
"""
EAT = "[bytes([1]) * 10**6 for _ in iter(int, 1)]"


@pytest.fixture
def start(tmp_path):
    """Starts runs, and closes them."""
    runs = []

    def begin(*argv, **options):
        runs.append(SandboxedRun(argv, tmp_path, **options))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()


def sh(start, script, **options):
    return start("sh", "-c", script, **options)


def test_status_and_output_come_back(start):
    run = sh(start, "echo out; echo err >&2; exit 7")
    assert run.wait() == 7
    assert run.output == "out\nerr\n"


def test_a_signal_is_128_and_its_number(start):
    assert sh(start, "kill -TERM $$").wait() == 128 + signal.SIGTERM


def test_a_program_that_does_not_exist(start):
    run = start("nosuchprogram")
    assert run.wait() == 1
    assert "No such file" in run.output


def test_a_sandbox_that_is_refused_is_told_from_a_program_that_fails(tmp_path):
    code = (
        "import os, sys; from pathlib import Path; from labkit.exercise import sandboxed_run\n"
        "Path('/proc/sys/user/max_user_namespaces').write_text('0')\n"
        "before = os.listdir('/proc/self/fd')\n"
        "try: sandboxed_run.SandboxedRun(['true'], Path.cwd())\n"
        "except sandboxed_run.NoSandbox as error: print(error)\n"
        "print(before == os.listdir('/proc/self/fd'))\n"
    )
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "CLONE_NEWUSER" in run.stdout, run.stderr
    assert run.stdout.endswith("True\n")


def test_the_program_is_number_2_in_a_sandbox_of_its_own(start):
    run = start(*SLEEP)
    sleep = run.until(lambda: run.find(*SLEEP))
    assert sleep.pids[1:] == (2,)
    assert run.program.pid == sleep.pid
    own, ours = procfs.namespaces(sleep.pid), procfs.namespaces()
    different = {kind for kind in own if own[kind] != ours[kind]}
    assert {"mnt", "uts", "ipc", "pid", "net"} <= different


def test_numbers_in_a_namespace_below_follow(start):
    run = start("unshare", "--pid", "--fork", *SLEEP)
    sleep = run.until(lambda: run.find(*SLEEP))
    assert sleep.pids[2:] == (1,)


def test_only_its_folder_can_be_written(start, tmp_path):
    elsewhere = Path(tmp_path.parent, f"{tmp_path.name}-not")
    elsewhere.mkdir()
    script = f"echo a > mine; echo b > {elsewhere}/theirs; rm -f {Path(__file__)}; mkdir /tmp/new$$"
    run = sh(start, script)
    assert run.wait() == 1
    assert run.output.count("Read-only file system") == 3
    assert (tmp_path / "mine").read_text() == "a\n"
    assert not list(elsewhere.iterdir())


def test_it_cannot_make_the_rest_writable_where_it_is_no_machines_root(start, tmp_path):
    run = sh(start, "unshare --user --map-root-user --mount mount -o remount,bind,rw / ; echo $?")
    run.wait()
    assert not run.output.endswith("\n0\n")


def test_its_network_is_a_loopback_that_is_up(start):
    run = start("ip", "-brief", "link", "show", "up")
    run.wait()
    assert run.output.startswith("lo ")
    assert run.output.count("\n") == 1


def test_it_sees_no_terminal_of_the_machine(start):
    ours, theirs = os.openpty()
    try:
        run = start(sys.executable, "-c", "import os; os.openpty(); print(os.listdir('/dev/pts'))")
        assert run.wait() == 0, run.output
        assert sorted(eval(run.output)) == ["0", "ptmx"]
    finally:
        os.close(ours)
        os.close(theirs)


def test_it_has_no_input(start):
    assert start("cat").wait() == 0


def test_with_a_terminal_it_can_be_typed_to(start):
    run = sh(start, "tty; stty size; read line; echo got $line", terminal=True)
    assert run.until(lambda: "24 80" in run.output)
    run.send("hello\r")
    assert run.wait() == 0
    assert run.output.splitlines()[-1] == "got hello"
    assert run.output.startswith("/dev/pts/")


def test_ctrl_c_at_its_terminal_is_a_signal(start):
    run = sh(start, "trap 'echo got it; exit 3' INT; echo up; sleep 1000", terminal=True)
    assert run.until(lambda: run.find(*SLEEP))
    run.send("\x03")
    assert run.wait() == 3
    assert "got it" in run.output


def test_a_signal_reaches_the_program(start):
    run = sh(start, "trap 'exit 5' USR1; echo up; while :; do sleep 0.01; done")
    assert run.until(lambda: "up" in run.output)
    run.kill(signal.SIGUSR1)
    assert run.wait() == 5


def test_settings_of_the_starter_do_not_reach_it(start, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("PYTHONSTARTUP", "/nosuch")
    run = start("env")
    run.wait()
    assert "SECRET" not in run.output
    assert "PYTHONSTARTUP" not in run.output


@pytest.mark.parametrize(
    ("script", "limits", "reason"),
    [
        ("while :; do :; done", Limits(seconds=0.5), "not done after 0.5 seconds"),
        (f"exec {sys.executable} -c '{FORK}'", Limits(processes=20), "more than 20 processes"),
        ("yes", Limits(), "printed more than 1,000,000 bytes"),
        (f"exec {sys.executable} -c '{EAT}'", Limits(memory=100), "more than 100 MiB"),
    ],
    ids=["loops", "forks", "prints", "eats"],
)
def test_a_limit_ends_it_with_all_that_it_started(start, script, limits, reason):
    run = sh(start, script, limits=limits)
    assert run.wait() is None
    assert reason in run.exceeded
    run.close()
    assert run.processes() == []
    assert len(run.output) <= limits.output


def test_a_file_has_a_limit(start, tmp_path):
    run = sh(start, "head -c 9000000 /dev/zero > big", limits=Limits(file=1))
    assert run.wait() != 0
    assert (tmp_path / "big").stat().st_size == 2**20


def test_a_lower_limit_of_the_starter_stays(tmp_path):
    """As after `ulimit`, or in a class whose administrator has set some."""
    code = (
        "from pathlib import Path; from labkit.exercise.sandboxed_run import SandboxedRun\n"
        "with SandboxedRun(['cat', '/proc/self/limits'], Path.cwd()) as run:\n"
        "    run.wait()\n"
        "    print(run.output)\n"
    )
    # Without its capabilities, root may not raise a limit either.
    command = [*ORDINARY, "prlimit", "--fsize=1048576", "--nproc=900", sys.executable, "-c", code]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    hard = {line[:13]: line.split()[-2] for line in run.stdout.splitlines() if line}
    assert (hard["Max file size"], hard["Max processes"]) == ("1048576", "900"), run.stderr


def test_until_ends_with_the_program(start):
    run = sh(start, "exit 0")
    assert run.until(lambda: False) is None
    assert run.status == 0


def test_until_ends_when_nothing_moves_any_more(start):
    run = start(*SLEEP)
    assert run.until(lambda: False) is None
    assert run.status is None


def test_what_is_looked_at_may_end_meanwhile(start):
    run = start(*SLEEP)

    def look():
        raise ProcessLookupError

    assert run.until(look) is None


def test_what_a_program_leaves_does_not_pass_for_one_that_stays(start):
    run = sh(start, "sleep 1000 & kill -STOP $$", limits=Limits(seconds=5))
    run.until(lambda: run.program.state == "T" and run.find(*SLEEP))
    os.kill(run.program.ppid, signal.SIGSTOP)  # the kernel lets the sandbox's PID 1 run late
    run.kill(signal.SIGCONT)
    assert run.until(lambda: run.program.state == "Z")
    assert not run.is_blocked()


def test_nothing_is_left_after_close(start):
    run = sh(start, "setsid sleep 1000 & trap '' TERM HUP; setsid nohup sleep 1000 & sleep 1000")
    assert run.until(lambda: len(run.processes()) == 4)
    pids = [process.pid for process in run.processes()]
    run.close()
    assert gone(pids)


def test_a_second_close_does_nothing(start):
    run = start("true")
    run.close()
    run.close()
    assert run.output == ""


def test_it_ends_when_its_judge_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from labkit.exercise.sandboxed_run import SandboxedRun\n"
        f"run = SandboxedRun({SLEEP!r}, Path({str(tmp_path)!r}))\n"
        f"print(run.until(lambda: run.find(*{SLEEP!r})).pid, flush=True)\n"
        "run.wait()\n"
    )
    judge = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = int(judge.stdout.readline())
    os.kill(judge.pid, signal.SIGKILL)
    judge.wait()
    judge.stdout.close()
    until_gone([pid])
