"""podman runs its containers with ours: by root, and by an ordinary user with one ID."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pexpect
import pytest

from labkit.course import workbook
from labkit.exercise.root import make_root
from tests.helpers.course import open_folder
from tests.helpers.images import NOBODY, PYTHON
from tests.helpers.tools import needed

IMAGE = "localhost/box"  # by its whole name: podman then asks nobody
KINDS = ["root", "user"] if os.geteuid() == 0 else ["user"]
SETTINGS = """
[containers]
cgroups = "disabled"
netns = "none"
seccomp_profile = "unconfined"
default_capabilities = ["CHOWN", "KILL", "SETGID", "SETUID"]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "ours"
runtime_supports_nocgroup = ["ours"]
runtime_supports_nocgroups = ["ours"]
[engine.runtimes]
ours = ["{folder}/ours"]
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "/run/images"
runroot = "/run/state"
"""
# A shell with empty folders in the places where podman would meet others. What it makes ends with
# the PID namespace.
PLACES = """
for d in /var/lib /run /dev/shm /etc/cni; do
    test ! -d $d || mount -t tmpfs none $d || exit 1
done
mount -t proc proc /proc && echo ready && exec sleep 1000000
"""


NEW = ("--mount", "--pid", "--fork", "--kill-child")


class Podman:
    def __init__(self, kind):
        self.folder = open_folder()
        runtime = workbook.install(workbook.runtime()) / "mydocker"
        shutil.copytree(runtime, self.folder / "mydocker")
        ours = f'PYTHONPATH={self.folder} exec {PYTHON} -S -m mydocker.oci "$@"'
        (self.folder / "ours").write_text(f"#!/bin/sh\n{ours}\n")
        (self.folder / "ours").chmod(0o755)
        (self.folder / "containers.conf").write_text(SETTINGS.format(folder=self.folder))
        (self.folder / "storage.conf").write_text(STORAGE)
        make_root(self.folder / "root", "sh", "cat", "sleep", "stty", "tty", "true", "id")
        tar = ["tar", "--owner=0", "--group=0", "-cf", "../root.tar", "."]
        subprocess.run(tar, cwd=self.folder / "root", check=True)
        self.environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": "/run",
            "XDG_RUNTIME_DIR": "/run",
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "TERM": "xterm",
        }
        user, prefix = [], []
        self.spaces = ["--mount", "--pid"]
        if kind == "user":
            user, prefix = ["--user", "--map-root-user"], NOBODY if os.geteuid() == 0 else []
            self.spaces += ["--user", "--preserve-credentials"]
            self.environment["_CONTAINERS_USERNS_CONFIGURED"] = "done"
        self.who = prefix
        self.holder = subprocess.Popen(
            [*prefix, "unshare", *user, *NEW, "sh", "-c", PLACES],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout.readline() == "ready\n"
        children = f"/proc/{self.holder.pid}/task/{self.holder.pid}/children"
        self.first = int(Path(children).read_text())
        self("import", "-q", self.folder / "root.tar", IMAGE)

    def words(self, *words):
        word, *rest = map(str, words)
        own = ["--cgroupns=private"] * (word == "run")
        enter = ["nsenter", "--target", str(self.first), *self.spaces, "podman"]
        return [*self.who, *enter, word, *own, *rest]

    def __call__(self, *words, status=0):
        """Call podman; return what it said, errors behind all else."""
        with tempfile.TemporaryFile("w+") as output:  # conmon keeps what it was given
            run = subprocess.run(
                self.words(*words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                timeout=120,
            )
            output.seek(0)
            said = output.read()
        assert run.returncode == status, said
        return said

    def terminal(self, *words):
        program, *rest = self.words(*words)
        return pexpect.spawn(
            program, rest, env=self.environment, timeout=60, encoding="utf-8", dimensions=(33, 111)
        )

    def close(self):
        os.kill(self.first, signal.SIGKILL)
        self.holder.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module", params=KINDS)
def podman(request):
    for name in ("podman", "crun"):
        needed(name, name)
    podman = Podman(request.param)
    yield podman
    podman.close()


@pytest.fixture
def web(podman):
    podman("run", "-d", "--name", "web", IMAGE, "sh", "-c", "echo ready; exec sleep 1000")
    yield "web"
    podman("rm", "--force", "-t", "0", "web")


def test_run(podman):
    words = ["--hostname", "inside", "-e", "A=b c", "-w", "/bin"]
    script = 'cat /proc/sys/kernel/hostname; echo "$A $PWD $$"; exit 3'
    said = podman("run", "--rm", *words, IMAGE, "sh", "-c", script, status=3)
    assert said == "inside\nb c /bin 1\n"


def test_logs_and_ps(podman, web):
    assert podman("ps", "--format", "{{.Names}}") == "web\n"
    assert podman("logs", web) == "ready\n"
    assert (
        podman("inspect", "--format", "{{.OCIRuntime}} {{.State.Status}}", web) == "ours running\n"
    )


def test_exec(podman, web):
    assert (
        podman("exec", "-e", "A=b", web, "sh", "-c", "echo $A $(cat /proc/1/comm)") == "b sleep\n"
    )
    podman("exec", web, "sh", "-c", "exit 7", status=7)


def test_exec_of_what_is_not_there(podman, web):
    assert "nosuch: not found" in podman("exec", web, "nosuch", status=127)
    assert "permission denied" in podman("exec", web, "/bin", status=126)


def test_exec_detached(podman, web):
    podman("exec", "-d", web, "sh", "-c", "echo done > /result")
    look = "until test -s /result; do sleep 0.01; done; cat /result"
    assert podman("exec", web, "sh", "-c", look) == "done\n"


def left(shell, status):
    """Leave a shell with a status; return the one that comes out here."""
    shell.sendline(f"exit {status}")
    shell.expect(pexpect.EOF)
    shell.close()
    return shell.exitstatus


def test_a_terminal(podman, web):
    shell = podman.terminal("exec", "-it", "-e", "PS1=inside> ", web, "sh")
    shell.expect("inside> ")
    shell.sendline("tty; stty size; cat /proc/1/comm")
    shell.expect(r"/dev/pts/0\r\n33 111\r\nsleep\r\n")
    assert left(shell, 5) == 5


def test_a_terminal_of_its_own(podman):
    shell = podman.terminal("run", "--rm", "-it", "-e", "PS1=inside> ", IMAGE, "sh")
    shell.expect("inside> ")
    shell.sendline("tty; echo $$; test -c /dev/console && echo console")
    shell.expect(r"/dev/pts/0\r\n1\r\nconsole\r\n")
    assert left(shell, 6) == 6


def test_stop_and_remove(podman):
    podman(
        "run",
        "-d",
        "--name",
        "calm",
        IMAGE,
        "sh",
        "-c",
        "trap 'exit 4' TERM; while :; do sleep 0.1; done",
    )
    podman("stop", "-t", "60", "calm")
    assert podman("inspect", "--format", "{{.State.ExitCode}}", "calm") == "4\n"
    podman("rm", "calm")
    assert podman("ps", "--all", "--quiet") == ""


def test_stop_of_one_that_does_not_hear(podman, web):
    podman("stop", "-t", "0", web)
    assert podman("inspect", "--format", "{{.State.ExitCode}}", web) == "137\n"


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--security-opt", "seccomp=/{folder}/filter.json"], "linux.seccomp.defaultAction"),
        (["--device", "/dev/null:/dev/other"], "linux."),
    ],
)
def test_what_is_not_implemented_is_refused(podman, words, field):
    (podman.folder / "filter.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    words = [word.format(folder=podman.folder) for word in words]
    said = podman("run", "--rm", *words, IMAGE, "true", status=126)
    assert f"config.json: {field}" in said
    assert "is not implemented" in said
    assert podman("ps", "--all", "--quiet") == ""
