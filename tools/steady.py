"""`make steady NN=08`: one notebook fifty times by nbval, while other work wants the processor.

A notebook is steady when all of them pass, as root and as an ordinary user; the Makefile starts
this once for each. RUNS=10 runs it less often. What a run that failed said is in build/steady.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from labkit.course import workbook

RUNS = int(os.environ.get("RUNS", "50"))
REPORTS = Path("build/steady")


def main(words: list[str]) -> int:
    """Run a notebook again and again; return 0 where it passed each time.

    Args:
        words: the notebook's number, as a learner types it.
    """
    try:
        number, path = workbook.notebook("".join(words))
    except workbook.WorkbookError as error:
        print(f"make steady: {error}. For example: make steady NN=08", file=sys.stderr)
        return 2
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    print(f"{path.name}, {RUNS} times, as {user}: ", end="", flush=True)
    began, failed = time.monotonic(), []
    with load():
        for run in range(1, RUNS + 1):
            report = nbval(path)
            print(".F"[report is not None], end="", flush=True)
            if report is not None:
                REPORTS.mkdir(parents=True, exist_ok=True)
                failed.append(REPORTS / f"{number:02}-{run:02}.txt")
                failed[-1].write_text(report)
    each = (time.monotonic() - began) / RUNS
    print(f"\n{RUNS - len(failed)} passed, {len(failed)} failed; {each:.1f} s each")
    for place in failed:
        print(f"  {place}")
    return int(bool(failed))


@contextlib.contextmanager
def load() -> Iterator[None]:
    """Keep twice as many processes busy as there are cores."""
    count = 2 * len(os.sched_getaffinity(0))
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def nbval(path: Path) -> str | None:
    """Run a notebook once; return what pytest said where it failed."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(path)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return run.stdout if run.returncode else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
