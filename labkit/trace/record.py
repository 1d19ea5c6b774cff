"""Records a real run: which process called what when, and the process tree at that very moment.

A log line is read when the process that wrote it is already further on, so a process tree taken
then would be false. Here each process of the run stands still in its call until the tree has been
read (`labkit.trace.seccomp`). Reads; draws nothing.
"""

import json
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from labkit import linux, procfs
from labkit.procfs import Process
from labkit.shell import Shell, ShellError
from labkit.trace import seccomp

MAX_EVENTS = 1000  # of one recording
MAX_TEXT = 4096  # bytes of a text that are kept
PROMPT_MARK = "\x1b]133;A;"  # begins the mark in the prompts of labkit.shell
SELF = "/proc/self/exe"
CLONE_THREAD = 0x00010000  # linux/sched.h
NAMESPACES = ("UTS", "PID", "NS", "NET", "IPC", "USER", "CGROUP")  # behind CLONE_NEW

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

    @classmethod
    def parse(cls, text: str) -> "Log | None":
        """Read a line; None where it is no line of a log."""
        try:
            fields = json.loads(text)
            return cls(fields["level"], fields["msg"], datetime.fromisoformat(fields["time"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None


@dataclass(frozen=True)
class Event:
    """A process at the beginning of a system call, before the kernel does it.

    Attributes:
        time: seconds since the first event. The time for which the recorder held the run is
            taken off; the time that the kernel needs to wake the recorder (tens of
            microseconds, more under load) is not.
        call: "write" (to descriptor 1 or 2), "execve" (where PATH is searched, the last try),
            "mount", "clone" (also clone3) or "exit".
        words: write: the text; execve: the argument vector; mount: source, target and type ("" for
            none); clone: the namespaces asked for, "UTS", …; exit: the status.
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
    who: Process
    tree: Tree
    roles: tuple[str, ...]
    log: Log | None
    prompt: bool
    failed: bool = False

    @property
    def role(self) -> str:
        """Role of the process that calls."""
        return self.roles[[process.pid for _, process in self.tree].index(self.who.pid)]


@dataclass(frozen=True)
class Recording:
    """A run, from the command's start to the first prompt or the end.

    Attributes:
        events: in the order in which the kernel let them go on.
        output: what the terminal showed.
    """

    events: tuple[Event, ...]
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
        ShellError: the command ended the shell.
        TimeoutError: no prompt came; the message shows the screen.
        ValueError: the command is not one line.
    """
    recorder = _Recorder()
    # An interrupt comes to the main thread, between any two steps of it. So it only waits here.
    with ThreadPoolExecutor(1, "labkit record") as pool:
        try:
            return pool.submit(recorder.record, command, timeout).result()
        except BaseException:
            recorder.give_up()
            raise


def _observe(root: int, notification: seccomp.Notification, when: float) -> Event | None:
    """Read what a process is about to do; None where it is the shell itself, or has left it."""
    thread, call, arguments, _ = notification
    low = arguments[0] & 0xFFFFFFFF  # of an int the kernel takes no more
    if thread == root or (call == "write" and low not in (1, 2)):
        return None
    tree = tuple(procfs.settled_tree(root))  # the caller stands still, others may not
    who = next((p for _, p in tree if Path(f"/proc/{p.pid}/task/{thread}").exists()), None)
    if who is None:
        return None
    words: tuple[str, ...]
    with Path(f"/proc/{thread}/mem").open("rb", buffering=0) as file:
        memory = file.fileno()
        if call == "write":
            text = os.pread(memory, min(arguments[2], MAX_TEXT), arguments[1])
            words = (text.decode(errors="replace"),)
        elif call == "execve":
            words = tuple(_strings(memory, arguments[1]))
        elif call == "mount":
            words = tuple(_string(memory, address) for address in arguments[:3])
        elif call == "exit":
            words = (str(low & 0xFF),)
        else:
            flags = _word(memory, arguments[0]) if call == "clone3" else low
            if flags & CLONE_THREAD:
                return None
            words = tuple(n for n in NAMESPACES if flags & getattr(linux, f"CLONE_NEW{n}"))
    log = Log.parse(words[0]) if call == "write" else None
    # A prompt has no end of line; `env`, which shows PS1, does.
    prompt = call == "write" and PROMPT_MARK in words[0] and not words[0].endswith("\n")
    call = call.removesuffix("3")
    return Event(when, call, words, who, tree, tuple(_roles(tree)), log, prompt)


class _Recorder:
    """A shell that is recorded while it runs a command; `record` leaves nothing behind."""

    def __init__(self) -> None:
        self._shell: Shell | None = None
        self._given_up = False
        self._root = 0  # PID of the shell while we record, else 0
        self._found: list[Event] = []
        self._held = 0.0  # seconds for which the run stood still because of us
        self._problem: OSError | None = None

    def record(self, command: str, timeout: float) -> Recording:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind("")  # to an abstract address that is free, see unix(7)
            thread = threading.Thread(target=self._supervise, args=[server], daemon=True)
            thread.start()
            try:
                output = self._run(server.getsockname()[1:].decode(), command, timeout)
            finally:
                server.shutdown(socket.SHUT_RDWR)  # tells the thread
                thread.join()
        if self._problem:
            raise RecordError(
                f"what a process calls cannot be read: {self._problem}. Usually: tracing is "
                "forbidden (cure: sysctl kernel.yama.ptrace_scope=1), or this /proc shows another "
                "PID namespace"
            )
        if len(self._found) > MAX_EVENTS:
            raise RecordError(f"the run makes more than {MAX_EVENTS} calls; record a shorter one")
        events = list(_with_outcome(self._found))
        timed = (replace(event, time=event.time - events[0].time) for event in events)
        return Recording(tuple(timed), output)

    def give_up(self) -> None:
        """Let `record` end soon; from any thread."""
        self._given_up = True
        if self._shell:
            self._shell.close()

    def _run(self, address: str, command: str, timeout: float) -> str:
        argv = [sys.executable, "-m", "labkit.trace.seccomp", address, "/bin/sh"]
        try:
            shell = Shell(argv, timeout=timeout)
        except ShellError as error:
            reason = str(error).rsplit("it ended with status 1: ", 1)[-1].strip()
            raise RecordError(f"a run cannot be recorded here: {reason}") from None
        with shell:
            self._shell = shell
            if self._given_up:
                raise RecordError("it was given up")
            self._root = shell.pid
            output = shell.run(command)
            self._root = 0
        return output

    def _supervise(self, server: socket.socket) -> None:
        _, listeners, _, _ = socket.recv_fds(server, 1, 1)
        for listener in listeners:  # one; none where the server was shut down
            poll = select.poll()
            poll.register(listener, select.POLLIN)
            poll.register(server, 0)  # its end is reported unasked, as is that of the last caller
            try:
                while poll.poll() == [(listener, select.POLLIN)]:
                    self._answer(listener)
            finally:
                os.close(listener)

    def _answer(self, listener: int) -> None:
        came, count = time.monotonic(), len(self._found)
        notification = seccomp.receive(listener)
        if notification is None:
            return
        problem = None
        # Kept before it goes on: the next event, or the prompt, must find this one here.
        if self._root and count <= MAX_EVENTS:
            try:
                event = _observe(self._root, notification, came - self._held)
                self._found += [event] if event else []
            except OSError as error:
                problem = error
        if seccomp.continue_(listener, notification):
            self._problem = self._problem or problem
        else:  # it was killed, or a signal came and it will call again
            del self._found[count:]
        self._held += time.monotonic() - came


def _with_outcome(events: Sequence[Event]) -> Iterator[Event]:
    """Tell each execve that failed: the process is the same when it calls the next time.

    One that failed and is tried again was a search through PATH, and is left out.
    """
    for number, event in enumerate(events, 1):
        its = (later for later in events[number:] if later.who.pid == event.who.pid)
        if event.call != "execve" or not (later := next(its, None)):
            yield event
        elif (later.call, later.words) != (event.call, event.words):
            same = later.who.command == event.who.command != event.words
            yield replace(event, failed=same)


def _roles(tree: Tree) -> Iterator[str]:
    """Say what each process is; one in the container has more PIDs than the shell."""
    commands = {process.pid: process.command for _, process in tree}
    for depth, process in tree:
        if len(process.pids) == len(tree[0][1].pids):
            yield "parent" if depth else ""
            continue
        # Between clone and exec it is a copy of its parent.
        ours = process.command[:1] == (SELF,) or process.command == commands.get(process.ppid)
        yield "init" if process.pids[-1] == 1 and ours else "command"


def _word(memory: int, address: int) -> int:
    return int.from_bytes(os.pread(memory, 8, address), sys.byteorder)


def _string(memory: int, address: int) -> str:
    """Return the text that ends with a null byte; "" for a null pointer."""
    return os.fsdecode(os.pread(memory, MAX_TEXT, address).split(b"\0")[0]) if address else ""


def _strings(memory: int, address: int) -> Iterator[str]:
    """Yield the texts of an array that ends with a null pointer."""
    while pointer := _word(memory, address):
        yield _string(memory, pointer)
        address += 8
