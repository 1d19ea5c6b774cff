"""A root of its own: `run --rootfs DIR`, with `--read-only`."""

import contextlib
import os
import pty
import shutil
import subprocess
import sys

import pytest

from labkit import linux, procfs
from tests.helpers.images import MOUNTING
from tests.helpers.processes import ORDINARY, machine
from tests.helpers.runtime import as_user, mydocker, program

USERS = pytest.mark.parametrize(
    "prefix", [[], ORDINARY, as_user(1000)], ids=["as this user", "without capabilities", "1000"]
)
DEV = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero"  # as runc has it
OUT = "test -e /etc/passwd && echo out || echo inside"


@pytest.fixture
def root(programs, tmp_path):
    """A copy of it."""
    without = shutil.ignore_patterns("proc", "sys", "dev")  # which the tests before have made
    shutil.copytree(programs, tmp_path / "root", ignore=without)
    return tmp_path / "root"


def inside(root, script, *options, **settings):
    """Run a shell's script in a container with this root; return what it printed."""
    words = ["run", "--rootfs", str(root), *options, "sh", "-c", script]
    run = mydocker(*words, upto=None, **settings)
    assert run.stderr == ""
    return run.stdout


@USERS
def test_it_sees_the_folder_and_nothing_else(programs, prefix):
    script = f"echo $(ls /); pwd; echo $HOME; {OUT}; echo $(ls /dev); ps -e -o pid= -o comm="
    said = inside(programs, script, prefix=prefix).splitlines()
    assert said[0].split() == sorted(os.listdir(programs))
    assert said[1:5] == ["/", "/", "inside", DEV]
    assert said[5].split() == ["1", "sh"]


@USERS
def test_no_mount_is_left_underneath(programs, prefix):
    script = "cat /proc/self/mountinfo; umount /proc; ls -A /proc; umount /dev/pts; ls -A /dev/pts"
    said = inside(programs, script, "--privileged", prefix=prefix)
    lines = [line.split() for line in said.splitlines()]
    devices = ("null", "zero", "full", "random", "urandom", "tty", "pts", "shm")
    wanted = ["/", "/proc", "/sys", "/dev", *(f"/dev/{name}" for name in devices)]
    assert [line[4] for line in lines] == wanted


@USERS
@pytest.mark.parametrize(
    "way",
    [
        "chroot /tmp sh -c :; ls /..",
        "mkdir /in; chroot /in /nothing; cd ../../..; ls .",
        "umount -l /; ls /..",
        "cd /proc/1/root/..; ls",
        "cd /proc/self/fd/{door} && ls",
    ],
)
def test_no_way_leads_out(root, prefix, way):
    """Not even the folder that its starter has open: what is not ours to keep is closed."""
    door = os.open("/", os.O_RDONLY)
    os.set_inheritable(door, True)
    script = f"{{ {way.format(door=door)}; }} 2>&1; :"
    said = inside(root, script, prefix=prefix, close_fds=False).split()
    os.close(door)
    assert not {"etc", "boot", "usr", "home"} & set(said), said


@USERS
def test_what_is_written_is_in_the_folder_and_belongs_to_the_user(root, prefix):
    inside(root, "touch /made", prefix=prefix)
    made = (root / "made").stat()
    assert (made.st_uid, made.st_gid) == (os.geteuid(), os.getegid())


@USERS
def test_read_only(root, prefix):
    (root / "tmp").mkdir()
    script = "touch /x; rm -f /bin/rm; touch /tmp/x; echo x >/dev/null && touch /dev/shm/x && ls /"
    words = ["run", "--read-only", f"--rootfs={root}", "sh", "-c", script]
    run = mydocker(*words, upto=None, prefix=prefix)
    assert run.stderr.count("Read-only file system") == 3
    assert run.stdout.split() == sorted(os.listdir(root))
    assert "x" not in run.stdout.split()


def test_read_only_reaches_what_is_mounted_in_the_folder(root):
    (root / "tmp").mkdir()
    mounted = 'mount -t tmpfs none "$0/tmp"; exec "$@"'
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounted, str(root)]
    script = "touch /tmp/x 2>/dev/null || echo refused"
    assert inside(root, script, "--read-only", prefix=prefix) == "refused\n"
    assert inside(root, "touch /tmp/x && echo done", prefix=prefix) == "done\n"


@USERS
@pytest.mark.parametrize("options", [["-t"], ["-t", "--init"], ["-t", "--read-only"]])
def test_a_terminal_of_its_own(programs, prefix, options):
    script = "tty; tty </dev/console; : >/dev/tty && stat -c %t,%T /dev/console"
    said = inside(programs, script, *options, prefix=prefix).split()
    assert said == ["/dev/pts/0", "/dev/console", "88,0"]


def test_typing_into_it(programs):
    ours, theirs = pty.openpty()
    words = [sys.executable, "-S", program(), "run", "-it", "--rootfs", str(programs), "sh"]
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, b"echo $((6*7)); tty; exit 5\r")
        said = b""
        with contextlib.suppress(OSError):
            while data := os.read(ours, 1000):
                said += data
    os.close(ours)
    assert b"42\r\n/dev/pts/0" in said
    assert process.returncode == 5


@pytest.mark.parametrize("name", ["root", "./root/", "../here/root", "link", "a b", "ä\nö", "-x"])
def test_however_the_folder_is_spelled(programs, tmp_path, name):
    here = tmp_path / "here"
    here.mkdir()
    if not (here / name).resolve().exists() and name not in ("./root/", "../here/root", "link"):
        shutil.copytree(programs, here / name)
    if not (here / "root").exists():
        shutil.copytree(programs, here / "root")
    (here / "link").symlink_to("root")
    words = ["run", "--rootfs", name, "sh", "-c", "echo here"]
    assert mydocker(*words, upto=None, cwd=here).stdout == "here\n"


def test_the_folder_that_we_are_in(root):
    for folder, here in ((".", root), ("..", root / "bin")):
        run = mydocker("run", "--rootfs", folder, "ls", "/bin/ls", upto=None, cwd=here)
        assert run.stdout == "/bin/ls\n"


@USERS
@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("nosuch", "--rootfs: {here}/nosuch/proc cannot be made: no such file or directory"),
        ("file", "--rootfs: {here}/file/proc cannot be made: not a directory"),
        ("/", "--rootfs: / is the root already"),
        ("/proc/self/root", "--rootfs: / is the root already"),
        ("/proc", "--rootfs: /proc/proc cannot be made: no such file or directory"),
        ("linked", "--rootfs: {here}/linked/dev is a link, and may lead out"),
        ("blocked", "mount('proc', '{here}/blocked/proc'"),
        ("loop", "--rootfs: {here}/loop/proc cannot be made: too many levels of symbolic links"),
    ],
)
def test_a_folder_that_cannot_be_a_root_is_said_in_a_line(tmp_path, folder, says, prefix):
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/dev").symlink_to("../elsewhere")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/proc").touch()
    (tmp_path / "loop").symlink_to("loop")
    run = mydocker("run", "--rootfs", folder, "sh", upto=None, prefix=prefix, cwd=tmp_path)
    assert says.format(here=tmp_path) in run.stderr
    assert (run.returncode, run.stderr.count("\n"), run.stdout) == (125, 1, "")
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_folder_that_is_another_users(tmp_path):
    folder = "/usr"
    if os.geteuid() == 0:
        os.chown(folder := str(tmp_path), 12345, 12345)
    run = mydocker("run", "--rootfs", folder, "sh", upto=None, prefix=ORDINARY)
    assert f"--rootfs: {folder}/proc cannot be made: permission denied" in run.stderr
    assert (run.returncode, run.stderr.count("\n")) == (125, 1)


def test_a_root_on_a_file_system_that_is_read_only(programs):
    for name in ("proc", "sys", "dev"):
        (programs / name).mkdir(exist_ok=True)
    read_only = 'mount --bind "$0" "$0"; mount -o remount,bind,ro "$0"; exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    prefix = [*unshare, "sh", "-c", read_only, str(programs)]
    assert inside(programs, "echo here", prefix=prefix) == "here\n"


@USERS
def test_volumes(root, tmp_path, prefix):
    (shared := tmp_path / "shared").mkdir()
    (shared / "file").write_text("ours\n")
    words = (f"{shared}:/made/here", f"{shared}/:/read:ro", f"{shared}/file:/etc/file")
    options = [word for volume in words for word in ("-v", volume)]
    script = "cat /read/file /etc/file; touch /made/here/new; touch /read/x 2>&1"
    said = inside(root, script, *options, prefix=prefix).splitlines()
    assert said[:2] == ["ours", "ours"]
    assert said[2].endswith("Read-only file system")
    assert sorted(os.listdir(shared)) == ["file", "new"]


def test_a_volume_is_read_only_with_what_is_mounted_below_it(root, tmp_path):
    shared = tmp_path / "shared"
    (shared / "below").mkdir(parents=True)
    before = [*MOUNTING, 'mount -t tmpfs none "$0"; exec "$@"', shared / "below"]
    script = "touch /read/below/x 2>&1; ls /read/below"
    said = inside(root, script, "-v", f"{shared}:/read:ro", prefix=[*map(str, before)])
    assert said.endswith("Read-only file system\n")


@pytest.mark.parametrize("options", [[], ["--read-only"]])
def test_a_volume_may_be_in_another(root, tmp_path, options):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    options = [*options, "-v", f"{tmp_path}/one:/a", "-v", f"{tmp_path}/two:/a/b"]
    assert inside(root, "ls /a /a/b", *options).split() == ["/a:", "b", "one", "/a/b:", "two"]


@pytest.mark.parametrize(
    "target", ["/out", "/out/below", "/bin/../out/x", "/../x", "/", "/a/", "/proc/self/cwd/x"]
)
def test_a_volume_goes_through_no_link(root, tmp_path, target):
    (outside := tmp_path / "outside").mkdir()
    (root / "out").symlink_to("../outside")
    words = ["run", "--rootfs", str(root), "-v", f"{outside}:{target}", "true"]
    run = mydocker(*words, upto=None)
    assert "has a link, '..' or a spare '/' in it" in run.stderr
    assert (run.returncode, run.stderr.count("\n"), os.listdir(outside)) == (125, 1, [])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rootfs"], "option --rootfs wants a value"),
        (["--rootfs", "", "true"], "--rootfs wants a folder"),
        (["--rootfs=", "true"], "--rootfs wants a folder"),
        (["--read-only", "true"], "--read-only and -v want --rootfs"),
        (["-v", "/etc:/x", "true"], "--read-only and -v want --rootfs"),
        (["-v"], "option -v wants a value"),
        (["-v", "/etc", "true"], "option -v wants"),
        (["-v", "/etc:x", "true"], "option -v wants"),
        (["-v", "/etc:/x:rx", "true"], "option -v wants"),
        (["-v", "/etc:/x:ro:", "true"], "option -v wants"),
        (["-v", "/proc/nosuch:/x", "true"], "to be there"),
        (["--rootfs", "/tmp"], "missing container command"),
        (["--rootfs=/tmp", "--read-only=yes", "true"], "unknown option --read-only=yes"),
    ],
)
def test_a_wrong_command_line(words, says):
    run = mydocker("run", *words)
    assert says in run.stderr
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize("command", ["odd", "/bin/odd"])
@pytest.mark.parametrize(
    ("text", "mode", "status", "says"),
    [
        (None, 0, 127, "not found"),
        (b"#!/nosuch\n", 0o755, 127, "it is there, but the loader or interpreter that it names"),
        (b"#!/bin/sh\n", 0o644, 126, "permission denied"),
        (b"\0\0\0\0", 0o755, 126, "exec format error"),
    ],
)
def test_why_a_command_cannot_be_executed(root, command, text, mode, status, says):
    if text is not None:
        (root / "bin/odd").write_bytes(text)
        (root / "bin/odd").chmod(mode)
    run = mydocker("run", "--rootfs", str(root), command, upto=None)
    assert f"exec {command}: {says}" in run.stderr
    assert run.returncode == status


def test_a_program_without_its_loader(root):
    loaders = [path for path in root.rglob("ld-*") if path.is_file()]
    assert loaders
    for path in loaders:
        path.unlink()
    run = mydocker("run", "--rootfs", str(root), "sh", upto=None)
    assert "it is there, but the loader or interpreter that it names is not" in run.stderr


def test_its_environment(programs):
    words = ["run", "-e", "HOME=/home/you", "--rootfs", str(programs), "-e", "A=b"]
    said = mydocker(*words, "sh", "-c", "echo $HOME $A $PATH", upto=None).stdout
    assert said.startswith("/home/you b /usr/local/sbin:")


@USERS
@pytest.mark.parametrize("end", ["by itself", "by kill -9"])
def test_nothing_is_left_but_three_empty_folders(root, prefix, end):
    before, had = machine(), {path.name for path in root.iterdir()}
    script = "echo begun; exec sleep 1000" if end == "by kill -9" else "echo begun"
    words = [*prefix, sys.executable, "-S", program(), "run", "-t", "--rootfs", str(root)]
    with subprocess.Popen([*words, "sh", "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"begun\r\n"
            inside = []
            if end == "by itself":
                process.wait()
            else:
                inside = [os.pidfd_open(p.pid) for depth, p in procfs.tree(process.pid) if depth]
        finally:
            process.kill()
        for descriptor in inside:
            linux.poll(descriptor)
            os.close(descriptor)
    assert machine() == before
    new = [path for path in root.iterdir() if path.name not in had]
    assert sorted(path.name for path in new) == ["dev", "proc", "sys"]
    assert not any(any(path.iterdir()) for path in new)
    assert {path.stat().st_mode & 0o700 for path in new} == {0o700}
    shutil.rmtree(root)
