"""%notebook: whatever was edited before, it says so and offers the delivered version."""

import os
import shutil
import subprocess
import sys

import nbformat
import pytest

from tests.helpers.course import ROOT


@pytest.fixture
def course(tmp_path):
    """A course with its kit, and a learner's copies."""
    ignore = shutil.ignore_patterns("work", "images", "__pycache__", ".*")
    for part in ("labkit", "notebooks"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=ignore)
    shutil.copytree(tmp_path / "notebooks", tmp_path / "mine")
    return tmp_path


def edit(course, number, old, new, folder="mine"):
    """Change a `%%source` cell as a learner does, who saves the notebook then."""
    path = next((course / folder).glob(f"{number}-*"))
    book = nbformat.read(path, as_version=4)
    cells = [cell for cell in book.cells if cell.source.startswith("%%source")]
    assert any(old in cell.source for cell in cells)
    for cell in cells:
        cell.source = cell.source.replace(old, new)
    nbformat.write(book, path)


def cells(course, *lines, folder="mine"):
    """Run lines of a notebook in a folder; return what they printed."""
    script = course / "script.ipy"
    script.write_text("\n".join(["%load_ext labkit", *lines, ""]))
    environment = os.environ | {
        "PYTHONPATH": str(course),
        "LABKIT_MINE": str(course / "mine"),
        "IPYTHONDIR": str(course / "ipython"),
    }
    command = [sys.executable, "-m", "IPython", "--colors=NoColor", script]
    run = subprocess.run(
        command, cwd=course / folder, env=environment, capture_output=True, text=True
    )
    return run.stdout + run.stderr


OFFER = (
    "Mend it, save that notebook and run this cell again; or start from the notebooks as "
    "delivered: %notebook 04 --delivered\n"
)


def test_nothing_is_said_where_nothing_was_edited(course):
    assert cells(course, "%notebook 04") == ""


def test_nothing_is_said_where_only_text_and_outputs_differ(course):
    path = next((course / "mine").glob("03-*"))
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = []
        else:
            cell.source += "\n\nA note of mine."
    nbformat.write(book, path)
    assert cells(course, "%notebook 04") == ""


def test_an_edit_that_works_carries_over(course):
    edit(course, "03", "import os\n", "import os  # mine\n")
    assert cells(course, "%notebook 04", "!grep -c mine mydocker/init.py") == "1\n"


def test_an_edit_that_broke_the_runtime_is_one_line_with_the_offer(course):
    edit(course, "03", "os.fork()", "os.frok()")
    said = cells(course, "%notebook 04")
    assert said.startswith(
        "UsageError: an edit broke the runtime that this notebook starts from: "
        "03-the-first-container.ipynb, cell "
    )
    assert "line 13 (mydocker/init.py): AttributeError: module 'os' has no attribute" in said
    assert said.endswith(OFFER)
    assert said.count("\n") == 1


def test_who_goes_on_after_that_can(course):
    edit(course, "03", "os.fork()", "os.frok()")
    cells(course, "%notebook 04")
    place = course / "mine" / "work/04/mydocker/init.py"
    assert "os.frok" in place.read_text()


def test_an_edit_that_python_cannot_read_gets_the_same_offer(course):
    edit(course, "03", "os.fork()", "os.fork(")
    said = cells(course, "%notebook 04")
    assert said.startswith("UsageError: 03-the-first-container.ipynb, cell ")
    assert said.endswith(OFFER)


@pytest.mark.parametrize("broken", ["os.frok()", "os.fork("])
def test_the_delivered_version_is_taken_on_demand(course, broken):
    edit(course, "03", "os.fork()", broken)
    said = cells(course, "print(repr(get_ipython().run_line_magic('notebook', '04 --delivered')))")
    assert said.startswith("working folder work/04, from the notebooks as delivered: mydocker/")
    assert "os.fork()" in (course / "mine" / "work/04/mydocker/init.py").read_text()


def test_a_wrong_number_gets_no_offer(course):
    assert cells(course, "%notebook 77").startswith("UsageError: there is no notebook '77'; there")
    assert "--delivered" not in cells(course, "%notebook 77")


def test_a_delivered_notebook_never_sees_a_learners_edit(course):
    edit(course, "03", "os.fork()", "os.frok()")
    assert cells(course, "%notebook 04", folder="notebooks") == ""
    assert "os.fork()" in (course / "mine" / "work/04/mydocker/init.py").read_text()


def labkit_run(course, *words, name="run"):
    environment = os.environ | {"PYTHONPATH": str(course), "LABKIT_MINE": str(course / "mine")}
    command = [sys.executable, "-m", "labkit", name, *words]
    return subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("broken", "what"),
    [("def rum(", "(mydocker/command.py): ImportError: "), ("def run)", "(mydocker/run.py): ")],
)
def test_labkit_run_names_the_edit_and_offers_the_delivered_version(course, broken, what):
    edit(course, "05", "def run(", broken)
    run = labkit_run(course, "--upto", "05", "/bin/true")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert what in run.stderr
    offer = "Without your edits: labkit run --delivered --upto 05 /bin/true\n"
    assert run.stderr.endswith(offer)
    assert labkit_run(course, "--delivered", "--upto", "05", "/bin/true").returncode == 0
    said = labkit_run(course, "--upto=05", "run", "true", name="mydocker").stderr
    assert said.endswith("edits: labkit mydocker --delivered --upto=05 run true\n")


@pytest.mark.parametrize("words", [[], ["--delivered"]])
def test_a_fault_of_the_course_is_put_down_to_no_edit(course, words):
    for folder in ("mine", "notebooks"):
        edit(course, "05", "def run(", "def rum(", folder)
    run = labkit_run(course, *words, "--upto", "05", "/bin/true")
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "(mydocker/command.py): ImportError: " in run.stderr
    assert run.stderr.endswith("so this is a fault of the course; please report it.\n")


@pytest.mark.parametrize("upto", ["00", "77"])
def test_where_the_delivered_version_does_no_better_it_is_not_offered(course, upto):
    run = labkit_run(course, "--upto", upto, "/bin/true")
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "--delivered" not in run.stderr
