"""The command line `labkit`. Each command's work is done in a room of its own.

`labkit run` should take no longer than a container, so nothing is imported before it is needed.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = """labkit: a container runtime, written notebook by notebook

  labkit run [--upto NN] [OPTION …] COMMAND [ARGUMENT …]
                          start a container with the runtime that the notebooks hold
  labkit progress         show which exercises you have passed (--reset NN|all forgets them)
  labkit reset NN         bring a notebook back to how it was delivered, and keep yours beside it
  labkit doctor           say whether this machine can run the labs
  labkit lab [--port N]   open the course in JupyterLab on 127.0.0.1
  labkit save [NN …]      run the notebooks and save what they print

for instructors
  labkit class FOLDER     write the learners' edition: the course without its solutions
  labkit grade FOLDER …   run the learners' notebooks, write who passed what
"""
RUN_USAGE = """usage: labkit run [--upto NN] [--delivered] [OPTION …] COMMAND [ARGUMENT …]

  --upto NN     the runtime as it stands after notebook NN; without it, the finished one
  --delivered   from the notebooks as they were delivered, without your edits

The other options are the runtime's own, such as -i and -t; each version knows more of them.
From notebook 08 on the runtime makes its own user namespace and is started as it is; earlier
versions are started in a sandbox, as in the notebooks, where they have the rights that they need.
"""
MAIN = "mydocker/main.py"


def main() -> int:
    """Run `labkit` with the words of its command line; return the exit status."""
    # What an encoding lacks is no reason to stop.
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _call(sys.argv[1:])
        if sys.stdout:
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        os.dup2(os.memfd_create("unwritten"), 1)  # what is still in the buffer goes nowhere
        if isinstance(error, BrokenPipeError):  # the reader left; nothing more to say
            return 141
        name = f"{error.filename}: " if error.filename else ""
        return _fail(f"{name}{error.strerror or error}")


def _call(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if words else 2
    command = COMMANDS.get(words[0])
    if command is None:
        known = ", ".join(COMMANDS)
        return _fail(f"there is no command {words[0]!r}; there are {known} (labkit --help)", 2)
    return command(words[1:])


def run(words: Sequence[str]) -> int:
    """`labkit run`: call the runtime as it stands after a notebook, early ones in a sandbox."""
    from labkit.course import cache

    # Where one of ours is closed, a pipe must not take its number.
    while (null := os.open(os.devnull, os.O_RDWR)) < 3:
        pass
    os.close(null)
    if words and words[0] in ("-h", "--help"):
        print(RUN_USAGE, end="")
        return 0
    upto, as_delivered, rest = None, False, list(words)
    while rest and (option := rest[0].partition("="))[0] in ("--upto", "--delivered"):
        rest.pop(0)
        if option[0] == "--delivered":
            as_delivered = True
        elif not option[1] and not rest:
            return _fail("run: --upto wants the number of a notebook, such as 03", 2)
        else:
            upto = option[2] if option[1] else rest.pop(0)
    folder = "" if as_delivered else cache.find(upto)
    if not folder:
        from labkit.course import delivered, workbook

        before = cache.look()
        try:
            files = delivered.runtime(upto) if as_delivered else workbook.runtime(upto)
            if MAIN not in files:
                raise workbook.WorkbookError(f"no notebook up to {upto or 'the last'} holds {MAIN}")
        except workbook.WorkbookError as error:
            from labkit.course import rehearsal

            return _fail(f"run: {error}{rehearsal.blame(upto, words)}")
        folder = str(workbook.install(files))
        if not as_delivered:
            cache.note(upto, folder, before)
    program = f"{folder}/{MAIN}"

    def start() -> int:
        sys.argv = [program, "run", *rest]
        sys.path.insert(0, f"{folder}/mydocker")
        try:
            with open(program, "rb") as file:
                code = compile(file.read(), program, "exec")
            exec(code, {"__name__": "__main__", "__file__": program})
        except Exception as error:
            from labkit.course import rehearsal

            return _fail(f"run: {rehearsal.fault(error, upto, words, as_delivered)}")
        return 0

    # A sandbox between the two would only be in the way of signals and job control.
    if os.path.exists(f"{folder}/mydocker/user_namespace.py"):
        return start()
    from labkit import sandbox

    return sandbox.run(start)


def progress(words: Sequence[str]) -> int:
    """`labkit progress`: print what was passed, or forget it."""
    from labkit.course import progress as room
    from labkit.course import workbook

    if not words:
        print(room.progress())
        return 0
    number = words[-1].removeprefix("--reset=")
    if len(words) > 2 or words[0].partition("=")[0] != "--reset" or number == "--reset":
        return _fail("usage: labkit progress [--reset NN|all]", 2)
    try:
        count = room.reset(None if number == "all" else number)
    except (workbook.WorkbookError, OSError) as error:
        return _fail(f"progress: {error}")
    print(f"{count} passed {'exercise' if count == 1 else 'exercises'} forgotten")
    return 0


def reset(words: Sequence[str]) -> int:
    """`labkit reset`: ask, then bring a notebook back to how it was delivered."""
    from labkit.course import delivered, workbook

    yes = "--yes" in words
    numbers = [word for word in words if word != "--yes"]
    if len(numbers) != 1 or numbers[0].startswith("-"):
        return _fail("usage: labkit reset [--yes] NN", 2)
    if not yes and not sys.stdin.isatty():
        return _fail("reset: nobody is here to be asked; in a script, say labkit reset --yes NN")

    def agree(question: str) -> bool:
        if yes:
            return True
        try:
            return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
        except EOFError:
            print()
            return False

    try:
        print(delivered.reset(numbers[0], agree))
    except (workbook.WorkbookError, OSError) as error:
        return _fail(f"reset: {error}")
    return 0


def doctor(words: Sequence[str]) -> int:
    """`labkit doctor`: print what this machine allows; status 1 where the labs cannot run."""
    from labkit.doctor import check

    if words:
        return _fail(f"doctor takes no arguments, not {words[0]!r}", 2)
    uname = os.uname()
    version = ".".join(map(str, sys.version_info[:3]))
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    print(f"Linux {uname.release} on {uname.machine}, Python {version}, as {user}")
    report = check()
    print(report)
    print("The labs can run here." if report.healthy else "The labs cannot run here yet.")
    return 0 if report.healthy else 1


def lab(words: Sequence[str]) -> int:
    """`labkit lab`: check the machine, print the address, become JupyterLab."""
    import argparse

    from labkit.course import jupyter

    parser = argparse.ArgumentParser("labkit lab", description="Open the course in JupyterLab.")
    parser.add_argument("--port", type=int, default=8888, help="8888")
    parser.add_argument("--ip", default="127.0.0.1", help="127.0.0.1; in a VM perhaps 0.0.0.0")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    options = parser.parse_args(words)
    problem = jupyter.start(options.port, ip=options.ip, browser=not options.no_browser)
    return _fail(f"lab: {problem}")


def save(words: Sequence[str]) -> int:
    """`labkit save`: run notebooks and write their outputs back."""
    from labkit.course import workbook
    from labkit.course.save import save as save_one

    try:
        books = [workbook.notebook(word)[1] for word in words]
    except workbook.WorkbookError as error:
        return _fail(f"save: {error}")
    for path in books or workbook.notebooks().values():
        print(f"{path.name} …", end=" ", flush=True)
        if problem := save_one(path):
            print()
            return _fail(f"save: {problem}")
        print("saved")
    return 0


def class_(words: Sequence[str]) -> int:
    """`labkit class`: write the learners' edition of the course."""
    from pathlib import Path

    from classroom import release
    from labkit.course import workbook

    if len(words) != 1 or words[0].startswith("-"):
        return _fail("class wants one folder to write into: labkit class FOLDER", 2)
    folder = Path(words[0])
    try:
        count = release.write(folder)
    except (release.ClassroomError, workbook.WorkbookError, OSError) as error:
        return _fail(f"class: {error}")
    print(f"{folder} holds the learners' edition; {count} solutions were taken out.")
    return 0


def grade(words: Sequence[str]) -> int:
    """`labkit grade`: run what learners handed in, and write who passed what."""
    import argparse
    import signal
    from pathlib import Path

    from classroom import grade as grader
    from classroom import report
    from classroom.worker import Limits
    from labkit.course import workbook

    parser = argparse.ArgumentParser(
        "labkit grade",
        description="Judge and run the learners' notebooks; write grades.csv and grades.html.",
        epilog="A folder with notebooks in it is one learner's; in any other, each folder below "
        "that has some is.",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for the table: this one")
    parser.add_argument("--seconds", type=_positive, default=60, help="for one cell: 60")
    parser.add_argument("--memory", type=_positive, default=1024, help="MiB for a notebook: 1024")
    parser.add_argument("--workers", type=_positive, help="notebooks at a time: one a core")
    options = parser.parse_args(words)
    if not options.out.is_dir():
        return _fail(f"grade: there is no folder {options.out} to write into")
    if not os.access(options.out, os.W_OK | os.X_OK):  # not when an hour of grading is over
        return _fail(f"grade: cannot write into {options.out}. Name another folder with --out")
    limits = Limits(seconds=options.seconds, memory=options.memory)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it, too, leaves a table behind
    results, stopped = [], False
    try:
        with grader.course() as books:
            papers, problems = grader.papers(options.folders, books)
            for problem in problems:
                _fail(f"grade: {problem}")
            if not papers:
                return 1
            workers = options.workers or len(os.sched_getaffinity(0))
            graded = grader.grade(papers, books, limits, grader.user(), workers)
            for result in grader.with_progress(graded, len(papers)):
                results.append(result)
    except (grader.GradeError, workbook.WorkbookError) as error:
        return _fail(f"grade: {error}")
    except KeyboardInterrupt:
        stopped = True
    written = report.write(results, options.out)
    print(f"{len(results)} of {len(papers)} notebooks graded: {' and '.join(map(str, written))}")
    return 130 if stopped else int(bool(problems or any(result.problem for result in results)))


def _positive(word: str) -> int:
    import argparse

    if not word.isdecimal() or not int(word):
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number above 0")
    return int(word)


def _fail(message: str, status: int = 1) -> int:
    # A name may hold what a terminal obeys, or what is no text.
    shown = "".join(c if c.isprintable() or c == "\n" else "?" for c in message)
    print(f"labkit: {shown}", file=sys.stderr)
    return status


COMMANDS = {
    "run": run,
    "progress": progress,
    "reset": reset,
    "doctor": doctor,
    "lab": lab,
    "save": save,
    "class": class_,
    "grade": grade,
}

if __name__ == "__main__":
    sys.exit(main())
