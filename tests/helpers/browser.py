"""A JupyterLab of `labkit lab` and a Chromium in front of it, for tests, figures and pictures.

The course lies in a copy, since a page saves what it runs.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

from labkit import linux
from tests.helpers.course import ROOT
from tools.save import METADATA

if TYPE_CHECKING:  # it is installed for these tests alone
    from playwright.sync_api import BrowserContext, Locator, Page

COUNTER = itertools.count()
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# No sandbox of Chromium's own (it refuses root); nothing that calls home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",
]
HEIGHT = 900  # pixels
OPEN = """async (path) => {
  const panel = await jupyterapp.commands.execute("docmanager:open", { path });
  await panel.sessionContext.ready;  // what is run before has no kernel, and is not run at all
}"""
CLOSE_ALL = """async () => {
  await jupyterapp.commands.execute("docmanager:save-all");  // or a dialog asks
  await jupyterapp.commands.execute("application:close-all");
  await jupyterapp.serviceManager.sessions.shutdownAll();
}"""


def chromium() -> str | None:
    """Return the path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def lab(folder: Path) -> Iterator[str]:
    """Start `labkit lab` on a copy of the course in a folder; yield its address with the token."""
    course = folder / "course"
    ignore = shutil.ignore_patterns("work", ".ipynb_checkpoints", "__pycache__")
    for part in ("labkit", "notebooks"):
        shutil.copytree(ROOT / part, course / part, ignore=ignore)
    (folder / "home").mkdir()
    # Pages know it as `jupyterapp`.
    settings = {"LabApp": {"expose_app_in_browser": True}}
    (folder / "jupyter_lab_config.json").write_text(json.dumps(settings))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | {
        "HOME": str(folder / "home"),
        "JUPYTER_CONFIG_DIR": str(folder),
        "JUPYTER_RUNTIME_DIR": str(folder / "r"),
        "LABKIT_MINE": str(folder / "mine"),
        "PYTHONPATH": str(course),
    }
    port = free_port()
    command = [sys.executable, "-m", "labkit", "lab", "--port", str(port), "--no-browser"]
    log = folder / "lab.log"
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            cwd=course,  # `python -m` looks here first
            env=environment,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            # Also when this test is killed; its kernels go with it.
            preexec_fn=lambda: linux.set_parent_death_signal(signal.SIGTERM),
        ) as server,
    ):
        try:
            address = next((line for line in server.stdout if "Open" in line), None)
            assert address, log.read_text()
            address = address.split()[1]
            _wait_for(address, server)
            yield address
        finally:
            server.send_signal(signal.SIGTERM)


def _wait_for(address: str, server: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(address, timeout=10).close()
            return
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None, "labkit lab has ended"
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.1)


@contextlib.contextmanager
def launched() -> Iterator["BrowserContext"]:
    """Start the machine's Chromium, without a window; yield what its pages share."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS).new_context()


def new_notebook(folder: Path, cells: Iterable[str]) -> str:
    """Write a notebook with these code cells into a folder; return its name."""
    book = nbformat.v4.new_notebook(metadata=METADATA)
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    name = f"page-{next(COUNTER)}.ipynb"
    nbformat.write(book, folder / name)
    return name


@contextlib.contextmanager
def page(context: "BrowserContext", width: int = 1280) -> Iterator["Page"]:
    """Open a page, and close it afterwards: one that stays open keeps working."""
    page = context.new_page()
    try:
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.set_default_timeout(60_000)
        yield page
    finally:
        page.close()


@contextlib.contextmanager
def notebook(
    context: "BrowserContext", address: str, name: str, *, width: int = 1280
) -> Iterator["Notebook"]:
    """Show a notebook in a page of its own.

    Args:
        context: what pages share.
        address: as `lab` yields it.
        name: the notebook's file.
        width: pixels.
    """
    with page(context, width) as own:
        shown = Notebook(own, address, name)
        shown.load()
        yield shown


@contextlib.contextmanager
def lab_page(context: "BrowserContext", address: str) -> Iterator["Page"]:
    """Open a page that shows JupyterLab, without a notebook."""
    base, _, query = address.partition("/lab/tree/")
    with page(context) as shown:
        shown.goto(f"{base}/lab/workspaces/tabs?{query.partition('?')[2]}")
        shown.locator(".jp-Launcher").wait_for()
        yield shown


@contextlib.contextmanager
def tab(page: "Page", address: str, name: str, *, width: int = 1280) -> Iterator["Notebook"]:
    """Show a notebook in a page that shows JupyterLab already, which is a fifth of the work.

    Afterwards its tab is closed and its kernel ended.
    """
    page.set_viewport_size({"width": width, "height": HEIGHT})
    shown = Notebook(page, address, name)
    shown.open()
    yield shown
    page.evaluate(CLOSE_ALL)


class Notebook:
    """A notebook in a page of JupyterLab, and what a person does with it."""

    def __init__(self, page: "Page", address: str, name: str) -> None:
        self.page = page
        self.name = name
        base, _, token = address.partition("/lab/tree/")
        # A workspace of its own: the default one brings back what other pages had open.
        workspace = f"{name.removesuffix('.ipynb')}-{next(COUNTER)}"
        query = token.partition("?")[2]
        self.url = f"{base}/lab/workspaces/{workspace}/tree/{name}?{query}"

    def load(self) -> None:
        """Load the page, or load it again."""
        self.page.goto(self.url)
        self._wait()

    def open(self) -> None:
        """Open it as a double click on its name does."""
        self.page.evaluate(OPEN, self.name)
        self._wait()

    def _wait(self) -> None:
        self._seen(".jp-Notebook .jp-Cell").wait_for()
        self.idle()

    def _seen(self, selector: str) -> "Locator":
        """The first of such elements that can be seen: those of another tab cannot."""
        return self.page.locator(selector).filter(visible=True).first

    def idle(self) -> None:
        """Wait until the kernel is there and has nothing to do."""
        self.page.get_by_text("Container lab | Idle").wait_for()
        self._seen('.jp-Notebook-ExecutionIndicator[data-status="idle"]').wait_for()

    def command(self, menu: str, command: str) -> None:
        """Choose an entry of the main menu, by the name of its command."""
        self.page.locator(".lm-MenuBar-item").get_by_text(menu, exact=True).click()
        self.page.locator(f'.lm-Menu-item[data-command="{command}"]').click()

    def run_all(self) -> None:
        """Run all cells, and wait until that is done."""
        self.command("Run", "runmenu:run-all")
        self.idle()

    def run(self, number: int) -> None:
        """Run one code cell with Shift+Enter, and wait until the keyboard is the next one's.

        Args:
            number: counted from 0, in a notebook of code cells.
        """
        self.code(number).locator(".jp-InputArea-editor .cm-content").click()
        self.page.keyboard.press("Shift+Enter")
        self._seen(f".jp-Cell:nth-child({number + 2}).jp-mod-active:focus-within").wait_for()

    def work_through(self, words: str) -> None:
        """Press Shift+Enter from the first cell to the one that holds these words."""
        cells = nbformat.read(ROOT / "notebooks" / self.name, as_version=4).cells
        number = next(n for n, cell in enumerate(cells, 1) if words in cell.source)
        self.page.locator(".jp-Cell .jp-MarkdownOutput").first.click()
        for _ in range(number):
            self.page.keyboard.press("Shift+Enter")
            self.idle()

    def code(self, number: int) -> "Locator":
        """Return a code cell, counted from 0."""
        return self.page.locator(".jp-CodeCell").nth(number)

    def theme(self, name: str) -> None:
        """Switch the theme: "JupyterLab Light", "JupyterLab Dark"."""
        self.page.locator(".lm-MenuBar-item").get_by_text("Settings", exact=True).click()
        self.page.locator(".lm-Menu").get_by_text("Theme", exact=True).click()
        self.page.locator(".lm-Menu").get_by_text(name, exact=True).click()
        self.page.locator(f'body[data-jp-theme-name="{name}"]').wait_for(state="attached")
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")  # it fades in


class Terminal:
    """A terminal in a page, and a person in front of it."""

    def __init__(self, page: "Page", number: int = 0) -> None:
        self.page = page
        self.frame = page.locator(".labkit-terminal-frame").nth(number)
        self.frame.and_(page.locator("[data-ready=true]")).wait_for()
        self.frame.scroll_into_view_if_needed()  # xterm.js draws nothing where nobody sees it

    def click(self) -> None:
        self.frame.locator(".labkit-terminal-screen").click()

    def type(self, text: str) -> None:
        """Type a line and Enter."""
        self.click()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")

    def press(self, *keys: str) -> None:
        self.click()
        for key in keys:
            self.page.keyboard.press(key)

    def lines(self) -> list[str]:
        """What stands on the screen, without empty lines at its end."""
        text = self.frame.locator(".xterm-rows > div").all_inner_texts()
        return "\n".join(line.replace("\xa0", " ").rstrip() for line in text).rstrip().split("\n")

    def wait_for(self, condition: Callable[[list[str]], bool], seconds: float = 60) -> list[str]:
        """Wait until the screen shows something; fail with what it showed instead."""
        end = time.monotonic() + seconds
        while not condition(lines := self.lines()):
            assert time.monotonic() < end, "the screen shows:\n" + "\n".join(lines)
            self.page.wait_for_timeout(20)
        return lines

    def answer(self, command: str) -> list[str]:
        """Type a command; return the lines that it printed."""
        prompt = f"$ {command}"
        before = self.lines().count(prompt)
        self.type(command)
        lines = self.wait_for(lambda now: now.count(prompt) > before and now[-1] == "$")
        start = len(lines) - lines[::-1].index(prompt)
        return lines[start:-1]
