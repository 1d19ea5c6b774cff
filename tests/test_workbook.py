"""workbook: the runtime is what the notebooks hold, and a wrong notebook is named."""

import ast
import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TransformerManager
from IPython.core.interactiveshell import InteractiveShell

from labkit import linux
from labkit.course import magics, workbook
from labkit.course.workbook import WorkbookError
from labkit.course.workfolder import Change, WorkFolder
from tests.helpers.course import book


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path / "mine"))
    return tmp_path


def opened_at(number, folder):
    """The working folder of a notebook, as `%notebook` fills it."""
    found, _ = workbook.notebook(number, folder)
    return WorkFolder(found, workbook.runtime(found, before=True, folder=folder))


# How people and programs put the lines of a cell that IPython takes for a magic, and some that it
# does not. {} stands for the magic and its line.
LAYOUTS = [
    "{}\nx = 1",
    "{}\nx = 1\n",
    "\n{}\nx = 1\n",
    " \t\n\n{}\n\nx = 1\n   \n\n",
    "\r\n{}\r\nx = 1\r\n",
    "\x0c\n{}\nx = 1\n",
    "  {}\n  x = 1\n",
    "\n  {}\n    x = 1\n  y = 1\n",
    "  {}\nx = 1\n",
    "{}  \t\nx = 1\n",
    "# first\n{}\nx = 1\n",
    "{}",
    "{}\n",
    "{}\n\n",
    "{}\n%%answer 01.2\nx = 1\n",
    "\n  \n",
    "",
]
LINES = [
    "%%answer 01.1",
    "%%answer  01.1",
    "%%answer\t01.1",
    "%% answer 01.1",
    "%%answer?",
    "%%answer",
]


def as_ipython_takes_it(cell):
    """Name, line and body of the magic that IPython calls for a cell, None where it calls none."""
    with warnings.catch_warnings(action="ignore"):
        tree = ast.parse("try: pass\nfinally: pass")
        with contextlib.suppress(SyntaxError):
            tree = ast.parse(TransformerManager().transform_cell(cell))
    match tree.body:
        case [ast.Expr(ast.Call(ast.Attribute(attr="run_cell_magic"), constants))]:
            name, line, body = map(ast.literal_eval, constants)
            return (f"%%{name}", line, body) if body else None
    return None


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("line", LINES)
def test_a_cell_magic_is_what_ipython_takes_for_one(layout, line):
    cell = layout.format(line)
    found = workbook.magic(cell)
    assert (found and (found.name, found.line, found.body)) == as_ipython_takes_it(cell)
    if found:
        assert found.body.split("\n")[0].strip() in cell.split("\n")[found.above]


def test_a_blank_line_above_a_source_cell_changes_nothing_but_its_lines(folder):
    book(folder, "01-one.ipynb", "\n \n%%source a.py\nx = 1\n")
    assert texts(workbook.runtime(folder=folder)) == {"a.py": "x = 1\n"}
    book(folder, "02-two.ipynb", "\n \n%%source a.py\nx = 1\ndef f(:\n")
    with pytest.raises(WorkbookError, match=r"02-two\.ipynb, cell 1, line 5 \(a\.py\)"):
        workbook.runtime(folder=folder)


def test_a_file_without_a_text_is_refused_by_ipython_and_so_here(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n", "%%source a.py")
    assert texts(workbook.runtime(folder=folder)) == {"a.py": "x = 1\n"}


def test_reading_cells_does_not_wait_for_ipython():
    program = (
        "import sys; from labkit.course.workbook import runtime; runtime(); print(*sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "labkit.course.workbook" in run.stdout
    assert "IPython" not in run.stdout


def texts(files):
    return {path: source.text for path, source in files.items()}


def test_the_last_cell_for_a_path_up_to_a_notebook_counts(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n", "x", "%%source b.py\ny = 1")
    book(folder, "02-two.ipynb", "%%source a.py\nx = 2\n", "%%source a.py\nx = 3\n")
    book(folder, "notes.ipynb", "%%source a.py\nx = 9\n")
    assert texts(workbook.runtime("01", folder=folder)) == {"a.py": "x = 1\n", "b.py": "y = 1\n"}
    assert texts(workbook.runtime(2, folder=folder)) == {"a.py": "x = 3\n", "b.py": "y = 1\n"}
    assert texts(workbook.runtime(folder=folder)) == texts(workbook.runtime(2, folder=folder))
    assert workbook.runtime("01", before=True, folder=folder) == {}


def test_a_file_that_another_replaces_is_no_more(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n", "%%source b.py\ny = 1\n")
    book(folder, "02-two.ipynb", "%%source c.py replaces a.py b.py\nz = 1\n")
    assert texts(workbook.runtime("02", folder=folder)) == {"c.py": "z = 1\n"}
    opened = opened_at("02", folder)
    [source] = workbook.sources(workbook.notebook("02", folder)[1])
    assert repr(opened.put(source)) == "c.py: new, 1 lines, replaces a.py, b.py"
    assert sorted(path.name for path in opened.path.glob("*.py")) == ["c.py"]
    assert opened_at("02", folder).path.name == "02"  # nothing was put aside
    assert [path.name for path in opened.path.parent.iterdir()] == ["02"]


def test_the_runtime_brings_the_courses_system_calls(folder):
    book(folder, "01-one.ipynb", "%%source mydocker/__main__.py\nx = 1\n")
    found = workbook.runtime(folder=folder)[workbook.LINUX]
    assert found.text == Path(linux.__file__).read_text()


@pytest.mark.parametrize("number", ["7", "x", "", "-1", "1.0", "²", "01 02"])
def test_a_number_that_does_not_exist(folder, number):
    book(folder, "01-one.ipynb", "1")
    with pytest.raises(WorkbookError, match=r"there is no notebook .*; there are: 01"):
        workbook.runtime(number, folder=folder)


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"cells": 3}', '{"cells": [{}]}'])
def test_a_file_that_is_no_notebook(folder, text):
    (folder / "01-bad.ipynb").write_text(text)
    with pytest.raises(WorkbookError, match=r"01-bad\.ipynb is not a Jupyter notebook"):
        workbook.runtime(folder=folder)


@pytest.mark.parametrize("path", ["../x.py", "/etc/x.py", "", "a/../../x.py", "."])
def test_a_path_outside_the_working_folder(folder, path):
    book(folder, "01-one.ipynb", "1", f"%%source {path}\nx = 1\n")
    with pytest.raises(WorkbookError, match=r"01-one\.ipynb, cell 2: %%source wants a path inside"):
        workbook.runtime(folder=folder)


def test_a_syntax_error_names_notebook_cell_line_and_file(folder):
    book(folder, "01-one.ipynb", "1", "%%source a.py\nx = 1\ndef f(:\n")
    with pytest.raises(WorkbookError) as caught:
        workbook.runtime(folder=folder)
    assert str(caught.value).startswith("01-one.ipynb, cell 2, line 3 (a.py): invalid syntax")


def test_a_file_that_is_not_python_may_hold_anything(folder):
    book(folder, "01-one.ipynb", "%%source a.txt\ndef f(:\n")
    assert texts(workbook.runtime(folder=folder)) == {"a.txt": "def f(:\n"}


def test_each_notebook_has_a_working_folder_filled_with_what_came_before(folder):
    book(folder, "01-one.ipynb", "%%source p/a.py\nx = 1\n")
    book(folder, "02-two.ipynb", "%%source p/a.py\nx = 2\n")
    first, second = opened_at("1", folder), opened_at("02", folder)
    assert first.path != second.path
    assert not (first.path / "p").exists()
    assert (second.path / "p/a.py").read_text() == "x = 1\n"


def test_a_change_is_shown_against_the_version_before_also_when_run_again(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n")
    book(folder, "02-two.ipynb", "")
    opened = opened_at(2, folder)
    source = workbook.Source("a.py", "x = 2\n", "this cell")
    first, again = opened.put(source), opened.put(source)
    assert first == again == Change("a.py", "x = 1\n", "x = 2\n")
    assert repr(first) == "a.py: 1 lines added, 1 removed\n  ⋮\n-x = 1\n+x = 2"


def test_a_diff_in_a_page_escapes_markup():
    change = Change("a.py", "a\n", 'print("<b>&</b>")\n')
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in change._repr_html_()
    assert "<b>" not in change._repr_html_()


def test_a_file_edited_by_hand_is_kept(folder, capsys):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n")
    book(folder, "02-two.ipynb", "")
    opened = opened_at(2, folder)
    (opened.path / "a.py").write_text("mine = True\n")
    opened_at(2, folder)
    assert (opened.path / "a.py").read_text() == "x = 1\n"
    assert (folder / "mine" / "work/02.1/a.py").read_text() == "mine = True\n"
    assert capsys.readouterr().err == "02: a.py was edited by hand; that is now 02.1\n"


def test_a_file_that_was_edited_by_hand_is_put_aside_when_its_cell_is_run(opened, folder, capsys):
    book = opened_at(2, folder)
    (opened / "p/a.py").write_text("mine = True\n")
    book.put(workbook.Source("p/a.py", "x = 2\n", "this cell"))
    assert (opened / "p/a.py").read_text() == "x = 2\n"
    assert (opened / "p/a.1.py").read_text() == "mine = True\n"
    assert capsys.readouterr().err == "a.py: it was edited by hand; that is now a.1.py\n"


@pytest.fixture
def opened(folder):
    """The working folder of a notebook that starts from p/a.py, after a first session."""
    book(folder, "01-one.ipynb", "%%source p/a.py\nx = 1\n")
    book(folder, "02-two.ipynb", "")
    return opened_at(2, folder).path


def make_file(path):
    path.write_text("junk")


def make_pipe(path):
    os.mkfifo(path)


def make_link(path):
    path.symlink_to("nowhere")


@pytest.mark.parametrize("make", [Path.mkdir, make_pipe, make_link])
def test_what_lies_in_place_of_a_file_is_put_aside(folder, opened, make):
    (opened / "p/a.py").unlink()
    make(opened / "p/a.py")
    opened_at(2, folder)
    assert (opened / "p/a.py").read_text() == "x = 1\n"
    assert os.path.lexists(f"{opened}.1/p/a.py")


@pytest.mark.parametrize("make", [make_file, make_pipe, make_link])
def test_what_lies_in_place_of_a_folder_is_named_and_stays(folder, opened, make):
    shutil.rmtree(opened)
    make(opened)
    with pytest.raises(OSError, match=r"/02(/p)?'$"):
        opened_at(2, folder)
    assert os.path.lexists(opened)


@pytest.mark.parametrize("make", [make_file, make_pipe, make_link])
def test_what_lies_in_place_of_a_folder_below_is_named_and_stays(folder, opened, make):
    shutil.rmtree(opened / "p")
    make(opened / "p")
    with pytest.raises(OSError, match=r"/02/p'$"):
        opened_at(2, folder)
    assert os.path.lexists(opened / "p")


@pytest.mark.parametrize("place", ["p/a.py"])
def test_what_is_read_only_is_written_all_the_same(folder, opened, place):
    opened_at(2, folder).put(workbook.Source("p/a.py", "x = 2\n", "this cell"))
    (opened / place).chmod(0o555)
    opened_at(2, folder)
    assert (opened / "p/a.py").read_text() == "x = 1\n"


def test_a_file_that_a_cell_wrote_in_an_earlier_session_is_gone(folder, opened, capsys):
    opened_at(2, folder).put(workbook.Source("p/select.py", "x = 2\n", "this cell"))
    opened_at(2, folder)
    assert [path.name for path in (opened / "p").iterdir()] == ["a.py"]
    assert capsys.readouterr().err == ""


def test_a_file_of_the_learners_is_not_written_over(folder, opened, capsys):
    (opened / "p/notes.txt").write_text("mine")
    (opened / "p/b.py").write_text("mine = True\n")
    opened_at(2, folder)
    assert (opened / "p/notes.txt").exists()
    book(folder, "01-one.ipynb", "%%source p/a.py\nx = 1\n", "%%source p/b.py\nx = 2\n")
    opened_at(2, folder)
    assert sorted(path.name for path in (opened / "p").iterdir()) == ["a.py", "b.py"]
    kept = sorted(path.name for path in (opened.with_name("02.1") / "p").iterdir())
    assert kept == ["a.py", "b.py", "notes.txt"]
    assert capsys.readouterr().err == "02: p/b.py was edited by hand; that is now 02.1\n"


@pytest.mark.parametrize("junk", ["", "[]", '{"p/a.py": 1, "../../x": 2}', None])
def test_a_broken_record_of_what_was_written(folder, opened, junk):
    record = opened / ".written.json"
    record.unlink()
    record.mkdir() if junk is None else record.write_text(junk)
    opened_at(2, folder)
    assert sorted(path.name for path in (opened / "p").iterdir()) == ["a.py"]
    (opened / "p/a.py").write_text("mine")
    opened_at(2, folder)
    assert opened.with_name("02.2").joinpath("p/a.py").read_text() == "mine"


def test_a_working_folder_that_cannot_be_written_names_the_cure(folder, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.chdir(folder)
    shell = InteractiveShell()
    magics.register(shell, lambda *_: "")
    monkeypatch.setattr(workbook, "write", refuse)
    with pytest.raises(UsageError, match=r"cannot write .*Cure: sudo chown -R"):
        shell.run_line_magic("notebook", "00")


def test_a_file_where_the_working_folders_should_be(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "mine").mkdir()
    (folder / "mine/work").write_text("mine")
    shell = InteractiveShell()
    magics.register(shell, lambda *_: "")
    with pytest.raises(UsageError, match=r"cannot write .*/mine/work: File exists"):
        shell.run_line_magic("notebook", "00")
    assert (folder / "mine/work").read_text() == "mine"


def test_install_writes_each_content_once(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n")
    files = workbook.runtime(folder=folder)
    first = workbook.install(files)
    assert workbook.install(files) == first
    assert (first / "a.py").read_text() == "x = 1\n"
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_the_magics_write_show_and_explain(folder, monkeypatch):
    monkeypatch.chdir(folder)
    shell = InteractiveShell()
    magics.register(shell, lambda *_: "")
    with pytest.raises(UsageError, match="first run the cell with %notebook"):
        shell.run_cell_magic("source", "a.py", "x = 1\n")
    with pytest.raises(UsageError, match="there is no notebook"):
        shell.run_line_magic("notebook", "77")
    shell.run_line_magic("notebook", "00")
    assert shell.run_cell_magic("source", "a.py", "x = 1\n") == Change("a.py", None, "x = 1\n")
    assert (folder / "mine" / "work/00/a.py").read_text() == "x = 1\n"
    with pytest.raises(UsageError, match=r"this cell, line 2 \(a.py\): .*not written"):
        shell.run_cell_magic("source", "a.py", "x =\n")
    failed = shell.run_cell("\n \n%%source a.py\nx =\n", store_history=True)
    assert str(failed.error_in_exec).startswith("this cell, line 4 (a.py): ")
    assert (folder / "mine" / "work/00/a.py").read_text() == "x = 1\n"
    shell.user_ns["name"] = "b"  # who reads the notebook's file knows of no variables
    shell.run_cell("%%source {name}.py\nx = 1\n")
    assert (folder / "mine" / "work/00/{name}.py").read_text() == "x = 1\n"


def test_json_with_sources_as_lists_of_lines(folder):
    cell = {"cell_type": "code", "source": ["%%source a.py\n", "x = 1\n"]}
    (folder / "01-a.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert texts(workbook.runtime(folder=folder)) == {"a.py": "x = 1\n"}


def test_a_file_that_is_nested_too_deeply_is_no_notebook(folder):
    (folder / "01-a.ipynb").write_text('{"cells": ' + "[" * 100_000)
    with pytest.raises(WorkbookError, match="is not a Jupyter notebook"):
        workbook.cells(folder / "01-a.ipynb")


@pytest.mark.parametrize(("path", "text"), [("a.txt", "\ud83d"), ("a.py", "x = '\ud83d'")])
def test_half_a_character_is_named_with_its_cell(folder, path, text):
    cells = [{"cell_type": "code", "source": f"%%source {path}\n{text}"}]
    (folder / "01-a.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(WorkbookError, match=r"cell 1 .*surrogates not allowed") as error:
        workbook.runtime(folder=folder)
    str(error.value).encode()


def test_install_mends_a_folder_that_lost_a_file(folder):
    book(folder, "01-one.ipynb", "%%source a.py\nx = 1\n", "%%source b.py\ny = 1\n")
    files = workbook.runtime(folder=folder)
    place = workbook.install(files)
    (place / "a.py").unlink()
    (place / "b.py").write_text("half")
    assert workbook.install(files) == place
    assert (place / "a.py").read_text() == "x = 1\n"
    assert (place / "b.py").read_text() == "y = 1\n"
    assert sorted(path.name for path in place.iterdir()) == ["a.py", "b.py"]


@pytest.mark.parametrize("text", ["x = " + "-" * 100000 + "1\n", "x = '\0'\n"])
def test_a_source_that_python_cannot_take(folder, text):
    book(folder, "01-one.ipynb", "%%source a.py\n" + text)
    with pytest.raises(WorkbookError, match=r"01-one\.ipynb, cell 1.*not written"):
        workbook.runtime(folder=folder)


@pytest.mark.parametrize("cell", ["%%source a.txt\n\ud800", "%%source \ud800.txt\nx"])
def test_half_a_surrogate_pair_is_no_text(folder, cell):
    (folder / "01-a.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": cell}]})
    )
    with pytest.raises(WorkbookError, match=r"01-a\.ipynb, cell 1 .*surrogates not allowed"):
        workbook.runtime(folder=folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_notebook(make, tmp_path):
    make(tmp_path / "01-x.ipynb")
    with pytest.raises(WorkbookError, match="is no file"):
        workbook.cells(tmp_path / "01-x.ipynb")
