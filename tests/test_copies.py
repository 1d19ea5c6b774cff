"""copies: what a learner works in, renewed where nothing was begun, and the way back."""

import os
import shutil
import subprocess
import sys
import zipfile

import nbformat
import pexpect
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from labkit import places
from labkit.course import copies, progress, renumbered, workbook
from labkit.course.workbook import WorkbookError
from tests.helpers.course import ROOT

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]


def write(path, source, printed=""):
    path.parent.mkdir(exist_ok=True)
    outputs = [new_output("stream", text=printed)] if printed else []
    cell = new_code_cell(source, id="one", execution_count=1, outputs=outputs)
    nbformat.write(new_notebook(cells=[cell]), path)
    return path


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course that nobody has opened yet."""
    books = tmp_path / "notebooks"
    write(books / "03-three.ipynb", "x = 3", "3\n")
    write(books / "04-four.ipynb", "x = 4")
    monkeypatch.setattr(workbook, "NOTEBOOKS", books)
    monkeypatch.setattr(places, "NOTEBOOKS", str(books))
    monkeypatch.delenv("LABKIT_MINE")
    return tmp_path


@pytest.fixture
def opened(course):
    """A course that was opened once."""
    assert copies.prepare() == []
    return course


def names(course, folder="mine"):
    return sorted(path.name for path in (course / folder).glob("[!.]*"))


def with_kit(course):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "labkit", course / "labkit", ignore=ignore)


def sources(path):
    return [source for _, source in workbook.cells(path)]


def test_copies_are_made_at_the_first_start_without_outputs(opened):
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]
    [cell] = nbformat.read(opened / "mine/03-three.ipynb", as_version=4).cells
    assert (cell.source, cell.id, cell.outputs, cell.execution_count) == ("x = 3", "one", [], None)
    assert "3\\n" in (opened / "notebooks/03-three.ipynb").read_text()


@pytest.mark.parametrize(
    "path", workbook.notebooks(workbook.NOTEBOOKS).values(), ids=lambda p: p.name
)
def test_a_copy_is_a_notebook_that_shows_questions_and_no_answers(path):
    book = nbformat.reads(copies.copy_of(path), as_version=4)
    nbformat.validate(book)
    shown = [cell for cell in book.cells if cell.get("outputs")]
    assert [cell.source for cell in shown] == [
        cell.source for cell in book.cells if "Quiz(" in cell.source
    ]
    for cell in shown:
        assert cell.metadata.jupyter.source_hidden
        assert "run this cell (Shift+Enter) to choose" in str(cell.outputs)
    assert [cell.execution_count for cell in book.cells if cell.cell_type == "code"].count(None)
    assert "The kernel says" not in str([cell.get("outputs") for cell in book.cells])
    before = nbformat.read(path, as_version=4)
    assert [cell.source for cell in book.cells] == [cell.source for cell in before.cells]


def test_what_a_learner_did_stays_at_the_next_start(opened):
    path = write(opened / "mine/03-three.ipynb", "mine = 3", "printed")
    before = path.read_bytes()
    assert copies.prepare() == []
    assert path.read_bytes() == before


def test_a_copy_that_was_deleted_is_made_again(opened):
    (opened / "mine/03-three.ipynb").unlink()
    copies.prepare()
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]


@pytest.mark.parametrize("run", ["", "3\n"], ids=["not opened", "run, and nothing changed"])
def test_a_newer_course_replaces_copies_that_were_not_begun(opened, run):
    write(opened / "mine/03-three.ipynb", "x = 3", run)
    write(opened / "notebooks/03-three.ipynb", "newer = 3", "3")
    assert copies.prepare() == []
    assert sources(opened / "mine/03-three.ipynb") == ["newer = 3"]
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]


def test_a_newer_course_lies_beside_what_was_begun_and_a_line_says_so_once(opened):
    write(opened / "mine/03-three.ipynb", "mine = 3")
    write(opened / "notebooks/03-three.ipynb", "newer = 3")
    [line] = copies.prepare()
    beside = "03-three.newer.ipynb"
    assert line == f"03-three.ipynb: the course has a newer one; it lies beside yours as {beside}."
    assert copies.prepare() == []
    assert sources(opened / "mine/03-three.ipynb") == ["mine = 3"]
    assert sources(opened / "mine" / beside) == ["newer = 3"]
    assert workbook.notebook(3, opened / "mine")[1].name == "03-three.ipynb"


def test_who_works_in_the_newer_one_keeps_it_when_a_third_comes(opened):
    for text in ("mine", "second", "third"):
        place = "mine" if text == "mine" else "notebooks"
        write(opened / place / "03-three.ipynb", text)
        if text == "third":
            write(opened / "mine/03-three.newer.ipynb", "mine, too")
        copies.prepare()
    assert sources(opened / "mine/03-three.newer.ipynb") == ["third"]
    assert sources(opened / "mine/03-three.newer.1.ipynb") == ["mine, too"]


def test_half_a_notebook_of_the_learners_is_left_alone(opened):
    (opened / "mine/03-three.ipynb").write_text("half")
    assert copies.prepare() == []
    assert (opened / "mine/03-three.ipynb").read_text() == "half"


def test_half_a_notebook_of_the_course_is_named(course):
    (course / "notebooks/03-three.ipynb").write_text("half")
    [line] = copies.prepare()
    assert "03-three.ipynb is not a Jupyter notebook" in line
    assert names(course) == ["04-four.ipynb"]


@pytest.mark.parametrize("junk", ["", "[]", "{"])
def test_a_broken_record_takes_nothing_from_the_learner(opened, junk):
    write(opened / "mine/03-three.ipynb", "mine = 3")
    (opened / "mine" / copies.RECORD).write_text(junk)
    [line] = copies.prepare()
    assert "03-three.newer.ipynb" in line
    assert sources(opened / "mine/03-three.ipynb") == ["mine = 3"]
    assert copies.prepare() == []


def test_another_place_for_the_copies(course, tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path / "elsewhere"))
    write(course / "notebooks/my-notes.ipynb", "mine")
    copies.prepare()
    assert names(course, "elsewhere") == ["03-three.ipynb", "04-four.ipynb"]
    assert not (course / "mine").exists()
    assert (course / "notebooks/my-notes.ipynb").exists()


def test_a_notebook_starts_from_the_learners_before_it_then_from_the_delivered(opened):
    write(opened / "notebooks/03-three.ipynb", "%%source a.py\nx = 3\n")
    write(opened / "notebooks/04-four.ipynb", "%%source b.py\nx = 4\n")
    write(opened / "mine/03-three.ipynb", "%%source a.py\nmine = 3\n")
    write(opened / "mine/03-three-Copy1.ipynb", "%%source a.py\nx = 'a try'\n")
    write(opened / "mine/09-mine.ipynb", "%%source c.py\nx = 9\n")
    (opened / "mine/04-four.ipynb").unlink()

    def texts(folder):
        return [source.text for source in workbook.runtime(folder=opened / folder).values()]

    assert texts("mine") == ["mine = 3\n", "x = 4\n", "x = 9\n"]
    assert texts("notebooks") == ["x = 3\n", "x = 4\n"]


ASK = "from labkit.course import workbook; print(workbook.runtime()['a.py'].text)"


@pytest.mark.parametrize("place", ["mine", "notebooks", "mine/below", "."])
def test_a_kernel_takes_the_notebooks_among_which_it_was_started(course, place):
    with_kit(course)
    write(course / "notebooks/03-three.ipynb", "%%source a.py\ndelivered\n")
    write(course / "mine/03-three.ipynb", "%%source a.py\nmine\n")
    (course / place).mkdir(exist_ok=True)
    environment = os.environ | {"PYTHONPATH": str(course)}
    command = [sys.executable, "-P", "-c", ASK]
    run = subprocess.run(
        command, cwd=course / place, env=environment, capture_output=True, text=True
    )
    assert run.stdout == ("mine\n\n" if "mine" in place else "delivered\n\n")


def commit(course):
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "course"]):
        subprocess.run([*GIT, *words], cwd=course, check=True)


def keep(course):
    """As an earlier course without git kept its notebooks."""
    (course / ".as-delivered").mkdir()
    for path in (course / "notebooks").glob("*.ipynb"):
        shutil.copy(path, course / ".as-delivered")


@pytest.fixture(params=[commit, keep])
def earlier(course, request):
    """A course with work in `notebooks/`, from before there was `mine/`."""
    (course / "notebooks/exercises").mkdir()
    (course / "notebooks/exercises/n03.py").touch()
    request.param(course)
    write(course / "notebooks/03-three.ipynb", "mine = 3", "printed")
    write(course / "notebooks/my-03-three.ipynb", "mine, older")
    (course / "notebooks/notes").mkdir()
    (course / "notebooks/notes/a.md").write_text("mine")
    (course / "notebooks" / "work/run").mkdir(parents=True)
    (course / "notebooks" / "work/progress.json").write_text(
        '{"03.1": "2026-11-24T10:00:00+00:00"}'
    )
    return course


def test_work_from_before_is_moved_once_and_nothing_of_it_is_lost(earlier):
    said = copies.prepare()
    assert sorted(line.split()[0] for line in said) == [
        "notebooks/03-three.ipynb",
        "notebooks/my-03-three.ipynb",
        "notebooks/notes",
        "notebooks/work",
    ]
    mine = ["03-three.ipynb", "04-four.ipynb", "my-03-three.ipynb", "notes", "work"]
    assert names(earlier) == mine
    assert names(earlier, "notebooks") == ["03-three.ipynb", "04-four.ipynb", "exercises"]
    assert sources(earlier / "mine/03-three.ipynb") == ["mine = 3"]
    assert "printed" in (earlier / "mine/03-three.ipynb").read_text()
    assert (earlier / "mine/notes/a.md").read_text() == "mine"
    assert sources(earlier / "notebooks/03-three.ipynb") == ["x = 3"]
    assert progress.passed() == {"03.1"}
    assert not (earlier / ".as-delivered").exists()
    write(earlier / "notebooks/04-four.ipynb", "an author's edit")
    copies.prepare()
    assert sources(earlier / "notebooks/04-four.ipynb") == ["an author's edit"]


def test_where_git_is_missing_a_line_says_so_and_all_stays(course, monkeypatch):
    commit(course)
    write(course / "notebooks/03-three.ipynb", "mine = 3")
    monkeypatch.setenv("PATH", str(course))
    [line] = copies.prepare()
    assert line.startswith("What you changed in notebooks/ could not be moved to ")
    assert sources(course / "notebooks/03-three.ipynb") == ["mine = 3"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_checkout_of_another_user(course):
    commit(course)
    write(course / "notebooks/03-three.ipynb", "mine = 3")
    for place, _, files in os.walk(course):
        for name in (".", *files):
            os.chown(os.path.join(place, name), 65534, 65534)
    assert len(copies.prepare()) == 1


def yes(question):
    return True


def test_a_notebook_comes_back_and_the_learners_lies_beside_it(opened):
    path = opened / "mine/03-three.ipynb"
    before = path.read_bytes()
    write(path, "mine = 3")
    mine = path.read_bytes()
    said = copies.reset("3", yes)
    assert path.read_bytes() == before
    assert (opened / "mine/03-three.1.ipynb").read_bytes() == mine
    assert said.startswith("03-three.ipynb is as it was delivered, yours is 03-three.1.ipynb.\n")
    assert "File → Reload Notebook from Disk" in said
    assert "labkit progress --reset 03" in said


def test_the_learners_version_is_none_of_the_courses_notebooks(opened):
    write(opened / "mine/03-three.ipynb", "mine = 3")
    copies.reset(3, yes)
    found = workbook.notebooks(opened / "mine").values()
    assert [path.name for path in found] == ["03-three.ipynb", "04-four.ipynb"]


def test_an_older_version_of_the_learner_is_not_overwritten(opened):
    for text in ("first", "second", "third"):
        write(opened / "mine/03-three.ipynb", text)
        copies.reset(3, yes)
    kept = ["03-three.1.ipynb", "03-three.2.ipynb", "03-three.3.ipynb"]
    assert names(opened) == [*kept, "03-three.ipynb", "04-four.ipynb"]
    for name, text in zip(kept, ("first", "second", "third"), strict=True):
        assert workbook.cells(opened / "mine" / name) == [("code", text)]


def test_where_nothing_differs_nothing_is_asked(opened):
    said = copies.reset(3, pytest.fail)
    assert said == "03-three.ipynb is as it was delivered; there is nothing to do."


def test_who_says_no_keeps_everything(opened):
    path = write(opened / "mine/03-three.ipynb", "mine")
    before = path.read_bytes()
    assert copies.reset(3, lambda _: False) == "03-three.ipynb stays as it is."
    assert path.read_bytes() == before
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]


@pytest.mark.parametrize(("source", "only"), [("x = 3", " (only outputs differ)"), ("x = 5", "")])
def test_the_question_tells_what_would_happen(opened, source, only):
    write(opened / "mine/03-three.ipynb", source, "3\n")
    asked: list[str] = []
    copies.reset(3, asked.append)
    assert asked == [
        f"Bring 03-three.ipynb back to how it was delivered{only}? "
        "Yours is kept as 03-three.1.ipynb."
    ]


def test_a_notebook_that_was_deleted_comes_back(opened):
    path = opened / "mine/03-three.ipynb"
    before = path.read_bytes()
    path.unlink()
    copies.reset(3, yes)
    assert path.read_bytes() == before
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]


def test_a_broken_notebook_comes_back(opened):
    path = opened / "mine/03-three.ipynb"
    path.write_text("half")
    copies.reset(3, yes)
    assert workbook.cells(path) == [("code", "x = 3")]


def test_a_number_that_does_not_exist(opened):
    with pytest.raises(WorkbookError, match="there is no notebook '7'; there are: 03, 04"):
        copies.reset(7, yes)


COMMAND = [sys.executable, "-m", "labkit"]


@pytest.fixture
def whole(opened):
    """A course with its kit, and an edited notebook."""
    with_kit(opened)
    write(opened / "mine/03-three.ipynb", "mine = 3")
    return opened


def labkit(course, *words):
    """Run the kit of a course, without a terminal."""
    return subprocess.run(
        [*COMMAND, *words], cwd=course, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )


def test_a_script_has_to_say_yes(whole):
    run = labkit(whole, "reset", "03")
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("labkit: reset: nobody is here to be asked")
    assert "03-three.1.ipynb" not in names(whole)
    run = labkit(whole, "reset", "--yes", "03")
    assert (run.returncode, run.stderr) == (0, "")
    assert "03-three.1.ipynb" in names(whole)


@pytest.mark.parametrize(
    ("answer", "said"),
    [("y", "yours is 03-three.1"), ("", "stays as it is"), ("no", "stays as it is"), ("\4", "")],
)
def test_a_person_is_asked(whole, answer, said):
    person = pexpect.spawn(COMMAND[0], [*COMMAND[1:], "reset", "03"], cwd=whole, encoding="utf-8")
    person.expect_exact("Yours is kept as 03-three.1.ipynb. [y/N] ")
    person.send(answer if answer == "\4" else f"{answer}\r")
    person.expect_exact(said)
    person.expect(pexpect.EOF)
    assert person.wait() == 0
    assert ("03-three.1.ipynb" in names(whole)) == (answer == "y")


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


def test_what_is_handed_in_is_one_file_with_the_notebooks(whole):
    (whole / "mine/notes.md").write_text("mine")
    write(whole / "mine/03-three.newer.ipynb", "newer")
    run = labkit(whole, "hand-in", "Ada Ü")
    file = whole / "mine/hand-in-Ada Ü.zip"
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith(f"{file} holds your notebooks as they were last saved")
    with zipfile.ZipFile(file) as packed:
        assert packed.namelist() == ["03-three.ipynb", "04-four.ipynb"]
        assert packed.read("03-three.ipynb") == (whole / "mine/03-three.ipynb").read_bytes()


def test_who_hands_in_again_hands_in_what_is_saved_now(opened):
    for text in ("first", "second"):
        write(opened / "mine/03-three.ipynb", text)
        file = copies.hand_in("ada")
    with zipfile.ZipFile(file) as packed:
        assert b"second" in packed.read("03-three.ipynb")
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb", "hand-in-ada.zip"]


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a\nb"])
def test_a_name_that_can_name_no_file(opened, name):
    with pytest.raises(WorkbookError, match="can name no file"):
        copies.hand_in(name)
    assert names(opened) == ["03-three.ipynb", "04-four.ipynb"]


def test_before_the_first_start_there_is_nothing_to_hand_in(course):
    with pytest.raises(WorkbookError, match=r"there are no notebooks of yours in .*; make lab"):
        copies.hand_in("ada")


RENUMBERED = "Notebook 06 became 06 and 07; your copies and progress of 06 to 08 are now 07 to 09."


def test_copies_and_progress_of_before_06_became_two_get_the_numbers_of_now_once(course):
    books = course / "notebooks"
    for old in renumbered.NAMES:
        write(books / old, f"%notebook {old[:2]}")
    copies.prepare()
    begun = '%notebook 07\n%%answer 07.1\ncheck("07.1")\nhint("06.3")\n"%%answer 07.12, 07"'
    write(course / "mine/07-the-job-of-pid-1.ipynb", begun)
    for number in ("05.1", "06.1", "06.3", "07.1", "08.2"):
        progress.mark(number)
    for old, new in renumbered.NAMES.items():
        (books / old).unlink()
        write(books / new, f"%notebook {new[:2]} as it is now")
    said = copies.prepare()
    beside = "08-the-job-of-pid-1.newer.ipynb"
    assert said == [
        RENUMBERED,
        f"08-the-job-of-pid-1.ipynb: the course has a newer one; it lies beside yours as {beside}.",
    ]
    assert copies.prepare() == []
    now = [*renumbered.NAMES.values(), beside]
    assert names(course) == sorted(["03-three.ipynb", "04-four.ipynb", "work", *now])
    assert sources(course / "mine/08-the-job-of-pid-1.ipynb") == [
        '%notebook 08\n%%answer 08.1\ncheck("08.1")\nhint("07.1")\n"%%answer 07.12, 07"'
    ]
    assert sources(course / "mine/09-without-root.ipynb") == ["%notebook 09 as it is now"]
    assert sorted(progress.passed()) == ["05.1", "06.1", "07.1", "08.1", "09.2"]


def test_a_begun_copy_of_the_old_06_says_where_its_first_exercises_are_now(course):
    books = course / "notebooks"
    old, new = "06-a-real-terminal.ipynb", "07-a-real-terminal.ipynb"
    write(books / old, "%%answer 06.1\nx = 1\n")
    copies.prepare()
    write(course / "mine" / old, "%%answer 06.1\nmine = 1\n")
    (books / old).rename(books / "06-a-terminal-of-its-own.ipynb")
    write(books / new, "%%answer 07.1\nx = 1\n")
    said = copies.prepare()
    assert said[:2] == [
        RENUMBERED,
        f"{new} still asks 06.1 and 06.2, which stand in the new 06; "
        "labkit reset 07 brings the new 07 and keeps yours.",
    ]
    assert workbook.exercises(course / "mine" / new, workbook.ANSWER) == {"06.1": "mine = 1\n"}
    copies.reset("07", yes)
    assert workbook.exercises(course / "mine" / new, workbook.ANSWER) == {"07.1": "x = 1\n"}
    assert sources(course / "mine/07-a-real-terminal.1.ipynb") == ["%%answer 06.1\nmine = 1\n"]
    assert copies.prepare() == []
