"""`make steady NN=08`, or NN="08 09": each notebook fifty times by nbval, several at once.

A notebook is steady when all of them pass, as root and as an ordinary user; the Makefile starts
this once for each. RUNS=10 runs it less often. What a run that failed said is in build/steady.
"""

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from labkit.course import workbook

RUNS = int(os.environ.get("RUNS", "50"))
AT_ONCE = 2 * len(os.sched_getaffinity(0)) + 1  # each is the load under which the others run
REPORTS = Path("build/steady")


def main(words: list[str]) -> int:
    """Run notebooks again and again; return 0 where they passed each time.

    Args:
        words: their numbers, as a learner types them.
    """
    try:
        found = [workbook.notebook(word) for word in words or [""]]
    except workbook.WorkbookError as error:
        print(f"make steady: {error}. For example: make steady NN=08", file=sys.stderr)
        return 2
    REPORTS.mkdir(parents=True, exist_ok=True)
    return int(any([steady(number, path) for number, path in found]))


def steady(number: int, path: Path) -> list[Path]:
    """Run one notebook again and again; return where the reports of failed runs are."""
    user = "root" if os.geteuid() == 0 else "an ordinary user"
    print(f"{path.name}, {RUNS} times, {AT_ONCE} at once, as {user}: ", end="", flush=True)
    began, failed = time.monotonic(), []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for run, report in enumerate(pool.map(nbval, [path] * RUNS), 1):
            print(".F"[report is not None], end="", flush=True)
            if report is not None:
                failed.append(REPORTS / f"{number:02}-{run:02}.txt")
                failed[-1].write_text(report)
    each = (time.monotonic() - began) / RUNS
    print(f"\n{RUNS - len(failed)} passed, {len(failed)} failed; {each:.1f} s each")
    for place in failed:
        print(f"  {place}")
    return failed


def nbval(path: Path) -> str | None:
    """Run a notebook once, as a learner of its own; return what pytest said where it failed."""
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-p", "no:cacheprovider", str(path)]
    with tempfile.TemporaryDirectory(dir=REPORTS) as mine:
        env = os.environ | {"LABKIT_MINE": str(Path(mine).absolute())}
        run = subprocess.run(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    return run.stdout if run.returncode else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
