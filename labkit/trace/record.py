"""Records a real run: which process called what when, and the process tree at that very moment.

A log line is read when the process that wrote it is already further on, so a process tree taken
then would be false. Here each process of the run stands still in its call until the tree has been
read (`labkit.trace.seccomp`). Reads; draws nothing.
"""

import contextlib
import errno
import json
import os
import secrets
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from labkit import linux, procfs
from labkit.procfs import Process
from labkit.shell import Shell, ShellError
from labkit.trace import seccomp

MOST = 1000  # moments of one recording
LONGEST = 4096  # bytes of a text that are kept
RESTLESS = 1.0  # seconds after which a tree that goes on changing is taken as it is
PROMPT = "\x1b]133;A;"  # begins the mark in the prompts of labkit.shell
SELF = "/proc/self/exe"
CLONE_THREAD = seccomp.CLONE_THREAD

Tree = tuple[tuple[int, Process], ...]


class RecordError(Exception):
    """The run could not be recorded; the message says why."""


@dataclass(frozen=True)
class Log:
    """One line of the runtime's log.

    Attributes:
        level: "info", "error", …
        message: its text.
        time: the line's own time stamp, which the writer put there.
    """

    level: str
    message: str
    time: datetime


@dataclass(frozen=True)
class Moment:
    """A process at the beginning of a system call, before the kernel does it.

    Attributes:
        time: seconds since the first moment. The time for which the recorder held the run is
            taken off; the time that the kernel needs to wake the recorder (tens of
            microseconds, more under load) is not.
        call: "write" (to descriptor 1 or 2), "execve" (where PATH is searched, the last try),
            "mount", "clone" (also clone3) or "exit".
        words: write: the text; execve: the argument vector; mount: source, target and type ("" for
            none); clone: the namespaces asked for, "UTS", …; exit: the status.
        flags: of mount and clone, else 0.
        who: the process.
        tree: the lab's shell and all below it, each with its depth.
        roles: of each process in the tree: "" for the shell, "parent" (in the lab), "init" (first
            in the container, while it is our program) or "command".
        log: the line of the log that is written, if it is one.
        prompt: whether a shell asks for its first command.
        failed: whether it is an execve that the kernel refused.
    """

    time: float
    call: str
    words: tuple[str, ...]
    flags: int
    who: Process
    tree: Tree
    roles: tuple[str, ...]
    log: Log | None
    prompt: bool
    failed: bool = False

    @property
    def role(self) -> str:
        """Role of the process that calls."""
        return next(
            role
            for (_, process), role in zip(self.tree, self.roles, strict=True)
            if process.pid == self.who.pid
        )


@dataclass(frozen=True)
class Recording:
    """A run, from the command's start to the first prompt or the end.

    Attributes:
        command: the command line.
        moments: in the order in which the kernel let them go on.
        output: what the terminal showed.
    """

    command: str
    moments: tuple[Moment, ...]
    output: str


def record(command: str, *, timeout: float = 30) -> Recording:
    """Type a command into a shell of its own, record it up to the next prompt, and end it.

    The prompt may be that of a shell in the container, or of the shell outside when the command
    has ended.

    Args:
        command: one line, as in `labkit.shell.Shell.run`.
        timeout: seconds that it may take.

    Raises:
        RecordError: this machine forbids it, or the run makes too many calls.
        ShellError: the shell cannot be started, or the command ended it.
        TimeoutError: no prompt came; the message shows the screen.
        ValueError: the command is not one line.
    """
    session = _Session(command, timeout)
    # An interrupt comes to the main thread, between any two steps of it. So it only waits here.
    thread = threading.Thread(target=session.run, name="labkit record", daemon=True)
    try:
        thread.start()
        thread.join()
    except BaseException:
        session.give_up()
        with contextlib.suppress(RuntimeError):  # the interrupt may have come before its start
            thread.join()
        raise
    return session.result()


class _Session:
    """A shell that is recorded while it runs a command; `run` leaves nothing behind."""

    def __init__(self, command: str, timeout: float) -> None:
        self._command, self._timeout = command, timeout
        self._shell: Shell | None = None
        self._given_up = False
        self._result: Recording | Exception = RecordError("it was given up")

    def run(self) -> None:
        try:
            with _Recorder() as recorder:
                self._result = self._record(recorder)
        except Exception as error:
            self._result = error

    def give_up(self) -> None:
        """Let `run` end soon; from any thread."""
        self._given_up = True
        if self._shell:
            self._shell.close()

    def result(self) -> Recording:
        if isinstance(self._result, Exception):
            raise self._result
        return self._result

    def _record(self, recorder: "_Recorder") -> Recording:
        argv = [sys.executable, "-m", "labkit.trace.seccomp", recorder.address, "/bin/sh"]
        try:
            shell = Shell(argv, timeout=self._timeout)
        except ShellError as error:
            reason = str(error).rsplit("it ended with status 1: ", 1)[-1].strip()
            raise RecordError(f"a run cannot be recorded here: {reason}") from None
        with shell:
            self._shell = shell
            if self._given_up:
                raise RecordError("it was given up")
            recorder.begin(shell.pid)
            output = shell.run(self._command)
            recorder.end()
        return Recording(self._command, recorder.moments(), output)


class _Recorder:
    """Answers the calls of a run, in a thread of its own, and keeps what it saw."""

    def __init__(self) -> None:
        self.address = f"labkit-{secrets.token_hex(16)}"
        self._root = 0  # PID of the shell while we record, else 0
        self._found: list[Moment] = []
        self._held = 0.0  # seconds for which the run stood still because of us
        self._error = ""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(f"\0{self.address}")
        self._server.listen()
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._supervise, daemon=True)

    def __enter__(self) -> "_Recorder":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        self._thread.join()
        self._server.close()
        os.close(self._over)

    def begin(self, root: int) -> None:
        """From here on keep what happens below this PID."""
        self._root = root

    def end(self) -> None:
        """From here on let everything go on unseen."""
        self._root = 0

    def moments(self) -> tuple[Moment, ...]:
        """Return what was kept, each with its roles.

        Raises:
            RecordError: it is not the whole run.
        """
        if self._error:
            raise RecordError(self._error)
        found = list(_with_outcome(self._found))
        start = found[0].time if found else 0
        inside = max((len(p.pids) for moment in found for _, p in moment.tree), default=0)
        return tuple(
            replace(moment, time=moment.time - start, roles=_roles(moment.tree, inside))
            for moment in found
        )

    def _supervise(self) -> None:
        listener = self._accept()
        if listener is None:
            return
        try:
            poll = select.poll()
            poll.register(listener, select.POLLIN)
            poll.register(self._over, 0)  # its end is reported unasked
            while True:
                ready = dict(poll.poll())
                if ready.get(listener, 0) & select.POLLIN:
                    self._answer(listener)
                elif ready:  # nobody is left who could call, or nobody is interested any more
                    return
        finally:
            os.close(listener)

    def _accept(self) -> int | None:
        """Wait for the launcher to hand its listener over; None where we are done before."""
        poll = select.poll()
        poll.register(self._server, select.POLLIN)
        poll.register(self._over, 0)  # its end is reported unasked
        while self._over not in dict(poll.poll()):
            connection, _ = self._server.accept()
            with connection:
                # struct ucred: an abstract socket has no permissions, anybody may connect
                peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
                if struct.unpack("3i", peer)[1] == os.geteuid():
                    _, listeners, _, _ = socket.recv_fds(connection, 1, 1)
                    if listeners:
                        return listeners[0]
        return None

    def _answer(self, listener: int) -> None:
        came = time.monotonic()
        notification = seccomp.receive(listener)
        if notification is None:
            return
        moment: Moment | None
        moment, problem = None, ""
        if self._root and not self._error:
            try:
                moment = _look(self._root, notification, came - self._held)
            except OSError as error:
                problem = (
                    f"what {notification.call} is called with could not be read: {error}. Usually: "
                    "tracing is forbidden (cure: sysctl kernel.yama.ptrace_scope=1), or this /proc "
                    "shows another PID namespace"
                )
            if len(self._found) == MOST:
                problem = f"the run makes more than {MOST} calls; record a shorter one"
        # Before it goes on: the next moment, or the prompt, must find this one here.
        if moment:
            self._found.append(moment)
        if seccomp.let_go(listener, notification):
            self._error = self._error or problem
        elif moment:
            self._found.pop()  # it was killed, or a signal came and it will call again
        self._held += time.monotonic() - came


def _look(root: int, notification: seccomp.Notification, when: float) -> Moment | None:
    """Return the moment of a call; None where it is no part of what we record."""
    tree = _still(root)
    pid = _process_of(notification.thread)
    who = next((process for _, process in tree if process.pid == pid), None)
    if who is None or pid == root:  # one that left the shell, or the shell itself
        return None
    call, arguments = notification.call, notification.arguments
    words: tuple[str, ...] = ()
    flags = 0
    with _memory(notification.thread) as memory:
        if call == "write":
            text = memory.read(arguments[1], min(arguments[2], LONGEST))
            words = (text.decode(errors="replace"),)
        elif call == "execve":
            words = tuple(memory.strings(arguments[1])) or (memory.string(arguments[0]),)
        elif call == "mount":
            words = tuple(memory.string(address) for address in arguments[:3])
            flags = arguments[3]
        elif call == "clone":
            clone3 = notification.number == linux.SYS_CLONE3
            flags = memory.word(arguments[0]) if clone3 else arguments[0] & 0xFFFFFFFF
            if flags & CLONE_THREAD:
                return None
            words = tuple(_namespaces(flags))
        else:
            call, words = "exit", (str(arguments[0] & 0xFF),)
    log = _log(words[0]) if call == "write" else None
    # A prompt has no end of line; `env`, which shows PS1, does.
    prompt = call == "write" and PROMPT in words[0] and not words[0].endswith("\n")
    return Moment(when, call, words, flags, who, tree, (), log, prompt)


def _still(root: int) -> Tree:
    """Read the tree until two readings agree.

    The caller stands still. Another process may be in the middle of its exec: then its name is
    still the old one, or it has no command, for some microseconds.
    """
    before: Tree = ()
    end = time.monotonic() + RESTLESS
    while True:
        tree = tuple(procfs.tree(root))
        # Memory and state may go on changing, and are not what is drawn.
        tree = tuple((depth, replace(p, state=_state(p), resident=0)) for depth, p in tree)
        settled = tree == before and all(p.command or p.state == "Z" for _, p in tree)
        if settled or time.monotonic() > end:
            return tree
        before = tree


def _state(process: Process) -> str:
    return "Z" if process.state in "ZX" else ""


def _with_outcome(moments: Sequence[Moment]) -> Iterator[Moment]:
    """Tell each execve that failed: the process is the same when it calls the next time.

    One that failed and is tried again was a search through PATH, and is left out.
    """
    for number, moment in enumerate(moments, 1):
        its = (later for later in moments[number:] if later.who.pid == moment.who.pid)
        if moment.call != "execve" or not (later := next(its, None)):
            yield moment
        elif (later.call, later.words) != (moment.call, moment.words):
            same = later.who.command == moment.who.command != moment.words
            yield replace(moment, failed=same)


def _roles(tree: Tree, inside: int) -> tuple[str, ...]:
    """Say who is who, where `inside` is how many PIDs a process in the container has."""
    commands = {process.pid: process.command for _, process in tree}

    def role(depth: int, process: Process) -> str:
        if depth == 0:
            return ""
        if len(process.pids) < inside or inside < 2:
            return "parent"
        # Between clone and exec it is a copy of its parent.
        ours = process.command[:1] == (SELF,) or process.command == commands.get(process.ppid)
        return "init" if process.pids[-1] == 1 and ours else "command"

    return tuple(role(depth, process) for depth, process in tree)


def _log(text: str) -> Log | None:
    try:
        fields = json.loads(text)
        return Log(fields["level"], fields["msg"], datetime.fromisoformat(fields["time"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _namespaces(flags: int) -> Iterator[str]:
    for name in ("UTS", "PID", "NS", "NET", "IPC", "USER", "CGROUP", "TIME"):
        if flags & getattr(linux, f"CLONE_NEW{name}"):
            yield name


def _process_of(thread: int) -> int:
    with Path(f"/proc/{thread}/status").open("rb") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(b"Tgid:"))


@contextlib.contextmanager
def _memory(thread: int) -> Iterator["_Memory"]:
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as file:
        yield _Memory(file.fileno())


class _Memory:
    """The memory of a process that stands still, see proc_pid_mem(5)."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, address: int, size: int) -> bytes:
        """Return what stands there; nothing where the process may not read either (EFAULT)."""
        try:
            return os.pread(self._fd, size, address)
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EFAULT, errno.EOVERFLOW):
                raise
            return b""

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), sys.byteorder)

    def string(self, address: int) -> str:
        """Return the text that ends with a null byte; "" for a null pointer."""
        if not address:
            return ""
        found = b""
        while b"\0" not in found and len(found) < LONGEST:
            # A page at a time: the one behind it may not be there.
            page = self.read(address + len(found), 4096 - (address + len(found)) % 4096)
            if not page:
                break
            found += page
        return os.fsdecode(found.split(b"\0")[0])

    def strings(self, address: int) -> Iterator[str]:
        """Yield the texts of an array that ends with a null pointer."""
        while address and (pointer := self.word(address)):
            yield self.string(pointer)
            address += 8
