"""doctor: on a machine that forbids something, cause and cure are named."""

import errno
import os
import subprocess
import sys

import pytest

from labkit import doctor, linux
from tests.helpers.course import LABKIT, ROOT

# Whoever runs the tests becomes root of a mount namespace in which the machine can be imitated.
APART = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "--mount"]
ORDINARY = "setpriv --bounding-set -all,+setfcap --inh-caps -all"
OTHER_ROOT = "unshare --user --map-root-user --mount"
MASK = "mount --bind /dev/null /proc/timer_list"
NO_PROC = "mount -t tmpfs none /proc"
NO_NULL = "mount -t tmpfs none /dev"
# A folder that shows all of the machine, as what debootstrap leaves does.
CHROOT = """
for place in /tmp /*; do
    if [ -L "$place" ]; then cp -P "$place" "root$place"
    elif [ -d "$place" ] && [ ! -e "root$place" ]; then
        mkdir "root$place"; mount --rbind "$place" "root$place"
    fi
done
"""


def apart(folder, *lines, **options):
    """Run a shell's lines in a mount namespace of their own; return status, output, errors."""
    (folder / "root").mkdir(exist_ok=True)
    command = [*APART, "bash", "-ec", "\n".join(lines)]
    settings = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    run = subprocess.run(command, text=True, errors="surrogateescape", **settings)
    return run.returncode, run.stdout, run.stderr


def problems(folder, *lines):
    """What doctor finds wrong, without the first line and the last."""
    status, output, errors = apart(folder, *lines)
    assert (status, errors) == (1, ""), errors
    assert output.endswith("The labs cannot run here yet.\n")
    return [line for line in output.splitlines() if line.startswith("✗")]


@pytest.mark.parametrize("user", ["", OTHER_ROOT, ORDINARY])
def test_a_masked_proc_is_named_with_the_cure_for_each_kind_of_container(tmp_path, user):
    found = problems(tmp_path, MASK, f"{user} {LABKIT} doctor")
    assert "Parts of /proc are masked (/proc/timer_list)" in found[0]
    assert "Usually:" not in found[0]
    for cure in (
        "docker with --security-opt systempaths=unconfined",
        "podman with --security-opt unmask=ALL",
        "Kubernetes with procMount: Unmasked and hostUsers: false",
    ):
        assert cure in found[0]


def test_a_read_only_proc_is_named(tmp_path):
    read_only = "mount --bind /proc /proc; mount -o remount,bind,ro /proc"
    found = problems(tmp_path, read_only, f"{ORDINARY} {LABKIT} doctor")
    assert "Parts of /proc are masked (it is read-only)" in found[0]
    assert "Usually:" not in found[0]


@pytest.mark.parametrize("user", ["", ORDINARY])
def test_a_chroot_is_named(tmp_path, user):
    found = problems(tmp_path, CHROOT, f"chroot root {user} {LABKIT} doctor")
    assert "This is a chroot, where the kernel refuses CLONE_NEWUSER. Cure: work out" in found[0]


def test_a_chroot_to_a_mount_point_is_guessed(tmp_path):
    found = problems(tmp_path, "mount --rbind / root", f"chroot root {ORDINARY} {LABKIT} doctor")
    assert "Usually this is a chroot, where the kernel refuses CLONE_NEWUSER. Cure:" in found[0]


def up_to(last, folder, *lines):
    """What doctor finds wrong where all notebooks up to that one can run, and no later one."""
    status, output, errors = apart(folder, *lines)
    assert (status, errors) == (0, ""), errors
    _, *wrong, end = [line for line in output.splitlines() if not line.startswith("✓")]
    assert end == f"The labs can run here up to notebook {last}."
    return "\n".join(wrong)


def without_a_root(folder, *lines):
    wrong = up_to("09", folder, *lines)
    assert wrong.startswith("✗ a root of its own, from notebook 10 on")
    return wrong


def without_layers(folder, *lines):
    wrong = up_to("10", folder, *lines)
    assert wrong.startswith("✗ layers, from notebook 11 on")
    return wrong


def test_what_a_chroot_forbids_to_root_is_named(tmp_path):
    """Root gets its lab there, but no root of its own, and the exercises no sandbox."""
    wrong = without_a_root(tmp_path, "mount --rbind / root", f"chroot root {LABKIT} doctor")
    assert "Usually this is a chroot, where the kernel refuses CLONE_NEWUSER. Cure:" in wrong


@pytest.mark.parametrize("user", ["", ORDINARY])
def test_a_masked_sys_is_named(tmp_path, user):
    mask = "mount -t tmpfs none /sys/firmware"
    wrong = without_a_root(tmp_path, mask, f"{user} {LABKIT} doctor")
    assert "Parts of /sys are masked (/sys/" in wrong
    assert "/sys/firmware), as in containers" in wrong


@pytest.mark.parametrize("user", ["", ORDINARY])
@pytest.mark.parametrize(
    ("disk", "said"),
    [
        ("-t overlay none -o lowerdir=root,upperdir=upper,workdir=work", "Invalid argument"),
        ("-t ramfs none", "Input/output error"),  # keeps no attributes, as tmpfs before Linux 6.6
    ],
)
def test_a_disk_that_takes_no_layers_is_named(tmp_path, user, disk, said):
    lines = (
        "mkdir upper work disk",
        f"mount {disk} disk",
        "chmod 777 disk",
        "export LABKIT_MINE=$PWD/disk",
    )
    wrong = without_layers(tmp_path, *lines, f"{user} {LABKIT} doctor", 'test -z "$(ls -A disk)"')
    assert said in wrong
    assert f". {tmp_path}/disk lies on a disk that cannot hold them, such as an overlay" in wrong
    assert "Cure: LABKIT_MINE=/a/folder/elsewhere" in wrong


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENODEV])
def test_a_kernel_without_overlayfs_is_named(monkeypatch, number):
    def mount(source, target, fstype=None, *words):
        if fstype == "overlay":
            raise OSError(number, f"mount({source!r}, {target!r}): {os.strerror(number)}")
        true(source, target, fstype, *words)

    true = linux.mount
    monkeypatch.setattr(linux, "mount", mount)
    wrong = doctor.check()[doctor.LAYERS]
    assert (
        f"{os.strerror(number)}. Overlayfs is missing, or root's alone. Cure: Linux 5.11" in wrong
    )


@pytest.mark.parametrize("kind", ["bridge", "veth"])
def test_a_kernel_without_bridge_or_veth_is_named(monkeypatch, kind):
    monkeypatch.setitem(doctor.LINKS, kind, "nosuchkind")  # to which it answers as to any other
    assert doctor.no_network() == (
        f"no {kind}: Error: Unknown device type. This kernel is without. Cure: sudo modprobe "
        "bridge veth, or the class VM"
    )
    monkeypatch.undo()
    assert doctor.no_network() == ""


def test_runtimes_that_are_not_installed_are_named(monkeypatch, tmp_path):
    (tmp_path / "crun").touch(0o755)
    monkeypatch.setattr(doctor, "SBIN", str(tmp_path))
    monkeypatch.setenv("PATH", "/nosuch")
    assert doctor.no_runtimes() == "runc, podman not found. Cure: sudo apt install runc podman"
    (tmp_path / "runc").touch(0o755)
    (tmp_path / "podman").touch(0o755)
    assert doctor.no_runtimes() == ""


@pytest.mark.parametrize("user", ["", ORDINARY])
def test_a_machine_without_proc(tmp_path, user):
    found = problems(tmp_path, NO_PROC, f"{user} {LABKIT} doctor")
    assert "/proc does not show this process. Cure: sudo mount -t proc proc /proc" in found[0]


def test_the_name_of_this_process_need_not_be_text(tmp_path):
    """It stands in /proc/self/status, of which doctor reads another line."""
    link = os.fsencode(tmp_path) + b"/caf\xe9"
    os.symlink(sys.executable, link)
    command = f"env PYTHONPATH={ROOT} ./caf* -m labkit doctor"
    assert "Parts of /proc are masked" in problems(tmp_path, MASK, f"{OTHER_ROOT} {command}")[0]


@pytest.mark.parametrize("words", ["--help", "doctor", "progress"])
def test_an_error_without_dev_null_is_a_sentence(tmp_path, words):
    with open("/dev/full", "w") as full:
        status, _, errors = apart(tmp_path, NO_NULL, f"exec {LABKIT} {words}", stdout=full)
    assert (status, errors) == (1, "labkit: No space left on device\n")


def test_a_run_without_dev_null_names_it(tmp_path):
    status, output, errors = apart(tmp_path, NO_NULL, f"exec {LABKIT} run true")
    assert (status, output) == (1, "")
    assert errors == "labkit: /dev/null: No such file or directory\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("words", [["doctor"], ["--help"], ["progress"], ["run", "--help"]])
def test_whatever_the_terminals_encoding_is_something_is_shown(encoding, words):
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    run = subprocess.run([LABKIT, *words], env=environment, capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.decode(encoding).count("\n") > 1
