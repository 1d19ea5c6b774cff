"""The notebooks as they are committed: verified by nbval, and nothing hides from it."""

import copy
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest

from labkit.course import workbook
from labkit.view import STEPS, four_steps
from tests.helpers.course import ROOT, faults
from tools.save import METADATA

BOOKS = list(workbook.notebooks().values())
*LESSONS, QUESTIONS = BOOKS


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name)
def test_it_is_committed_as_it_ran(path):
    assert faults(read(path)) == []


def without_a_count(book):
    book.cells[1].execution_count = None


def with_counts_out_of_order(book):
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    code[0].execution_count, code[1].execution_count = 2, 1


def with_widget_state(book):
    book.metadata["widgets"] = {"state": {}}


def with_a_widget_view(book):
    book.cells[1].outputs[0]["data"]["application/vnd.jupyter.widget-view+json"] = {}


def with_time_stamps(book):
    book.cells[1].metadata["execution"] = {"iopub.execute_input": "2026"}


@pytest.mark.parametrize(
    "spoil",
    [
        without_a_count,
        with_counts_out_of_order,
        with_widget_state,
        with_a_widget_view,
        with_time_stamps,
    ],
)
def test_a_spoiled_notebook_is_rejected(spoil):
    book = copy.deepcopy(read(BOOKS[0]))
    assert faults(book) == []
    spoil(book)
    assert faults(book)


@pytest.mark.parametrize("change", ["output", "source"])
def test_one_cell_that_prints_something_else_fails_the_run(tmp_path, change):
    book = nbformat.v4.new_notebook(metadata=METADATA)
    source = "print('another')" if change == "source" else "print('this')"
    output = nbformat.v4.new_output("stream", text="this\n" if change == "source" else "that\n")
    book.cells = [nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])]
    nbformat.write(book, tmp_path / "one.ipynb")
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", str(tmp_path / "one.ipynb")]
    environment = os.environ | {"PYTEST_ADDOPTS": ""}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 1
    assert "Cell outputs differ" in run.stdout


def test_what_is_set_around_it_changes_no_output(tmp_path):
    """Notebook 05 shows what many programs print; wherever they look for settings, one stands."""
    noise = "echo odd\nalias ls='ls --color=always'\nPS1='odd> '\n"
    for name in (".bashrc", ".profile", ".bash_profile"):
        (tmp_path / name).write_text(noise)
    (tmp_path / ".inputrc").write_text("set editing-mode vi\nset show-mode-in-prompt on\n")
    startup = tmp_path / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "odd.py").write_text("print = lambda *_, **__: None\n")
    environment = os.environ | {
        **dict.fromkeys(("ENV", "BASH_ENV"), str(tmp_path / ".bashrc")),
        "CDPATH": "/:/usr",
        "COLUMNS": "40",
        "HOME": str(tmp_path),
        "LANG": "de_DE.UTF-8",
        "LANGUAGE": "de",
        "LINES": "5",
        "MYDOCKER_DEBUG": "1",
        "PROMPT_COMMAND": "echo odd",
        "PS1": "odd> ",
        "PS_PERSONALITY": "bsd",
        "PYTEST_ADDOPTS": "",
        "QUOTING_STYLE": "c",
        "SHELL": "/nosuch",
        "TERM": "dumb",
        "TZ": "Asia/Kolkata",
    }
    odd = ["sh", "-c", 'umask 077; ulimit -c unlimited; ulimit -Sn 256; exec "$@"', "sh"]
    command = [*odd, sys.executable, "-m", "pytest", "--nbval", "-q", str(BOOKS[5])]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stdout


def text_of(book):
    return "\n".join(cell.source for cell in book.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", BOOKS, ids=lambda path: path.name)
def test_its_headings_and_links(path):
    """One H1, no skipped level, a picture with the steps, and links that lead somewhere."""
    book = read(path)
    levels = [len(mark) for mark in re.findall(r"^(#+) ", text_of(book), re.MULTILINE)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(now - before <= 1 for before, now in pairwise(levels))
    assert "four_steps(" in book.cells[1].source
    for target in re.findall(r"\]\(([^)]+\.ipynb)\)", text_of(book)):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_its_shape(path):
    """Guesses, a failure, exercises, a recap."""
    text = text_of(read(path))
    for word in ("**Guess", "Break it", "## Exercises", "## In real runtimes", "## Recap"):
        assert word in text, word


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.name)
def test_a_file_is_folded_only_where_little_changes(path):
    for cell in read(path).cells:
        if cell.source.startswith("%%source") and cell.metadata.get("jupyter"):
            said = cell.outputs[0].data["text/plain"]
            assert int(re.search(r": (\d+) lines added", said)[1]) <= 12, said


def test_each_question_has_an_experiment_and_then_an_answer():
    cells = read(QUESTIONS).cells
    asked = [n for n, cell in enumerate(cells) if cell.source.startswith("### ")]
    assert f"| {len(asked)} of them, and" in (ROOT / "README.md").read_text()
    for n in asked:
        assert "?" in cells[n].source
        assert cells[n + 1].outputs
        assert cells[n + 2].source.startswith("<details>")


def named(usage):
    """The commands and options that a usage has."""
    commands = " ".join(re.findall("mydocker (.*?)(?:  |$)", usage, re.MULTILINE))
    words = re.findall("(?<![-a-z])[a-z]+", commands)
    return {*words, *re.findall("(?<![-a-z])--?[a-z][a-z-]*", usage)}


def test_each_version_has_the_commands_and_options_of_the_one_before():
    """From notebook 09 on: the book's `-ti` and `init` end before."""
    before: set[str] = set()
    for path in BOOKS[9:]:
        for source in workbook.sources(path):
            if usage := re.search('USAGE = """(.*?)"""', source.text, re.DOTALL):
                now = named(usage[1])
                assert now >= before, (path.name, before - now)
                before = now
    assert {"run", "bundle", "--network"} <= before


def files_and_lines(upto):
    """The names of the runtime's files, and how many lines they have that are not blank."""
    files = workbook.runtime(upto)
    del files[workbook.LINUX]  # the course's
    text = "\n".join(source.text for source in files.values())
    names = {Path(path).name for path in files} - {"__init__.py"}
    return names, sum(bool(line.strip()) for line in text.splitlines())


def test_version_3_is_five_files_of_less_than_150_lines():
    names, lines = files_and_lines("05")
    assert names == {"__main__.py", "command.py", "container_process.py", "run.py", "init.py"}
    assert lines < 150


def test_the_readme_says_how_long_the_runtime_is():
    said = (
        ("05", 5, "five files and {}"),
        ("09", 8, "eight and {}"),
        ("14", 19, "nineteen and {:,}"),
        ("18", 26, "twenty-six and {:,}"),
        ("20", 29, "twenty-nine and {:,}"),
        ("24", 36, "thirty-six and {:,}"),
        ("28", 44, "forty-four and {:,}"),
    )
    for upto, count, words in said:
        names, lines = files_and_lines(upto)
        assert len(names) == count
        assert words.format(lines) in (ROOT / "README.md").read_text()


def test_the_runtime_is_formatted_and_linted(tmp_path):
    for number in workbook.notebooks():
        for source in workbook.sources(workbook.notebook(number)[1]):
            place = tmp_path / f"{number:02}" / source.path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(source.text.rstrip("\n") + "\n")
    ruff = [sys.executable, "-m", "ruff"]
    check = [*ruff, "check", "--isolated", "--select", "F,B,UP,SIM,RUF", "--line-length", "100"]
    lint = subprocess.run(
        [*check, "--ignore", "SIM115", str(tmp_path)], capture_output=True, text=True
    )
    assert lint.returncode == 0, lint.stdout
    form = [*ruff, "format", "--isolated", "--diff", "--line-length", "100", str(tmp_path)]
    formatted = subprocess.run(form, capture_output=True, text=True)
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.parametrize("lit", [(), (1,), (2, 3), (4,)])
def test_the_picture_and_its_text_say_the_same(lit):
    picture = four_steps(*lit)
    for number, (name, _) in enumerate(STEPS, 1):
        assert (f"[{number} {name}]" in repr(picture)) == (number in lit)
        assert (f"<strong>{number} {name}</strong>" in picture.html()) == (number in lit)
        assert f"{number} {name}" in picture.html()
