"""The command line `labkit`. Each command's work is done in a room of its own.

`labkit run` should take no longer than a container, so nothing is imported before it is needed.
"""

from __future__ import annotations

import io
import os
import sys

from labkit.errors import CourseError, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Callable, Sequence
    from typing import Any

    from _typeshed import SupportsWrite


def main() -> int:
    """Run `labkit` with the words of its command line; return the exit status."""
    words = sys.argv[1:]
    # What an encoding lacks is no reason to stop.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _call(words)
        if sys.stdout:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except CourseError as error:
        return fail(f"{words[0]}: {error}")
    except OSError as error:
        os.dup2(os.memfd_create("unwritten"), 1)  # what is still in the buffer goes nowhere
        if isinstance(error, BrokenPipeError):  # the reader left; nothing more to say
            return 141
        name = f"{error.filename}: " if error.filename else ""
        return fail(f"{name}{error.strerror or error}")


def _call(words: Sequence[str]) -> int:
    if words and words[0] in ("run", "mydocker"):  # what stands behind it is the runtime's
        return run(words)
    try:
        options = _parser().parse_args(words)
    except SystemExit as end:  # help was asked for, or words were wrong; both were answered
        return int(end.code or 0)
    call: Callable[[Namespace], int] = options.call
    return call(options)


def _parser() -> ArgumentParser:
    import argparse

    class Parser(argparse.ArgumentParser):
        def print_help(self, file: SupportsWrite[str] | None = None) -> None:
            """Print the help; argparse's own says nothing of a disk that is full."""
            print(self.format_help(), end="", file=file)

    top = Parser("labkit", description="A container runtime, written notebook by notebook.")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    def command(
        name: str, call: Callable[[Namespace], int], text: str, more: str = ""
    ) -> ArgumentParser:
        about = f"{text[0].upper()}{text[1:]}."
        parser = commands.add_parser(name, help=text, description=about, epilog=more)
        parser.set_defaults(call=call)
        return parser

    _add_learners_commands(command)
    _add_instructors_commands(command)
    return top


def _add_learners_commands(command: Callable[..., ArgumentParser]) -> None:
    start = "start a container with the runtime that the notebooks hold"
    command("run", lambda _: run(["run"]), start)
    command("mydocker", lambda _: run(["mydocker"]), "call that runtime with any words of its own")
    one = command(
        "export", export, "write the runtime into a folder, where it runs without the course"
    )
    one.add_argument("folder", metavar="FOLDER", help="to write into: new, or empty")
    one.add_argument("--upto", metavar="NN", help="as it stands after notebook NN, not finished")
    one.add_argument("--delivered", action="store_true", help="not from your copies")
    one = command("progress", progress, "show which exercises you have passed")
    one.add_argument("--reset", metavar="NN|all", help="forget those of a notebook, or all")
    one = command("reset", reset, "copy a notebook anew, as delivered, and keep yours beside it")
    one.add_argument("number", metavar="NN", help="the notebook's number")
    one.add_argument("--yes", action="store_true", help="do not ask")
    one = command("hand-in", hand_in, "pack your notebooks into one file, for your instructor")
    one.add_argument("name", metavar="NAME", help="yours, as your instructor knows it")
    command("doctor", doctor, "say whether this machine can run the labs")
    one = command("lab", lab, "open your copies of the notebooks in JupyterLab on 127.0.0.1")
    one.add_argument("--port", type=int, default=8888, help="8888")
    one.add_argument("--ip", default="127.0.0.1", help="127.0.0.1; in a VM perhaps 0.0.0.0")
    one.add_argument("--no-browser", action="store_true", help="only print the address")
    one.add_argument("--edit", action="store_true", help="open notebooks/, not your copies")
    one.add_argument("--hub", action="store_true", help="as JupyterHub starts it: docs/hub.md")


def _add_instructors_commands(command: Callable[..., ArgumentParser]) -> None:
    one = command("class", release, "for instructors: write the course without its solutions")
    one.add_argument("folder", metavar="FOLDER", help="to write into, which is not there yet")
    one = command(
        "grade",
        grade,
        "for instructors: run what learners handed in, write who passed what",
        "It writes grades.csv and grades.html. A folder with notebooks in it is one learner's; in "
        "any other, each folder below that has some is. So is a zip file of labkit hand-in; one of "
        "Moodle or Canvas holds a class.",
    )
    one.add_argument("folders", nargs="+", metavar="FOLDER|ZIP")
    one.add_argument("--out", default=".", metavar="FOLDER", help="for the table: this one")
    one.add_argument("--seconds", type=_positive, default=60, help="for one cell: 60")
    one.add_argument("--memory", type=_positive, default=1024, help="MiB for a notebook: 1024")
    one.add_argument("--workers", type=_positive, help="notebooks at a time: one a core")


def run(words: Sequence[str]) -> int:
    """`labkit run`: start a container; `labkit mydocker`: call the runtime."""
    from labkit.course.run import run as start

    return start(words)


def export(options: Namespace) -> int:
    """`labkit export`: write the runtime into a folder, print how to start it."""
    from labkit.course.export import export as write

    print(write(options.folder, options.upto, delivered=options.delivered))
    return 0


def progress(options: Namespace) -> int:
    """`labkit progress`: print what was passed, or forget it."""
    from labkit.course import progress as room

    if options.reset is None:
        print(room.progress())
        return 0
    count = room.reset(None if options.reset == "all" else options.reset)
    print(f"{count} passed {'exercise' if count == 1 else 'exercises'} forgotten")
    return 0


def reset(options: Namespace) -> int:
    """`labkit reset`: ask, then copy a notebook anew."""
    from labkit.course import copies

    if not options.yes and not sys.stdin.isatty():
        return fail("reset: nobody is here to be asked; in a script, say labkit reset --yes NN")
    print(copies.reset(options.number, (lambda _: True) if options.yes else _agrees))
    return 0


def hand_in(options: Namespace) -> int:
    """`labkit hand-in`: pack the learner's notebooks into one file."""
    from labkit.course import copies

    file = copies.hand_in(options.name)
    print(f"{file} holds your notebooks as they were last saved. Hand in this file.")
    return 0


def doctor(_: Namespace) -> int:
    """`labkit doctor`: print what this machine allows; status 1 where the labs cannot run."""
    from labkit import doctor as room

    return room.main()


def lab(options: Namespace) -> int:
    """`labkit lab`: become JupyterLab; with --hub, a learner's server of a JupyterHub."""
    # jsonschema's grammar of addresses: a second of the start, and not needed here.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from labkit.course import jupyter

    (jupyter.start_for_hub if options.hub else jupyter.start)(options)
    return 0


def release(options: Namespace) -> int:
    """`labkit class`: write the release version of the course."""
    return _classroom("release", options.folder)


def grade(options: Namespace) -> int:
    """`labkit grade`: run what learners handed in, and write who passed what."""
    return _classroom("grade", options)


def _classroom(room: str, options: Any) -> int:
    """Hand on to a module of `classroom`, which learners' copies of the course leave out."""
    from importlib import import_module

    try:
        status: int = import_module(f"classroom.{room}").main(options)
        return status
    except ModuleNotFoundError as error:
        if error.name != "classroom":
            raise
        what = "this needs the instructor's course, with its folder classroom/"
        raise CourseError(what) from None


def _agrees(question: str) -> bool:
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _positive(word: str) -> int:
    import argparse

    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number above 0")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
