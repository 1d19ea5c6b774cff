"""What the tests of many containers share: a kind of user whose containers are listed and ended."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

from tests.helpers.images import Who
from tests.helpers.processes import kill

TITLES = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "ADDRESS", "NAMES"]
PROGRAMS = "sh cat echo sleep true id env pwd head dd seq"


class Many(Who):
    """A kind of user with an image `small`, for as many containers as are wanted."""

    def __init__(self, kind):
        super().__init__(kind)
        assert self("image", "build", "small", *PROGRAMS.split()).returncode == 0

    def background(self, *words, **options):
        pipe = subprocess.PIPE
        settings = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, "text": True}
        return subprocess.Popen(
            self.words(*words),
            env=self.environment(),
            cwd=self.folder,
            **{**settings, **options},
        )

    def state(self, name):
        return json.loads(self.ok("inspect", name))

    def rows(self, *options):
        """The table of `ps`, as dictionaries; columns begin where the header says."""
        header, *lines = self.ok("ps", *options).splitlines()
        starts = [header.index(title) for title in TITLES]
        ends = [*starts[1:], None]
        return [
            {title: line[a:b].strip() for title, a, b in zip(TITLES, starts, ends, strict=True)}
            for line in lines
        ]

    def monitor(self, name):
        """The monitor's PID, as /proc says."""
        stat = Path(f"/proc/{self.state(name)['pid']}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    def kill_monitor(self, name):
        kill(self.monitor(name))

    def clean(self):
        """Remove all; after that no process, mount or file of theirs may be left."""
        names = [row["NAMES"] for row in self.rows("-a")]
        if names:
            self.ok("rm", "-f", *names)
        for name in self.networks():
            self.ok("network", "rm", name)
        deadline = time.monotonic() + 60
        while left := self.processes():
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        for kind in ("containers", "networks"):
            assert list((self.data / kind).iterdir()) == []
        assert str(self.folder) not in Path("/proc/self/mountinfo").read_text()

    def networks(self):
        return [line.split()[0] for line in self.ok("network", "ls").splitlines()[1:]]

    def processes(self):
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.data).encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
        return found
