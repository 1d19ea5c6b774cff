"""A shell on a pseudo-terminal, which cells and a person type into. Stands on pexpect."""

import contextlib
import os
import re
import secrets
import select
import signal
import termios
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import TracebackType

import pexpect

from labkit import linux, procfs

ROWS, COLUMNS = 24, 200
LINE_LIMIT = 4095  # bytes that a terminal takes in one line, see termios(3)
SCROLLBACK = 200_000  # bytes that are kept for who looks at the terminal later
# While somebody looks, output comes in batches of at most this size, this far apart. A front end
# keeps up with that, and a program that prints more waits for its terminal, as it should.
BATCH, BEAT = 20_000, 0.025  # bytes, seconds
GRACE = 2.0  # seconds that `run` waits for a prompt that is about to come
# What a line editor such as bash's says around a line: "pasted text will be marked".
_BRACKETED_PASTE = re.compile(r"\x1b\[\?2004[hl]\r?")
# Between these, an editor counts no columns of a prompt (readline's RL_PROMPT_START_IGNORE and
# _END_); else it would take our mark for text, and draw and break long lines in the wrong place.
# Other shells print them, and terminals show nothing for them.
_UNCOUNTED = "\x01\x02"
# How readline begins to draw the prompt again when the terminal gets another size.
_DRAWN_AGAIN = "\r\x1b[K\r"
# What does not tell whether a line shows a command: how an editor moves, wipes and breaks it.
_LAYOUT = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x20\x7f]")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# To the end of what is half typed, as a cursor may stand in it, and wipe all before that.
_WIPE = "\x05\x15"
_LITERALLY = "\x16"  # Ctrl-V: an editor takes the next key as a character

# How a closed terminal ends its programs (a stopped one hears it when it goes on), and by force.
GOODBYE = ((signal.SIGHUP, signal.SIGCONT), (signal.SIGKILL,))
# What a terminal shows of a control character is "^" and a letter; of Ctrl-D, nothing.
CARET = {chr(n): f"^{chr(n + 64)}" for n in range(32)} | {"\x04": ""}

Listener = Callable[[bytes | None], None]


class ShellError(Exception):
    """The shell has ended, is busy, could not be started; the message says which."""


class Shell:
    """A command, usually a shell, on a terminal of its own.

    Its prompt holds an invisible mark, so `run` knows where one command's output ends. The same
    prompt reaches a shell that is started inside: `run("mydocker run -ti /bin/sh")` returns when
    the container's shell asks for its first command.

    A thread reads the terminal all the time, so that it may be shown (`labkit.view.Terminal`) and
    typed into by hand between two `run`.

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
        self._turn = threading.RLock()  # one command at a time, whichever thread types it
        self._token = secrets.token_hex(8)
        # An OSC 133 sequence: terminals take it as "a prompt begins" and draw nothing.
        self._mark = f"\x1b]133;A;{self._token}\x07"
        # With COLUMNS and LINES, programs would not ask the terminal how large it is now.
        unwanted = ("ENV", "BASH_ENV", "COLUMNS", "LINES")
        environment = {k: v for k, v in os.environ.items() if k not in unwanted} | {
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "PS1": self._mark.join(_UNCOUNTED) + prompt,
            "PS2": "",
            "LABKIT_SHELL": self._token,
        }
        self.prompt, self._prompt = prompt, self._mark + prompt
        try:
            self._pty = _Pty(self.argv, environment, self._prompt.encode())
        except pexpect.ExceptionPexpect as error:
            reason = str(error).splitlines()[0]
            raise ShellError(f"cannot start {self.argv[0]!r}: {reason}") from None
        try:
            output = self._expect_prompt(f"starting {self.argv[0]}", timeout)
            if self.status is not None:
                raise ShellError(
                    f"starting {self.argv[0]}: it ended with status {self.status}: {output}"
                )
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
        if not self._pty.over:
            return None
        number = self._pty.signalstatus
        return int(self._pty.exitstatus) if number is None else 128 + int(number)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the terminal."""
        return self._pty.size

    def run(self, command: str, *, input: str = "", timeout: float | None = None) -> str:
        r"""Type a command, wait for the next prompt, and return what was printed in between.

        What somebody has typed at the prompt by hand and not sent off is taken back first.

        Args:
            command: one line, without its newline.
            input: what the command reads from the terminal; end a line with "\n",
                end the input with "\x04" (Ctrl-D).
            timeout: seconds, where it shall differ from the shell's own.

        Returns:
            the output of this command alone, with "\n" at the ends of lines; neither the command
            nor the input, which the terminal shows as they are typed.

        Raises:
            ShellError: the shell has ended, or another program has the terminal.
            TimeoutError: no prompt came; the message shows the screen. The command got a Ctrl-C.
            KeyboardInterrupt: while it waited; the command got a Ctrl-C then, too.
            ValueError: the command is more than one line, is longer than a terminal takes, or
                holds a control character (a tab may stand in it), which would be taken for a key.
        """
        if _CONTROL.search(command) or len(command.encode()) >= LINE_LIMIT:
            raise ValueError(
                f"a command is one line of less than {LINE_LIMIT} bytes without control characters"
            )
        with self._turn:
            self._check_alive()
            half_typed = self._line_at_prompt()
            self._pty.forget()
            wipe = _WIPE if half_typed else ""
            seconds = self.timeout if timeout is None else timeout
            if not self._pty.is_edited():
                self._pty.send(wipe + command + "\n" + input)
            else:  # a tab and Ctrl-D are commands to the editor
                self._pty.send(wipe + command.replace("\t", _LITERALLY + "\t") + "\n")
                if input and self._pty.wait_for_reader(seconds):
                    self._pty.send(input)
            output = self._expect_prompt(command, seconds)
        return _without_echo(output, command, input, wiped=bool(half_typed))

    def show(self, *commands: str) -> None:
        """Run commands one after the other and print them as a terminal would show them.

        Args:
            *commands: one line each.

        Raises:
            ShellError: the shell has ended, or another program has the terminal.
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
        with self._turn:
            self._check_alive()
            return self._expect_prompt("waiting", self.timeout if timeout is None else timeout)

    def send(self, text: str) -> None:
        r"""Type as a person does, without waiting for anything.

        Args:
            text: keys as a terminal sends them: "\r" is Enter, "\x03" is Ctrl-C. A byte that is no
                text stands in it as os.fsdecode gives it.
        """
        if self.status is None:
            self._pty.send(text)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size; the programs in it get SIGWINCH.

        Args:
            rows: lines, at least 1.
            columns: characters in a line, at least 1.
        """
        self._pty.resize(rows, columns)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Hear what the terminal prints, whoever asked for it.

        Args:
            listener: called at once with what was printed so far (at most SCROLLBACK bytes), then
                in another thread with each further piece, and with None after the last one. It
                holds up the terminal, so it should be quick.

        Returns:
            a function that ends it.
        """
        return self._pty.listen(listener)

    def close(self) -> None:
        """End the shell and everything that was started from it."""
        self._pty.hang_up()
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

    def __del__(self) -> None:
        if pty := getattr(self, "_pty", None):  # without waiting: this may be any thread
            pty.send_signals(*GOODBYE[0])

    def _check_alive(self) -> None:
        if self.status is not None:
            raise ShellError(f"{self.argv[0]} has ended with status {self.status}; start a new one")

    def _line_at_prompt(self) -> str:
        """Return what stands behind the prompt; where there is no prompt, say who is in the way."""
        if self._pty.wait_for_prompt(GRACE):
            return self._pty.line()
        self._check_alive()
        group = self._pty.foreground()
        name = next((p.name for p in procfs.processes().values() if p.pid == group), "a program")
        raise ShellError(
            f"{name} (PID {group}) has the terminal, so nothing can be typed at a prompt. "
            "End it first, in the terminal (q, Ctrl-C or Ctrl-D) or with shell.send('\\x03')"
        )

    def _expect_prompt(self, action: str, timeout: float) -> str:
        deadline = time.monotonic() + timeout
        try:
            end = self._pty.expect_prompt(timeout)
            while end is self._pty.prompt and self._is_drawn_again():
                end = self._pty.expect_prompt(max(0, deadline - time.monotonic()))
        except KeyboardInterrupt:
            self._pty.send("\x03")
            raise
        if end is pexpect.TIMEOUT:
            screen = "\n".join(self._text().splitlines()[-ROWS:])
            self._pty.send("\x03")
            self._pty.expect_prompt(5)
            raise TimeoutError(
                f"{action!r} showed no prompt within {timeout:g} s. Does it wait for input, or for "
                f"ever? The screen so far:\n{screen}"
            )
        return self._text()

    def _is_drawn_again(self) -> bool:
        """Whether this is still the prompt at which the command is typed: no line has ended."""
        text = self._text()
        return text.endswith(_DRAWN_AGAIN) and "\n" not in text

    def _text(self) -> str:
        before: str = self._pty.before or ""
        while before.endswith(self._prompt + _DRAWN_AGAIN):
            before = before.removesuffix(self._prompt + _DRAWN_AGAIN)
        return _BRACKETED_PASTE.sub("", before.replace("\r\n", "\n").replace(self._mark, ""))


class _Pty(pexpect.spawn):  # type: ignore[misc]
    """pexpect's end of a terminal, read and written by a thread of its own.

    It does not know its Shell, so that a Shell which nobody holds any more is closed.

    Attributes:
        over: the command has ended, and its status is known.
        prompt: what `expect_prompt` waits for.
    """

    def __init__(self, argv: Sequence[str], environment: dict[str, str], prompt: bytes) -> None:
        super().__init__(
            argv[0],
            list(argv[1:]),
            env=environment,
            dimensions=(ROWS, COLUMNS),
            encoding="utf-8",
            codec_errors="replace",
            maxread=65536,
            # Only at the very end is it a prompt, and not `env` showing PS1.
            searchwindowsize=len(prompt.decode()),
            preexec_fn=_forget_signals,
        )
        self.size = (ROWS, COLUMNS)
        self.over = False
        self.prompt = prompt.decode()
        self._prompt = prompt
        self._log = bytearray()
        self._unread = bytearray()  # what pexpect has not asked for yet
        self._expecting = False
        self._prompt_group = 0  # who had the terminal when the last prompt came
        self._typed = bytearray()  # what the terminal has not taken yet
        self._listeners: list[Listener] = []
        self._changed = threading.Condition(threading.RLock())
        self._delivery = threading.RLock()
        self._ended = os.pidfd_open(self.pid)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        os.set_blocking(self.child_fd, False)
        self._thread = threading.Thread(target=self._pump, name=f"pty-{self.pid}", daemon=True)
        self._thread.start()

    def send(self, text: str) -> int:
        """Type a text; the thread hands it to the terminal as that takes it."""
        data = text.encode(errors="surrogateescape")
        with self._changed:
            self._typed += data
            if not self.over:
                os.eventfd_write(self._wake, 1)
        return len(data)

    def read_nonblocking(self, size: int = 1, timeout: float | None = -1) -> str:
        """Return what the thread has read, as pexpect expects it; raise EOF or TIMEOUT."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._unread or self.over, timeout):
                raise pexpect.TIMEOUT("no output")
            if not self._unread:
                self.flag_eof = True
                raise pexpect.EOF("the command has ended")
            data = bytes(self._unread[:size])
            del self._unread[:size]
        text: str = self._decoder.decode(data, final=False)
        return text

    def expect_prompt(self, timeout: float) -> object:
        """Wait for the prompt (its text), the end (EOF) or the time-out (TIMEOUT)."""
        patterns = [self.prompt, pexpect.EOF, pexpect.TIMEOUT]
        self._expecting = True
        try:
            return patterns[self.expect_exact(patterns, timeout=timeout)]
        finally:
            self._expecting = False

    def wait_for_prompt(self, timeout: float) -> bool:
        """Wait until the shell asks for a command; False where another program has the terminal."""

        def asks() -> bool:
            return self.over or b"\n" not in self._tail()

        with self._changed:
            # Where the background printed something below the prompt, the shell has the terminal.
            # So it has when a program has ended and the prompt is still on its way: hence the wait.
            asked = self._changed.wait_for(asks, timeout)
            return (asked or self.foreground() == self._prompt_group) and not self.over

    def is_edited(self) -> bool:
        """Whether a line is edited by the program that reads it, and not by the terminal.

        Who hands all keys on to another terminal, as the runtime does, takes Ctrl-C as well.
        """
        try:
            flags = termios.tcgetattr(self.child_fd)[3]
        except termios.error:  # it is closed
            return False
        return bool(flags & termios.ISIG and not flags & termios.ICANON)

    def wait_for_reader(self, timeout: float) -> bool:
        """Wait until the shell has left the terminal to a command; False where it asks again."""
        end = time.monotonic() + timeout
        with self._changed:
            while edited := self.is_edited():
                asks = b"\n" in self._unread and self._unread.endswith(self._prompt)
                if self.over or asks or time.monotonic() > end:
                    break
                self._changed.wait(0.01)  # nobody tells when a terminal gets other settings
        return not edited

    def line(self) -> str:
        """Return what has been typed behind the last prompt."""
        with self._changed:
            return self._tail().decode(errors="replace")

    def foreground(self) -> int:
        """Return the process group that reads the terminal; 0 where there is none."""
        try:
            return os.tcgetpgrp(self.child_fd)
        except OSError:
            return 0

    def forget(self) -> None:
        """Leave to the terminal what was printed so far; no `expect` shall find it."""
        with self._changed:
            self._unread.clear()
            self.buffer, self._before = "", self.buffer_type()  # pexpect keeps it in two places

    def resize(self, rows: int, columns: int) -> None:
        with self._changed:
            if not self.over and (rows, columns) != self.size:
                self.size = (rows, columns)
                self.setwinsize(rows, columns)

    def listen(self, listener: Listener) -> Callable[[], None]:
        with self._delivery:  # so that it hears each byte once
            listener(bytes(self._log))
            if self.over:
                listener(None)
            else:
                self._listeners.append(listener)

        def cancel() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return cancel

    def hang_up(self) -> None:
        """End the command as a closed terminal does, or else by force, and wait for its end."""
        for numbers in GOODBYE:
            with self._changed:
                self.send_signals(*numbers)
                if self._changed.wait_for(lambda: self.over, 0.5):
                    break
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def send_signals(self, *numbers: int) -> None:
        """Send signals to the command, if it still lives."""
        with self._changed, contextlib.suppress(ProcessLookupError):
            for number in numbers if not self.over else ():
                signal.pidfd_send_signal(self._ended, number)

    def _tail(self) -> bytearray:
        """What stands behind the last prompt; a newline where there was none yet."""
        place = self._log.rfind(self._prompt)
        return bytearray(b"\n") if place < 0 else self._log[place + len(self._prompt) :]

    def _pump(self) -> None:
        """Read and write the terminal for as long as its command lives."""
        poll = select.poll()
        for fd in (self._ended, self._wake):
            poll.register(fd, select.POLLIN)
        rest = 0.0  # no batch before this moment
        while True:
            pause = max(0.0, rest - time.monotonic()) if self._listeners else 0.0
            reading = 0 if pause else select.POLLIN
            poll.register(self.child_fd, reading | (select.POLLOUT if self._typed else 0))
            events = dict(poll.poll(pause * 1000 or None))
            if self._wake in events:
                os.eventfd_read(self._wake)
            ready = events.get(self.child_fd, 0)
            if ready & select.POLLOUT:
                self._type()
            if self._ended in events:  # what it printed last may still be on its way
                ready |= select.POLLIN if linux.poll(self.child_fd, seconds=0.05) else 0
            if ready & (select.POLLIN | select.POLLHUP):
                data = self._read()
                if not data:  # nobody has the other end any more
                    break
                self._deliver(data)
                rest = time.monotonic() + BEAT
            elif self._ended in events:
                break
        self._reap()

    def _read(self) -> bytes:
        """Return what was printed, as far as it fits a batch; b"" at the end."""
        data = bytearray()
        with contextlib.suppress(OSError):  # EAGAIN: that was all; EIO: the end
            while len(data) < BATCH and (piece := os.read(self.child_fd, BATCH)):
                data += piece
        return bytes(data)

    def _type(self) -> None:
        with self._changed, contextlib.suppress(OSError):
            del self._typed[: os.write(self.child_fd, self._typed)]

    def _deliver(self, data: bytes) -> None:
        data = data.translate(None, _UNCOUNTED.encode())
        with self._delivery:
            with self._changed:
                self._log += data
                del self._log[:-SCROLLBACK]
                self._unread += data
                if not self._expecting:
                    del self._unread[:-SCROLLBACK]
                if self._log.endswith(self._prompt):
                    self._prompt_group = self.foreground()
                self._changed.notify_all()
            self._tell(data)

    def _reap(self) -> None:
        """Wait for the command, which has ended or lost its terminal, and say that it is over."""
        for numbers in GOODBYE:
            if linux.poll(self._ended, seconds=0):
                break
            self.send_signals(*numbers)
            linux.poll(self._ended, seconds=0.5)
        self.wait()
        with self._delivery:
            with self._changed:
                self.over = True
                self.ptyproc.delayafterclose = 0
                self.close(force=False)
                os.close(self._ended)
                os.close(self._wake)
                self._changed.notify_all()
            self._tell(None)

    def _tell(self, data: bytes | None) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(data)
            except Exception:  # the terminal goes on, without this listener
                traceback.print_exc()
                with contextlib.suppress(ValueError):
                    self._listeners.remove(listener)


def _forget_signals() -> None:
    """Before the exec: what we ignore or hold back (SIGHUP under nohup) is the shell's again."""
    linux.restore_signals()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _without_echo(output: str, command: str, input: str, *, wiped: bool) -> str:
    """Take away what the terminal showed of what was typed: the line of the command, the input.

    Where something half typed was wiped out, that may have been several lines above it.
    """
    wanted, start = _LAYOUT.sub("", command), 0
    while (end := output.find("\n", start)) >= 0:
        # Of a line as wide as the terminal, an editor shows the last character twice.
        if _LAYOUT.sub("", output[start:end]).endswith((wanted, wanted + wanted[-1:])):
            typed = "".join(c if c in "\n\t" else CARET.get(c, c) for c in input)
            return output[end + 1 :].removeprefix(typed)
        if not wiped:
            break
        start = end + 1
    return output
