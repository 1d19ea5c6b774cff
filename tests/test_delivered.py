"""delivered: the notebooks as they were, and the way back to them."""

import os
import shutil
import subprocess
import sys

import nbformat
import pexpect
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labkit.course import delivered, workbook
from labkit.course.workbook import WorkbookError
from tests.browser import ROOT

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def write(course, name, source, printed=""):
    (course / "notebooks").mkdir(exist_ok=True)
    outputs = [new_output("stream", text=printed)] if printed else []
    cell = new_code_cell(source, id="one", outputs=outputs)
    nbformat.write(new_notebook(cells=[cell]), course / "notebooks" / name)
    return course / "notebooks" / name


@pytest.fixture
def course(tmp_path):
    """A course that no git keeps, with its copy."""
    write(tmp_path, "03-three.ipynb", "x = 3")
    write(tmp_path, "04-four.ipynb", "x = 4")
    delivered.keep(tmp_path)
    return tmp_path


@pytest.fixture
def checkout(tmp_path):
    """A course that git keeps."""
    write(tmp_path, "03-three.ipynb", "x = 3")
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "course"]):
        subprocess.run([*GIT, *words], cwd=tmp_path, check=True)
    return tmp_path


def names(course):
    return sorted(path.name for path in (course / "notebooks").iterdir())


def yes(question):
    return True


@pytest.mark.parametrize("kind", ["course", "checkout"])
def test_a_notebook_comes_back_and_the_learners_lies_beside_it(kind, request):
    course = request.getfixturevalue(kind)
    path = course / "notebooks/03-three.ipynb"
    before = path.read_bytes()
    write(course, path.name, "mine = 3")
    mine = path.read_bytes()
    said = delivered.reset("3", yes, course)
    assert path.read_bytes() == before
    assert (course / "notebooks/my-03-three.ipynb").read_bytes() == mine
    assert said.startswith("03-three.ipynb is as it was delivered, yours is my-03-three.ipynb.\n")
    assert "File → Reload Notebook from Disk" in said
    assert "labkit progress --reset 03" in said


def test_the_learners_version_is_none_of_the_courses_notebooks(course):
    write(course, "03-three.ipynb", "mine = 3")
    delivered.reset(3, yes, course)
    found = workbook.notebooks(course / "notebooks").values()
    assert [path.name for path in found] == ["03-three.ipynb", "04-four.ipynb"]


def test_an_older_version_of_the_learner_is_not_overwritten(course):
    for text in ("first", "second", "third"):
        write(course, "03-three.ipynb", text)
        delivered.reset(3, yes, course)
    kept = ["my-03-three-2.ipynb", "my-03-three-3.ipynb", "my-03-three.ipynb"]
    assert names(course) == ["03-three.ipynb", "04-four.ipynb", *kept]
    for name, text in zip(kept, ("second", "third", "first"), strict=True):
        assert workbook.cells(course / "notebooks" / name) == [("code", text)]


def test_where_nothing_differs_nothing_is_asked(course):
    said = delivered.reset(3, pytest.fail, course)
    assert said == "03-three.ipynb is as it was delivered; there is nothing to do."


def test_who_says_no_keeps_everything(course):
    path = write(course, "03-three.ipynb", "mine")
    before = path.read_bytes()
    assert delivered.reset(3, lambda _: False, course) == "03-three.ipynb stays as it is."
    assert path.read_bytes() == before
    assert names(course) == ["03-three.ipynb", "04-four.ipynb"]


@pytest.mark.parametrize(("source", "only"), [("x = 3", " (only outputs differ)"), ("x = 5", "")])
def test_the_question_tells_what_would_happen(course, source, only):
    write(course, "03-three.ipynb", source, "3\n")
    asked: list[str] = []
    delivered.reset(3, asked.append, course)
    assert asked == [
        f"Bring 03-three.ipynb back to how it was delivered{only}? "
        "Yours is kept as my-03-three.ipynb."
    ]


def test_a_notebook_that_was_deleted_comes_back(course):
    path = course / "notebooks/03-three.ipynb"
    before = path.read_bytes()
    path.unlink()
    delivered.reset(3, yes, course)
    assert path.read_bytes() == before
    assert names(course) == ["03-three.ipynb", "04-four.ipynb"]


def test_a_broken_notebook_comes_back(course):
    path = course / "notebooks/03-three.ipynb"
    path.write_text("half")
    delivered.reset(3, yes, course)
    assert workbook.cells(path) == [("code", "x = 3")]


def test_a_number_that_does_not_exist(course):
    with pytest.raises(WorkbookError, match="there is no notebook '7'; there are: 03, 04"):
        delivered.reset(7, yes, course)


def test_where_nobody_kept_them(tmp_path):
    write(tmp_path, "03-three.ipynb", "")
    with pytest.raises(WorkbookError, match="nobody kept the notebooks as they were delivered"):
        delivered.reset(3, yes, tmp_path)


def test_where_git_is_missing(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(WorkbookError, match=r"git, which cannot be started: .*apt install git"):
        delivered.reset(3, yes, checkout)


def test_where_git_has_no_commit(tmp_path):
    write(tmp_path, "03-three.ipynb", "")
    subprocess.run([*GIT, "init", "-q"], cwd=tmp_path, check=True)
    with pytest.raises(WorkbookError, match="git does not give out the notebooks as delivered: "):
        delivered.reset(3, yes, tmp_path)


def test_another_repository_in_the_environment_does_not_matter(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    with delivered.folder(checkout) as folder:
        assert [path.name for path in folder.iterdir()] == ["03-three.ipynb"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user(checkout):
    for place, _, files in os.walk(checkout):
        for name in (".", *files):
            os.chown(os.path.join(place, name), 65534, 65534)
    with delivered.folder(checkout) as folder:
        assert [path.name for path in folder.iterdir()] == ["03-three.ipynb"]


def test_a_newer_copy_replaces_the_older(course):
    (course / "notebooks/04-four.ipynb").unlink()
    write(course, "03-three.ipynb", "newer")
    delivered.keep(course)
    with delivered.folder(course) as folder:
        assert [path.name for path in folder.iterdir()] == ["03-three.ipynb"]
        assert workbook.cells(folder / "03-three.ipynb") == [("code", "newer")]
    assert sorted(path.name for path in course.iterdir()) == [delivered.COPY, "notebooks"]


COMMAND = [sys.executable, "-m", "labkit"]


@pytest.fixture
def whole(course):
    """A course with its kit, and an edited notebook."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "labkit", course / "labkit", ignore=ignore)
    write(course, "03-three.ipynb", "mine = 3")
    return course


def labkit(course, *words):
    """Run the kit of a course, without a terminal."""
    return subprocess.run(
        [*COMMAND, *words], cwd=course, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_a_script_has_to_say_yes(whole):
    run = labkit(whole, "reset", "03")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("labkit: reset: nobody is here to be asked")
    assert "my-03-three.ipynb" not in names(whole)
    run = labkit(whole, "reset", "--yes", "03")
    assert (run.returncode, run.stderr) == (0, "")
    assert "my-03-three.ipynb" in names(whole)


@pytest.mark.parametrize(
    ("answer", "said"),
    [("y", "yours is my-03-three"), ("", "stays as it is"), ("no", "stays as it is"), ("\4", "")],
)
def test_a_person_is_asked(whole, answer, said):
    person = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "reset", "03"], cwd=whole, encoding="utf-8")
    person.expect_exact("Yours is kept as my-03-three.ipynb. [y/N] ")
    person.send(answer if answer == "\4" else f"{answer}\r")
    person.expect_exact(said)
    person.expect(pexpect.EOF)
    assert person.wait() == 0
    assert ("my-03-three.ipynb" in names(whole)) == (answer == "y")


def test_an_answer_that_the_encoding_lacks_is_no_yes(whole):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [*COMMAND[1:], "reset", "03"]
    person = pexpect.spawn(COMMAND[0], command, cwd=whole, env=environment, encoding="utf-8")
    person.expect_exact("[y/N] ")
    person.send("café\r")
    person.expect_exact("03-three.ipynb stays as it is.")
    person.expect(pexpect.EOF)
    assert person.wait() == 0


@pytest.mark.parametrize("words", [[], ["--force", "03"], ["03", "04"]])
def test_the_command_says_how_it_is_used(whole, words):
    run = labkit(whole, "reset", *words)
    assert run.returncode == 2
    assert run.stderr.startswith("usage: labkit ")


def test_the_first_setup_keeps_the_notebooks_where_there_is_no_git(whole):
    shutil.rmtree(whole / delivered.COPY)
    shutil.copytree(ROOT / "setup", whole / "setup")
    # The wrong word ends it before it installs anything.
    command = [sys.executable, "setup/install.py", "wrong"]
    subprocess.run(command, cwd=whole, stderr=subprocess.DEVNULL)
    write(whole, "03-three.ipynb", "edited later")
    subprocess.run(command, cwd=whole, stderr=subprocess.DEVNULL)
    with delivered.folder(whole) as folder:
        assert workbook.cells(folder / "03-three.ipynb") == [("code", "mine = 3")]


def test_a_checkout_needs_no_copy(checkout):
    shutil.copytree(ROOT / "setup", checkout / "setup")
    command = [sys.executable, "setup/install.py", "wrong"]
    subprocess.run(command, cwd=checkout, stderr=subprocess.DEVNULL)
    assert not (checkout / delivered.COPY).exists()
