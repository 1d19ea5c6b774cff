"""A shell on a pseudo-terminal, which cells and a person type into. Stands on pexpect."""

import contextlib
import os
import re
import secrets
import select
import signal
import threading
import traceback
from collections.abc import Callable, Sequence

import pexpect

from labkit import linux, procfs

PROMPT = "$ "  # as a reader sees it
ROWS, COLUMNS = 24, 200
LINE_LIMIT = 4095  # bytes that a terminal takes in one line, see termios(3)
SCROLLBACK = 200_000  # bytes that are kept for a view that comes later
BATCH = 20_000  # bytes, about, that are read at a time
PROMPT_TIMEOUT = 2.0  # seconds that `run` waits for a prompt that is about to come

# Between these, readline counts no columns of a prompt. Other shells print them.
_UNCOUNTED = "\x01\x02"
# What does not tell whether a line shows a command: how an editor moves, wipes and breaks it.
_LAYOUT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x20\x7f]")

Listener = Callable[[bytes | None], None]


class ShellError(Exception):
    """The shell has ended, is busy, could not be started; the message says which."""


class Shell(contextlib.AbstractContextManager["Shell"]):
    """A command, usually a shell, on a terminal of its own.

    Its prompt holds an invisible mark, so `run` knows where one command's output ends. The same
    prompt reaches a shell that is started inside: `run("mydocker run -ti /bin/sh")` returns when
    the container's shell asks for its first command. Between two `run` a person may type into the
    terminal (`labkit.view.Terminal`). As a context manager it leaves no process behind at all.

    Attributes:
        argv: program and arguments.
        pid: PID of the command, in the PID namespace of the caller.
        size: rows and columns of the terminal.
        timeout: seconds that `run` and `wait` wait for a prompt.
    """

    def __init__(self, argv: Sequence[str] = ("/bin/sh",), *, timeout: float = 30) -> None:
        """Start the command and wait for its first prompt; the attributes say what each one is.

        Raises:
            ShellError: it cannot be started, or ends without a prompt.
            TimeoutError: it shows no prompt.
        """
        self.argv, self.timeout, self.size = tuple(argv), timeout, (ROWS, COLUMNS)
        self._token = secrets.token_hex(8)
        # OSC 133: terminals take it as "a prompt begins" and draw nothing. The expansion is empty;
        # for its sake `env` shows something else than a prompt.
        mark, unexpanded = (f"\x1b]133;A;{self._token}{end}\x07" for end in ("", "${PS1+}"))
        # The other thing that is not seen is how a line editor says "pasted text will be marked".
        self._unseen = re.compile(re.escape(mark) + r"|\x1b\[\?2004[hl]\r?")
        # With COLUMNS and LINES, programs would not ask the terminal how large it is now.
        unwanted = ("ENV", "BASH_ENV", "COLUMNS", "LINES")
        env = {k: v for k, v in os.environ.items() if k not in unwanted} | {
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "PS1": unexpanded.join(_UNCOUNTED) + PROMPT,
            "LABKIT_SHELL": self._token,
        }
        program, *words = argv
        try:
            child = pexpect.spawn(
                program, words, env=env, dimensions=self.size, preexec_fn=linux.restore_signals
            )
        except pexpect.ExceptionPexpect as error:
            raise ShellError(f"cannot start {program!r}: {error}") from None
        self.pid: int = child.pid
        self._reader = _Reader(child, (mark + PROMPT).encode())
        try:
            output = self._expect_prompt(f"starting {program}")
            if self.status is not None:
                raise ShellError(f"{program}: it ended with status {self.status}: {output}")
        except BaseException:
            self.close()
            raise

    @property
    def status(self) -> int | None:
        """None while it runs, then its exit status, or 128+n where signal n ended it."""
        return self._reader.status

    def run(self, command: str) -> str:
        r"""Type a command, wait for the next prompt, and return what was printed in between.

        What somebody has typed at the prompt by hand and not sent off is taken back first. A
        command that reads the terminal is typed with `send`, as is what it reads; `wait` follows.

        Args:
            command: one line, without its newline.

        Returns:
            the output of this command alone, with "\n" at the ends of lines.

        Raises:
            ShellError: the shell has ended, or another program has the terminal.
            TimeoutError: no prompt came; the message shows the screen. The command got a Ctrl-C,
                as it does where KeyboardInterrupt ends the waiting.
            ValueError: the command is not one line below LINE_LIMIT bytes, without control keys.
        """
        if re.search(r"[\x00-\x1f\x7f]", command) or len(command.encode()) >= LINE_LIMIT:
            raise ValueError(
                f"a command is one line below {LINE_LIMIT} bytes, without control keys"
            )
        # To the end of the line, as a cursor may stand in it, and wipe all before that.
        wipe = "\x05\x15" if self._is_half_typed() else ""
        self._reader.take()
        self.send(wipe + command + "\n")
        return _without_echo(self._expect_prompt(command), command)

    def show(self, *commands: str) -> None:
        """Run commands, one line each, and print them as a terminal would; errors as in `run`."""
        for command in commands:
            print(f"{PROMPT}{command}\n{self.run(command)}".removesuffix("\n"))

    def wait(self) -> str:
        """Wait for a prompt that comes by itself, because what runs in the terminal has ended.

        The result and the errors are as those of `run`, but what was typed is part of the output.
        """
        return self._expect_prompt("waiting")

    def send(self, text: str) -> None:
        r"""Type as a person does, without waiting for anything.

        Args:
            text: keys as a terminal sends them: "\r" is Enter, "\x03" is Ctrl-C. A byte that is no
                text stands in it as os.fsdecode gives it.
        """
        self._reader.type(text.encode(errors="surrogateescape"))

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size, each at least 1; programs in it get SIGWINCH."""
        with self._reader.changed:
            if self.status is None:
                self.size = (rows, columns)
                self._reader.child.setwinsize(rows, columns)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear what the terminal prints, whoever asked for it.

        Args:
            listener: called at once with what was printed last (SCROLLBACK bytes), then in another
                thread with each further piece, and with None at the end. The terminal waits for it.

        Returns:
            a function that ends it.
        """
        return self._reader.listen(listener)

    def close(self) -> None:
        """End the shell and everything that was started from it."""
        # As a closed terminal does (a stopped process hears it when it goes on), or else by force.
        self._reader.send_signals(signal.SIGHUP, signal.SIGCONT)
        self._reader.join(0.5)
        self._reader.send_signals(signal.SIGKILL)
        self._reader.join()
        # What left the terminal for the background still carries our mark in its environment.
        # One look may miss a process that is just being made; two empty ones in a row end it.
        find, mark = procfs.with_environment, f"LABKIT_SHELL={self._token}"
        while pids := find(mark) or find(mark):
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if reader := getattr(self, "_reader", None):  # without waiting: this may be any thread
            reader.send_signals(signal.SIGHUP, signal.SIGCONT)

    def _is_half_typed(self) -> bool:
        """Whether something stands behind the prompt; where none is there, say what is instead."""
        reader = self._reader
        with reader.changed:
            reader.wait_for(lambda: reader.line() is not None, PROMPT_TIMEOUT)
            if (status := self.status) is not None:
                raise ShellError(f"{self.argv[0]} has ended with status {status}; start a new one")
            line, group = reader.line(), os.tcgetpgrp(reader.fd)
            # Where the background printed something below the prompt, the shell has the terminal.
            if line is not None or group == reader.prompt_group:
                return line != b""
        process = procfs.process(group)
        raise ShellError(
            f"{process.name if process else 'a program'} (PID {group}) has the terminal. End it "
            "first, in the terminal (q, Ctrl-C or Ctrl-D) or with shell.send('\\x03')"
        )

    def _expect_prompt(self, action: str) -> str:
        reader, came = self._reader, False
        reader.keep = True
        try:
            came = reader.wait_for(lambda: reader.prompted, self.timeout)
        finally:  # also where it was interrupted
            output = reader.take().decode(errors="replace").replace("\r\n", "\n")
            output = self._unseen.sub("", output)
            if not came:
                self.send("\x03")
        if not came:
            screen = "\n".join(output.splitlines()[-ROWS:])
            raise TimeoutError(
                f"{action!r} showed no prompt within {self.timeout:g} s. Does it wait for input, "
                f"or for ever? The screen so far:\n{screen}"
            )
        return output


class _Reader(threading.Thread):
    """Reads a command's terminal into one log, tells listeners, and writes what is typed.

    It does not know its Shell, so that a Shell which nobody holds any more is closed.
    """

    def __init__(self, child: pexpect.spawn, prompt: bytes) -> None:
        super().__init__(name=f"pty-{child.pid}", daemon=True)
        self.changed = threading.Condition()
        self.status: int | None = None  # set when all was read
        self.fd: int = child.child_fd
        self.prompt_group = 0  # the process group that had the terminal at the last prompt
        self.prompted = False  # a new prompt has come
        self.keep = False  # all that was printed since the last one, beyond SCROLLBACK
        self.child, self._prompt = child, prompt
        # Not one that readline draws again, as it does when the terminal gets another size.
        self._new_prompt = re.compile(rb"(?<!\r\x1b\[K\r)" + re.escape(prompt))
        self._log, self._begin = bytearray(), 0  # and where in it new output begins
        self._listeners = set[Listener]()
        self._typed = bytearray()  # what the terminal has not taken yet
        self._ended = os.pidfd_open(child.pid)
        self._epoll = select.epoll()  # not select(2), which takes no descriptor above 1023
        self._epoll.register(self._ended, select.EPOLLIN)
        self._epoll.register(self.fd, select.EPOLLIN)
        os.set_blocking(self.fd, False)
        self.start()

    def wait_for(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until this is so, or the command has ended; False where it takes too long."""
        with self.changed:
            return self.changed.wait_for(lambda: self.status is not None or condition(), timeout)

    def take(self) -> bytes:
        """Return what was printed before the first new prompt, or all; what follows is new."""
        with self.changed:
            found = self._new_prompt.search(self._log, self._begin)
            output = bytes(self._log[self._begin : found.start() if found else None])
            self._begin, self.prompted, self.keep = len(self._log), False, False
            return output

    def line(self) -> bytes | None:
        """Return what stands behind the prompt; None where more than that was printed since."""
        _, prompt, line = self._log.rpartition(self._prompt)
        more = not prompt or b"\n" in line or linux.poll(self.fd, seconds=0)
        return None if more else bytes(line)

    def type(self, data: bytes) -> None:
        """Type something; what the terminal does not take now, the thread hands on."""
        with self.changed:
            if self.status is None:
                self._typed += data
                with contextlib.suppress(OSError):  # EAGAIN: it takes no more now; EIO: the end
                    del self._typed[: os.write(self.fd, self._typed)]
                self._epoll.modify(self.fd, select.EPOLLIN | select.EPOLLOUT * bool(self._typed))

    def send_signals(self, *numbers: int) -> None:
        """Send signals to the command, if it still lives."""
        with self.changed, contextlib.suppress(ProcessLookupError):
            for number in numbers if self.status is None else ():
                signal.pidfd_send_signal(self._ended, number)

    def listen(self, listener: Listener) -> Callable[[], None]:
        with self.changed:  # so that it hears each byte once
            listener(bytes(self._log[-SCROLLBACK:]))
            self._listeners.add(listener)
            if self.status is not None:
                listener(None)
        return lambda: self._listeners.discard(listener)

    def run(self) -> None:
        """Read and write until the command has ended, or nobody has the terminal's other end."""
        events: dict[int, int] = {}
        while self._ended not in events and not events.get(self.fd, 0) & select.EPOLLHUP:
            events = dict(self._epoll.poll())
            self.type(b"")
            self._read()
        for _ in range(4):  # what was printed last may be on its way; a terminal holds less
            if linux.poll(self.fd, seconds=0.05):
                self._read()
        self.child.wait()
        with self.changed:
            self.status = linux.exit_status(self.child.status)
            self.child.ptyproc.delayafterclose = 0
            self.child.close(force=False)
            self._epoll.close()
            os.close(self._ended)
            self.changed.notify_all()
            listeners = tuple(self._listeners)
        self._tell(listeners, None)

    def _read(self) -> None:
        """Read what was printed, as far as it fits a batch."""
        data = b""
        with self.changed:
            # EAGAIN: that was all, or nothing, where a Ctrl-C has thrown it away; EIO: the end.
            with contextlib.suppress(OSError):
                while len(data) < BATCH:
                    data += os.read(self.fd, BATCH)
            shown = data.translate(None, _UNCOUNTED.encode())
            self._log += shown
            fresh = len(self._log) - len(shown) - len(self._prompt) + 1
            if self._new_prompt.search(self._log, max(fresh, self._begin)):
                self.prompted, self.prompt_group = True, os.tcgetpgrp(self.fd)
            if not self.keep and (excess := len(self._log) - SCROLLBACK) > 0:
                del self._log[:excess]
                self._begin = max(0, self._begin - excess)
            self.changed.notify_all()
            listeners = tuple(self._listeners) if shown else ()
        self._tell(listeners, shown)

    def _tell(self, listeners: Sequence[Listener], data: bytes | None) -> None:
        for listener in listeners:
            try:
                listener(data)
            except Exception:  # the terminal goes on, without this listener
                traceback.print_exc()
                self._listeners.discard(listener)


def _without_echo(output: str, command: str) -> str:
    """Take away the line in which the terminal showed the command as it was typed.

    Something half typed that was wiped out, or the background, may have made lines above it.
    """
    wanted, lines = _LAYOUT.sub("", command), output.split("\n")
    for number, line in enumerate(lines[:-1], 1):
        # Of a line as wide as the terminal, an editor shows the last character twice.
        if _LAYOUT.sub("", line).endswith((wanted, wanted + wanted[-1:])):
            return "\n".join(lines[number:])
    return output
