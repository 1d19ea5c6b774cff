"""`labkit run`: the runtime as a user of docker or unshare would judge it, on real terminals."""

import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from labkit import procfs
from labkit.shell import Shell
from tests.helpers.course import LABKIT
from tests.helpers.processes import ORDINARY, machine, until_gone


def labkit(*words, **options):
    command = [*options.pop("prefix", []), LABKIT, *words]
    # pytest-xdist sets COLUMNS, and ps would cut its lines there.
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    settings = {"capture_output": True, "text": True, "timeout": 60, "env": environment, **options}
    return subprocess.run(command, **settings)


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
@pytest.mark.parametrize("upto", [["--upto", "03"], ["--upto=04"], ["--upto", "5"], ["--upto=10"]])
def test_who_is_pid_1(upto, prefix):
    """The article's own check: `ps` in a container of each version."""
    run = labkit("run", *upto, "-ti", "/bin/sh", input="ps -ef; exit\n", prefix=prefix)
    rows = [line.split(None, 7) for line in run.stdout.splitlines() if " ps -ef" not in line]
    found = [(row[1], row[2], row[7]) for row in rows if len(row) == 8 and row[1].isdigit()]
    if "03" in upto:
        (pid, parent, init), (shell, above, command) = found
        assert (pid, parent, shell, above, command) == ("1", "0", "2", "1", "/bin/sh")
        assert init.startswith("/proc/self/exe ")
        assert init.endswith(" init /bin/sh")
    else:
        assert found == [("1", "0", "/bin/sh")]


@pytest.mark.parametrize("upto", ["--upto=03", "--upto=10"])
def test_other_words_than_run_reach_the_runtime_too(upto):
    run = labkit("mydocker", upto, "run", "-ti", "/bin/sh", input="echo $((6 * 7)); exit\n")
    assert "42" in run.stdout
    assert "mydocker run [" in labkit("mydocker", upto).stdout
    run = labkit("mydocker", upto, "no-such", "-h")
    assert "unknown command no-such" in run.stdout + run.stderr
    assert run.returncode == 1


@pytest.mark.parametrize("upto", ["03", "04", "05"])
def test_the_spelling_of_01_1_is_taken_from_02_on(upto):
    run = labkit("run", "--upto", upto, "-it", "/bin/sh", input="echo $((6 * 7)); exit\n")
    assert "42" in run.stdout
    assert "unknown option" not in run.stdout + run.stderr


def test_the_log_of_versions_1_and_2_is_the_articles():
    run = labkit("run", "--upto", "04", "-ti", "/bin/true")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert [line["msg"] for line in lines] == [
        "parent process run",
        "init come on",
        "command /bin/true",
        "command /bin/true, args []",
    ]
    assert all(list(line) == ["level", "msg", "time"] for line in lines)
    pattern = r"%Y-%m-%dT%H:%M:%S.%f%z"
    assert all(time.strptime(line["time"], pattern) for line in lines)


@pytest.mark.parametrize("upto", ["03", "04"])
def test_versions_1_and_2_drop_the_output_without_ti_and_end_with_255(upto):
    run = labkit("run", "--upto", upto, "/bin/echo")
    assert [json.loads(line)["msg"] for line in run.stdout.splitlines()] == ["parent process run"]
    assert run.returncode == 255


@pytest.mark.parametrize("upto", [["--upto", "03"], ["--upto", "04"], ["--upto=10"]])
def test_no_command(upto):
    run = labkit("run", *upto)
    assert "missing container command" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    assert run.returncode == 1


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("no-such-command", 127, "not found"),
        ("/etc/passwd/no", 127, "not found"),
        ("/etc/passwd", 126, "permission denied"),
    ],
)
def test_a_command_that_cannot_be_started(command, status, words):
    run = labkit("run", "--upto=10", command)
    assert run.stdout == ""
    assert run.stderr.count("\n") == 1
    assert json.loads(run.stderr)["msg"] == f"exec {command}: {words}"
    assert run.returncode == status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder to somebody else")
@pytest.mark.parametrize(
    "upto", [["--upto=05"], ["--upto=06"], ["--upto=08"], ["--upto=10", "-e", "PATH"]]
)
@pytest.mark.parametrize(
    ("command", "status", "words"),
    [("nosuch", 127, "not found"), ("plain", 126, "permission denied")],
)
def test_a_folder_on_path_that_may_not_be_entered_holds_nothing(
    tmp_path, upto, command, status, words
):
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "open" / "plain").touch()
    (tmp_path / "closed").chmod(0o700)
    os.chown(tmp_path / "closed", 12345, 12345)
    path = f"{tmp_path}/closed:{tmp_path}/open:{os.environ['PATH']}"
    run = labkit("run", *upto, command, prefix=ORDINARY, env=os.environ | {"PATH": path})
    assert json.loads(run.stderr)["msg"] == f"exec {command}: {words}"
    assert run.returncode == status


@pytest.mark.parametrize(
    "upto",
    [
        ["--upto", "06"],
        ["--upto", "07"],
        ["--upto", "08"],
        ["--upto=10"],
        ["--upto=10", "--init"],
    ],
)
@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), ("/etc/passwd", 126)])
def test_the_status_is_the_same_where_nobody_can_be_told(upto, command, status):
    with open("/dev/full", "w") as full:
        run = labkit("run", *upto, command, capture_output=False, stderr=full)
    assert run.returncode == status


@pytest.mark.parametrize("status", [0, 1, 7, 126, 127, 255])
def test_the_commands_exit_status(start, status):
    assert labkit(*start[1:], "sh", "-c", f"exit {status}").returncode == status


def test_a_command_that_a_signal_ends(start):
    script = "trap - TERM; sh -c 'kill -9 $$'; echo $?; kill -9 $$; echo alive"
    run = labkit(*start[1:], "sh", "-c", script)
    assert run.stdout == "137\nalive\n"
    assert run.returncode == 0


def test_all_arguments_whatever_is_in_them():
    words = ["a b", "", "'", '"', "\\", "$HOME", "--", "-x", "ü", "\n"]
    run = labkit(
        "run", "--upto=10", sys.executable, "-c", "import sys; print(sys.argv[1:])", *words
    )
    assert run.stdout == f"{words}\n"


def test_output_errors_and_an_empty_input_without_ti(start):
    run = labkit(*start[1:], "sh", "-c", "echo out; echo err >&2; cat", input="unread")
    assert (run.stdout, run.stderr, run.returncode) == ("out\n", "err\n", 0)


@pytest.mark.parametrize("upto", ["05", "08"])
def test_before_version_7_the_commands_environment_is_ours(upto):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": "/mine", "LC_ALL": "C.UTF-8"}
    plain = subprocess.run(["env"], env=environment, capture_output=True, text=True).stdout
    run = labkit("run", "--upto", upto, "env", env=environment)
    assert run.stdout.splitlines() == plain.splitlines()


def test_no_descriptor_of_ours_leaks_into_the_command(start):
    run = labkit(*start[1:], "sh", "-c", "ls /proc/$$/fd")
    assert run.stdout.split() == ["0", "1", "2"]


def test_it_begins_where_the_user_is(tmp_path):
    assert labkit("run", "--upto=10", "pwd", cwd=tmp_path).stdout == f"{tmp_path}\n"


def test_the_machine_is_as_before():
    before = machine()
    script = "hostname changed; mount -t tmpfs none /mnt; ip link set lo up"
    labkit("run", "--upto=10", "sh", "-c", script)
    labkit("run", "--upto", "03", "-ti", "/bin/true")
    assert machine() == before


def test_on_a_real_terminal_one_can_type(start):
    with Shell() as shell:
        assert shell.run(f"{' '.join(start)} -ti -e PS1 /bin/sh") == ""
        assert shell.run("echo $$") == "1\n"
        assert shell.run("tty") == "/dev/pts/0\n"
        shell.run("exit")
        assert shell.run("echo $$") != "1\n"


def test_ctrl_c_ends_version_3_and_shows_no_traceback():
    command = [LABKIT, "run", "--upto", "05", "-ti", "sh", "-c", "echo up; exec sleep 1000"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(command[0], command)
    shown = b""
    while b"up" not in shown:
        shown += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("upto", "size"), [(["--upto", "05"], 5), (["--upto=10", "--init"], 4)])
def test_no_process_is_left_when_the_launcher_is_ended(upto, size, number):
    command = [LABKIT, "run", *upto, "sh", "-c", "sleep 1000 & echo up; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout.readline() == b"up\n"
        pids = [process.pid for _, process in procfs.tree(launcher.pid)]
        assert len(pids) == size
        launcher.send_signal(number)
    until_gone(pids)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--upto"], "--upto wants the number of a notebook"),
        (["--upto", "98", "true"], "there is no notebook '98'"),
        (["--upto", "00", "true"], "no notebook up to 00 holds mydocker/__main__.py"),
    ],
)
def test_a_wrong_version(words, said):
    run = labkit("run", *words)
    assert said in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.returncode in (1, 2)


def test_many_at_once(start):
    command = ["sh", "-c", "hostname; echo $$"]
    runs = [
        subprocess.Popen(
            [*start, "--hostname", f"box{n}", *command], stdout=subprocess.PIPE, text=True
        )
        for n in range(8)
    ]
    assert [run.communicate()[0] for run in runs] == [f"box{n}\n1\n" for n in range(8)]


def test_with_our_own_streams_closed(start):
    line = f"{' '.join(start)} sh -c 'exit 4' <&- >&- 2>&-"
    run = subprocess.run(["sh", "-c", line])
    assert run.returncode == 4


def test_what_python_ignores_the_command_does_not():
    run = labkit("run", "--upto=10", "sh", "-c", "yes | head -n 1; grep SigIgn /proc/self/status")
    first, _, ignored = run.stdout.split()
    assert (first, run.stderr) == ("y", "")
    # What whoever started the tests ignores stays ignored, as without a container.
    assert int(ignored, 16) & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1) == 0


@pytest.mark.parametrize("setting", ["--block-signal=CHLD", "--ignore-signal=CHLD"])
def test_whoever_starts_it_may_have_switched_off_sigchld(start, setting):
    run = labkit(*start[1:], "sh", "-c", "exit 6", prefix=["env", setting])
    assert (run.returncode, run.stderr) == (6, "")


def test_an_empty_command_is_a_missing_one():
    run = labkit("run", "--upto=10", "")
    assert "missing container command" in run.stderr
    assert run.stderr.count("\n") == 1


def test_a_full_disk_and_a_reader_that_leaves_are_no_tracebacks():
    script = f"{LABKIT} --help >/dev/full; echo $?; {{ {LABKIT} --help; echo $? >&2; }} | true"
    run = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert run.stdout == "1\n"
    assert "labkit: No space left on device\n" in run.stderr
    assert "Exception" not in run.stderr
