"""From a key to the screen, in the page. `make bench` prints it; nothing is judged.

The page itself takes the times: from the keydown event to the first frame that shows the letter.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

from labkit.save import METADATA
from tests import browser
from tests.browser import Notebook, Terminal

KEYS = int(os.environ.get("KEYS", "100"))
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


def main() -> int:
    if browser.chromium() is None:
        print("bench: Chromium not found, so no page is timed. Cure: sudo apt install chromium")
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="labkit-bench-") as folder,
        browser.lab(Path(folder)) as address,
        browser.launched() as chromium,
    ):
        book = nbformat.v4.new_notebook(metadata=METADATA)
        book.cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
        nbformat.write(book, Path(folder) / "course" / "notebooks" / "bench.ipynb")
        notebook = Notebook(chromium, address, "bench.ipynb")
        notebook.run(0)
        terminal = Terminal(notebook.page)
        terminal.wait_for(lambda lines: lines[-1] == "$")
        print(f"{f'from a key to the screen, {KEYS} keys':35}    median      95 %")
        report("idle", delays(terminal))
        for cell, name in ((1, "while a cell sleeps"), (2, "while a cell computes")):
            notebook.idle()
            notebook.run(cell)
            notebook.page.get_by_text("Container lab | Busy").wait_for()
            report(name, delays(terminal))
            notebook.command("Kernel", "kernelmenu:interrupt")
    return 0


if __name__ == "__main__":
    sys.exit(main())
