"""Every exercise, both ways: its stub and wrong answers fail with a hint, its solution passes."""

import contextlib
import importlib
import tempfile
from pathlib import Path

import pytest

from labkit import exercise, workbook
from labkit.check import ANSWER, SOLUTION, cells, judge
from tests.answers.stub import solution, stub

BOOKS = workbook.notebooks()
NUMBERS = [number for path in BOOKS.values() for number in cells(path, ANSWER)]
WRONG = {
    number: answers
    for book in BOOKS
    for number, answers in importlib.import_module(f"tests.answers.n{book:02}").WRONG.items()
}


@pytest.fixture
def verdict(tmp_path, monkeypatch):
    """Judges an answer, and sees to it that no process and no file is left."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def judged(number, text):
        files = workbook.runtime(number[:2])
        runtime = {path: source.text for path, source in files.items()}
        found = judge(exercise.find(number), text, runtime)
        assert not started_in(tmp_path)
        assert not list(tmp_path.iterdir())
        return found

    return judged


def started_in(folder):
    """The PIDs of the processes whose HOME is below a folder, as every trial's is."""
    home = f"HOME={folder}/".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if home in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_fails_and_says_what_is_wanted(number, verdict):
    found = verdict(number, stub(number))
    assert not found.passed
    assert found.wanted and found.found
    assert "Error" not in found.found


@pytest.mark.parametrize("number", NUMBERS)
def test_the_solution_passes(number, verdict):
    found = verdict(number, solution(number))
    assert found.passed, repr(found)


@pytest.mark.parametrize(
    ("number", "text", "says"),
    [(number, *answer) for number, answers in WRONG.items() for answer in answers],
    ids=[f"{number}-{n}" for number, answers in WRONG.items() for n in range(len(answers))],
)
def test_a_wrong_answer_fails_with_the_right_hint(number, text, says, verdict):
    found = verdict(number, text)
    assert not found.passed
    assert says in repr(found)


@pytest.mark.parametrize("book", BOOKS)
def test_each_notebook_has_exercises_that_are_whole(book):
    path = BOOKS[book]
    numbers = list(cells(path, ANSWER))
    assert numbers == [f"{book:02}.{n}" for n in range(1, len(numbers) + 1)]
    assert 2 <= len(numbers) <= 4
    assert list(cells(path, SOLUTION)) == numbers
    assert all(exercise.find(number) and exercise.find(number).hints for number in numbers)
    assert all(len(WRONG[number]) >= 2 for number in numbers)
    asks_for_runtime = any(exercise.find(n).path.startswith("mydocker/") for n in numbers)
    assert asks_for_runtime or book == 0  # there is no runtime yet in notebook 00
