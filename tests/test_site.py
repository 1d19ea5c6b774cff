"""The course as pages, as `make site` left it in build/site and a person meets it in a browser."""

import functools
import html
import http.server
import re
import threading
from urllib.parse import unquote, urldefrag

import nbformat
import pytest

from labkit.course import workbook
from tests.helpers import browser
from tests.helpers.course import ROOT
from tests.helpers.pages import LAYOUT_FAULTS, LOW_CONTRASTS

SITE = ROOT / "build" / "site"
PHONE = 390  # pixels
THIRD = "notebooks/03-the-first-container.html"
BOOKS = list(workbook.notebooks(ROOT / "notebooks").values())


@pytest.fixture(scope="module", autouse=True)
def site():
    assert SITE.is_dir(), "there are no pages yet: make site"


@pytest.fixture(scope="module")
def server():
    handler = functools.partial(Quiet, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def visited(blank, server):
    def visit(name):
        blank.goto(f"{server}/{name}")
        return blank

    return visit


def source(page):
    return page.read_text(encoding="utf-8")


def words(text):
    """The words of a piece of HTML, and no white space."""
    return re.sub(r"\s", "", html.unescape(re.sub(r"<[^>]*>", "", text)))


@pytest.mark.parametrize("book", BOOKS, ids=lambda book: book.stem)
def test_every_notebook_is_a_page_with_its_saved_outputs(book):
    page = words(source(SITE / "notebooks" / f"{book.stem}.html"))
    for cell in nbformat.read(book, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown = html.escape(output.get("text") or data["text/plain"])
            assert words(data.get("text/html", shown)) in page, output


def test_every_link_leads_to_a_place_on_the_site():
    pages = {page: source(page) for page in SITE.rglob("*.html")}
    names = {page: {*re.findall(r'\bid="([^"]+)"', text)} for page, text in pages.items()}
    broken = []
    for page, text in pages.items():
        for link in re.findall(r'<(?:a|img|link|script|source) [^>]*?(?:href|src)="([^"]+)"', text):
            if re.match(r"\w+:", link):
                continue
            path, anchor = urldefrag(unquote(html.unescape(link)))
            target = (page.parent / path.partition("?")[0]).resolve() if path else page
            if not target.exists() or (anchor and anchor not in names[target]):
                broken.append(f"{page.relative_to(SITE)}: {link}")
    assert broken == []


@pytest.mark.parametrize("name", ["index.html", THIRD])
def test_a_page_asks_no_other_server(blank, server, name):
    asked = []
    blank.on("request", lambda request: asked.append(request.url))
    blank.goto(f"{server}/{name}", wait_until="networkidle")
    assert [url for url in asked if not url.startswith((server, "data:"))] == []


def test_the_recording_is_short_and_plays_when_one_asks(visited):
    from PIL import Image, ImageSequence

    path = SITE / "_static" / "recording.webp"
    seconds = 0
    for frame in ImageSequence.Iterator(Image.open(path)):
        frame.load()  # or its duration is not known
        seconds += frame.info["duration"] / 1000
    assert 0 < seconds <= 30
    assert path.stat().st_size <= 2_000_000
    page = visited("index.html")
    recording = page.locator(".recording img")
    assert not recording.is_visible()
    page.get_by_text("Watch it happen").click()
    page.wait_for_function("document.querySelector('.recording img').naturalWidth > 0")
    assert recording.is_visible()


def test_a_solution_is_folded_until_one_asks(visited):
    page = visited(THIRD)
    solution = page.get_by_text("%%solution 03.2")
    assert not solution.is_visible()
    page.get_by_text("Show the solution").nth(1).click()
    assert solution.is_visible()
    assert page.get_by_text("03.2 passed").is_visible()


def test_a_file_that_changes_little_is_folded_and_shows_what_changed(visited):
    page = visited("notebooks/18-into-a-container.html")
    file = page.get_by_text("%%source mydocker/users.py")
    assert not file.is_visible()
    assert page.get_by_text("mydocker/users.py: 1 lines added, 1 removed").is_visible()
    page.get_by_text("Show mydocker/users.py").click()
    assert file.is_visible()


def test_a_search_finds_the_page(visited):
    page = visited("index.html")
    page.get_by_placeholder("Search").fill("pivot_root")
    page.keyboard.press("Enter")
    page.locator(".search a", has_text="10 Files of its own").first.wait_for()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pictures_can_be_read_in_both_themes(visited, theme):
    page = visited(THIRD)
    page.evaluate("theme => { document.body.dataset.theme = theme; }", theme)
    ink = page.locator(".lk-picture").first.evaluate("e => getComputedStyle(e).color")
    assert (int(re.findall(r"\d+", ink)[0]) > 127) == (theme == "dark")
    assert page.evaluate(LOW_CONTRASTS) == []


@pytest.mark.parametrize("name", ["index.html", *(f"notebooks/{book.stem}.html" for book in BOOKS)])
def test_a_phone_shows_all_of_a_page(visited, blank, name):
    blank.set_viewport_size({"width": PHONE, "height": browser.HEIGHT})
    page = visited(name)
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE
    assert page.evaluate(LAYOUT_FAULTS) == []


def test_a_phone_has_the_list_of_notebooks_behind_a_button(visited, blank):
    blank.set_viewport_size({"width": PHONE, "height": browser.HEIGHT})
    page = visited("index.html")
    entry = page.locator(".sidebar-tree a", has_text="05 The vanishing")
    assert not entry.is_visible() or entry.bounding_box()["x"] < 0
    page.locator("label[for=__navigation]:visible").first.click()
    entry.click()
    page.locator("h1", has_text="05 The vanishing").wait_for()
