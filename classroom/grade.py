"""Grades what learners handed in: a sandboxed worker for each notebook, as many as there are cores.

Nothing of a notebook runs in this process, nor as the machine's root.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from classroom.submissions import Submission, find
from labkit import hardened, linux
from labkit.errors import CourseError, fail, printable
from labkit.exercise import remove
from labkit.exercise.sandboxed_run import environment

NOBODY = "nobody"
MAX_NOTEBOOK = 50_000_000  # bytes of one that is handed in


@dataclass
class Result:
    """What was found out about a submission.

    Attributes:
        submission: which.
        verdicts: exercise to whether it passed, and a message.
        runs: what went wrong first when it ran from top to bottom; "" where nothing did.
        problem: why it could not be graded; "" where it was.
    """

    submission: Submission
    verdicts: dict[str, tuple[bool, str]] = field(default_factory=dict)
    runs: str = ""
    problem: str = ""

    def __str__(self) -> str:
        """What there is to say in a line."""
        passed = sum(good for good, _ in self.verdicts.values())
        said = self.problem or f"{passed} of {len(self.verdicts)}"
        return printable(f"{self.submission.learner} {self.submission.number}: {said}")


def main(options: Namespace) -> int:
    """Do what `labkit grade` was asked for; return the exit status.

    Args:
        options: folders, out, seconds, memory and workers, as `labkit grade --help` tells.

    Raises:
        CourseError: nothing can be graded.
        OSError: the report cannot be written.
    """
    from classroom import report

    out = Path(options.out)
    if not (out.is_dir() and os.access(out, os.W_OK | os.X_OK)):  # not after an hour of grading
        raise CourseError(f"cannot write into {out}. Name another folder with --out")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it, too, leaves a report behind
    results, stopped = [], False
    with find([*map(Path, options.folders)]) as (found, problems):
        for problem in problems:
            fail(f"grade: {problem}")
        if not found:
            return 1
        workers = options.workers or len(os.sched_getaffinity(0))
        try:
            graded = grade(found, options.seconds, options.memory, user(), workers)
            with closing(graded), tqdm(total=len(found), unit="notebook", disable=None) as bar:
                for result in graded:
                    results.append(result)
                    bar.update()
                    tqdm.write(f"{len(results)}/{len(found)} {result}", file=sys.stderr)
        except KeyboardInterrupt:
            stopped = True
    written = report.write(results, out)
    print(f"{len(results)} of {len(found)} notebooks graded: {' and '.join(map(str, written))}")
    return 130 if stopped else int(bool(problems or any(result.problem for result in results)))


def user() -> pwd.struct_passwd | None:
    """Return as which user a submission runs: None for this one, another where this one is root.

    Raises:
        CourseError: it cannot start this program.
    """
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam(NOBODY)
    command = [sys.executable, "-Ps", "-c", "import classroom, labkit.sandbox, zmq"]
    try:
        subprocess.run(command, capture_output=True, check=True, **_home(Path("/"), nobody))
    except (OSError, subprocess.CalledProcessError) as error:
        raise CourseError(
            f"notebooks that others wrote do not run as root, and the user {NOBODY} cannot start "
            f"{sys.executable} with what it needs. Start this as an ordinary user"
        ) from error
    return nobody


def grade(
    submissions: Sequence[Submission],
    seconds: int,
    memory: int,
    user: pwd.struct_passwd | None,
    workers: int,
) -> Generator[Result, None, None]:
    """Grade submissions, several at a time.

    Args:
        submissions: what was handed in.
        seconds: for one cell.
        memory: MiB, for a notebook.
        user: as whom they run; None means as this user.
        workers: how many at a time.

    Yields:
        a result for each, as they get done. What was started ends with the iteration.
    """
    stop, stopping = os.pipe()
    pool = ThreadPoolExecutor(workers)
    try:
        todo = [pool.submit(_grade, s, seconds, memory, user, stop) for s in submissions]
        for done in as_completed(todo):
            yield done.result()
    finally:
        os.close(stopping)  # whatever still runs ends
        pool.shutdown(cancel_futures=True)
        os.close(stop)


def _grade(
    submission: Submission, seconds: int, memory: int, user: pwd.struct_passwd | None, stop: int
) -> Result:
    """Grade a submission, until its end or that of `stop`, a pipe."""
    folder = Path(tempfile.mkdtemp(prefix="labkit-grade-"))
    try:
        name = submission.path.name
        _copy(submission.path, folder / name)
        (folder / "run").mkdir()
        for place in (folder, *folder.iterdir()) if user else ():
            shutil.chown(place, NOBODY)
        python = [sys.executable, "-Ps", "-m"]
        command = [*python, "labkit.hardened", str(folder), *python, "classroom.worker"]
        command += [name, str(seconds), str(memory)]
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=errors,
                start_new_session=True,
                **_home(folder, user),
            )
            # More than a worker's own limits add up to: one that hangs in spite of them ends, too.
            longest = 300 + 10 * seconds + 60 * len(submission.exercises)
            ended = os.pidfd_open(process.pid)
            in_time = linux.poll(ended, stop, seconds=longest)
            os.close(ended)
            hardened.end(process)
            lines = _lines(told) or ['{"problem": "its worker ended"}']
            result = Result(submission, **json.loads(lines[-1]))
            if result.problem:
                said = "".join(_lines(errors)[-1:])[:300] or result.problem
                result.problem = said if in_time else "it was not done in time"
            return result
    except (CourseError, OSError, ValueError) as error:
        return Result(submission, problem=str(error))
    finally:
        remove(folder)


def _home(folder: Path, user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return how `subprocess` starts a program whose home is a folder, perhaps as another user."""
    found: dict[str, Any] = {"cwd": folder, "env": environment(folder)}
    if user:
        found |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return found


def _lines(file: IO[bytes]) -> list[str]:
    file.seek(0)
    return file.read().decode(errors="replace").splitlines()


def _copy(path: Path, target: Path) -> None:
    """Copy what was handed in: a file, not too large, and nothing that a link points to."""
    if path.is_symlink() or not path.is_file():
        raise CourseError(f"{path.name} is no file, but a link, a pipe or a folder")
    if path.stat().st_size > MAX_NOTEBOOK:
        raise CourseError(f"{path.name} has more than {MAX_NOTEBOOK / 1e6:g} MB")
    shutil.copyfile(path, target)
