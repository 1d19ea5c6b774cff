"""`make picture`: the README's picture, taken from the real page of notebook 03."""

import sys
import tempfile
from pathlib import Path

from tests.helpers import browser
from tests.helpers.browser import Terminal
from tests.helpers.course import ROOT

BOOK = "03-the-first-container.ipynb"
PICTURE = ROOT / "notebooks" / "images" / "result.png"


def main() -> int:
    if browser.chromium() is None:
        print("make picture: Chromium not found. Cure: sudo apt install chromium", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="labkit-picture-") as folder,
        browser.lab(Path(folder)) as address,
        browser.launched() as chromium,
        browser.notebook(chromium, address, BOOK, width=1000) as notebook,
    ):
        page = notebook.page
        page.keyboard.press("Control+b")  # the files at the side
        notebook.work_through("display(Terminal(shell)")
        terminal = Terminal(page)
        screen = page.locator(".labkit-terminal-screen")
        screen.evaluate("e => { e.style.height = '176px'; }")
        terminal.type("clear")
        terminal.wait_for(lambda lines: lines == ["$"])
        terminal.answer("ps -eo pid,ppid,args")
        terminal.type("hostname box; hostname; sleep 1000")
        terminal.wait_for(lambda lines: lines[-1] == "box")
        pictures = page.locator(".lk-picture", has_text="the container")
        pictures.last.locator("li", has_text="sleep").first.wait_for()
        page.locator(".jp-CodeCell", has=page.locator(".labkit-terminal-frame")).screenshot(
            path=PICTURE
        )
    print(f"{PICTURE.relative_to(ROOT)} is new; look at it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
