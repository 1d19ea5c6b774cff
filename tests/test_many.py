"""Many containers: detached, listed, entered, ended."""

import hashlib
import json
import os
import re
import signal
import subprocess
import termios
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from labkit import linux
from tests.helpers.images import MOUNTING, PYTHON


def until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def detached(many, *words, name=None, options=()):
    named = ["--name", name] if name else []
    return many.ok("run", "-d", *named, *options, "small", *words).strip()


def test_a_detached_one_tells_its_id_and_goes_on(many):
    told = detached(many, "sleep", "1000", name="web")
    assert re.fullmatch("[0-9a-f]{12}", told)
    state = many.state("web")
    assert (state["status"], state["id"], state["image"]) == ("running", told, "small")
    assert Path(f"/proc/{state['pid']}/cmdline").read_bytes() == b"sleep\x001000\x00"


def test_nothing_of_the_terminal_is_held(many):
    """A shell that reads what is printed is not kept waiting."""
    script = 'exec "$@" | cat'
    words = many.words("run", "-d", "small", "sleep", "1000")
    run = subprocess.run(
        ["sh", "-c", script, "sh", *words],
        env=many.environment(),
        cwd=many.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert len(run.stdout) == 13


def test_nothing_of_the_caller_is_held(many):
    hear, say = os.pipe()
    told = many.ok("run", "-d", "small", "sleep", "1000", pass_fds=[say]).strip()
    os.close(say)
    assert os.read(hear, 1) == b""
    os.close(hear)
    assert os.readlink(f"/proc/{many.monitor(told)}/cwd") == "/"


def test_a_terminal_stays_as_it_is(many):
    master, terminal = os.openpty()
    before = termios.tcgetattr(terminal)
    told = many.ok("run", "-dit", "small", "sh", stdin=terminal).strip()
    assert termios.tcgetattr(terminal) == before
    many.ok("run", "-di", "--name", "x", "small", "cat", stdin=terminal)
    assert many.ok("wait", "x") == "0\n"
    assert many.state(told)["status"] == "running"
    for open_file in Path(f"/proc/{many.monitor(told)}/fd").iterdir():
        assert not os.path.samestat(open_file.stat(), os.fstat(terminal))
    for fd in (master, terminal):
        os.close(fd)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_what_is_closed_is_not_mistaken_for_another_file(many, closed):
    def shut(*words):
        command = ["sh", "-c", f'"$@" {closed}', "sh", *many.words(*words)]
        settings = {"env": many.environment(), "cwd": many.folder, "timeout": 60}
        return subprocess.run(command, capture_output=True, text=True, **settings)

    run = shut("run", "-d", "--name", "c", "small", "sh", "-c", "echo x; exec sleep 1000")
    assert run.returncode == 0
    assert many.rows()[0]["STATUS"].startswith("Up ")
    for words in (["ps"], ["logs", "c"]):
        run = shut(*words)
        assert (run.returncode, run.stderr) == (0, "")


def test_nobody_reads_a_password_in_the_list_of_processes(many):
    options = ["-e", "PASSWORD=hunter2", "--init"]
    told = detached(many, "sleep", "1000", options=options)
    for pid in (many.monitor(told), many.state(told)["pid"]):
        shown = Path(f"/proc/{pid}/cmdline").read_bytes()
        assert shown.rstrip(b"\0") == f"mydocker: monitor of {told}".encode()


def test_columns_are_those_of_docker(many):
    web = detached(many, "sleep", "1000", name="web")
    job = detached(many, "sh", "-c", "exit 3 # and so on")
    assert many.ok("wait", job) == "3\n"
    [row] = many.rows()
    assert (row["CONTAINER ID"], row["IMAGE"], row["NAMES"]) == (web, "small", "web")
    assert (row["COMMAND"], row["STATUS"][:3]) == ('"sleep 1000"', "Up ")
    newest, _ = many.rows("-a")
    assert newest["COMMAND"] == '"sh -c exit 3 # and …"'
    assert re.fullmatch(r"Exited \(3\) .* ago", newest["STATUS"])


def test_a_row_is_one_line_of_plain_characters(many):
    detached(many, "sh", "-c", "sleep 900\n\x1b[2J")
    assert many.rows()[0]["COMMAND"] == '"sh -c sleep 900\\n\\x1b[2J"'


def test_an_attached_one_is_listed_while_it_runs(many):
    run = many.background("run", "--name", "here", "small", "sleep", "1000")
    until(lambda: [row["NAMES"] for row in many.rows()] == ["here"])
    assert many.ok("exec", "here", "echo", "in") == "in\n"
    assert "has no log" in many.refusal("logs", "here")
    many.ok("kill", "here")
    assert run.wait(60) == 137


def test_one_without_a_name_goes_with_its_end(many):
    many.ok("run", "small", "true")
    many.ok("run", "--rm", "--name", "x", "small", "true")
    told = detached(many, "true", options=["--rm"])
    until(lambda: told not in many.ok("ps", "-a"))
    assert many.rows("-a") == []


def test_what_cannot_start_is_told_with_its_status(many):
    run = many("run", "-d", "--name", "x", "small", "nosuch")
    assert (run.returncode, run.stdout) == (127, "")
    assert json.loads(run.stderr)["msg"] == "exec nosuch: not found"
    run = many("run", "-d", "-w", "/proc/x", "small", "true")
    assert (run.returncode, run.stdout) == (125, "")
    assert json.loads(run.stderr)["msg"].startswith("/proc/x: ")
    assert many.refusal("run", "-d", "nosuch").startswith("no image")
    assert many.rows("-a") == []


def test_ids_may_be_shortened(many):
    told = detached(many, "sleep", "1000")
    assert many.state(told[:4])["id"] == told
    assert "no container 'zz'" in many.refusal("inspect", "zz")
    assert "no container ''" in many.refusal("inspect", "")


def test_a_name_is_taken_once(many):
    runs = [
        many.background("run", "-d", "--name", "same", "small", "sleep", "1000") for _ in range(8)
    ]
    answers = [run.communicate(timeout=120) for run in runs]
    assert sorted(run.returncode for run in runs) == [0] + [125] * 7
    assert sum("the name same is in use" in error for _, error in answers) == 7
    assert len(many.rows("-a")) == 1


def test_the_log_has_all_bytes_in_their_order(many):
    script = "echo one; echo two >&2; printf '\\000\\377\\n\\r'; echo; printf end"
    told = detached(many, "sh", "-c", script)
    many.ok("wait", told)
    assert many("logs", told, text=False).stdout == b"one\ntwo\n\x00\xff\n\r\nend"


def test_the_log_tells_the_time_of_each_line(many):
    before = time.time()
    told = detached(many, "sh", "-c", "echo one; echo two; printf three")
    many.ok("wait", told)
    lines = many.ok("logs", "-t", told).splitlines()
    assert [line.split(" ")[1] for line in lines] == ["one", "two", "three"]
    times = [datetime.fromisoformat(line.split(" ")[0]).timestamp() for line in lines]
    assert all(before - 0.01 < when < time.time() for when in times)


def test_a_hundred_megabytes_lose_no_byte(many):
    script = "seq 1 12000000 | head -c 100000000"
    told = detached(many, "sh", "-c", script)
    assert many.ok("wait", told) == "0\n"
    wanted = subprocess.run(["sh", "-c", script], capture_output=True).stdout
    found = many("logs", told, text=False).stdout
    assert hashlib.sha256(found).digest() == hashlib.sha256(wanted).digest()


@contextmanager
def changed(many, name, old, new):
    """A file of the runtime in which something is otherwise, for a while."""
    file = many.folder / "mydocker" / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    try:
        yield
    finally:
        file.write_text(text)


def small_logs(many):
    """Logs that begin anew after 256 KiB."""
    return changed(many, "logfile.py", "64 << 20", "256 << 10")


def test_the_log_has_a_bound(roots_many):
    with small_logs(roots_many):
        told = detached(roots_many, "sh", "-c", "seq 1 200000")
        roots_many.ok("wait", told)
        [folder] = (roots_many.data / "containers").glob("*")
        sizes = [path.stat().st_size for path in folder.glob("log*")]
        assert len(sizes) == 2 and max(sizes) <= 256 << 10
        wanted = subprocess.run(["seq", "1", "200000"], capture_output=True).stdout
        kept = roots_many("logs", told, text=False).stdout
        assert wanted.endswith(kept) and len(kept) > 256 << 10


def test_following_a_log_that_begins_anew_loses_nothing(roots_many):
    script = "i=0; while [ $i -lt 40 ]; do seq 1 2000; i=$((i+1)); sleep 0.02; done"
    with small_logs(roots_many):
        told = detached(roots_many, "sh", "-c", script)
        got = roots_many.ok("logs", "-f", told)
    assert [int(line) for line in got.splitlines()] == [*range(1, 2001)] * 40


def test_following_waits_without_asking(many):
    told = detached(many, "sh", "-c", "echo one; sleep 1000")
    with many.background("logs", "-f", told) as logs:
        assert logs.stdout.readline() == "one\n"

        def switches():
            status = Path(f"/proc/{logs.pid}/status").read_text()
            return re.findall(r"ctxt_switches:\s(\d+)", status)

        def is_still():
            before = switches()
            time.sleep(2)  # the time in which it must do nothing
            return switches() == before

        until(is_still)
        many.ok("exec", told, "sh", "-c", "echo two > /proc/1/fd/1")
        assert logs.stdout.readline() == "two\n"
        many.ok("kill", told)
        assert logs.wait(60) == 0


def test_following_ends_with_a_monitor_that_is_killed(many):
    told = detached(many, "sh", "-c", "echo one; sleep 1000")
    with many.background("logs", "-f", told) as logs:
        assert logs.stdout.readline() == "one\n"
        many.kill_monitor(told)
        assert logs.wait(60) == 0


def test_a_full_pipe_of_the_reader_does_not_stop_the_container(many):
    told = detached(many, "sh", "-c", "seq 1 1000000; exit 4")
    with many.background("logs", "-f", told) as logs:  # and nothing reads it
        assert many.ok("wait", told) == "4\n"
        logs.kill()


def test_exec_has_what_the_container_has(many):
    options = ["-e", "A=1", "-e", "B=2", "-w", "/tmp"]
    told = detached(many, "sleep", "1000", options=options)
    assert many.ok("exec", "-e", "B=3", told, "sh", "-c", "echo $A $B; pwd") == "1 3\n/tmp\n"
    assert many.ok("exec", "-w", "/", told, "pwd") == "/\n"
    run = many("exec", told, "sh", "-c", "cat /proc/1/cmdline; exit 5")
    assert (run.stdout, run.returncode) == ("sleep\x001000\x00", 5)
    assert many("exec", told, "sh", "-c", "kill -9 $$").returncode == 137
    assert many("exec", told, "nosuch").returncode == 127
    assert many.ok("exec", "-i", told, "cat", stdin=None, input="hello") == "hello"
    assert "no option --name" in many.refusal("exec", "--name", "x", told, "true", status=1)


def test_exec_is_in_all_namespaces(many):
    told = detached(many, "sleep", "1000")
    kinds = ["mnt", "pid", "net", "uts", "ipc", "user"]
    run = many.background("exec", told, "sleep", "1001")
    there = many.state(told)["pid"]
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")

    def child():
        for pid in children.read_text().split():
            with suppress(OSError):  # the helper has ended
                if Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x001001\x00":
                    return pid
        return None

    until(child)
    for kind in kinds:
        assert os.readlink(f"/proc/{there}/ns/{kind}") == os.readlink(f"/proc/{child()}/ns/{kind}")
    assert sorted(os.listdir(f"/proc/{child()}/fd")) == ["0", "1", "2"]
    assert sorted(os.listdir(f"/proc/{there}/fd")) == ["0", "1", "2"]
    top = many.ok("top", told).splitlines()
    assert [line.split()[1:] for line in top[1:]] == [
        ["1", "sleep", "1000"],
        ["3", "sleep", "1001"],
    ] or [line.split()[2:] for line in top[1:]] == [["sleep", "1000"], ["sleep", "1001"]]
    run.send_signal(signal.SIGTERM)
    assert run.wait(60) == 143


def test_exec_gets_a_terminal_of_the_container(many):
    told = detached(many, "sh", options=["-it"])
    assert many.ok("exec", "-t", told, "sh", "-c", "readlink /proc/self/fd/0 || true; test -t 0")
    assert many.state(told)["status"] == "running"


def test_exec_gets_a_terminal_whatever_lies_at_its_path(many):
    many("run", "tiny", "true")  # which builds it
    script = """mkdir /tmp/p; mount --bind /dev/pts /tmp/p; mount -t tmpfs none /dev/pts
    ln -s ../../tmp/p/ptmx /dev/pts/ptmx
    for n in 0 1 2 3; do echo a trap >/dev/pts/$n; done; echo ready; exec sleep 1000"""
    words = ["--name", "x", "--privileged", "tiny", "sh", "-c", script]
    many.ok("run", "-d", *words)
    until(lambda: many.ok("logs", "x") == "ready\n")
    assert many.ok("exec", "-t", "x", "sh", "-c", "test -t 0 && test -t 1 && echo yes") == "yes\n"


def test_exec_is_out_of_reach_until_it_is_the_command(many):
    """What enters is a copy of the client: its memory holds the environment of whoever called."""
    many("run", "tiny", "true")
    script = "while true; do cat /proc/[0-9]*/environ; done 2>/dev/null"
    many.ok("run", "-d", "--name", "spy", "tiny", "sh", "-c", script)
    for _ in range(40):
        many.ok("exec", "spy", "true")
    many.ok("kill", "spy")
    many.ok("wait", "spy")
    assert str(many.data).encode() not in many("logs", "spy", text=False).stdout


def test_exec_as_another_user(many):
    if many.kind == "one ID":
        pytest.skip("there is no other user")
    told = detached(many, "sleep", "1000", options=["-u", "1000:1001"])
    assert many.ok("exec", told, "id", "-u") == "1000\n"
    assert many.ok("exec", "-u", "0", told, "id", "-u") == "0\n"
    many.ok("stop", "-t", "0", told)


def test_nobody_enters_what_has_ended(many):
    told = detached(many, "true")
    many.ok("wait", told)
    name = many.state(told)["name"]
    for words in (["exec", told, "true"], ["kill", told]):
        assert many.refusal(*words) == f"container {name} is stopped"
    assert many.ok("stop", told) == ""


def test_stop_asks_and_then_ends(many):
    polite = detached(
        many, "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done"
    )
    until(lambda: many.ok("logs", polite))
    deaf = detached(many, "sleep", "1000")
    begin = time.monotonic()
    many.ok("stop", "-t", "1", deaf, polite)
    assert time.monotonic() - begin >= 1
    assert (many.state(polite)["exit"], many.state(deaf)["exit"]) == (4, 137)


def test_kill_sends_what_is_named(many):
    script = "trap 'echo got' USR1; echo ready; while :; do sleep 0.1; done"
    told = detached(many, "sh", "-c", script)
    wanted = "ready\n"
    for name in ("USR1", "sigusr1", "10"):
        until(lambda wanted=wanted: many.ok("logs", told) == wanted)
        many.ok("kill", "-s", name, told)
        wanted += "got\n"
    until(lambda: many.ok("logs", told) == wanted)
    assert "no signal nosuch" in many.refusal("kill", "-s", "nosuch", told, status=1)


def test_wait_says_that_a_status_has_gone(many):
    told = detached(many, "sleep", "1000", options=["--rm"])
    waiting = many.background("wait", told)
    until(lambda: linux_waits(waiting.pid))
    many.ok("kill", told)
    _, error = waiting.communicate(timeout=60)
    assert "has gone with its end" in error


def linux_waits(pid):
    """Whether a process waits for a lock: see proc_locks(5)."""
    locks = Path("/proc/locks").read_text().splitlines()
    return any("->" in line and f" {pid} " in line for line in locks)


def test_a_client_that_is_stopped_is_named_as_the_cause(roots_many):
    with changed(roots_many, "manage.py", "LAST_PATIENCE = 60", "LAST_PATIENCE = 1"):
        run = roots_many.background("run", "--name", "here", "small", "sleep", "1000")
        until(lambda: roots_many.rows())
        run.send_signal(signal.SIGSTOP)
        assert "container here does not end" in roots_many.refusal("rm", "-f", "here")
        run.send_signal(signal.SIGCONT)
        assert run.wait(60) == 137


def test_rm_refuses_what_runs(many):
    told = detached(many, "sleep", "1000", name="web")
    assert many.refusal("rm", "web") == "container web is running"
    assert many.refusal("commit", "web", "image") == "container web is running"
    many.ok("rm", "-f", told)
    assert many.rows("-a") == []


def test_what_a_detached_one_wrote_is_kept_until_rm(many):
    told = detached(many, "sh", "-c", "echo x > /new")
    many.ok("wait", told)
    many.ok("commit", told, "with-new")
    assert many.ok("run", "with-new", "cat", "/new") == "x\n"
    assert f"in use by container {told}" in many.refusal("image", "rm", "small")
    many.ok("image", "rm", "with-new")


def test_a_killed_monitor_takes_the_container_along(many):
    told = detached(many, "sleep", "1000", name="web")
    pid = many.state(told)["pid"]
    process = os.pidfd_open(pid)
    waiting = many.background("wait", told)
    many.kill_monitor(told)
    assert linux.poll(process, seconds=60)
    assert waiting.communicate(timeout=60)[0] == "137\n"
    [row] = many.rows("-a")
    assert row["STATUS"].startswith("Exited (137)")
    assert many.refusal("exec", "web", "true") == "container web is stopped"


def test_leftovers_of_a_crash_are_seen_and_removed(many):
    kept = detached(many, "sleep", "1000")
    gone = detached(many, "sleep", "1000", options=["--rm"])
    attached = many.background("run", "small", "sleep", "1000")
    until(lambda: len(many.rows()) == 3)
    for monitor in (many.monitor(kept), many.monitor(gone), attached.pid):
        os.kill(monitor, signal.SIGKILL)
    attached.communicate()
    until(lambda: len(many.rows()) == 0)
    assert {row["STATUS"][:12] for row in many.rows("-a")} == {"Exited (137)"}
    many.ok("image", "list")
    assert [row["CONTAINER ID"] for row in many.rows("-a")] == [kept]


def test_a_folder_of_an_earlier_notebook_can_be_removed(many):
    folder = many.data / "containers/old@small"
    many.ok("run", "--name", "old", "small", "true")
    (folder / "state.json").unlink()
    [row] = many.rows("-a")
    assert (row["NAMES"], row["STATUS"].partition(")")[0]) == ("old", "Exited (137")
    many.ok("commit", "old", "from-old")
    many.ok("image", "rm", "from-old")
    many.ok("rm", "old")


def test_two_may_stop_and_remove_the_same(many):
    for _ in range(3):
        detached(many, "sleep", "1000", name="web")
        words = [["stop", "-t", "0", "web"], ["rm", "-f", "web"]] * 2
        runs = [many.background(*each) for each in words]
        answers = [run.communicate(timeout=120)[1] for run in runs]
        for run, error in zip(runs, answers, strict=True):
            assert run.returncode in (0, 125), error
            assert not error or "no container 'web'" in error, error
        assert 0 in (runs[1].returncode, runs[3].returncode)
        assert many.rows("-a") == []


REUSE = """
import os, subprocess, sys, time, signal, json
def do(*words):
    return subprocess.run([*sys.argv[1:], *words], capture_output=True, text=True)
told = do("run", "-d", "small", "sleep", "1000").stdout.strip()
state = json.loads(do("inspect", told).stdout)
pid = state["pid"]
parent = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
os.kill(parent, 9)
while os.path.exists(f"/proc/{pid}"):
    try:
        os.waitpid(-1, os.WNOHANG)  # we are PID 1 here
    except ChildProcessError:
        pass
open("/proc/sys/kernel/ns_last_pid", "w").write(str(pid - 1))
innocent = subprocess.Popen(["sleep", "1000"])
assert innocent.pid == pid, (innocent.pid, pid)
saved = json.load(open(state["bundle"] + "/state.json"))
assert (saved["status"], saved["pid"]) == ("running", pid)
for words in ["stop", "-t", "0", told], ["kill", told], ["exec", told, "true"], ["rm", "-f", told]:
    answer = do(*words)
    assert answer.returncode == 125 or words[0] in ("stop", "rm"), (words, answer)
assert innocent.poll() is None
innocent.kill()
print("innocent")
"""


def test_a_pid_that_is_used_again_is_left_alone(many):
    lab = ["unshare", "--pid", "--fork", "--mount-proc"]
    if many.kind != "root":
        lab[1:1] = ["--user", "--map-root-user"]
    words = [*many.prefix, *lab, PYTHON, "-c", REUSE, *many.words()[len(many.prefix) :]]
    if many.kind == "more IDs":
        pytest.skip("maps of the machine end at the lab's user namespace")
    run = subprocess.run(
        words, env=many.environment(), cwd=many.folder, capture_output=True, text=True, timeout=120
    )
    assert run.stdout == "innocent\n", run.stderr


def test_two_labs_do_not_see_each_other(many):
    lab = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if many.kind != "root":
        lab[1:1] = ["--user", "--map-root-user"]
    script = '"$@" run -d --name web small sleep 1000; echo; exec sleep 1000'
    mine = [*many.prefix, *lab]
    rest = many.words()[len(many.prefix) :]
    with subprocess.Popen(
        [*mine, "sh", "-c", script, "sh", *rest],
        env=many.environment(),
        cwd=many.folder,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        first.stdout.readline()
        first.stdout.readline()
        for prefix in ((), mine):

            def do(*words, prefix=prefix):
                return subprocess.run(
                    [*(prefix or many.prefix), *rest, *words],
                    env=many.environment(),
                    cwd=many.folder,
                    capture_output=True,
                    text=True,
                )

            assert do("ps", "-a").stdout.count("\n") == 1
            for words in ["stop", "web"], ["rm", "-f", "web"], ["exec", "web", "true"]:
                assert "no container 'web'" in do(*words).stderr
            assert "the name web is in use" in do("run", "--name", "web", "small", "true").stderr
        first.kill()
    until(lambda: many.rows("-a"))
    assert [row["STATUS"][:12] for row in many.rows("-a")] == ["Exited (137)"]


def test_a_full_disk_takes_no_status_and_stops_no_container(roots_many, tmp_path):
    """On a small disk, in a mount namespace of its own."""
    data = tmp_path / "disk"
    data.mkdir()
    code = f"""
import os, subprocess, sys, json
data = {str(data)!r}
script = "trap go=1 USR1; echo ready; while [ -z $go ]; do sleep 0.1; done; seq 1 200000; exit 7"
def do(*words):
    return subprocess.run([*sys.argv[1:], *words], capture_output=True, text=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", data], check=True)
built = do("image", "build", "small", "sh", "cat", "sleep", "seq")
assert built.returncode == 0, built.stderr
told = do("run", "-d", "small", "sh", "-c", script).stdout.strip()
while do("logs", told).stdout != "ready\\n":
    pass
filler = os.open(data + "/filler", os.O_WRONLY | os.O_CREAT)
try:
    while True:
        os.write(filler, bytes(4096))
except OSError:
    os.close(filler)
assert do("kill", "-s", "USR1", told).returncode == 0
status = do("wait", told).stdout
assert status == "7\\n", (status, do("ps", "-a").stdout)
assert "Exited (7)" in do("ps", "-a").stdout
failed = do("run", "-d", "small", "true")
assert failed.returncode == 125 and failed.stderr.count("\\n") == 1, failed
os.unlink(data + "/filler")
assert do("rm", "-f", told).returncode == 0
print(os.listdir(data + "/containers"))
"""
    words = [*MOUNTING[:-2], PYTHON, "-c", code, *roots_many.words()]
    run = subprocess.run(
        words,
        env=roots_many.environment() | {"MYDOCKER_DATA": str(data)},
        cwd=roots_many.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.stdout == "[]\n", run.stderr


@pytest.mark.parametrize("torn", [b"", bytes(300), b'{"status": "run', b"\xff", b"{}"])
def test_a_state_that_is_torn_hides_no_other(roots_many, torn):
    """As a file is that was written just before the power failed."""
    detached(roots_many, "sleep", "1000", name="web")
    told = detached(roots_many, "true", name="torn")
    roots_many.ok("wait", told)
    (roots_many.data / "containers/torn@small/state.json").write_bytes(torn)
    assert {row["NAMES"]: row["STATUS"][:3] for row in roots_many.rows("-a")} == {
        "web": "Up ",
        "torn": "Exi",
    }
    assert roots_many.state("web")["status"] == "running"
    roots_many.ok("rm", "torn")


def test_nobody_else_may_look_into_a_container(many):
    detached(many, "sh", "-c", "echo secret; sleep 1000", name="web")
    assert (many.data / "containers/web@small").stat().st_mode & 0o777 == 0o700


def test_one_on_a_folder_of_ours_is_as_any_other(many):
    folder = many.data / "layers"
    [layer] = [path for path in folder.iterdir() if (path / "bin/sleep").exists()][:1]
    told = many.ok("run", "-d", "--rootfs", layer, "sleep", "1000").strip()
    assert many.rows()[0]["IMAGE"] == ""
    assert many.ok("exec", told, "echo", "in") == "in\n"
    many.ok("kill", told)
    many.ok("wait", told)
    assert "no image ''" in many.refusal("commit", told, "x")


def test_an_init_may_be_above_a_detached_command(many):
    told = detached(
        many,
        "sh",
        "-c",
        "trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done",
        options=["--init"],
    )
    until(lambda: many.ok("logs", told))
    assert len(many.ok("top", told).splitlines()) >= 3
    many.ok("stop", told)
    assert many.state(told)["exit"] == 6


def test_a_killed_monitor_takes_another_user_along(many):
    if many.kind == "one ID":
        pytest.skip("there is no other user")
    told = detached(many, "sleep", "1000", options=["-u", "1000"])
    process = os.pidfd_open(many.state(told)["pid"])
    many.kill_monitor(told)
    assert linux.poll(process, seconds=60)


def test_a_word_too_few_is_told(roots_many):
    for word in ("logs", "stop", "kill", "wait", "rm", "inspect", "top"):
        assert roots_many.refusal(word, status=1) == f"{word} wants a container"
    assert roots_many.refusal("exec", status=1) == "missing container"
    assert "no container" in roots_many.refusal("stop", "-t", "x", "y")
