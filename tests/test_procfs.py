"""procfs: what it returns is what the kernel says."""

import os
import signal
import subprocess

import pytest

from labkit import linux, look, netlink, procfs
from tests.helpers.processes import in_sandbox


def test_namespaces_of_a_child_are_those_of_its_parent():
    with subprocess.Popen(["sleep", "100"]) as child:
        assert procfs.namespaces(child.pid) == procfs.namespaces()
        child.kill()


def test_namespaces_of_no_process_is_an_error():
    with pytest.raises(FileNotFoundError):
        procfs.namespaces(2**22 + 1)


def test_the_tree_lists_parents_before_children_with_depth():
    command = ["sh", "-c", "sleep 100 & sleep 100 & echo; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as child:
        child.stdout.readline()
        found = [(depth, process.ppid == child.pid) for depth, process in procfs.tree(child.pid)]
        os.killpg(child.pid, signal.SIGKILL)
    assert found == [(0, False), (1, True), (1, True)]


def test_a_process_has_a_pid_in_each_namespace():
    def body():
        pid = linux.clone(linux.CLONE_NEWPID)
        if pid == 0:
            signal.pause()
        process = procfs.processes()[pid]
        print(process.pids == (pid, 1), process.state in "RS", process.resident > 1000)
        os.kill(pid, signal.SIGKILL)

    assert in_sandbox(body) == "True True True"


def test_a_zombie_has_no_command():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    process = procfs.processes()[child.pid]
    child.wait()
    assert (process.state, process.command, process.resident) == ("Z", (), 0)


@pytest.mark.parametrize("read", [procfs.mounts, procfs.namespaces, procfs.hostname, netlink.links])
def test_a_process_that_is_ending_is_one_that_has_ended(read):
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has left its namespaces
    try:
        with pytest.raises((FileNotFoundError, ProcessLookupError)):
            read(child.pid)
    finally:
        child.wait()


def test_names_that_would_break_a_parser():
    def body():
        folder = "/mnt/a b\\c\nd"
        linux.mount("none", "/mnt", "tmpfs")
        os.mkdir(folder)
        linux.mount("s p", folder, "tmpfs")
        last = procfs.mounts()[-1]
        print((last.target, last.source, last.fstype) == (folder, "s p", "tmpfs"))

    assert in_sandbox(body) == "True"


@pytest.mark.parametrize(
    ("flag", "propagation"),
    [("MS_PRIVATE", "private"), ("MS_SHARED", "shared:"), ("MS_UNBINDABLE", "unbindable")],
)
def test_propagation(flag, propagation):
    def body():
        linux.mount("none", "/mnt", "tmpfs")
        linux.mount(None, "/mnt", None, getattr(linux, flag))
        print(procfs.mounts()[-1].propagation)

    assert in_sandbox(body).startswith(propagation)


def test_processes_are_found_by_their_environment():
    with subprocess.Popen(["sleep", "100"], env={"MARK": "1 2"}) as child:
        assert procfs.with_environment("MARK=1 2") == [child.pid]
        assert procfs.with_environment("MARK=1") == []
        child.kill()


def test_a_name_with_a_form_feed_in_it():
    def body():
        with open("/proc/self/comm", "w") as file:
            file.write("a\x0cb\rc")
        print(repr(procfs.processes()[os.getpid()].name))

    assert in_sandbox(body) == repr("a\x0cb\rc")


def container_of(*command):
    """Start a command as root of a user namespace; return its tree and the container in it."""
    unshare = ["unshare", "--user", "--map-root-user", "unshare", *command, "sh", "-c"]
    with subprocess.Popen([*unshare, "echo; exec sleep 100"], stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        tree = procfs.settled_tree(child.pid, 60)
        (found,) = look.containers_in(tree)
        os.kill(tree[-1][1].pid, signal.SIGKILL)
    return [process for _, process in tree], found


def test_without_a_namespace_of_its_own_there_is_no_container():
    assert look.containers_in(list(procfs.tree(os.getpid()))) == []
    assert look.containers_in([]) == []


def test_the_first_process_with_another_namespace_is_the_container():
    (sleep,), container = container_of("--uts")
    assert (container.first, container.pids) == (sleep, {sleep.pid})
    assert container.own == {"user", "uts"}
    assert container.namespaces["net"] == procfs.namespaces()["net"]
    assert container.pid_inside(sleep) is None


def test_a_process_that_made_a_pid_namespace_for_its_children_alone_gives_way_to_them():
    (unshare, sleep), container = container_of("--fork", "--pid")
    assert (container.first, container.pids) == (sleep, {sleep.pid})
    assert container.own == {"user", "pid"}
    assert (container.pid_inside(sleep), container.pid_inside(unshare)) == (1, None)


def test_a_process_that_is_about_to_exec_is_waited_for(tmp_path, monkeypatch):
    go = tmp_path / "go"
    script = f"while ! [ -e {go} ]; do :; done; exec sleep 100"
    program = ["sh", "-c", f"({script}) & wait"]
    with subprocess.Popen(program, start_new_session=True) as shell:
        while len(list(procfs.tree(shell.pid))) < 2:
            pass
        at_once = procfs.settled_tree(shell.pid, 0)
        monkeypatch.setattr("time.sleep", lambda _: go.touch())
        settled = procfs.settled_tree(shell.pid, 60)
        os.killpg(shell.pid, signal.SIGKILL)
    assert [process.name for _, process in at_once] == ["sh", "sh"]
    assert [process.name for _, process in settled] == ["sh", "sleep"]
