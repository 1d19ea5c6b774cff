"""linux: each call does what its man page says, and its errors explain themselves."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from labkit import linux, procfs
from labkit.fork import forked
from tests.helpers.processes import in_sandbox

KINDS = {
    "mnt": linux.CLONE_NEWNS,
    "uts": linux.CLONE_NEWUTS,
    "ipc": linux.CLONE_NEWIPC,
    "pid": linux.CLONE_NEWPID,
    "net": linux.CLONE_NEWNET,
    "user": linux.CLONE_NEWUSER,
    "cgroup": linux.CLONE_NEWCGROUP,
}


@pytest.mark.parametrize("kind", KINDS)
def test_clone_gives_the_child_just_the_namespace_that_its_flag_names(kind):
    def compare():
        before = procfs.namespaces()
        pid = linux.clone(KINDS[kind])
        if pid == 0:
            now = procfs.namespaces()
            print([k for k in now if now[k] != before[k]])
            os._exit(0)
        os.waitpid(pid, 0)

    assert in_sandbox(compare) == f"['{kind}']"


def test_clone_without_flags_is_a_fork():
    def body():
        if (pid := linux.clone()) == 0:
            os._exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    assert forked(body) == "5"


def test_a_clone_may_be_the_callers_sibling():
    def body():
        if os.fork() == 0:
            os._exit(5 if linux.clone(linux.CLONE_PARENT) == 0 else 3)
        print(sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2)))

    assert forked(body) == "[3, 5]"


def test_clone_refuses_a_process_with_several_threads():
    program = (
        "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "from labkit.linux import clone\nclone()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "RuntimeError: clone() from a process with 2 threads" in run.stderr


def test_unshare_and_setns_move_this_process():
    def body():
        old = os.open("/proc/self/ns/uts", os.O_RDONLY)
        linux.unshare(linux.CLONE_NEWUTS)
        linux.sethostname("inner")
        inner = os.uname().nodename
        linux.setns(old, linux.CLONE_NEWUTS)
        print(inner, os.uname().nodename)

    assert in_sandbox(body) == "inner lab"


def test_mount_and_umount(tmp_path):
    def body():
        linux.mount("none", str(tmp_path), "tmpfs", linux.MS_NODEV, "size=64k")
        print([(m.fstype, "nodev" in m.options) for m in mounted(tmp_path)])
        linux.umount(str(tmp_path))
        print(mounted(tmp_path))

    assert in_sandbox(body) == "[('tmpfs', True)]\n[]"
    assert mounted(tmp_path) == []


def test_a_tree_of_mounts_becomes_read_only_and_one_of_them_writable_again(tmp_path):
    (tmp_path / "below").mkdir()

    def body():
        linux.mount(str(tmp_path), str(tmp_path), None, linux.MS_BIND)
        linux.mount("none", str(tmp_path / "below"), "tmpfs")
        linux.set_read_only(str(tmp_path), recursive=True)
        places = (tmp_path, tmp_path / "below")
        print([os.access(place, os.W_OK) for place in places])
        linux.set_read_only(str(tmp_path / "below"), False)
        print([os.access(place, os.W_OK) for place in places])

    assert in_sandbox(body) == "[False, False]\n[False, True]"


def test_pivot_root_makes_another_mount_the_root(tmp_path):
    def body():
        linux.mount("none", str(tmp_path), "tmpfs")
        (tmp_path / "old").mkdir()
        linux.pivot_root(str(tmp_path), str(tmp_path / "old"))
        print(os.listdir("/"))

    assert in_sandbox(body) == "['old']"


def test_the_child_gets_the_parent_death_signal():
    reader, writer = os.pipe()

    def body():
        if os.fork() == 0:
            linux.set_parent_death_signal(signal.SIGKILL)
            os.write(writer, str(os.getpid()).encode())
            signal.pause()
        os.read(reader, 20)  # the grandchild is ready; now its parent ends
        os.write(writer, b"x")

    forked(body)
    os.close(writer)
    # The pipe ends only when the grandchild, which holds its other end, is gone.
    with open(reader, "rb") as pipe:
        assert pipe.read() == b"x"


def test_signals_that_wait_are_read_from_a_descriptor_with_their_sender():
    def body():
        numbers = {signal.SIGUSR1, signal.SIGRTMAX}
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        fd = linux.signalfd(numbers)
        for number in (signal.SIGRTMAX, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        print(linux.read_signal(fd), linux.read_signal(fd), os.get_inheritable(fd))

    assert forked(body) == "(10, False) (64, False) False"


def test_all_signals_can_wait():
    def body():
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        fd = linux.signalfd(signal.valid_signals())
        numbers = (signal.SIGTERM, signal.SIGALRM, signal.SIGRTMIN)
        for number in numbers:
            os.kill(os.getpid(), number)
        print({linux.read_signal(fd)[0] for _ in numbers} == set(numbers))

    assert forked(body) == "True"


def test_a_signal_of_the_terminals_own_is_told_from_one_that_a_process_sent():
    def body():
        pid, terminal = os.forkpty()
        if pid == 0:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            os.write(1, b"up")
            os.write(1, b"%d %d" % linux.read_signal(linux.signalfd({signal.SIGINT})))
            os._exit(0)
        assert os.read(terminal, 2) == b"up"
        os.write(terminal, b"\x03")
        said = ""
        with suppress(OSError):  # it has ended, and all was read
            while some := os.read(terminal, 100):  # the echo may come alone
                said += some.decode()
        os.waitpid(pid, 0)
        print(said.removeprefix("^C"))

    assert forked(body) == "2 1"


def test_poll_names_the_descriptors_that_can_be_read_or_have_ended():
    pipes = (quiet, _), (said, writer), (ended, other) = [os.pipe() for _ in range(3)]
    assert linux.poll(quiet, said, ended, seconds=0) == set()
    os.write(writer, b"x")
    os.close(other)
    assert linux.poll(quiet, said, ended) == {said, ended}
    for fd in {fd for pipe in pipes for fd in pipe} - {other}:
        os.close(fd)


def test_poll_names_those_that_can_be_written_too():
    pipes = (_, empty), (reader, full), (ended, broken) = [os.pipe() for _ in range(3)]
    os.set_blocking(full, False)
    with suppress(BlockingIOError):
        while True:
            os.write(full, bytes(4096))
    os.close(ended)
    assert linux.poll(writing=[empty, full, broken]) == {empty, broken}
    assert linux.poll(reader, writing={full}, seconds=0) == {reader}
    for fd in {fd for pipe in pipes for fd in pipe} - {ended}:
        os.close(fd)


def test_a_watch_tells_what_happens_in_a_folder(tmp_path):
    changes = linux.watch(str(tmp_path), linux.IN_MODIFY | linux.IN_MOVED_TO)
    (tmp_path / "new").touch()
    assert linux.poll(changes, seconds=0) == set()  # nobody asked for that
    (tmp_path / "new").write_text("a line")
    assert linux.poll(changes, seconds=0) == {changes}
    os.read(changes, 4096)
    (tmp_path / "new").rename(tmp_path / "log")
    assert linux.poll(changes, seconds=0) == {changes}
    os.close(changes)
    with pytest.raises(FileNotFoundError, match="inotify_add_watch"):
        linux.watch(str(tmp_path / "nosuch"), linux.IN_MODIFY)


@pytest.mark.parametrize(("line", "status"), [("exit 3", 3), ("kill -9 $$", 137)])
def test_an_exit_status_is_what_a_shell_would_say(line, status):
    assert (
        linux.exit_status(os.waitpid(os.spawnlp(os.P_NOWAIT, "sh", "sh", "-c", line), 0)[1])
        == status
    )


@pytest.mark.parametrize("ignored", [False, True])
def test_before_an_exec_sigint_is_the_starters_choice(ignored):
    def body():
        signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        linux.restore_signals()
        left = [n for n in (2, 13, 17, 25) if signal.getsignal(n) == signal.SIG_IGN]
        print(left, signal.SIGINT in caught())

    assert forked(body) == f"{[2] if ignored else []} False"


def caught():
    """The signals for which this process has a handler, from /proc."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("SigCgt:"))
    return [n for n in range(1, 65) if int(line.split()[1], 16) >> n - 1 & 1]


def test_a_link_is_switched_on():
    def body():
        linux.unshare(linux.CLONE_NEWNET)
        linux.set_link_up("lo")
        show = ["ip", "-brief", "address", "show", "dev", "lo"]
        print(subprocess.run(show, capture_output=True, text=True).stdout.split()[1:3])
        linux.set_link_up("nosuch")

    said = in_sandbox(body)
    assert said.startswith("['UNKNOWN', '127.0.0.1/8']")
    assert "ioctl(SIOCGIFFLAGS, 'nosuch'): No such device. Usually: there is no such" in said


def leave_while_in_use():
    linux.mount("none", "/mnt", "tmpfs")
    os.chdir("/mnt")
    linux.umount("/mnt")


@pytest.mark.parametrize(
    ("call", "number", "words"),
    [
        (
            lambda: linux.mount("none", "/no/such", "tmpfs", linux.MS_NODEV),
            errno.ENOENT,
            "mount('none', '/no/such', 'tmpfs', MS_NODEV)",
        ),
        (lambda: linux.umount("/usr/bin"), errno.EINVAL, "umount('/usr/bin', 0)"),
        (lambda: linux.pivot_root("/x", "/y"), errno.ENOENT, "pivot_root('/x', '/y')"),
        (leave_while_in_use, errno.EBUSY, "umount('/mnt', 0)"),
        (lambda: linux.setns(0, linux.CLONE_NEWUTS), errno.EINVAL, "setns(0, CLONE_NEWUTS)"),
        (lambda: linux.sethostname("x" * 65), errno.EINVAL, "at most 64 bytes"),
        (lambda: linux.clone(1 << 40), errno.EINVAL, "clone(0x10000000000)"),
        (lambda: linux.clone(cgroup=os.open("/", 0)), errno.EBADF, "clone(CLONE_INTO_CGROUP)"),
        (lambda: linux.mount("x", "/mnt", "no-such-fs"), errno.ENODEV, "/proc/filesystems"),
    ],
)
def test_an_error_names_the_call_its_arguments_and_the_usual_cause(call, number, words):
    def body():
        try:
            call()
        except OSError as error:
            print(error.errno, error)

    said = in_sandbox(body)
    assert said.startswith(f"{number} [Errno {number}] ")
    assert words in said
    assert os.strerror(number) in said
    assert "Usually: " in said


def capabilities():
    """Bounding, permitted, effective and inheritable set, a bit each."""
    said = procfs.status()
    return [int(said[f"Cap{name}"], 16) for name in ("Bnd", "Prm", "Eff", "Inh")]


def test_an_exec_gives_no_more_than_the_bounding_set():
    def body():
        linux.limit_bounding_set(1 << 10 | 1 << 40)
        print(capabilities()[0] == 1 << 10 | 1 << 40, capabilities()[1] > 1 << 40, flush=True)
        os.execvp("grep", ["grep", "-oP", r"Cap(Prm|Bnd):\t\K\w+", "/proc/self/status"])

    assert in_sandbox(body).split() == ["True", "True", *["0000010000000400"] * 2]


def test_capabilities_are_given_up_and_not_got_back():
    def body():
        before = capabilities()[0]
        linux.limit_capabilities(1 << 10 | 1 << 40)
        linux.limit_capabilities(1 << 40 | 1 << 21)
        bounding, *others = capabilities()
        print(bounding == before, *others)

    assert in_sandbox(body) == f"True {1 << 40} {1 << 40} 0"


def refusing(number, error):
    """A filter that answers a call with an error."""
    load, equal, answer = 0x20, 0x15, 0x06  # linux/bpf_common.h
    refused, allowed = 0x50000 | error, 0x7FFF0000  # linux/seccomp.h
    return (load, 0, 0, 0), (equal, 0, 1, number), (answer, 0, 0, refused), (answer, 0, 0, allowed)


def test_a_filter_chooses_the_error_of_a_call():
    def body():
        linux.set_no_new_privileges()
        linux.set_seccomp_filter(refusing(linux.SYS_CLONE3, errno.ENOSPC))
        print(*(procfs.status()[name] for name in ("NoNewPrivs", "Seccomp")))
        linux.clone()

    assert forked(body).startswith("1 2\nOSError: [Errno 28] clone(0): No space left on device")


def test_a_filter_without_the_promise_is_refused_and_the_cure_told():
    def body():
        linux.limit_capabilities(0)
        linux.set_seccomp_filter(refusing(linux.SYS_CLONE3, errno.ENOSYS))

    said = forked(body)
    assert "prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 4 steps): Permission denied" in said
    assert "no_new_privs" in said


@pytest.mark.parametrize("call", ["clone", "unshare"])
def test_without_the_right_the_error_tells_the_cure(call):
    program = f"from labkit import linux; linux.{call}(linux.CLONE_NEWUTS)"
    drop = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"]
    if os.geteuid():
        drop = []
    run = subprocess.run([*drop, sys.executable, "-c", program], capture_output=True, text=True)
    assert f"PermissionError: [Errno 1] {call}(CLONE_NEWUTS): Operation not permitted" in run.stderr
    assert "add CLONE_NEWUSER" in run.stderr


def test_a_call_that_the_kernel_lacks_is_explained():
    """As where a seccomp filter hides clone3, see seccomp(2)."""

    def body():
        linux.set_no_new_privileges()
        linux.set_seccomp_filter(refusing(linux.SYS_CLONE3, errno.ENOSYS))
        linux.clone()

    said = forked(body)
    assert said.startswith("OSError: [Errno 38] clone(0): Function not implemented. Usually: an ")
    assert "seccomp" in said


def test_the_numbers_are_those_of_the_c_library():
    for name in ("CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWUSER", "CLONE_NEWNET", "CLONE_NEWUTS"):
        assert getattr(os, name, getattr(linux, name)) == getattr(linux, name)


def test_importing_it_brings_no_widgets_pexpect_ipython_or_enum():
    program = "import sys, labkit.linux; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "_ctypes" in loaded
    heavy = {"ipywidgets", "pexpect", "IPython", "enum", "signal", "ctypes", "pathlib"}
    assert not heavy & set(loaded)


def mounted(folder):
    return [mount for mount in procfs.mounts() if mount.target == str(folder)]
