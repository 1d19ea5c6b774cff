"""The kernel's side of a terminal in a page; tests/test_browser.py has the page."""

import pytest

from labkit.shell import BATCH, Shell
from labkit.view import Terminal, terminal
from tests.helpers.pages import say
from tests.helpers.processes import until


class Page:
    """A page that shows a terminal; it takes nothing by itself."""

    def __init__(self, widget, monkeypatch):
        self.messages, self.bytes = [], 0
        self.widget = widget
        monkeypatch.setattr(widget, "send", self._hear)

    def _hear(self, message, buffers=()):
        self.messages.append(message["type"])
        if message["type"] == "output":
            self.bytes += sum(map(len, buffers))

    def say(self, kind, **content):
        say(self.widget, type=kind, **content)


@pytest.fixture
def shell():
    with Shell(timeout=120) as shell:
        yield shell


@pytest.fixture
def page(shell, monkeypatch):
    return Page(Terminal(shell), monkeypatch)


def test_nothing_is_sent_before_a_page_shows_it(shell, page):
    shell.run("echo early")
    assert page.messages == []
    page.say("open", view="one")
    assert page.messages == ["screen"]
    shell.run("echo late")
    assert page.messages.count("output") >= 1


def test_a_program_waits_for_a_page_that_is_slow(shell, page):
    page.say("open", view="one")
    shell.send("yes\r")
    until(lambda: page.bytes > terminal.MAX_UNREAD)
    assert page.bytes <= terminal.MAX_UNREAD + 2 * BATCH
    before = page.bytes
    page.say("taken", bytes=before)
    until(lambda: page.bytes > before + terminal.MAX_UNREAD)
    shell.send("\x03")
    page.say("taken", bytes=page.bytes)


def test_a_page_that_sleeps_holds_nobody_up_for_ever_and_begins_anew(shell, page, monkeypatch):
    monkeypatch.setattr(terminal, "READ_TIMEOUT", 0.1)
    page.say("open", view="one")
    shell.timeout = 60
    shell.run("seq 300000")  # two megabytes
    assert page.bytes <= terminal.MAX_UNREAD + 2 * BATCH
    page.say("taken", bytes=100_000)
    assert page.messages[-1] == "again"
    page.say("open", view="one")
    assert page.messages[-1] == "screen"
    sent = page.bytes
    shell.run("echo awake")
    assert page.bytes > sent


def test_what_a_page_sends_as_bytes_is_no_text(shell, page):
    output: list[bytes] = []
    shell.listen(output.append)
    shell.send("stty raw -echo; echo up; head -c 6 | od -An -v -tx1; stty sane\r")
    until(lambda: b"up\n" in b"".join(output))
    page.say("bytes", bytes=[0x1B, 0x5B, 0x4D, 0x20, 0x81, 0x21])  # the mouse, at column 97
    assert "1b 5b 4d 20 81 21" in shell.wait()


def test_the_end_is_told_also_to_who_comes_later(shell, page):
    page.say("open", view="one")
    shell.run("exit 3")
    until(lambda: page.messages[-1] == "ended")
    page.say("open", view="two")
    assert page.messages[-2:] == ["screen", "ended"]
