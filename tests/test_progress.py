"""progress: what was passed is remembered, shown, and forgotten on demand."""

import multiprocessing
import os
import re
import subprocess
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit.course import progress, workbook
from tests.helpers.course import LABKIT


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path / "mine"))
    return tmp_path / "mine/work"


@pytest.fixture
def course(tmp_path, work, monkeypatch):
    """Two notebooks with three exercises, and one without any."""
    monkeypatch.setattr(workbook, "NOTEBOOKS", folder := tmp_path / "notebooks")
    folder.mkdir()
    write(folder, "00-start.ipynb", "# 00 Start here")
    write(folder, "01-one.ipynb", "# 01 One", ("01.1", "Make `ps` lie"), ("01.2", "A < B & C"))
    write(folder, "02-two.ipynb", "# 02 Two", ("02.1", "Break out"))
    return folder


def write(folder, name, heading, *exercises):
    cells = [new_markdown_cell(f"{heading}\n\nText.")]
    for number, title in exercises:
        cells.append(new_markdown_cell(f"### {number} {title}\n\nThe task."))
        cells.append(new_code_cell(f"%%answer {number}\npass\n"))
        cells.append(new_code_cell(f"%%solution {number}\npass\n"))
    nbformat.write(new_notebook(cells=cells), folder / name)


def test_nothing_is_passed_at_first_and_no_file_is_made(work):
    assert progress.passed() == set()
    assert not work.exists()


def test_what_was_passed_is_there_after_a_restart(work):
    progress.mark("03.2")
    assert progress.passed() == {"03.2"}


def test_what_an_earlier_course_kept_in_one_file_counts(work):
    work.mkdir(parents=True)
    (work / "progress.json").write_text('{"03.2": "2026-11-24T10:00:00+00:00"}')
    progress.take_over()
    assert progress.passed() == {"03.2"}
    assert [path.name for path in work.iterdir()] == ["passed"]


def mark_many(first):
    for number in range(first, first + 40):
        progress.mark(f"01.{number}")


def test_kernels_that_pass_exercises_at_once_lose_none(work):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.map(mark_many, [100, 200, 300])
    assert len(progress.passed()) == 120


@pytest.mark.parametrize("junk", ["", '{"03.2": "2026', "[]", "\0", "[" * 100_000])
def test_a_broken_file_of_an_earlier_course_is_left_alone(work, junk):
    work.mkdir(parents=True)
    (work / "progress.json").write_text(junk)
    progress.take_over()
    progress.mark("01.1")
    assert progress.passed() == {"01.1"}
    assert (work / "progress.json").exists() == (junk != "[]")


def test_where_it_cannot_be_written_a_line_says_so(work, monkeypatch, capsys):
    work.parent.write_text("")
    progress.mark("01.1")
    said = f"your progress is not kept: {work}/passed: Not a directory\n"
    assert capsys.readouterr().err == said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_a_line_as_well(work, capsys):
    work.mkdir(parents=True)
    work.chmod(0o555)
    progress.mark("01.1")
    assert re.fullmatch(
        "your progress is not kept: .*: Permission denied\n", capsys.readouterr().err
    )


def test_one_notebook_is_forgotten(course):
    for name in ("01.1", "01.2", "02.1"):
        progress.mark(name)
    assert progress.reset(1) == 2
    assert progress.passed() == {"02.1"}


def test_all_is_forgotten(course):
    for name in ("01.1", "02.1"):
        progress.mark(name)
    assert progress.reset() == 2
    assert progress.passed() == set()


def test_a_notebook_that_does_not_exist_cannot_be_forgotten(course):
    with pytest.raises(workbook.WorkbookError, match="there is no notebook '7'"):
        progress.reset("7")


def test_the_table_in_text(course):
    progress.mark("01.2")
    assert repr(progress.progress()).splitlines() == [
        "00 Start here  no exercises",
        "01 One         1 of 2  ○●",
        "02 Two         0 of 1  ○",
        "",
        "1 of 3 exercises passed",
        "Next: 02.1 Break out, in 02-two.ipynb",
    ]


def test_an_exercise_is_known_however_its_cell_is_laid_out(course):
    cells = ["\n%%answer 01.1\npass", "%%answer  1.2\npass", "\n \n%%answer 01.1\nx = 2"]
    book = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    nbformat.write(book, course / "01-one.ipynb")
    progress.mark("01.1")
    assert "01 one         1 of 2  ●○" in repr(progress.progress()).splitlines()


def test_what_was_left_out_is_next_when_the_end_is_reached(course):
    progress.mark("02.1")
    assert progress.progress().next[1] == "01.1 Make ps lie"


def test_nothing_is_next_when_all_are_passed(course):
    for name in ("01.1", "01.2", "02.1"):
        progress.mark(name)
    assert repr(progress.progress()).endswith("3 of 3 exercises passed\nNothing is left.")


def test_a_notebook_that_cannot_be_read_is_named_with_the_cure(course):
    (course / "01-one.ipynb").write_text("half")
    assert "01 one         cannot be read: labkit reset 01\n" in repr(progress.progress())


class Page(HTMLParser):
    """Keeps each element's attributes, and checks that elements are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.elements: list = []
        self.open: list = []
        self.words: list = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_page_is_a_list_with_links_and_a_bar_with_a_name(course):
    progress.mark("01.1")
    page = Page(progress.progress()._repr_html_())
    assert len(page.all("li")) == 3
    addresses = [each["href"] for each in page.all("a")]
    assert addresses[:3] == ["00-start.ipynb", "01-one.ipynb", "02-two.ipynb"]
    assert addresses[3].startswith("01-one.ipynb#01.2-")
    [bar] = page.all("progress")
    assert (bar["value"], bar["max"], bar["aria-label"]) == ("1", "3", "Exercises passed")
    first, second = page.all("span")
    assert first["title"] == "01.1 Make ps lie: passed; 01.2 A < B & C: open"
    assert second["title"] == "02.1 Break out: open"


def test_the_page_says_what_the_text_says(course):
    progress.mark("01.1")
    shown = progress.progress()
    words = "".join(Page(shown._repr_html_()).words)
    assert shown.summary in words
    assert "Next: 01.2 A < B & C" in words


def test_the_command_shows_and_forgets(work):
    def labkit(*words):
        command = [LABKIT, "progress", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    progress.mark("03.1")
    progress.mark("04.1")
    assert labkit().startswith("00 Start here")
    assert labkit("--reset", "03") == "1 passed exercise forgotten\n"
    assert labkit("--reset=all") == "1 passed exercise forgotten\n"
    assert progress.passed() == set()


@pytest.mark.parametrize("words", [["--reset"], ["03"], ["--reset", "03", "04"]])
def test_the_command_says_how_it_is_used(work, words):
    run = subprocess.run([LABKIT, "progress", *words], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("usage: labkit ")
