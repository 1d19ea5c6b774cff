"""-t and -i: the container's own terminal, and ours, which comes back as it was."""

import hashlib
import socket
import struct
import subprocess
import sys

import pytest

from labkit import procfs
from tests.helpers.course import LABKIT
from tests.helpers.processes import ORDINARY, until
from tests.helpers.runtime import RUN, program
from tests.helpers.terminals import Person, many_descriptors


def run(*words, **options):
    settings = {"capture_output": True, "timeout": 60, **options}
    return subprocess.run(words, **settings)


@pytest.mark.parametrize("option", ["-it", "-ti"])
@pytest.mark.parametrize(
    "upto", [["--upto", "06"], ["--upto", "07"], ["--upto", "08"], ["--upto=10"]]
)
def test_the_terminal_is_the_containers_own_and_its_controlling_one(upto, option):
    with Person(LABKIT, "run", *upto, option, "sh") as person:
        person.read_until(b"# ")
        person.send(b"tty; ls -1 /dev/pts\n")
        assert person.read_until(b"ptmx\r\n").endswith(b"\r\n/dev/pts/0\r\n0\r\nptmx\r\n")
        person.send(b"read line </dev/tty\n")
        person.read_until(b"/dev/tty\r\n")
        person.send(b"typed\n")
        person.send(b"echo got:$line; exit 6\n")
        person.read_until(b"got:typed\r\n")
        assert person.wait() == 6
        assert b"job control" not in person.screen
        assert person.settings() == person.before


def test_i_and_t_apart_and_together(start):
    look = 'test -t 0 && echo in; test -t 1 && echo out; read line; echo "line:$line"'
    found = {}
    for options in ([], ["-i"], ["-t"], ["-it"], ["-i", "-t"]):
        said = run(*start, *options, "sh", "-c", look, input=b"from a pipe\n").stdout
        found[" ".join(options)] = said.replace(b"\r\n", b"\n").decode().split("\n")[:-1]
    assert found == {
        "": ["line:"],
        "-i": ["line:from a pipe"],
        "-t": ["in", "out", "line:"],
        "-it": ["in", "out", "line:from a pipe"],
        "-i -t": ["in", "out", "line:from a pipe"],
    }


@pytest.mark.parametrize("options", [["-i"], ["-it"]])
@pytest.mark.parametrize("text", [b"", b"\n", b"no newline", b"one\ntwo\n", b"one\ntwo"])
def test_the_end_of_a_pipe_is_the_end_of_the_input(start, options, text):
    assert run(*start, *options, "cat", input=text).stdout.replace(b"\r\n", b"\n") == text


@pytest.mark.parametrize("upto", [["--upto", "07"], ["--upto=10"]])
@pytest.mark.parametrize("size", [0, 1, 4096, 100_000, 8_000_000])
def test_output_of_any_size_and_any_bytes(upto, size):
    make = (
        "import os,sys; stty=os.system('stty raw');"
        f"data=(bytes(range(256))*{size // 256 + 1})[:{size}];"
        "view=memoryview(data)\n"
        "while view: view=view[os.write(1,view):]"
    )
    wanted = hashlib.sha256((bytes(range(256)) * (size // 256 + 1))[:size]).hexdigest()
    for options in ([], ["-t"], ["-it"]):
        said = run(
            LABKIT, "run", *upto, *options, sys.executable, "-c", make, stdin=subprocess.DEVNULL
        )
        assert (len(said.stdout), hashlib.sha256(said.stdout).hexdigest()) == (size, wanted)
        assert said.returncode == 0


def test_input_of_any_size(start):
    data = b"".join(b"%d line\n" % n for n in range(100_000))
    said = run(*start, "-it", "sha256sum", input=data)
    assert said.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()
    said = run(*start, "-i", "sha256sum", input=data)
    assert said.stdout.split()[0].decode() == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("upto", [["--upto", "07"], ["--upto", "08"], ["--upto=10"]])
@pytest.mark.parametrize("options", [["-it"], ["-i"]])
def test_a_read_that_fails_is_the_end_of_the_input(upto, options):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        stdin, _ = server.accept()
    words = [LABKIT, "run", *upto, *options, "cat"]
    with (
        stdin,
        client,
        subprocess.Popen(words, stdin=stdin.fileno(), stdout=subprocess.PIPE) as launcher,
    ):
        client.sendall(b"line\n")
        assert launcher.stdout.read(4) == b"line"
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()  # which resets the connection
        try:
            launcher.communicate(timeout=60)
        finally:
            launcher.kill()


@pytest.mark.parametrize("upto", ["07", "08", "09"])
@pytest.mark.parametrize("options", [[], ["-i"], ["-it"]])
def test_with_more_descriptors_than_select_takes(upto, options):
    alone = ["unshare", "--user", "--map-root-user", sys.executable, "-S", program(upto)]
    with many_descriptors():
        said = subprocess.run(
            [*alone, "run", *options, "sh", "-c", "cat; exit 3"],
            input=b"line\n",
            capture_output=True,
            close_fds=False,
            timeout=60,
        )
    assert (said.returncode, said.stderr) == (3, b"")
    assert said.stdout.split() == ([b"line"] if options else [])


# Starts a command in a process group that nobody can bring to the foreground.
ORPHAN = """
import os, sys
ended, end = os.pipe()
leader = os.fork()
if leader == 0:
    os.setpgid(0, 0)
    leader = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == leader:
        pass
    os.set_inheritable(end, True)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(end)
os.waitpid(leader, 0)
os.read(ended, 1)
"""


@pytest.mark.parametrize("upto", ["--upto=06", "--upto=07", "--upto=08", "--upto=09"])
def test_without_a_terminal_that_it_may_use_it_says_so(upto):
    line = f"{LABKIT} run {upto} -it echo begun; echo status $?"
    with Person(sys.executable, "-c", ORPHAN, "sh", "-c", line) as person:
        person.wait()
        said, status, end = person.screen.split(b"\r\n")
    assert b'"msg":"our terminal cannot be used: we are in the background, and no shell ' in said
    assert (status, end) == (b"status 125", b"")


def test_every_key_reaches_a_program_that_wants_it_raw():
    keys = bytes(n for n in range(256))
    read = "stty raw -echo; echo up; dd bs=1 count=256 2>/dev/null | od -An -v -tx1"
    with Person(*RUN, "-it", "sh", "-c", read) as person:
        person.read_until(b"up\n")
        person.send(keys)
        person.wait()
        assert bytes(int(word, 16) for word in person.screen.split()) == keys
        assert person.settings() == person.before


def test_where_it_lacks_what_a_terminal_needs_nothing_has_begun(start):
    found = []
    for limit in range(7, 16):
        line = f"ulimit -n {limit}; exec {' '.join(start)} -it echo begun"
        with Person("sh", "-c", line) as person:
            found.append((person.wait(), person.screen.count(b"\r\n"), b"begun" in person.screen))
            assert person.settings() == person.before
    assert set(found) == {(125, 1, False), (0, 1, True)}
    assert found == sorted(found, reverse=True)


def test_the_window_at_the_start_and_when_it_changes(start):
    script = "stty size; trap 'stty size; exit' WINCH; echo up; while :; do sleep .1; done"
    with Person(*start, "-it", "sh", "-c", script, size=(33, 121)) as person:
        assert person.read_until(b"up\r\n") == b"33 121\r\nup\r\n"
        person.resize(44, 99)
        assert person.read_until(b"44 99\r\n")
        assert person.wait() == 0


def test_the_new_terminal_begins_with_our_settings(start):
    ours = "stty intr ^X -ixon; stty -a"
    with Person("sh", "-c", f"{ours}; echo =; {' '.join(start)} -it stty -a") as person:
        person.wait()
        outside, inside = person.screen.split(b"=\r\n", 1)
        assert b"intr = ^X" in outside
        assert outside == inside


def test_ctrl_c_reaches_what_runs_inside_and_not_the_parent(start):
    with Person(*start, "-it", "sh") as person:
        person.read_until(b"# ")
        person.send(b"echo here; sleep 1000\n")
        person.read_until(b"here\r\n")
        until(lambda: "sleep" in names(person.pid))
        person.send(b"\x03")
        person.send(b"echo status $?\n")
        person.read_until(b"status 130\r\n")
        person.send(b"exit 5\n")
        assert person.wait() == 5


PUSH = """
import fcntl, os, termios
for path in ("/dev/tty", "/dev/fd/1"):
    try:
        terminal = os.open(path, os.O_RDWR)
        for letter in b"pushed\\n":
            fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("prefix", "options"),
    # Root may push into every terminal that it can open, so without -t only others are kept out.
    [([], ["-t"]), ([], ["-it"]), (ORDINARY, []), (ORDINARY, ["-i"]), (ORDINARY, ["-it"])],
)
def test_nothing_inside_can_push_characters_into_our_terminal(tmp_path, prefix, options):
    (tmp_path / "push.py").write_text(PUSH)
    line = " ".join([*prefix, *RUN, *options, sys.executable, str(tmp_path / "push.py")])
    with Person("sh", "-c", f'{line}; echo over; read line; echo "line:$line"') as person:
        person.read_until(b"over\r\n")
        person.send(b"typed\n")
        assert person.read_until(b"line:").endswith(b"typed\r\nline:")
        person.read_until(b"typed\r\n")


def names(pid):
    return [process.name for _, process in procfs.tree(pid)]
