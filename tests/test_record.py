"""record: each event is what the kernel says while that process stands still in its call."""

import base64
import os
import pickle
import subprocess
import sys

import pytest

from labkit.trace import seccomp
from labkit.trace.record import Log, Recording
from labkit.view import TimeLine
from tests.helpers.processes import ORDINARY

RUN = "python3 -m mydocker run -ti /bin/sh"
# Runs in a sandbox, in the folder of a runtime, with this Python as python3.
PROGRAM = """
import base64, os, pickle, signal, sys, time
from labkit import linux, procfs, sandbox
from labkit.course import workbook
from labkit.trace import seccomp
from labkit.trace.record import record

RUN = {run!r}

def show(value):
    print(base64.b64encode(pickle.dumps(value)).decode())

def threads():
    # The kernel's count: one that an interrupt kept from starting stays on Python's own list.
    return len(os.listdir("/proc/self/task"))

def state():
    # What a recording must not leave behind, once PID 1 has reaped what was killed.
    end = time.monotonic() + 100  # a busy machine takes long
    while (threads() > 1 or len(procfs.processes()) > 2) and time.monotonic() < end:
        time.sleep(0.001)
    fds = sorted(os.listdir("/proc/self/fd"))
    return sorted(procfs.processes()), fds, threads(), len(procfs.mounts())

def main():
    os.chdir(workbook.install(workbook.runtime({upto!r})))
    os.environ["PATH"] = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]
{body}
    return 0

sys.exit(sandbox.run(main))
"""
AS_USER_OR_ROOT = pytest.mark.parametrize(
    "prefix", [[], ORDINARY], ids=["as this user", "without capabilities"]
)


def in_lab(body: str, *, upto: str = "04", prefix: list[str] | None = None):
    """Run lines of Python where a notebook's cell runs them; return what they `show`."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    program = PROGRAM.format(run=RUN, upto=upto, body=lines)
    argv = [*(prefix or []), sys.executable, "-c", program]
    run = subprocess.run(argv, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr + run.stdout
    return pickle.loads(base64.b64decode(run.stdout))


@pytest.fixture(scope="module")
def version_2() -> Recording:
    return in_lab("show(record(RUN))")


@pytest.fixture(scope="module")
def version_1() -> Recording:
    return in_lab("show(record(RUN))", upto="03")


def calls(recording: Recording) -> list[tuple[str, str, str | tuple[str, ...]]]:
    """Who calls what, with the message of a log line or the first word."""
    return [
        (m.role, m.call, m.log.message if m.log else "prompt" if m.prompt else m.words[0:1])
        for m in recording.events
    ]


COMMON = [
    ("parent", "execve", ("python3",)),
    ("parent", "clone", ("UTS",)),
    ("init", "execve", ("/proc/self/exe",)),
    ("parent", "write", "parent process run"),
    ("init", "write", "init come on"),
    ("init", "write", "command /bin/sh"),
    ("init", "write", "command /bin/sh, args []"),
    ("init", "mount", ("proc",)),
]


def test_version_2_calls_in_this_order(version_2):
    assert calls(version_2) == [
        *COMMON,
        ("init", "execve", ("/bin/sh",)),
        ("command", "write", "prompt"),
    ]


def test_version_1_forks_before_the_command(version_1):
    assert calls(version_1) == [
        *COMMON,
        ("init", "clone", ()),
        ("command", "execve", ("/bin/sh",)),
        ("command", "write", "prompt"),
    ]


SHELL = ((1,), "sh", ("/bin/sh",))
PARENT = ((1,), "python3", ("python3", "-m", "mydocker", "run", "-ti", "/bin/sh"))
COPY = ((2, 1), *PARENT[1:])
INIT = ((2, 1), "exe", ("/proc/self/exe", "-m", "mydocker", "init", "/bin/sh"))
COMMAND = ((2, 1), *SHELL[1:])


def trees(recording: Recording):
    """The tree at each event: how many PIDs a process has and the one inside, name, command."""
    return [
        [
            ((len(p.pids), *p.pids[1:]), p.name, p.command)
            for depth, p in event.tree
            if depth == len(event.tree[:depth])  # a chain, nobody has two children
        ]
        for event in recording.events
    ]


def test_the_tree_at_each_moment_of_version_2(version_2):
    copy_of_shell = SHELL
    assert trees(version_2) == [
        [SHELL, copy_of_shell],
        [SHELL, PARENT],
        [SHELL, PARENT, COPY],
        *[[SHELL, PARENT, INIT]] * 6,
        [SHELL, PARENT, COMMAND],
    ]


def test_the_tree_at_the_end_of_version_1(version_1):
    copy, child = ((2, 2), *INIT[1:]), ((2, 2), *SHELL[1:])
    assert trees(version_1)[-3:] == [
        [SHELL, PARENT, INIT],
        [SHELL, PARENT, INIT, copy],
        [SHELL, PARENT, INIT, child],
    ]


def test_what_a_call_is_called_with(version_2):
    first, clone, again, *_, mount, command, _ = version_2.events
    assert first.words == PARENT[2]
    assert clone.words == ("UTS", "PID", "NS", "NET", "IPC")
    assert again.words == INIT[2]
    assert mount.words == ("proc", "/proc", "proc")
    assert command.words == ("/bin/sh",)


def test_the_log_lines_are_those_on_the_terminal(version_2):
    written = [m.words[0] for m in version_2.events if m.log]
    assert "".join(written) == version_2.output
    assert all(
        f'"time":"{m.log.time.isoformat()[:19]}' in m.words[0] for m in version_2.events if m.log
    )


def test_times_grow_from_zero(version_2):
    times = [event.time for event in version_2.events]
    assert times[0] == 0
    assert times == sorted(times)
    assert times[-1] < 30


@AS_USER_OR_ROOT
def test_each_process_stands_still_in_its_call(prefix):
    """Looked at from beside the recorder, at that moment."""
    seen = in_lab(
        """
found, seen, names = [], [], seccomp.MACHINES[os.uname().machine].calls
continue_ = seccomp.continue_
def see_and_continue(listener, notification):
    pid, call, arguments, _ = notification
    if call != "write" or arguments[0] in (1, 2):
        try:
            number = open(f"/proc/{pid}/syscall").read().split()[0]
            proc = sum(mount.target == "/proc" for mount in procfs.mounts(pid))
            tree = [(p.pid, p.name, p.command) for _, p in procfs.tree(os.getpid())]
            seen.append((pid, names[int(number)] == call, proc, tree[1:]))
        except OSError:
            pass  # the shell is being closed
    return continue_(listener, notification)
seccomp.continue_ = see_and_continue
recording = record(RUN)
shell = recording.events[0].tree[0][1].pid
seen = [now for now in seen if now[0] != shell]
for event, (pid, is_call, proc, tree) in zip(recording.events, seen):
    then = [(p.pid, p.name, p.command) for _, p in event.tree]
    found.append((event.call, pid == event.who.pid and is_call, proc, tree == then))
show(found)
""",
        prefix=prefix,
    )
    before = seen[0][2]
    assert seen == [
        *[(call, True, before, True) for _, call, _ in COMMON],  # at mount it is not yet mounted
        ("execve", True, before + 1, True),
        ("write", True, before + 1, True),
    ]


@AS_USER_OR_ROOT
def test_nothing_is_left_behind(prefix):
    before, after = in_lab(
        """
before = state()
record(RUN)
show((before, state()))
""",
        prefix=prefix,
    )
    assert before == after


def test_fifty_runs_read_the_same():
    texts = in_lab(
        "from labkit.view import TimeLine\nshow({repr(TimeLine(record(RUN))) for _ in range(50)})"
    )
    assert len(texts) == 1


def test_an_interrupt_at_any_time_leaves_nothing():
    """The alarm does what Ctrl-C does: it raises KeyboardInterrupt in the main thread."""
    interrupted, left = in_lab(
        """
signal.signal(signal.SIGALRM, signal.default_int_handler)
before, interrupted, left = state(), 0, []
for step in range(40):
    signal.setitimer(signal.ITIMER_REAL, 0.001 + step * 0.006)
    try:
        record(RUN)
    except KeyboardInterrupt:
        interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    left.append(state() == before)
show((interrupted, left))
"""
    )
    assert interrupted > 10
    assert left == [True] * 40


def test_with_more_descriptors_than_select_takes(version_2):
    found = in_lab(
        "import resource\n"
        "_, most = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))\n"
        "opened = [os.dup(0) for _ in range(1100)]\n"
        "show(record(RUN))"
    )
    assert calls(found) == calls(version_2)


def test_a_command_that_ends():
    recording = in_lab("show(record('python3 -m mydocker run -ti ls'))", upto="05")
    last = [(m.role, m.call, m.words) for m in recording.events[-4:]]
    assert last == [
        ("init", "execve", ("ls",)),  # of all the tries along PATH the one that succeeds
        ("command", "write", ("mydocker  start.py\n",)),
        ("command", "exit", ("0",)),
        ("parent", "exit", ("0",)),
    ]
    assert recording.output == "mydocker  start.py\n"


def test_an_exec_that_fails_is_told():
    recording = in_lab("show(record('python3 -m mydocker run -ti ls'))")
    assert [(m.words[0], m.failed) for m in recording.events if m.call == "execve"] == [
        ("python3", False),
        ("/proc/self/exe", False),
        ("ls", True),  # version 2 does not search PATH
    ]


def test_lines_that_nobody_gets_to_see():
    """Without -ti version 2 writes its log to /dev/null, and the recorder reads along."""
    recording = in_lab("show(record('python3 -m mydocker run /bin/true'))")
    messages = [m.log.message for m in recording.events if m.log]
    assert messages == [
        "parent process run",
        "init come on",
        "command /bin/true",
        "command /bin/true, args []",
    ]
    assert recording.output.count("\n") == 1


def test_threads_are_no_processes():
    """A thread is made by clone as well; what it writes, its process writes."""
    program = (
        "import os, threading; "
        "t = threading.Thread(target=os.write, args=[1, bytes([65])]); t.start(); t.join()"
    )
    command = f'python3 -c "{program}"'
    recording = in_lab(f"show(record({command!r}))")
    assert [(m.call, m.words[-1]) for m in recording.events[1:]] == [("write", "A"), ("exit", "0")]
    assert len({event.who.pid for event in recording.events}) == 1


def test_a_program_that_shows_ps1_is_no_prompt():
    recording = in_lab("show(record('env'))")
    assert [m.prompt for m in recording.events] == [False] * len(recording.events)


def test_a_command_line_that_starts_nothing():
    assert in_lab("show(record('true'))").events == ()


FAILS = """
try:
    record({command!r}, timeout={timeout})
except Exception as error:
    show((type(error).__name__, str(error), state()[0]))
"""


@pytest.mark.parametrize(
    ("command", "timeout", "kind", "message"),
    [
        ("echo a\necho b", 20, "ValueError", "one line"),
        ("cat", 0.5, "TimeoutError", "'cat' showed no prompt"),
        (
            "seq 3000 | while read n; do /bin/echo $n; done",
            60,
            "RecordError",
            "more than 1000 calls",
        ),
    ],
)
def test_what_cannot_be_recorded(command, timeout, kind, message):
    if kind != "TimeoutError":
        timeout *= 10  # a thousand calls take long on a busy machine
    name, text, left = in_lab(FAILS.format(command=command, timeout=timeout))
    assert (name, left) == (kind, [1, 2])
    assert message in text


def test_a_recording_in_a_recording_says_why_not():
    inner = "from labkit.trace.record import record; record('true')"
    command = f'NO_COLOR=1 python3 -c "{inner}"'
    output = in_lab(f"show(record({command!r}).output)")
    assert "RecordError: a run cannot be recorded here: seccomp(" in output
    assert "busy. Usually: somebody watches this process in the same way already" in output


def test_where_the_call_is_forbidden_it_says_so_in_one_line():
    """As in a container whose seccomp profile hides seccomp(2)."""
    name, text, left = in_lab(
        """
import ctypes, struct
number = seccomp.MACHINES[os.uname().machine].seccomp
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
filter = struct.pack("@HP", len(steps), ctypes.addressof(code))
libc = ctypes.CDLL(None)
libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0)))
assert libc.prctl(22, ctypes.c_ulong(2), filter) == 0
"""
        + FAILS.format(command="true", timeout=200)
    )
    assert (name, left) == ("RecordError", [1, 2])
    assert text.startswith("a run cannot be recorded here: seccomp(")
    assert "Operation not permitted. Usually: a filter that hides the call" in text
    assert "\n" not in text


def test_an_unknown_processor(monkeypatch):
    class Other:
        machine = "vax"

    monkeypatch.setattr(os, "uname", Other)
    with pytest.raises(OSError, match="the numbers of calls on vax are not known"):
        seccomp.install_filter()


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("2026-11-23T23:46:28+00:00", 0), ("2026-11-23T23:46:28.125+01:00", 125000)],
)
def test_time_stamps_with_and_without_fractions(text, fraction):
    log = Log.parse(f'{{"level":"info","msg":"a","time":"{text}"}}\n')
    assert log.time.microsecond == fraction


@pytest.mark.parametrize(
    "text", ["", "hello", "12", "[1]", "{}", '{"level":1,"msg":"a","time":"x"}', "[" * 4000]
)
def test_what_is_no_log_line(text):
    assert Log.parse(text) is None


VERSION_2 = """\
1 command line
   1  parent         exec python3 -m mydocker run -ti /bin/sh      sh ─ sh
2 parse: no system call
3 isolated child
   2  parent         clone, new: UTS PID NS NET IPC                sh ─ python3
   3  init    PID 1  exec /proc/self/exe -m mydocker init /bin/sh  sh ─ python3 ─ python3(1)
   4  parent         log: parent process run                       sh ─ python3 ─ exe(1)
4 init
   5  init    PID 1  log: init come on                             sh ─ python3 ─ exe(1)
   6  init    PID 1  log: command /bin/sh                          sh ─ python3 ─ exe(1)
   7  init    PID 1  log: command /bin/sh, args []                 sh ─ python3 ─ exe(1)
   8  init    PID 1  mount proc on /proc                           sh ─ python3 ─ exe(1)
   9  init    PID 1  exec /bin/sh                                  sh ─ python3 ─ exe(1)
  10  command PID 1  first prompt                                  sh ─ python3 ─ sh(1)"""


def test_the_text_form_of_version_2(version_2):
    assert repr(TimeLine(version_2)) == VERSION_2
