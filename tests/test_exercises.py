"""Every exercise both ways, in a lab kernel: wrong answers fail with a hint, the solution passes.

That the stub fails and the solution passes is also saved in the notebooks, which nbval runs.
"""

import contextlib
import importlib
from pathlib import Path

import nbformat
import pytest

from labkit import exercise
from labkit.course import workbook
from labkit.course.workbook import ANSWER, SOLUTION
from tests.helpers.processes import Kernel

BOOKS = workbook.notebooks()
NUMBERS = [number for path in BOOKS.values() for number in workbook.exercises(path, ANSWER)]
WRONG = {
    number: answers
    for book in sorted({int(number[:2]) for number in NUMBERS})
    for number, answers in importlib.import_module(f"tests.answers.n{book:02}").WRONG.items()
}
QUESTIONS = 99  # the notebook without exercises
FIRST = 4  # lines of a verdict up to its first hint; later ones come with every failure


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("answers")
        patch.setenv("TMPDIR", str(folder))
        patch.setenv("LABKIT_MINE", str(folder))
        kernel = Kernel(folder)
        kernel.run("%load_ext labkit\nfrom labkit.exercise.check import check")
        yield kernel, folder
        kernel.end()


def started_in(folder):
    """The PIDs of the processes whose HOME is an answer's folder, as every sandboxed run's is."""
    home = f"HOME={folder}/labkit-answer-".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if home in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.mark.parametrize(
    ("number", "text", "says"),
    [(number, *answer) for number, answers in WRONG.items() for answer in answers],
    ids=[f"{number}-{n}" for number, answers in WRONG.items() for n in range(len(answers))],
)
def test_a_wrong_answer_fails_with_the_right_hint(number, text, says, kernel, record_property):
    kernel, folder = kernel
    assert kernel.run(f"{ANSWER} {number}\n{text}").endswith("runs it.")
    verdict = kernel.run(f'check("{number}")').splitlines()
    record_property("hint", next((line.strip() for line in verdict if "  hint: " in line), ""))
    assert verdict[0] == f"✗ {number} not yet"
    assert says in "\n".join(verdict[:FIRST]), "\n".join(verdict)
    assert not started_in(folder)
    assert not list(folder.glob("labkit-answer-*"))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_stub_fails_and_the_solution_passes(number):
    shown = {}
    for cell in nbformat.read(BOOKS[int(number[:2])], as_version=4).cells:
        if cell.cell_type == "code" and cell.outputs and "data" in cell.outputs[0]:
            shown[cell.source.partition("\n")[0]] = cell.outputs[0].data["text/plain"]
    stub = shown[f'check("{number}")']
    assert stub.startswith(f"✗ {number} not yet\n  wanted: ")
    assert "Error" not in stub.splitlines()[2]
    assert shown[f"{SOLUTION} {number}"].startswith(f"✓ {number} passed\n")


@pytest.mark.parametrize("book", [book for book in BOOKS if book < QUESTIONS])
def test_each_notebook_has_exercises_that_are_whole(book):
    path = BOOKS[book]
    numbers = list(workbook.exercises(path, ANSWER))
    assert numbers == [f"{book:02}.{n}" for n in range(1, len(numbers) + 1)]
    assert 2 <= len(numbers) <= 4
    assert list(workbook.exercises(path, SOLUTION)) == numbers
    assert all(exercise.find(number).hints for number in numbers)
    assert all(len(WRONG[number]) >= 2 for number in numbers)
    asks_for_runtime = any(exercise.find(n).path.startswith("mydocker/") for n in numbers)
    assert asks_for_runtime or book == 0  # there is no runtime yet in notebook 00
