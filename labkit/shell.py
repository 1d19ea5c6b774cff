"""A shell on a pseudo-terminal: a cell types into it and reads the answer. Stands on pexpect."""

import contextlib
import os
import secrets
import select
import signal
import time
from collections.abc import Sequence
from types import TracebackType

import pexpect

from labkit import linux, procfs

ROWS, COLUMNS = 24, 200
LINE_LIMIT = 4095  # bytes that a terminal takes in one line, see termios(3)


class ShellError(Exception):
    """The shell has ended, could not be started, or did not answer; the message says which."""


class Shell:
    """A command, usually a shell, on a terminal of its own.

    Its prompt holds an invisible mark, so `run` knows where one command's output ends. The same
    prompt reaches a shell that is started inside: `run("mydocker run -ti /bin/sh")` returns when
    the container's shell asks for its first command.

    As a context manager it leaves no process behind, not even one that went to the background.
    """

    def __init__(
        self, argv: Sequence[str] = ("/bin/sh",), *, timeout: float = 30, prompt: str = "$ "
    ) -> None:
        """Start the command and wait for its first prompt.

        Args:
            argv: program and arguments.
            timeout: seconds that a command may take before `run` gives up.
            prompt: what a reader sees of the prompt.

        Raises:
            ShellError: it cannot be started, or shows no prompt.
        """
        if not argv:
            raise ShellError("no command to start")
        self.argv, self.timeout = tuple(argv), timeout
        self._token = secrets.token_hex(8)
        # An OSC 133 sequence: terminals take it as "a prompt begins" and draw nothing.
        self._mark = f"\x1b]133;A;{self._token}\x07"
        kept = {k: v for k, v in os.environ.items() if k not in ("ENV", "BASH_ENV", "LINES")}
        environment = kept | {
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "PS1": self._mark + prompt,
            "PS2": "",
            "COLUMNS": str(COLUMNS),
            "LABKIT_SHELL": self._token,
        }
        try:
            self._pty = pexpect.spawn(
                self.argv[0],
                list(self.argv[1:]),
                env=environment,
                echo=False,
                dimensions=(ROWS, COLUMNS),
                encoding="utf-8",
                codec_errors="replace",
                maxread=65536,
                # Only at the very end is it a prompt, and not `env` showing PS1.
                searchwindowsize=len(self._mark) + len(prompt),
                preexec_fn=linux.restore_signals,
                timeout=timeout,
            )
        except pexpect.ExceptionPexpect as error:
            reason = str(error).splitlines()[0]
            raise ShellError(f"cannot start {self.argv[0]!r}: {reason}") from None
        self._pty.delaybeforesend = None
        self._ended = os.pidfd_open(self._pty.pid)
        self.prompt, self._prompt = prompt, self._mark + prompt
        try:
            self._expect_prompt(f"starting {self.argv[0]}", timeout)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """PID of the command, in the PID namespace of the caller."""
        return int(self._pty.pid)

    @property
    def status(self) -> int | None:
        """None while it runs, then its exit status, or 128+n where signal n ended it."""
        if not self._pty.closed:
            return None
        number = self._pty.signalstatus
        return int(self._pty.exitstatus) if number is None else 128 + int(number)

    def run(self, command: str, *, input: str = "", timeout: float | None = None) -> str:
        r"""Type a command, wait for the next prompt, and return what was printed in between.

        Args:
            command: one line, without its newline.
            input: what the command reads from the terminal; end a line with "\n",
                end the input with "\x04" (Ctrl-D).
            timeout: seconds, where it shall differ from the shell's own.

        Returns:
            the output of this command alone, with "\n" at the ends of lines.

        Raises:
            ShellError: the shell has ended.
            TimeoutError: no prompt came; the message shows the screen. The command got a Ctrl-C.
            ValueError: the command is more than one line, or longer than a terminal takes.
        """
        self._check_alive()
        if "\n" in command or "\r" in command or len(command.encode()) >= LINE_LIMIT:
            raise ValueError(f"a command is one line of less than {LINE_LIMIT} bytes")
        self._pty.send(command + "\n" + input)
        return self._expect_prompt(command, self.timeout if timeout is None else timeout)

    def show(self, *commands: str) -> None:
        """Run commands one after the other and print them as a terminal would show them.

        Args:
            *commands: one line each.

        Raises:
            ShellError: the shell has ended.
            TimeoutError: no prompt came.
        """
        for command in commands:
            output = self.run(command)
            print(self.prompt + command)
            if output:
                print(output, end="" if output.endswith("\n") else "\n")

    def wait(self, timeout: float | None = None) -> str:
        """Wait for a prompt that comes by itself, because what runs in the terminal has ended.

        Args:
            timeout: seconds, where it shall differ from the shell's own.

        Returns:
            what was printed before that prompt.

        Raises:
            ShellError: the shell has ended.
            TimeoutError: none came; the message shows the screen.
        """
        self._check_alive()
        return self._expect_prompt("waiting", self.timeout if timeout is None else timeout)

    def close(self) -> None:
        """End the shell and everything that was started from it."""
        if self._ended >= 0:
            self._pty.close(force=True)
            os.close(self._ended)
            self._ended = -1
        entry = f"LABKIT_SHELL={self._token}"
        # What left the terminal for the background still carries our mark in its environment.
        # One look may miss a process that is just being made; two empty ones in a row end it.
        empty = 0
        while empty < 2:
            pids = procfs.with_environment(entry)
            empty = 0 if pids else empty + 1
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def __enter__(self) -> "Shell":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_alive(self) -> None:
        if self.status is not None:
            raise ShellError(f"{self.argv[0]} has ended with status {self.status}; start a new one")

    def _expect_prompt(self, action: str, timeout: float) -> str:
        end = self._wait(timeout)
        if end is pexpect.TIMEOUT:
            screen = "\n".join(self._text().splitlines()[-ROWS:])
            self._pty.send("\x03")
            self._wait(5)
            raise TimeoutError(
                f"{action!r} showed no prompt within {timeout:g} s. Does it wait for input, or for "
                f"ever? The screen so far:\n{screen}"
            )
        output = self._text()
        if end is pexpect.EOF:
            self._pty.close(force=True)
            if action.startswith("starting "):
                raise ShellError(f"{action}: it ended with status {self.status}: {output}")
        return output

    def _wait(self, timeout: float) -> object:
        """Wait for the prompt (its text), the end (EOF) or the time-out (TIMEOUT)."""
        patterns = [self._prompt, pexpect.EOF, pexpect.TIMEOUT]
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            # What a command left in the background may hold the terminal open: watch its PID too.
            ready, _, _ = select.select([self._pty.fileno(), self._ended], [], [], left)
            found = patterns[self._pty.expect_exact(patterns, timeout=min(left, 0.05))]
            if found is not pexpect.TIMEOUT:
                return found
            if self._ended in ready:
                return pexpect.EOF
        return pexpect.TIMEOUT

    def _text(self) -> str:
        before: str = self._pty.before or ""
        return before.replace("\r\n", "\n").replace(self._mark, "")
