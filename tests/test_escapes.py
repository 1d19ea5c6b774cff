"""The hardened sandbox: ways out of it, each tried by a program inside, and refused.

`TRIED` lists them. As root the sandbox is started as grading starts it, by another user: root
inside is nobody outside.
"""

import contextlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

LABKIT = Path(__file__).resolve().parent.parent / "labkit"

# What the sandbox's root tries, and what it is answered. Each runs in a process of its own, in the
# folder that it may write; FILE lies outside, PORT and SOCKET are a server's outside, OUTER is the
# PID outside of a process of the same user.
TRIED = {
    "write a file outside": ("open(FILE, 'a')", "EROFS"),
    "make one": ("open(FILE + '.new', 'x')", "EROFS"),
    "remove one": ("os.unlink(FILE)", "EROFS"),
    "change its mode": ("os.chmod(FILE, 0o777)", "EROFS"),
    "write it through a link": ("os.symlink(FILE, 'link'); open('link', 'a')", "EROFS"),
    "write it through a hard link": ("os.link(FILE, 'hard'); open('hard', 'a')", "EXDEV"),
    "write it through the root of PID 1": ("open('/proc/1/root' + FILE, 'a')", "EROFS"),
    "make / writable": ("mount(None, '/', None, MS_REMOUNT | MS_BIND)", "EPERM"),
    "make / writable by mount_setattr": ("linux.set_read_only('/', False)", "EPERM"),
    "bind / elsewhere and make that writable": (
        "os.mkdir('r'); mount('/', 'r', None, MS_BIND); "
        "mount(None, 'r', None, MS_REMOUNT | MS_BIND)",
        "EINVAL",  # a piece of a locked tree is not to be had
    ),
    "bind all of / elsewhere and make that writable": (
        "os.mkdir('all'); mount('/', 'all', None, MS_BIND | MS_REC); "
        "mount(None, 'all', None, MS_REMOUNT | MS_BIND)",
        "EPERM",
    ),
    "make / writable in a user namespace below": (
        "unshare(CLONE_NEWUSER | CLONE_NEWNS); mount(None, '/', None, MS_REMOUNT | MS_BIND)",
        "EPERM",
    ),
    "take the read-only / off": ("linux.umount('/', linux.MNT_DETACH)", "EINVAL"),
    "leave by another root": ("linux.pivot_root('.', '.'); open(FILE, 'a')", "EINVAL"),
    "become another user": ("os.setuid(1)", "EINVAL"),
    "send a signal to a process outside": ("os.kill(OUTER, 0)", "ESRCH"),
    "enter the namespaces of a process outside": (
        "linux.setns(os.pidfd_open(OUTER), linux.CLONE_NEWNS)",
        "ESRCH",
    ),
    "read a process's memory outside": ("open(f'/proc/{OUTER}/mem')", "ENOENT"),
    "choose what a crash starts": ("open('/proc/sys/kernel/core_pattern', 'w')", "EACCES"),
    "drop the machine's caches": ("open('/proc/sys/vm/drop_caches', 'w')", "EACCES"),
    "connect to a server on the machine's loopback": (
        "socket.create_connection(('127.0.0.1', PORT), 1)",
        "ECONNREFUSED",
    ),
    "send to another machine": ("socket.create_connection(('192.0.2.1', 80), 1)", "ENETUNREACH"),
    "connect to a socket without a file": (
        "socket.socket(socket.AF_UNIX).connect('\\0' + SOCKET)",
        "ECONNREFUSED",
    ),
    "connect to a socket with a file": (
        "socket.socket(socket.AF_UNIX).connect(FILE + '.socket')",
        "ECONNREFUSED",
    ),
    "make a device": ("os.mknod('disk', 0o60600, os.makedev(8, 0))", "EPERM"),
    "set the clock": ("time.clock_settime(time.CLOCK_REALTIME, time.time())", "EPERM"),
    "take more processor than others": ("os.nice(-20)", "EPERM"),
}
WAYS = {way: attempt for way, (attempt, _) in TRIED.items()}
PROGRAM = """
import errno, json, os, signal, socket, sys, time
from labkit import linux
from labkit.linux import *
MS_REMOUNT = 32  # linux/mount.h
FILE, PORT, SOCKET, OUTER, tried = json.loads(sys.argv[1])
for way, attempt in tried.items():
    pid = os.fork()
    if pid == 0:
        try:
            exec(attempt)
            said = "done"
        except OSError as error:
            said = errno.errorcode.get(error.errno, str(error))
        print(json.dumps([way, said]), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def ordinary_user() -> tuple[dict, str]:
    """How `subprocess` becomes a user who is not root, and a Python that this user can start."""
    if os.geteuid() != 0:
        return {}, sys.executable
    nobody: dict = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid, "extra_groups": []}
    for python in (sys.executable, "/usr/bin/python3"):
        ask = [python, "-Pc", "import ctypes, sys; sys.exit(sys.version_info < (3, 11))"]
        with contextlib.suppress(OSError):
            if subprocess.run(ask, cwd="/", **nobody).returncode == 0:
                return nobody, python
    return pytest.fail("no Python that `nobody` may start: sudo apt install python3")


@pytest.fixture(scope="module")
def answers():
    """What the sandbox's root was answered, by what it tried; the file outside, afterwards."""
    user, python = ordinary_user()
    with (
        tempfile.TemporaryDirectory(prefix="labkit-test-escapes-") as top,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as nameless,
        socket.socket(socket.AF_UNIX) as named,
        subprocess.Popen(["sleep", "1000"], **user) as outer,
    ):
        folder, file = Path(top, "own"), Path(top, "outside")
        shutil.copytree(LABKIT, Path(top, "labkit"), ignore=shutil.ignore_patterns("__pycache__"))
        folder.mkdir()
        file.touch()
        for path in (Path(top), folder, file):  # the sandbox's user may write all of them
            path.chmod(0o755)
            os.chown(path, pwd.getpwnam(user["user"]).pw_uid if user else -1, -1)
        nameless.bind(f"\0{top}")
        nameless.listen()
        named.bind(f"{file}.socket")
        named.listen()
        Path(f"{file}.socket").chmod(0o777)
        given = json.dumps([str(file), server.getsockname()[1], top, outer.pid, WAYS])
        sandbox = [python, "-P", "-m", "labkit.hardened", str(folder)]
        try:
            run = subprocess.run(
                [*sandbox, python, "-c", PROGRAM, given],
                cwd=folder,
                env={"PATH": os.defpath, "PYTHONPATH": top},
                capture_output=True,
                text=True,
                timeout=120,
                **user,
            )
        finally:
            outer.kill()
        assert run.returncode == 0, run.stderr
        assert sorted(os.listdir(top)) == ["labkit", "outside", "outside.socket", "own"]
        assert file.read_bytes() == b""
        return dict(map(json.loads, run.stdout.splitlines()))


@pytest.mark.parametrize("way", TRIED)
def test_this_way_out_is_refused(way, answers):
    assert answers[way] == TRIED[way][1]
