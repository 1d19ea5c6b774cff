"""The runtime itself, as from any shell."""

import os
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
