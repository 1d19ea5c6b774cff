"""Version 7 by itself: no root, no sandbox around it, and its options."""

import os
import re
import subprocess

import pytest

from tests.helpers.course import LABKIT
from tests.helpers.processes import ORDINARY, machine
from tests.helpers.runtime import as_user, mydocker

NOTHING = ("setpriv", "--bounding-set", "-all", "--inh-caps", "-all")


WHO = 'id -u; id -g; read a b c </proc/self/uid_map; echo "$a $b"; cat /proc/self/setgroups'


def test_root_inside_is_the_user_outside():
    said = mydocker("run", "sh", "-c", WHO, prefix=as_user(1234)).stdout.split("\n")
    assert said[:3] == ["0", "0", "0 1234"]


def test_a_file_that_root_inside_makes_belongs_to_the_user_outside(tmp_path):
    made = tmp_path / "made"
    mydocker("run", "touch", str(made), prefix=ORDINARY)
    assert (made.stat().st_uid, made.stat().st_gid) == (os.geteuid(), os.getegid())


def test_what_root_inside_may_and_may_not():
    script = (
        "hostname box && hostname; mount -t tmpfs none /mnt && echo mounted;"
        "ip link set lo down && echo down; mknod /mnt/disk b 8 0 || echo device;"
        'date -s "$(date -R)" >/dev/null || echo clock;'
        " chown 1:1 /mnt || echo owner"
    )
    run = mydocker("run", "sh", "-c", script, prefix=as_user(1000))
    assert run.stdout.split() == ["box", "mounted", "down", "device", "clock", "owner"]


def test_it_takes_the_namespaces_that_it_needs_and_no_more():
    kinds = "for k in mnt uts ipc pid net user cgroup time; do readlink /proc/self/ns/$k; done"
    outside = subprocess.run(["sh", "-c", kinds], capture_output=True, text=True).stdout
    for prefix in ([], ORDINARY, as_user(1000)):
        inside = mydocker("run", "sh", "-c", kinds, prefix=prefix).stdout
        changed = set(inside.split()) - set(outside.split())
        found = sorted(name.partition(":")[0] for name in changed)
        rootless = prefix or os.geteuid()
        wanted = ["ipc", "mnt", "net", "pid", *(["user"] if rootless else []), "uts"]
        assert found == wanted


def test_it_leaves_the_machine_as_it_was():
    before = machine()
    for prefix in ([], ORDINARY):
        script = "hostname x; mount -t tmpfs none /mnt; umount /proc; ip link set lo down"
        mydocker("run", "-t", "--hostname", "y", "sh", "-c", script, prefix=prefix)
    assert machine() == before


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
def test_the_loopback_is_up(prefix):
    run = mydocker("run", "ip", "-brief", "address", "show", "dev", "lo", prefix=prefix)
    assert re.match(r"lo +UNKNOWN +127\.0\.0\.1/8", run.stdout)


def test_a_clean_environment():
    environment = {"PATH": "/mine", "HOME": "/h", "TERM": "vt100"}
    environment |= {"SECRET": "x", "KEPT": "k"}
    words = ["run", "-e", "A=b=c", "-e", "EMPTY=", "-e", "KEPT", "-e", "MISSING", "env"]
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    plain = [path, "HOME=/h", "A=b=c", "EMPTY=", "KEPT=k"]
    assert mydocker(*words, env=environment).stdout.splitlines() == plain
    words.insert(1, "-t")
    assert mydocker(*words, env=environment).stdout.splitlines() == [*plain, "TERM=vt100"]


def test_e_may_replace_path_and_home():
    words = ["run", "-e", "PATH=/bin", "-e", "HOME=/x", "sh", "-c", "echo $PATH $HOME"]
    assert mydocker(*words).stdout == "/bin /x\n"


def test_the_host_name():
    assert mydocker("run", "--hostname", "box", "hostname").stdout == "box\n"
    assert mydocker("run", "--hostname=box", "hostname").stdout == "box\n"
    assert mydocker("run", "hostname").stdout == f"{os.uname().nodename}\n"
    run = mydocker("run", "--hostname", "x" * 65, "true")
    assert run.returncode == 125
    assert "a host name has at most 64 bytes" in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--", "echo", "-i"], "-i"),
        (["-i", "--", "echo", "--"], "--"),
        (["echo", "--init", "-t"], "--init -t"),
    ],
)
def test_options_end_at_the_command_or_at_two_dashes(words, said):
    assert mydocker("run", *words, stdin=subprocess.DEVNULL).stdout == f"{said}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-x", "true"], "unknown option -x"),
        (["-itx", "true"], "unknown option -itx"),
        (["-", "true"], "unknown option -"),
        (["--hostname"], "option --hostname wants a value"),
        (["-e"], "option -e wants a value"),
        (["-e", "", "true"], "option -e wants NAME or NAME=VALUE"),
        (["-e", "=x", "true"], "option -e wants NAME or NAME=VALUE"),
        (["--init=true", "true"], "unknown option --init=true"),
        (["-it"], "missing container command"),
        (["--"], "missing container command"),
        ([], "missing container command"),
    ],
)
def test_a_wrong_command_line(words, said):
    run = mydocker("run", *words)
    assert said in run.stderr
    assert run.stderr.count("\n") == 1
    assert run.returncode == 1


def test_a_table_of_ids_may_hold_any_bytes(tmp_path):
    table = tmp_path / "subuid"
    table.write_bytes(b"# caf\xe9\nsomebody:100000:65536\n")
    script = 'mount --bind "$0" /etc/subuid; mount --bind "$0" /etc/subgid; exec "$@"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount"]
    ordinary = ["setpriv", "--bounding-set", "-all,+setfcap", "--inh-caps", "-all"]
    prefix = [*unshare, "sh", "-c", script, str(table), *ordinary]
    run = mydocker("run", "cat", "/etc/subuid", prefix=prefix, text=False)
    assert (run.stdout, run.stderr) == (table.read_bytes(), b"")


def test_no_descriptor_of_ours_leaks_into_the_command():
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    run = mydocker("run", "sh", "-c", "ls -1 /proc/$$/fd", close_fds=False)
    assert run.stdout.split() == ["0", "1", "2"]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("upto", ["06", "07", "08", "09"])
def test_nor_does_one_above_the_limit_that_was_set_after_it_was_opened(upto):
    line = f'exec 50</dev/null; ulimit -n 20; exec {LABKIT} run --upto {upto} "$@"'
    command = ["bash", "-c", line, "bash", "sh", "-c", "ls -1 /proc/$$/fd"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.stdout.split() == ["0", "1", "2"]


def test_where_user_namespaces_are_forbidden_it_says_so():
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    # In a user namespace of its own, so that the limit is not the machine's.
    prefix = ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh", *NOTHING]
    run = mydocker("run", "true", prefix=prefix)
    assert run.returncode == 125
    assert "clone(" in run.stderr
    assert "No space left on device" in run.stderr
    assert run.stderr.count("\n") == 1
