"""Programs that a test needs and that not every machine has."""

import os
import shutil
import warnings

import pytest

# Before a command: the peers keep caches and locks in /var/lib and /run, and podman leaves a mount:
# all theirs, and gone with this mount namespace. (crun refuses to start where cgroup v1
# and v2 are mixed.)
PRIVATE = (
    [
        "unshare",
        "--mount",
        "sh",
        "-c",
        "for d in /var/lib /run /dev/shm /etc/cni; do test ! -d $d || mount -t tmpfs none $d; done;"
        "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi;"
        'exec "$@"',
        "sh",
    ]
    if os.geteuid() == 0
    else []
)


def needed(tool, package):
    """The test is skipped where there is no such tool, and says so; CI has to install it."""
    if not shutil.which(tool):
        said = f"{tool} not found, so not tested. On Debian and Ubuntu: apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(said)
        warnings.warn(said, stacklevel=2)
        pytest.skip(said)
