"""labkit class: the release version, and the marks for nbgrader that its cells carry."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from classroom import release
from labkit import exercise
from labkit.course import workbook
from labkit.course.workbook import ANSWER, SOLUTION
from labkit.errors import CourseError
from labkit.exercise import check
from labkit.exercise.verdict import judge
from tests.answers.stub import solution
from tests.helpers.course import faults

COURSE = release.COURSE
BOOKS = workbook.notebooks()
NUMBERS = [number for path in BOOKS.values() for number in workbook.exercises(path, SOLUTION)]


@pytest.fixture(scope="module")
def edition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class") / "edition"
    assert release.write(folder) == len(NUMBERS)
    return folder


def own_lines(number):
    """The lines of a solution that tell it; none where other cells teach all of them."""
    others = [
        source
        for path in BOOKS.values()
        for kind, source in workbook.cells(path)
        if kind == "code" and not source.startswith(SOLUTION)
    ]
    lines = {line.strip() for line in solution(number).splitlines()}
    return {line for line in lines if line and not any(line in source for source in others)}


def holds(text, line):
    return line in text or json.dumps(line, ensure_ascii=False)[1:-1] in text


@pytest.mark.parametrize("number", NUMBERS)
def test_no_file_of_the_edition_holds_a_solution(edition, number):
    lines = own_lines(number)
    files = [path for path in edition.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        text = path.read_bytes().decode(errors="replace")
        assert not lines or not all(holds(text, line) for line in lines), path
        assert "%%solution " + number not in text, path


def test_the_test_above_would_find_a_solution():
    telling = {number: own_lines(number) for number in NUMBERS}
    assert sum(map(bool, telling.values())) > len(NUMBERS) / 2
    for number, lines in telling.items():
        text = workbook.notebook(number[:2])[1].read_text()
        assert all(holds(text, line) for line in lines)


@pytest.mark.parametrize("number", NUMBERS)
def test_every_stub_of_the_edition_fails(edition, number):
    book = workbook.notebook(number[:2], edition / "notebooks")[1]
    files = workbook.runtime(number[:2], folder=edition / "notebooks")
    runtime = {path: source.text for path, source in files.items()}
    found = judge(exercise.find(number), workbook.exercises(book, ANSWER)[number], runtime)
    assert not found.passed


@pytest.mark.parametrize("path", BOOKS.values(), ids=lambda path: path.name)
def test_a_notebook_is_as_it_was_but_for_the_solutions(edition, path):
    book = nbformat.read(edition / "notebooks" / path.name, as_version=4)
    assert faults(book) == []
    before = nbformat.read(path, as_version=4).cells
    kept = [cell for cell in before if not cell.source.startswith(SOLUTION)]
    assert [cell.id for cell in book.cells] == [cell.id for cell in kept]
    for cell, was in zip(book.cells, kept, strict=True):
        assert "collapsed cell" not in cell.source
        assert cell.source == was.source
        outputs = [list(c.get("outputs", [])) for c in (cell, was)]
        for output in (output for side in outputs for output in side):
            output.pop("execution_count", None)
        assert outputs[0] == outputs[1]


def test_a_solution_below_an_empty_line_is_taken_out_as_well():
    sources = ["\n \n%%solution 03.1\nx = 1", "  %%solution 03.2\n  x = 1", "x = 1\n%%solution\n"]
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    book = nbformat.v4.new_notebook(cells=cells)
    assert release.without_solutions(book) == 2
    assert [cell.source for cell in book.cells] == sources[2:]


def test_solution_says_that_there_is_none(edition):
    program = "from labkit.exercise import check; print(check.solution('03.1'))"
    environment = os.environ | {"PYTHONPATH": str(edition), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=edition, env=environment, capture_output=True, text=True)
    assert run.stdout == "This edition of the course holds no solutions. Ask your instructor.\n"


def test_grading_is_left_out_and_labkit_says_what_it_needs(edition):
    assert not (edition / "classroom").exists()
    assert (edition / "docs" / "design.md").exists()
    assert not (edition / "docs" / "classroom.md").exists()
    names = (edition / "vm" / "files").read_text().split()
    assert all((edition / name).exists() for name in names)
    environment = os.environ | {"PYTHONPATH": str(edition), "PYTHONDONTWRITEBYTECODE": "1"}
    for words in (["grade", "."], ["class", "new"]):
        # -S: without the site's packages, where another course may be installed.
        command = [sys.executable, "-S", "-m", "labkit", *words]
        run = subprocess.run(command, cwd=edition, env=environment, capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stderr == (
            f"labkit: {words[0]}: this needs the instructor's course, with its folder classroom/\n"
        )


def test_the_edition_is_a_course_that_can_be_tested(edition):
    """Its notebooks by nbval; here one of them, without an exercise less."""
    path = f"notebooks/{BOOKS[3].name}"
    environment = os.environ | {"PYTHONPATH": str(edition)}
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", path]
    run = subprocess.run(command, cwd=edition, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nothing")
    for name in ("full", "file", "link", "nowhere/edition"):
        with pytest.raises(CourseError):
            release.write(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(nbformat, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        release.write(tmp_path / "edition")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_says_what_it_did(tmp_path):
    command = [sys.executable, "-m", "labkit", "class", str(tmp_path / "edition")]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0
    assert first.stdout.startswith(f"{tmp_path}/edition holds the release version; ")
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 1
    assert (
        second.stderr == f"labkit: class: {tmp_path}/edition is there already. Name a new folder\n"
    )


# The rules of nbgrader's schema, version 3, and what it wants of a cell's metadata besides.
REQUIRED = {"grade": bool, "grade_id": str, "locked": bool, "schema_version": int, "solution": bool}
KNOWN = {*REQUIRED, "task", "points", "cell_type", "checksum"}


@pytest.mark.parametrize("path", BOOKS.values(), ids=lambda path: path.name)
def test_the_marks_are_nbgraders(path):
    book = nbformat.read(path, as_version=4)
    marked = {}
    for cell in book.cells:
        if mark := cell.metadata.get("nbgrader"):
            assert all(type(mark.get(key)) is kind for key, kind in REQUIRED.items())
            assert set(mark) <= KNOWN
            assert mark["schema_version"] == 3
            assert mark.get("cell_type", cell.cell_type) == cell.cell_type == "code"
            assert mark["grade_id"] not in marked
            marked[mark["grade_id"]] = mark
            if mark["solution"]:  # what ClearSolutions replaces; the magic must stay above it
                lines = cell.source.splitlines()
                begin = [n for n, line in enumerate(lines) if "BEGIN SOLUTION" in line]
                end = [n for n, line in enumerate(lines) if "END SOLUTION" in line]
                assert len(begin) == len(end) == 1
                assert 0 < begin[0] < end[0]
        else:
            assert "BEGIN SOLUTION" not in cell.source
    for number in workbook.exercises(path, ANSWER):
        answer = marked.pop(f"answer-{number.replace('.', '-')}")
        graded = marked.pop(f"check-{number.replace('.', '-')}")
        assert (answer["solution"], answer["grade"], answer["locked"]) == (True, False, False)
        assert (graded["solution"], graded["grade"], graded["locked"]) == (False, True, True)
        assert graded["points"] == 1
    assert marked == {}


@pytest.fixture
def under_nbgrader(monkeypatch):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    monkeypatch.setattr(check.session, "answers", {})


def test_under_nbgrader_no_pass_is_an_error_without_a_traceback(under_nbgrader):
    for answer in ({}, {"03.1": "print('done')"}):
        check.session.answers.update(answer)
        with pytest.raises(check.NotSolved) as error:
            check.check("03.1")
        shown = error.value._render_traceback_()
        assert shown == str(error.value).splitlines()
        assert "Traceback" not in "".join(shown)
    assert shown[0] == "✗ 03.1 not yet"


def test_under_nbgrader_a_pass_is_no_result_that_could_be_taken_for_points(
    under_nbgrader, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path))
    check.session.answers["03.1"] = solution("03.1")
    assert check.check("03.1") is None
    assert capsys.readouterr().out.startswith("✓ 03.1 passed")
