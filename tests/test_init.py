"""Signals, PID 1 and the ends of a container: what is passed on, and what is left behind."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit import procfs
from tests.helpers.course import LABKIT
from tests.helpers.processes import Kernel, machine, until, until_gone
from tests.helpers.runtime import PLAIN, RUN, program
from tests.helpers.terminals import Person

SIXTEEN = "HUP INT QUIT ILL TRAP ABRT BUS FPE USR1 SEGV USR2 PIPE ALRM TERM XCPU SYS"


def below(pid):
    """Everything that was started from a process, and it itself, as PIDs out here."""
    return [process.pid for _, process in procfs.tree(pid)]


def find(pid, name):
    """The PID of a process below another, None where there is none of that name."""
    return next((p.pid for _, p in procfs.tree(pid) if p.name == name), None)


def child(pid):
    return next((p.pid for _, p in procfs.tree(pid) if p.ppid == pid), None)


def state(pid):
    process = procfs.processes().get(pid)
    return process.state if process else None


def started(pid, name="sleep"):
    """Wait until a command runs in the container; return its PID."""
    until(lambda: find(pid, name))
    return find(pid, name)


def no_core():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextlib.contextmanager
def container(*words, start=RUN, **options):
    with subprocess.Popen([*start, *words], preexec_fn=no_core, **options) as launcher:
        try:
            yield launcher
        finally:
            launcher.kill()


@pytest.mark.parametrize("name", [*SIXTEEN.split(), "KILL"])
def test_a_signal_ends_it_with_the_status_that_a_shell_would_give(start, name):
    number = signal.Signals[f"SIG{name}"]
    alone = subprocess.Popen(["sleep", "1000"], preexec_fn=no_core)
    alone.send_signal(number)
    assert alone.wait() == -number
    line = f"{' '.join(start)} --init sleep 1000; echo $?"
    shell = subprocess.Popen(["sh", "-c", line], stdout=subprocess.PIPE, preexec_fn=no_core)
    pids = [*below(shell.pid), started(shell.pid)]
    os.kill(child(shell.pid), number)
    assert shell.communicate()[0].decode() == f"{128 + number}\n"
    until_gone(pids)


def test_every_status_comes_back_unharmed():
    path = program(PLAIN)

    def ends_with(status, *options):
        words = ["-S", path, "run", *options, "sh", "-c", f"exit {status}"]
        return subprocess.run([sys.executable, *words]).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ends_with, range(256))) == list(range(256))
        some = [0, 1, 127, 128, 137, 255]
        assert list(pool.map(lambda n: ends_with(n, "--init"), some)) == some
        assert list(pool.map(lambda n: ends_with(n, "-t", "--init"), some)) == some


ORPHANS = """
import os, sys
for _ in range(1000):
    if os.fork() == 0:
        os.fork() or os.write(1, b".")  # the parent of a process that is an orphan now
        os._exit(0)
    os.wait()
print("made", flush=True)
os.execvp("sleep", ["sleep", "1000"])
"""


@pytest.mark.parametrize(("options", "zombies"), [(["--init"], 0), ([], 1000)])
def test_a_thousand_orphans(options, zombies):
    words = [*options, sys.executable, "-c", ORPHANS]
    with container(*words, stdout=subprocess.PIPE) as launcher:
        assert b"made" in launcher.stdout.readline()
        sleep = started(launcher.pid)
        first = sleep if not options else procfs.processes()[sleep].ppid

        def left():
            family = [p for _, p in procfs.tree(first) if p.pid not in (first, sleep)]
            return [p for p in family if p.state == "Z"] if zombies else family

        until(lambda: len(left()) == zombies)


def test_without_init_the_command_is_pid_1_and_ignores_what_it_has_no_handler_for(start):
    with container("sleep", "1000", start=start) as launcher:
        sleep = started(launcher.pid)
        for name in ("TERM", "INT", "HUP"):
            launcher.send_signal(signal.Signals[f"SIG{name}"])
            until(lambda: pending(launcher.pid) == 0)
        assert procfs.processes()[sleep].pids[-1] == 1
        assert state(sleep) == "S"
        assert launcher.poll() is None
        os.kill(sleep, signal.SIGKILL)
        assert launcher.wait() == 137


def pending(pid):
    """Signals that wait for a process, as a number."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("ShdPnd:"):
            return int(line.split()[1], 16)
    raise AssertionError("no such line")


@pytest.mark.parametrize("options", [[], ["--init"]])
def test_a_handler_inside_hears_each_signal_once(options):
    numbers = [n for n in range(1, 65) if n not in (9, 17, 18, 19, 20, 21, 22, 32, 33)]
    script = (
        "import os, signal\n"
        "heard, hear = os.pipe()\n"  # pause(2) would miss one that comes just before it
        "os.set_blocking(hear, False)\n"
        "signal.set_wakeup_fd(hear)\n"
        f"for n in {numbers}: signal.signal(n, lambda n, _: None)\n"
        "os.write(1, b'up\\n')\n"
        "while True: os.write(1, b'%d\\n' % os.read(heard, 1)[0])\n"
    )
    words = [*options, sys.executable, "-c", script]
    with container(*words, stdout=subprocess.PIPE, bufsize=0) as launcher:
        assert launcher.stdout.readline() == b"up\n"
        for number in numbers:
            launcher.send_signal(number)
            assert int(launcher.stdout.readline()) == number
        launcher.kill()
        assert launcher.stdout.read() == b""


def test_what_the_starter_ignores_stays_ignored():
    line = f"trap '' HUP INT; exec {' '.join(RUN)} --init sleep 1000"
    with subprocess.Popen(["sh", "-c", line]) as launcher:
        sleep = started(launcher.pid)
        for number in (signal.SIGHUP, signal.SIGINT):
            launcher.send_signal(number)
            os.kill(sleep, number)
        assert state(sleep) == "S"
        launcher.terminate()
        assert launcher.wait() == 128 + signal.SIGTERM


@pytest.mark.parametrize("options", [[], ["--init"], ["-i", "--init"], ["-it", "--init"]])
def test_ctrl_z_stops_it_and_fg_goes_on(start, options):
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        p.send(" ".join([*start, *options, "sleep", "1000"]).encode() + b"\n")
        sleep = started(p.pid)
        until(lambda: state(sleep) == "S")
        for _ in range(3):
            p.send(b"\x1a")
            p.read_until(b"Stopped")
            p.read_until(b"@ ")
            until(lambda: state(sleep) == "T")
            p.send(b"fg\n")
            p.read_until(b"sleep 1000\r\n")
            until(lambda: state(sleep) == "S")
        if options:
            p.send(b"\x03")
        else:
            os.kill(sleep, signal.SIGKILL)
        p.read_until(b"@ ")
        p.send(b"echo status $?\n")
        p.read_until(b"status 130\r\n" if options else b"status 137\r\n")
        p.send(b"exit\n")
        p.wait()


def test_what_goes_on_hears_so_once(tmp_path):
    """A second SIGCONT could come after the next Ctrl-Z, and take that back."""
    script = tmp_path / "hear.py"
    script.write_text(
        "import os, signal\n"
        "heard, hear = os.pipe()\n"
        "os.set_blocking(hear, False)\n"
        "signal.set_wakeup_fd(hear)\n"
        "for n in (signal.SIGCONT, signal.SIGSYS): signal.signal(n, lambda n, _: None)\n"
        "print('up')\n"
        "while True: print('heard', *os.read(heard, 1))\n"
    )
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        p.send(" ".join([*RUN, "-it", "--init", sys.executable, str(script)]).encode() + b"\n")
        p.read_until(b"up\r\n")
        for _ in range(3):
            p.send(b"\x1a")
            p.read_until(b"Stopped")
            p.read_until(b"@ ")
            p.send(b"fg\n")
            p.read_until(b"heard 18\r\n")
            os.kill(child(p.pid), signal.SIGSYS)  # which comes after all that waits
            assert p.read_until(b"heard 31\r\n") == b"heard 31\r\n"


@pytest.mark.parametrize("upto", [["--upto", "07"], ["--upto", "08"], ["--upto=10"]])
def test_what_the_terminal_stops_before_it_has_begun_can_be_ended(upto):
    # timeout(1) puts its command in the background, where -it stops it.
    line = " ".join(["timeout", "2", LABKIT, "run", *upto, "-it", "true"])
    with Person("sh", "-c", f"{line}; echo status $?") as person:
        person.wait()
        assert person.screen == b"status 124\r\n"
        assert person.settings() == person.before


@contextlib.contextmanager
def in_bash(*words):
    """A container that an interactive bash has started; yields the person, and PID 1's child."""
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        p.send(" ".join([*RUN, *words]).encode() + b"\n")
        yield p, started(p.pid, words[-1] if words[-1].isalpha() else words[-2])


def stopped(person, command):
    until(lambda: state(command) == "S")
    person.send(b"\x1a")
    person.read_until(b"Stopped")
    person.read_until(b"@ ")
    until(lambda: state(command) == "T")


@pytest.mark.parametrize("options", [["--init"], ["-i", "--init"], ["-it", "--init"]])
def test_what_a_key_has_stopped_can_be_ended_from_the_shell(options):
    with in_bash(*options, *SLEEP) as (p, sleep):
        stopped(p, sleep)
        p.send(b"kill %1\n")
        until(lambda: find(p.pid, "sleep") is None and child(p.pid) is None)
        p.send(b"\n")
        p.read_until(b"Exit 143")
        p.read_until(b"@ ")
        p.send(b"stty -a | tr '; ' '\\n' | grep -x -e -icanon -e -opost; echo over\n")
        assert b"-\r" not in p.read_until(b"over\r\n").partition(b"\r\n")[2]


def test_output_from_the_background_does_not_keep_it_from_being_ended(tmp_path):
    wait = f"until test -e {tmp_path}/now; do sleep .01; done"
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        p.send(b"stty tostop\n")
        p.read_until(b"@ ")
        p.send(f"{' '.join(RUN)} -t --init sh -c '{wait}; echo said; exec sleep 1000' &\n".encode())
        p.read_until(b"@ ")
        (tmp_path / "now").touch()
        started(p.pid)
        p.send(b"kill %1\n")
        until(lambda: find(p.pid, "sleep") is None and child(p.pid) is None)


@pytest.mark.parametrize("options", [["-i", "--init"], ["-it", "--init"]])
def test_bg_goes_on_without_the_terminal_and_fg_takes_it_again(options):
    with in_bash(*options, "cat") as (p, cat):
        stopped(p, cat)
        p.send(b"bg\n")
        until(lambda: state(cat) == "S")
        p.send(b"echo the shell gets $((6 * 7))\n")
        p.read_until(b"the shell gets 42\r\n")
        p.send(b"fg\n")
        p.read_until(b"cat\r\n")
        p.send(b"to cat\n")
        p.read_until(b"to cat\r\nto cat\r\n")
        p.send(b"\x04")
        p.read_until(b"@ ")
        p.send(b"echo status $?\n")
        p.read_until(b"status 0\r\n")


def test_where_our_terminal_is_gone_it_ends_and_says_so_in_one_line(tmp_path):
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        # In the background, of those that no SIGHUP ends: it asks for a terminal that is no more.
        line = f"trap '' HUP; {' '.join(RUN)} -it --init cat 2>{tmp_path}/said"
        p.send(line.encode() + b"\n")
        cat = started(p.pid, "cat")
        stopped(p, cat)
        p.send(b"bg\n")
        until(lambda: state(cat) == "S")
        pids = below(child(p.pid))
        os.close(p.terminal)
        p.terminal = -1
        until_gone(pids)
    assert json.loads((tmp_path / "said").read_text())["msg"] == "Input/output error"


def test_in_the_background_it_leaves_the_terminal_alone():
    with Person("bash", "--norc", "--noprofile", "-i", environment=os.environ | {"PS1": "@ "}) as p:
        p.read_until(b"@ ")
        p.send(" ".join([*RUN, "-it", "cat"]).encode() + b" &\n")
        until(lambda: state(child(p.pid)) == "T")  # it wants the terminal
        assert find(p.pid, "cat") is None
        p.send(b"echo here; jobs\n")
        p.read_until(b"here\r\n")
        p.read_until(b"Stopped")
        p.read_until(b"@ ")
        p.send(b"fg\n")
        p.read_until(b"cat\r\n")
        started(p.pid, "cat")
        p.send(b"typed\n")
        p.read_until(b"typed\r\ntyped\r\n")  # so ours is raw by now
        p.send(b"\x04")
        p.read_until(b"@ ")
        p.send(b"echo status $?\n")
        p.read_until(b"status 0\r\n")


def test_pid_1_holds_nothing_of_ours():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    with container("--init", "sleep", "1000", close_fds=False) as launcher:
        os.close(writer)
        sleep = started(launcher.pid)
        first = procfs.processes()[sleep].ppid
        assert sorted(os.listdir(f"/proc/{sleep}/fd")) == ["0", "1", "2"]
        links = {os.readlink(f"/proc/{first}/fd/{fd}") for fd in os.listdir(f"/proc/{first}/fd")}
        pipes = {link for link in links if link.startswith("pipe:")} - {
            os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)
        }
        assert len(pipes) <= 1  # the one on which it tells its parent that the command stopped
        assert f"pipe:[{os.fstat(reader).st_ino}]" not in links
    os.close(reader)


# ---- twenty ways to die: no process, no mount, and a terminal as before ----


def by_signal(name):
    def end(person):
        os.kill(person.pid, signal.Signals[f"SIG{name}"])

    return end


def by_key(key):
    def end(person):
        person.send(key)

    return end


def kill_inside(name):
    def end(person):
        pid = find(person.pid, name)
        os.kill(pid, signal.SIGKILL)

    return end


def kill_pid_1(person):
    pid = find(person.pid, "sleep")
    os.kill(procfs.processes()[pid].ppid, signal.SIGKILL)


def kill_the_group(person):
    os.killpg(person.pid, signal.SIGKILL)


def kill_the_watchdog(person):
    watchdogs = [p.pid for _, p in procfs.tree(person.pid) if os.getpgid(p.pid) == p.pid]
    for pid in watchdogs:
        if pid != person.pid and len(procfs.processes()[pid].pids) == len(mine().pids):
            os.kill(pid, signal.SIGKILL)
    os.kill(person.pid, signal.SIGTERM)


def mine():
    return procfs.processes()[os.getpid()]


def stop_then_kill(person):
    os.kill(person.pid, signal.SIGSTOP)
    until(lambda: state(person.pid) == "T")
    os.kill(person.pid, signal.SIGKILL)


def nothing(person):
    pass


SLEEP = ("sleep", "1000")
DAEMON = "setsid sh -c 'sleep 1000' & sleep 1000 & exit 4"
SILENT = "exec 0<&- 1>&- 2>&-; sleep .1; exit 6"
WAYS = {
    "it ends by itself": (("sh", "-c", "exit 3"), nothing, 3),
    "it does not exist": (("no-such-command",), nothing, 127),
    "it cannot be executed": (("/bin",), nothing, 126),
    "it ends itself with SIGKILL": (("sh", "-c", "kill -9 $$"), nothing, 137),
    "it leaves daemons behind": (("sh", "-c", DAEMON), nothing, 4),
    "it closes its streams": (("sh", "-c", SILENT), nothing, 6),
    "SIGTERM to the parent": (SLEEP, by_signal("TERM"), 143),
    "SIGINT to the parent": (SLEEP, by_signal("INT"), 130),
    "SIGHUP to the parent": (SLEEP, by_signal("HUP"), 129),
    "SIGQUIT to the parent": (SLEEP, by_signal("QUIT"), 131),
    "SIGUSR1 to the parent": (SLEEP, by_signal("USR1"), 138),
    "SIGSEGV to the parent": (SLEEP, by_signal("SEGV"), 139),
    "SIGKILL to the parent": (SLEEP, by_signal("KILL"), 137),
    "SIGKILL to the parent's group": (SLEEP, kill_the_group, 137),
    "the parent is stopped, then killed": (SLEEP, stop_then_kill, 137),
    "its keeper is killed first": (SLEEP, kill_the_watchdog, 143),
    "SIGKILL to PID 1": (SLEEP, kill_pid_1, 137),
    "SIGKILL to the command": (SLEEP, kill_inside("sleep"), 137),
    "Ctrl-C": (SLEEP, by_key(b"\x03"), 130),
    "Ctrl-backslash": (SLEEP, by_key(b"\x1c"), 131),
    "Ctrl-D": (("cat",), by_key(b"\x04"), 0),
}


@pytest.mark.parametrize("way", WAYS)
def test_dying_leaves_no_process_no_mount_and_the_terminal_as_it_was(start, way):
    command, end, status = WAYS[way]
    before = machine()
    with Person(*start, "-it", "--init", *command) as person:
        pids = [person.pid]
        if end is not nothing:
            started(person.pid, command[0])
            until(lambda: person.settings() != person.before)  # ours is raw now
            pids = below(person.pid)
            assert len(pids) == 4  # the parent, the watchdog of its terminal, PID 1, the command
        end(person)
        assert person.wait() == status
        until_gone(pids)
        assert person.settings() == person.before
    assert machine() == before


@pytest.mark.parametrize("options", [["-it"], ["-it", "--init"], ["-i"], ["-t"], []])
def test_a_closed_terminal_ends_it(start, options):
    before = machine()
    person = Person(*start, *options, *SLEEP)
    started(person.pid)
    pids = below(person.pid)
    os.close(person.terminal)
    person.terminal = -1
    assert os.waitstatus_to_exitcode(os.waitpid(person.pid, 0)[1]) == 129
    until_gone(pids)
    assert machine() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_with_init_a_command_that_becomes_another_user_still_dies_with_us():
    # By itself it would live on: the kernel drops its death signal, PR_SET_PDEATHSIG(2const).
    with container("--init", "setpriv", "--reuid=nobody", "--clear-groups", *SLEEP) as launcher:
        pids = [*below(launcher.pid), started(launcher.pid)]
        launcher.kill()
        launcher.wait()
        until_gone(pids)


def test_a_shell_killed_above_it_ends_it():
    with Person("sh", "-c", f"{' '.join(RUN)} -it --init sleep 1000; true") as person:
        started(person.pid)
        until(lambda: person.settings() != person.before)
        pids = below(person.pid)
        os.kill(person.pid, signal.SIGKILL)
        assert person.wait() == 137
        until_gone(pids)
        assert person.settings() == person.before


@pytest.mark.parametrize("options", [["-it"], ["-it", "--init"], ["-t"]])
def test_a_full_disk_behind_stdout_ends_it(options):
    full = os.open("/dev/full", os.O_WRONLY)
    with Person(*RUN, *options, "yes", stdout=full) as person:
        os.close(full)
        assert person.wait() == 125
        assert b"no space left on device" in person.screen
        assert person.settings() == person.before


@pytest.mark.parametrize("options", [["-it"], ["-t", "--init"]])
def test_a_reader_that_leaves_ends_it(options):
    reader, writer = os.pipe()
    with Person(*RUN, *options, "yes", stdout=writer) as person:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        assert person.wait() == 141
        assert person.settings() == person.before


@pytest.mark.parametrize("upto", [["--upto", "08"], ["--upto=10"]])
@pytest.mark.parametrize(("command", "status"), [("exit 4", 4), ("exec nosuch", 127)])
@pytest.mark.parametrize("options", [[], ["--init"]])
def test_a_log_that_nobody_reads_is_no_signal_for_the_command(upto, options, command, status):
    reader, writer = os.pipe()
    os.close(reader)
    words = [*options, *(["sh", "-c", command] if "exit" in command else ["nosuch"])]
    environment = os.environ | {"MYDOCKER_DEBUG": "1"}
    with container(
        *words, start=[LABKIT, "run", *upto], stderr=writer, env=environment
    ) as launcher:
        os.close(writer)
        assert launcher.wait(60) == status


def test_a_line_for_a_command_that_reads_no_more_is_no_signal_for_it(tmp_path):
    wait = f"until test -e {tmp_path}/now; do sleep .01; done"
    script = f"trap 'exit 9' PIPE; exec <&-; echo up; {wait}; exit 4"
    with Person(*RUN, "-i", "sh", "-c", script) as person:
        person.read_until(b"up\r\n")
        before = feeds(person.pid)
        person.send(b"typed\n")
        until(lambda: len(feeds(person.pid)) < len(before))
        (tmp_path / "now").touch()
        assert person.wait() == 4


def feeds(pid):
    """Descriptors of a parent that can only be written: what it feeds its container with."""
    links = Path(f"/proc/{pid}/fd").iterdir()
    return [link.name for link in links if link.lstat().st_mode & 0o700 == 0o300]


def test_a_reader_that_does_not_read_does_not_keep_it_from_ending():
    reader, writer = os.pipe()
    with container("-t", "--init", "yes", stdout=writer) as launcher:
        yes = started(launcher.pid, "yes")
        until(lambda: state(yes) == "S")  # every buffer is full
        launcher.terminate()
        launcher.send_signal(signal.SIGTERM)
        until(lambda: state(yes) in (None, "Z"))
        while launcher.poll() is None:
            launcher.send_signal(signal.SIGTERM)
            time.sleep(0.01)
        assert launcher.returncode == 143
    os.close(reader)
    os.close(writer)


def test_killed_at_any_moment_of_its_start_it_leaves_nothing():
    before = machine()
    for delay in range(0, 100, 10):
        with Person(*RUN, "-it", "--init", *SLEEP) as person:
            time.sleep(delay / 1000)
            pids = below(person.pid)
            os.kill(person.pid, signal.SIGKILL)
            assert person.wait() == 137
            until_gone(pids)
            until(lambda person=person: person.settings() == person.before)  # the watchdog's work
    assert machine() == before


def test_killed_with_its_group_as_soon_as_the_terminal_is_raw():
    for _ in range(5):
        with Person(*RUN, "-it", *SLEEP) as person:
            end = time.monotonic() + 20
            while person.settings() == person.before:
                assert time.monotonic() < end
            os.killpg(person.pid, signal.SIGKILL)
            assert person.wait() == 137
            until(lambda person=person: person.settings() == person.before)


def test_a_restarted_lab_kernel_ends_it(tmp_path):
    kernel = Kernel(tmp_path)
    try:
        kernel.run("from labkit.shell import Shell; shell = Shell()")
        kernel.run(f"shell.send('{' '.join(RUN)} -it --init sleep 1000\\r')")
        until(lambda: find(kernel.pids[0], "sleep"))
        pids = kernel.pids
        kernel.restart()
        until_gone(pids)
    finally:
        kernel.end()
