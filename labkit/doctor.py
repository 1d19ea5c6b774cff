"""Says whether this machine can run the labs, and names cause and cure where it cannot.

Each check does the real thing in a process of its own that changes nothing for anybody else.
"""

import errno
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from labkit import cgroup, hardened, linux, places, procfs, sandbox
from labkit.fork import forked

# What is called, and the Debian package that brings it.
TOOLS = dict(ps="procps", ip="iproute2", unshare="util-linux", mount="mount", hostname="hostname")
SBIN = "/usr/sbin"  # not on an ordinary user's PATH; Debian's runc is there
UNMASKED = (
    "docker with --security-opt systempaths=unconfined, podman with --security-opt unmask=ALL, "
    "Kubernetes with procMount: Unmasked and hostUsers: false"
)

ROOT = "a root of its own, from notebook 10 on: pivot_root and /sys in a user namespace"
LAYERS = "layers, from notebook 11 on: overlayfs where your copies are"
LATER = {ROOT: "09", LAYERS: "10"}  # how far one comes without
LIMITS = "limits, for notebooks 19 and 20: a delegated control group (cgroup v2)"
NETWORK = "networks, for notebooks 21 to 24: a bridge, and cables (veth)"
RUNTIMES = "other runtimes, for notebooks 25 to 28: runc, crun and podman"
LINKS = dict(bridge="bridge", veth="veth peer name labkit-veth2")  # kind to how `ip` makes one


class Report(dict[str, str]):
    """What the labs need, each with what is wrong and what helps: "" where all is well.

    A notebook or terminal shows it line by line.
    """

    @property
    def healthy(self) -> bool:
        """Whether the labs can run, those up to notebook 09 at least."""
        return not any(wrong for need, wrong in self.items() if need not in LATER)

    def __repr__(self) -> str:
        """One line for each need."""
        return "\n".join(
            f"✗ {need}: {wrong}" if wrong else f"✓ {need}" for need, wrong in self.items()
        )


def check() -> Report:
    """Try everything that the labs need, in under a second."""
    kernel, python = hardened.linux_version(), sys.version_info[:2]
    return Report(
        {
            "Linux 5.12 or newer (clone3, mount_setattr)": _old(kernel, 5, 12),
            "Python 3.11 or newer": _old(python, 3, 11),
            "a sandbox: mount, PID, UTS and IPC namespaces of its own, with /proc": _no_sandbox(),
            "a container in it: clone with the five flags, with /proc": _refused(_container),
            ROOT: _refused(_root),
            LAYERS: _refused(_layers),
            "the tools ps, ip, unshare, mount and hostname": _missing_tools(),
            "a working folder that can be written": _read_only(),
        }
    )


def main() -> int:
    """Print what was found; return 1 where the labs cannot run."""
    uname, python = os.uname(), platform.python_version()
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    print(f"Linux {uname.release} on {uname.machine}, Python {python}, as {user}")
    report = check()
    print(report)
    # Apart: what `check` finds, notebook 00 has in it.
    print(Report({LIMITS: no_limits(), NETWORK: no_network(), RUNTIMES: no_runtimes()}))
    can = "can" if report.healthy else "cannot"
    ends = [f" up to notebook {last}" for need, last in LATER.items() if report[need]]
    how_far = (*ends, "")[0] if report.healthy else " yet"
    print(f"The labs {can} run here{how_far}.")
    return 0 if report.healthy else 1


def no_limits() -> str:
    """Return why containers can have no limits here, and the cure; "" where they can.

    A group for them is made, and removed.
    """
    try:
        with cgroup.lab_group():
            return ""
    except OSError as error:
        return error.strerror or str(error)


def no_network() -> str:
    """Return why containers can have no network of their own here, and the cure; "" where they can.

    A bridge and a cable are made, in a network namespace that ends with its only process.
    """

    def make() -> int:
        for kind, words in LINKS.items():
            command = ["ip", "link", "add", f"labkit-{kind}", "type", *words.split()]
            run = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            if run.returncode:
                sys.exit(f"no {kind}: {run.stderr.strip()}")
        return 0

    return _refused(make, linux.CLONE_NEWNET)


def no_runtimes() -> str:
    """Return which of the runtimes beside ours is not installed here, and the cure; or ""."""
    path = f"{os.environ.get('PATH', os.defpath)}:{SBIN}"
    packages = [name for name in ("runc", "crun", "podman") if not shutil.which(name, path=path)]
    return _not_found(dict(zip(packages, packages, strict=True)))


def _old(version: tuple[int, ...], *needed: int) -> str:
    found = ".".join(map(str, version))
    return "" if version >= needed else f"this is {found}. Cure: install a newer one"


def _no_sandbox() -> str:
    if problem := _refused(lambda: 0):
        return problem
    # A masked /proc is in the way of root as well, though only of the exercises' own sandboxes.
    hard = _why(lambda: hardened.run(lambda: 0, places.NOTEBOOKS))
    return hard if UNMASKED in hard else ""


def _container() -> int:
    mounts = linux.CLONE_NEWNS | linux.CLONE_NEWPID
    pid = linux.clone(mounts | linux.CLONE_NEWUTS | linux.CLONE_NEWIPC | linux.CLONE_NEWNET)
    if pid == 0:
        flags = linux.MS_NOEXEC | linux.MS_NOSUID | linux.MS_NODEV
        linux.mount("proc", "/proc", "proc", flags)
        return 0
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _root() -> int:
    linux.unshare(linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWNET)
    flags = linux.MS_NOEXEC | linux.MS_NOSUID | linux.MS_NODEV | linux.MS_RDONLY
    linux.mount("sysfs", "/sys", "sysfs", flags)
    linux.mount(places.NOTEBOOKS, places.NOTEBOOKS, None, linux.MS_BIND | linux.MS_REC)
    os.chdir(places.NOTEBOOKS)
    linux.pivot_root(".", ".")
    return 0


def _layers() -> int:
    with tempfile.TemporaryDirectory(prefix=".labkit-", dir=_working_folder()) as place:
        os.chdir(place)
        for name in ("lower", "lower/folder", "upper", "work", "merged"):
            Path(name).mkdir()
        layers = "lowerdir=lower,upperdir=upper,workdir=work,userxattr"
        linux.mount("overlay", "merged", "overlay", 0, layers)
        try:  # a disk without attributes says so only here
            Path("merged/folder").rmdir()
            Path("merged/folder").mkdir()
        finally:
            linux.umount("merged")
    return 0


def _missing_tools() -> str:
    return _not_found({tool: package for tool, package in TOOLS.items() if not shutil.which(tool)})


def _not_found(missing: Mapping[str, str]) -> str:
    packages = " ".join(missing.values())
    return f"{', '.join(missing)} not found. Cure: sudo apt install {packages}" * bool(missing)


def _working_folder() -> Path:
    """Return that, or the one in which it will be made."""
    folder = Path(places.work_folder())
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder


def _read_only() -> str:
    folder = _working_folder()
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return ""
    return f"{folder} cannot be written by this user. Cure: LABKIT_MINE=/a/folder/of/yours"


def _refused(experiment: Callable[[], int], flags: int = 0) -> str:
    """Run an experiment in a sandbox, otherwise as `_why` does."""
    return _why(lambda: sandbox.run(experiment, session=True, flags=flags))


def _why(experiment: Callable[[], int]) -> str:
    """Run an experiment apart; return "" or what the kernel said, with the likely reason."""
    last = forked(experiment).strip().rpartition("\n")[2]
    said = last.rpartition("] ")[2]  # without "OSError: [Errno 1] "
    reason = said and _restriction(said)
    return f"{said.partition(' Usually: ')[0].rstrip('.')}. {reason}" if reason else said


def _restriction(said: str) -> str:
    """Name what forbids it here, as far as that can be read, and what helps; else return ""."""
    status = _read("/proc/self/status")
    if not status:
        return "/proc does not show this process. Cure: sudo mount -t proc proc /proc"
    if "'merged" in said and any(os.strerror(n) in said for n in (errno.EPERM, errno.ENODEV)):
        return "Overlayfs is missing, or root's alone. Cure: Linux 5.11 or newer, modprobe overlay"
    if "'merged" in said:
        return (
            f"{_working_folder()} lies on a disk that cannot hold them, such as an overlay (as in "
            "a container), a share, or tmpfs before 6.6. Cure: LABKIT_MINE=/a/folder/elsewhere"
        )
    if any(word in said for word in ("Unknown device type", os.strerror(errno.EOPNOTSUPP))):
        return "This kernel is without. Cure: sudo modprobe bridge veth, or the class VM"
    targets = [mount.target for mount in procfs.mounts()]
    place = "/sys" if "mount('sysfs'" in said else "/proc"
    masked = re.search("mount.'(proc|sysfs)'", said) and os.strerror(errno.EPERM) in said
    if masked or ("/proc/" in said and os.strerror(errno.EROFS) in said):
        masks = [target for target in targets if target.startswith(f"{place}/")]
        return (
            f"Parts of {place} are masked ({', '.join(masks[-3:]) or 'it is read-only'}), as in "
            f"containers and some hubs; the kernel allows no other one then. Cure: {UNMASKED}"
        )
    for name, forbidding, allowing in (
        ("user.max_user_namespaces", "0", "10000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ):
        if _read(f"/proc/sys/{name.replace('.', '/')}").strip() == forbidding:
            return f"Here {name} is {forbidding}. Cure: sudo sysctl {name}={allowing}"
    if "Seccomp:\t2" in status and "/" in targets:
        return (
            "A seccomp filter is on, as in a container. Cure: start that one with --security-opt "
            f"seccomp=unconfined (Kubernetes: seccompProfile, type Unconfined), and {UNMASKED}"
        )
    if "/" not in targets or "CLONE_NEWUSER" in said:
        sure = "This is" if "/" not in targets else "Usually this is"
        return (
            f"{sure} a chroot, where the kernel refuses CLONE_NEWUSER. Cure: work outside of it, "
            "or enter its folder by systemd-nspawn -D or a container's runtime instead"
        )
    return ""


def _read(path: str) -> str:
    """Return what a file of the kernel's says; "" where there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
