"""`make recording`: the site's recording: a shell in a learner's JupyterLab, and its live picture.

What is typed is really run. Each frame is taken when the page shows what it waits for; how long
a frame stays is chosen for people who read.
"""

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.helpers import browser
from tests.helpers.browser import Terminal
from tests.helpers.course import ROOT

RECORDING = ROOT / "site" / "recording.webp"
CELL = """from labkit import Namespaces, Shell, Terminal

shell = Shell()
display(Terminal(shell), Namespaces(shell))"""
# What is typed, and what the picture then has: a selector and words.
STEPS = [
    ("labkit run -it tiny sh", ".lk-container", "PID 1"),
    ("ls /", ".lk-container", "PID 1"),
    ("ps -eo pid,args", ".lk-container", "PID 1"),
    ("hostname box; hostname", ".lk-container", "box"),
    ("sleep 1000 &", ".lk-container", "sleep"),
    ("exit", ".lk-container", "No container"),
]
KEY, READ = 80, 3200  # milliseconds
HEIGHT = 720  # pixels


class Film:
    """Frames of a part of a page, which may grow downwards."""

    def __init__(self, page, part) -> None:
        self.page = page
        self.clip = part.bounding_box() | {"height": HEIGHT}
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []

    def take(self, milliseconds: int) -> None:
        self.frames.append(Image.open(io.BytesIO(self.page.screenshot(clip=self.clip))))
        self.durations.append(milliseconds)

    def save(self, path: Path) -> None:
        first, *rest = self.frames
        first.save(
            path,
            save_all=True,
            append_images=rest,
            duration=self.durations,
            lossless=True,
            quality=100,
            method=6,
            loop=0,
        )


def main() -> int:
    if browser.chromium() is None:
        print(
            "make recording: Chromium not found. Cure: sudo apt install chromium", file=sys.stderr
        )
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="labkit-recording-") as folder,
        browser.lab(Path(folder)) as address,
        browser.launched() as chromium,
    ):
        name = browser.new_notebook(Path(folder, "mine"), [CELL])
        with browser.notebook(chromium, address, name, width=1000) as notebook:
            page = notebook.page
            page.keyboard.press("Control+b")  # the files at the side
            notebook.run_all()
            terminal = Terminal(page)
            page.locator(".labkit-terminal-screen").evaluate("e => { e.style.height = '208px'; }")
            film = Film(page, notebook.code(0))
            terminal.click()
            film.take(READ // 2)
            for typed, part, words in STEPS:
                for key in typed:
                    page.keyboard.type(key)
                    film.take(KEY)
                page.keyboard.press("Enter")
                page.locator(part, has_text=words).first.wait_for()
                terminal.wait_for(lambda lines: lines[-1] in ("$", "#"))
                film.take(READ)
    film.save(RECORDING)
    seconds, size = sum(film.durations) / 1000, RECORDING.stat().st_size / 1e6
    print(f"{RECORDING.relative_to(ROOT)} is new, {seconds:.0f} s and {size:.1f} MB; look at it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
