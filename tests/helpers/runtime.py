"""The runtime itself, as from any shell, and a root for it."""

import os
import shutil
import subprocess
import sys

from labkit.course import workbook
from tests.helpers.course import LABKIT

PLAIN = (
    "10"  # the last version whose `run` takes a command and no image: the container sees our files
)
RUN = (LABKIT, "run", "--upto", PLAIN)


def program(upto=None):
    """The file that starts the runtime as of a notebook, by default the last one."""
    return str(workbook.install(workbook.runtime(upto)) / workbook.START)


def mydocker(*words, upto=PLAIN, prefix=(), **options):
    """Start the runtime as of a notebook; options go to `subprocess.run`."""
    command = [*prefix, sys.executable, "-S", program(upto), *words]
    environment = {"PATH": os.environ["PATH"], "HOME": "/home/me"}
    settings = {"capture_output": True, "text": True, "timeout": 60, "env": environment, **options}
    return subprocess.run(command, **settings)


def as_user(uid, *command):
    """The words that run a command as an ordinary user with this ID and no rights at all."""
    return ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}", *command]


def make_root(root, *programs):
    """Make a folder a root in which these programs run, and nothing else."""
    paths = [shutil.which(name) for name in programs]
    said = subprocess.run(["ldd", *paths], capture_output=True, text=True, check=True).stdout
    libraries = {word for word in said.split() if word.startswith("/") and not word.endswith(":")}
    for source in (*paths, *libraries):
        target = root / (f"bin/{os.path.basename(source)}" if source in paths else source[1:])
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)
