"""A page at work: from a key to the screen, and what it costs while nobody does anything.

`make bench` prints it; nothing is judged. The page itself takes the times of the keys: from the
keydown event to the first frame that shows the letter. What an idle page costs is the processor
time of its browser, JupyterLab and kernel together, beside that of a page with an empty cell.
"""

import contextlib
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from labkit import procfs
from tests.helpers import browser
from tests.helpers.browser import Terminal

if TYPE_CHECKING:
    from playwright.sync_api import Page

KEYS = int(os.environ.get("KEYS", "100"))
IDLE = float(os.environ.get("IDLE", "20"))  # seconds
SETTLED = 10  # seconds after which JupyterLab has done what it does once a page is open
EMPTY = "None"
OURS = """from labkit.course.progress import progress
from labkit.shell import Shell
from labkit import Namespaces, Terminal
shell = Shell()
display(Terminal(shell), Namespaces(shell), progress())"""
CELLS = (
    "from labkit.shell import Shell\nfrom labkit.view import Terminal\nTerminal(Shell())",
    "import time; time.sleep(1000)",
    "while True:\n    pass",
)
SHOWN = """() => { globalThis.shown = new Promise((resolve) => {
  const rows = document.querySelector(".xterm-rows");
  const before = rows.textContent;
  let pressed = 0;
  document.addEventListener("keydown", () => { pressed = performance.now(); },
    { capture: true, once: true });
  const seen = new MutationObserver(() => {
    if (rows.textContent === before) return;
    seen.disconnect();
    requestAnimationFrame(() => resolve(performance.now() - pressed));
  });
  seen.observe(rows, { subtree: true, childList: true, characterData: true });
}); }"""


def delays(terminal: Terminal) -> list[float]:
    """Type letters one by one; milliseconds that each took."""
    terminal.click()
    found = []
    for number in range(KEYS):
        if number % 40 == 0:  # a line that is not too long
            terminal.page.keyboard.press("Control+u")
            terminal.wait_for(lambda lines: lines[-1] == "$")
        terminal.page.evaluate(SHOWN)
        terminal.page.keyboard.press("x")
        found.append(terminal.page.evaluate("() => globalThis.shown"))
    terminal.page.keyboard.press("Control+u")
    return found


def report(name: str, times: list[float]) -> None:
    p95 = statistics.quantiles(times, n=20)[-1]
    print(f"{name:35} {statistics.median(times):6.0f} ms {p95:6.0f} ms", flush=True)


def processor_time() -> float:
    """Seconds that this process and all below it have used so far, see proc_pid_stat(5)."""
    ticks = 0
    for _, process in procfs.tree(os.getpid()):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def idle_cost(page: "Page") -> float:
    """Percent of a core that is used while nobody does anything."""
    page.wait_for_timeout(1000 * SETTLED)
    before, began = processor_time(), time.monotonic()
    page.wait_for_timeout(1000 * IDLE)
    return 100 * (processor_time() - before) / (time.monotonic() - began)


def main() -> int:
    if browser.chromium() is None:
        print("bench: Chromium not found, so no page is timed. Cure: sudo apt install chromium")
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder,
        browser.lab(Path(folder)) as address,
        browser.launched() as chromium,
    ):
        books = Path(folder) / "mine"
        name = browser.new_notebook(books, CELLS)
        with browser.notebook(chromium, address, name) as notebook:
            notebook.run(0)
            terminal = Terminal(notebook.page)
            terminal.wait_for(lambda lines: lines[-1] == "$")
            print(f"{f'from a key to the screen, {KEYS} keys':35}    median      95 %")
            report("idle", delays(terminal))
            for number, what in ((1, "while a cell sleeps"), (2, "while a cell computes")):
                notebook.idle()
                notebook.run(number)
                notebook.page.get_by_text("Container lab | Busy").wait_for()
                report(what, delays(terminal))
                notebook.command("Kernel", "kernelmenu:interrupt")
        print(f"\nan idle page, {IDLE:g} s")
        for cell, what in ((EMPTY, "an empty cell"), (OURS, "terminal, live picture, progress")):
            with browser.notebook(
                chromium, address, browser.new_notebook(books, [cell])
            ) as notebook:
                notebook.run_all()
                print(f"{what:35} {idle_cost(notebook.page):6.2f} % of a core", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
