"""A person at a terminal, for tests: types, reads the screen, looks at the settings."""

import contextlib
import fcntl
import os
import pty
import resource
import signal
import struct
import termios
import time
from collections.abc import Iterator

from labkit import linux

PATIENCE = 120  # seconds until a test gives up


class Person:
    """Starts a command on a new terminal, as the leader of a session of its own.

    Everything can also be started without a shell in between; `settings()` are what `stty -a`
    shows, which the end of a container must leave as they were.
    """

    def __init__(
        self,
        *command: str,
        stdin: int | None = None,
        stdout: int | None = None,
        size: tuple[int, int] = (24, 80),
        environment: dict[str, str] | None = None,
    ) -> None:
        self.screen = b""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                # What a person's terminal has and a fresh one lacks, to see that it is kept.
                settings = termios.tcgetattr(0)
                settings[6][termios.VINTR] = b"\x03"
                settings[3] |= termios.ECHOCTL
                settings[0] |= termios.IUTF8 if hasattr(termios, "IUTF8") else 0
                termios.tcsetattr(0, termios.TCSANOW, settings)
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
                os.write(1, b"ready\n")
                os.read(0, 1)  # until the settings have been looked at
                if stdin is not None:
                    os.dup2(stdin, 0)
                if stdout is not None:
                    os.dup2(stdout, 1)
                os.execvpe(command[0], command, environment or os.environ)
            finally:
                os._exit(99)
        self.read_until(b"ready\r\n")
        self.before = self.settings()
        self.send(b"\n")
        self.read_until(b"\r\n")

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.terminal)

    def send(self, keys: bytes) -> None:
        os.write(self.terminal, keys)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, wanted: bytes) -> bytes:
        """Read the screen until it shows this; return and forget what came up to there."""
        end = time.monotonic() + PATIENCE
        while wanted not in self.screen:
            left = end - time.monotonic()
            assert linux.poll(self.terminal, seconds=left), (
                f"{wanted!r} did not come; the screen: {self.screen[-2000:]!r}"
            )
            try:
                some = os.read(self.terminal, 65536)
            except OSError:  # the last process on this terminal has ended
                some = b""
            assert some, f"the end came before {wanted!r}; the screen: {self.screen[-2000:]!r}"
            self.screen += some
        before, _, self.screen = self.screen.partition(wanted)
        return before + wanted

    def wait(self) -> int:
        """Read on until the command has ended; return its status as a shell would."""
        pidfd = os.pidfd_open(self.pid)
        end = time.monotonic() + PATIENCE
        try:
            while True:
                ready = linux.poll(pidfd, self.terminal, seconds=end - time.monotonic())
                assert ready, f"it did not end; the screen: {self.screen[-2000:]!r}"
                if self.terminal in ready:
                    try:
                        some = os.read(self.terminal, 65536)
                    except OSError:
                        some = b""
                    self.screen += some
                    if some:
                        continue
                if pidfd in ready or self.terminal in ready:
                    break
        finally:
            os.close(pidfd)
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return linux.exit_status(status)

    def close(self) -> None:
        """Close the terminal, as closing its window does, and make sure that nobody is left."""
        if self.terminal >= 0:
            os.close(self.terminal)
            self.terminal = -1
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def __enter__(self) -> "Person":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """Have more open than select(2) takes, which ends at number 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    opened = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while opened[-1] < 1100:
            opened.append(os.dup(opened[0]))
            os.set_inheritable(opened[-1], True)
        yield
    finally:
        for fd in opened:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
