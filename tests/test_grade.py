"""labkit grade: every notebook gets its row, whatever it does; nothing of it reaches further."""

import contextlib
import csv
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest

from classroom import report, submissions, worker
from classroom.grade import Result
from classroom.submissions import Submission
from labkit import procfs
from labkit.course import workbook
from tests.answers.stub import solution
from tests.helpers.processes import ORDINARY, until, until_gone
from tools.save import METADATA

COURSE = workbook.NOTEBOOKS.parent
LOAD = "%load_ext labkit\nfrom labkit.exercise.check import check"
RIGHT = f"%%answer 03.1\n{solution('03.1')}"
WRONG = "%%answer 03.1\nprint('`sleep` is PID 1')"
CHECK = 'check("03.1")'
TOUCH = f"""
import os
from labkit import linux
MS_REMOUNT = 32  # linux/mount.h
target = {str(workbook.NOTEBOOKS / "00-start-here.ipynb")!r}
for attempt in (
    lambda: linux.mount(None, "/", None, MS_REMOUNT | linux.MS_BIND),
    lambda: linux.set_read_only("/", False),
    lambda: os.chmod(target, 0o777),
):
    try:
        attempt()
    except OSError:
        pass
open(target, "a").write("I was here")
"""
TAMPER = """
from labkit.course import progress
from labkit.exercise import check as room
room.judge = lambda exercise, *_: room.Verdict(exercise.number, True, "", "all is well")
progress.mark("03.1")
"""
LOCK = f"""
import os
os.makedirs("locked/deep")
os.symlink({str(workbook.NOTEBOOKS / "00-start-here.ipynb")!r}, "locked/link")
os.chdir("locked/deep")
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
os.chdir(os.environ["HOME"])
os.chmod("locked", 0)
"""
HANDED_IN = {
    "good": [RIGHT, CHECK],
    "wrong": [WRONG, CHECK],
    "a loop": [RIGHT, "while True: pass"],
    "forks": [
        RIGHT,
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    ],
    "leaves zombies": [RIGHT, "import os\nfor _ in range(100):\n    os.fork() or os._exit(0)"],
    "prints": [RIGHT, "while True: print('x' * 10_000, flush=True)"],
    "prints a gigabyte at once": [RIGHT, "print('x' * 10**9)"],
    "grows": [RIGHT, "kept = []\nwhile True: kept.append(bytearray(10**7))"],
    "ends": [RIGHT, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"],
    "kills everybody": [RIGHT, "import os; os.kill(os.getppid(), 9)", "os.kill(-1, 9)"],
    "writes": [RIGHT, TOUCH],
    "locks and nests": [RIGHT, LOCK],
    "tampers": [TAMPER, WRONG, CHECK],
    "fails": [RIGHT, "nothing"],
    "empty lines": [f"\n \n{RIGHT}", CHECK],
}


def labkit(*words):
    """The command that starts labkit with these words, in the way of an instructor.

    Root's Python may be out of reach for the user whom papers run as. Then it runs in a mount
    namespace of its own, where an empty folder lets through what is needed.
    """
    command = [sys.executable, "-m", "labkit", *map(str, words)]
    closed: dict = {}
    for path in {Path(sys.base_prefix), Path(sys.prefix), COURSE}:
        for above in reversed(path.parents):
            if os.geteuid() == 0 and not above.stat().st_mode & stat.S_IXOTH:
                closed.setdefault(above, []).append(path)
                break
    script = ["set -e"]
    for top, paths in closed.items():
        keep = {path: f"$keep{number}" for number, path in enumerate(paths)}
        for path, place in keep.items():
            script.append(f"{place[1:]}=$(mktemp -d); mount --bind {path} {place}")
        script.append(f"mount -t tmpfs -o mode=755 none {top}")
        for path, place in keep.items():
            script.append(f"mkdir -p {path}; mount --move {place} {path}; rmdir {place}")
    private = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    return [*private, "\n".join([*script, 'exec "$@"']), "sh", *command] if closed else command


def hand_in(folder, cells, name="03-mine.ipynb"):
    book = nbformat.v4.new_notebook(metadata=METADATA)
    book.cells = [nbformat.v4.new_code_cell(source) for source in (LOAD, *cells)]
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, folder / name)


@pytest.fixture(scope="module")
def scratch():
    """A folder for temporary files that nobody else uses, and that every user can enter."""
    with tempfile.TemporaryDirectory(prefix="grade-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@pytest.fixture(scope="module")
def table(tmp_path_factory, scratch):
    """The rows of one run over all of HANDED_IN, by learner."""
    top = tmp_path_factory.mktemp("grade")
    for learner, cells in HANDED_IN.items():
        hand_in(top / "class" / learner, cells)
    limits = ["--seconds", "20", "--memory", "512"]
    command = labkit("grade", top / "class", "--out", top, *limits)
    environment = os.environ | {"TMPDIR": str(scratch)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    assert left_behind(scratch) == ([], [])
    return rows(top)


def rows(folder):
    with (folder / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["learner"]: row for row in csv.DictReader(file)}


def left_behind(scratch):
    """The folders that workers have there, and the processes that have one as their home."""
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"HOME={scratch}".encode() in (process / "environ").read_bytes():
                pids.append(process)
    return list(scratch.iterdir()), pids


@pytest.mark.parametrize("learner", HANDED_IN)
def test_everybody_is_judged_by_the_answer_whatever_else_the_notebook_does(table, learner):
    assert table[learner]["03.1"] == ("0" if WRONG in HANDED_IN[learner] else "1")
    assert table[learner]["03.2"] == "0"
    assert "03.2: no cell of the notebook begins with %%answer 03.2" in table[learner]["messages"]


@pytest.mark.parametrize(
    ("learner", "says"),
    [
        ("good", "03: runs from top to bottom\n03.1: `sleep` is PID 1"),
        ("wrong", "03: runs from top to bottom\n03.1: wanted a process `sleep 1000` that stays"),
        ("a loop", "cell 3: stopped after 20 s"),
        ("forks", "cell 3: the notebook had more than 64 processes at once"),
        ("leaves zombies", "03: runs from top to bottom"),
        ("prints", "cell 3: the notebook printed more than 20 MB"),
        ("prints a gigabyte at once", "cell 3: MemoryError: it may use 512 MiB"),
        ("grows", "cell 3: MemoryError: it may use 512 MiB"),
        ("ends", "cell 3: the kernel ended in it"),
        ("kills everybody", "cell 4: ProcessLookupError"),  # its parent does not mind
        ("writes", "cell 3: "),
        ("locks and nests", "03: runs from top to bottom"),
        ("tampers", "the notebook shows it as passed, and it is not: `check` was changed"),
        ("fails", "cell 3: NameError: name 'nothing' is not defined"),
        ("empty lines", "03: runs from top to bottom\n03.1: `sleep` is PID 1"),
    ],
)
def test_what_a_notebook_does_is_told(table, learner, says):
    assert says in table[learner]["messages"]


def test_a_notebook_cannot_write_to_the_course(table):
    assert "Permission denied" in table["writes"]["messages"] or (
        "Read-only file system" in table["writes"]["messages"]
    )
    assert "I was here" not in Path(workbook.NOTEBOOKS, "00-start-here.ipynb").read_text()


def start(folder, out, scratch):
    """Start a grader whose papers never end; return it and the PIDs of its workers."""
    for number in range(3):
        hand_in(folder / str(number), ["while True: pass"])
    command = labkit("grade", folder, "--out", out, "--seconds", "1000", "--workers", "2")
    grader = subprocess.Popen(
        command,
        env=os.environ | {"TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def running():
        found = [process for _, process in procfs.tree(grader.pid)]
        return sum("ipykernel" in str(process.command) for process in found) == 2

    until(running, 300)
    return grader, [process.pid for _, process in procfs.tree(grader.pid)][1:]


def test_ctrl_c_ends_all_that_was_started_and_leaves_a_table(tmp_path, scratch):
    grader, pids = start(tmp_path / "class", tmp_path, scratch)
    grader.send_signal(signal.SIGINT)
    said, errors = grader.communicate(timeout=300)
    assert grader.returncode == 130
    assert said.startswith("0 of 3 notebooks graded")
    assert errors == ""
    until_gone(pids)
    assert left_behind(scratch) == ([], [])
    assert (tmp_path / "grades.csv").exists()


def test_a_killed_grader_leaves_no_process(tmp_path, scratch):
    grader, pids = start(tmp_path / "class", tmp_path, scratch)
    grader.kill()
    grader.communicate()
    until_gone(pids)
    for folder in scratch.iterdir():
        shutil.rmtree(folder)


def test_what_cannot_be_read_costs_a_line_and_the_others_go_on(tmp_path):
    hand_in(tmp_path / "class" / "good", [RIGHT])
    (tmp_path / "class" / "half").mkdir()
    (tmp_path / "class" / "half" / "03-mine.ipynb").write_text("{")
    (tmp_path / "class" / "link").mkdir()
    (tmp_path / "class" / "link" / "03-mine.ipynb").symlink_to("/etc/passwd")
    (tmp_path / "class" / "pipe").mkdir()
    os.mkfifo(tmp_path / "class" / "pipe" / "03-mine.ipynb")
    nested = '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [' + "[" * 100_000
    emoji = json.dumps({"cells": [{"cell_type": "code", "source": "'\ud83d'"}]})
    for learner, text in (("deep", nested), ("emoji", emoji)):
        (tmp_path / "class" / learner).mkdir()
        (tmp_path / "class" / learner / "03-mine.ipynb").write_text(text)
    (tmp_path / "empty").mkdir()
    folders = [tmp_path / name for name in ("nowhere", "empty", "class")]
    command = labkit("grade", *folders, "--out", tmp_path)
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    lines = run.stderr.splitlines()
    assert lines[0] == f"labkit: grade: cannot read {tmp_path}/nowhere: No such file or directory"
    assert lines[1].endswith(f"cannot use {tmp_path}/empty: it holds no notebook NN-….ipynb")
    table = rows(tmp_path)
    assert table["good"]["03.1"] == "1"
    for learner, says in (
        ("half", "03-mine.ipynb is not a Jupyter notebook"),
        ("deep", "03-mine.ipynb is not a Jupyter notebook"),
    ):
        assert table[learner]["03.1"] == ""
        assert table[learner]["messages"].startswith(f"03: could not be graded: {says}")
    assert table["emoji"]["messages"].startswith("03: does not run to its end: cell 1: Unicode")
    for learner in ("link", "pipe"):
        assert "could not be graded: 03-mine.ipynb is no file" in table[learner]["messages"]


def test_a_folder_that_cannot_be_read_is_no_reason_to_grade_nobody(tmp_path):
    hand_in(tmp_path / "good", [RIGHT], "03-x.ipynb")
    (tmp_path / "locked").mkdir(mode=0)
    ask = "from classroom import submissions\n"
    ask += "from pathlib import Path; import sys\n"
    ask += "with submissions.find([Path(sys.argv[1])]) as found: print(found)"
    command = [*ORDINARY, sys.executable, "-c", ask, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert "learner='good'" in run.stdout, run.stderr
    assert run.stdout.count("cannot read") == 1
    assert f"cannot read {tmp_path}/locked: Permission denied" in run.stdout


def test_nothing_found_is_one_line_and_no_table(tmp_path):
    run = subprocess.run(labkit("grade", tmp_path, "--out", tmp_path), capture_output=True)
    assert run.returncode == 1
    assert run.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def find(*folders):
    with submissions.find(folders) as found:
        return found


def test_what_is_handed_in_and_is_no_paper_gets_its_line(tmp_path):
    top = tmp_path / "in"
    hand_in(top / "learner-1", [RIGHT], "01-the-command-line.ipynb")
    for name in ("Untitled.IPYNB", "work/05-x.ipynb", ".ipynb_checkpoints/x.ipynb", "b/04-x.ipynb"):
        hand_in((top / "learner-1" / name).parent, [], Path(name).name)
    hand_in(top / "learner-2", [RIGHT], "homework.ipynb")
    hand_in(top / "learner-3", [RIGHT], "77-mine.ipynb")
    (top / "learner-4").mkdir()
    (top / "learner-4" / "01.py").touch()
    (top / "learner-5").symlink_to(top / "learner-1")
    (top / "learner-7").symlink_to("nowhere")
    for name in ("learner-1/02-x.zip", "learner-1/03-x.ipynb.txt"):
        (top / name).touch()
    for name in ("learner-6.zip", "list.csv"):
        (top / name).touch()
    found, problems = find(top)
    assert [(submission.learner, submission.number) for submission in found] == [
        ("learner-1", "01")
    ]
    assert problems == [
        f"cannot use {top}/{line}"
        for line in (
            "learner-5: it is neither a file NN-….ipynb nor a zip file",
            "learner-6.zip: it cannot be unpacked: File is not a zip file",
            "learner-7: it is neither a file NN-….ipynb nor a zip file",
            "learner-1/02-x.zip: it cannot be unpacked: File is not a zip file",
            "learner-1/03-x.ipynb.txt: it is neither a file NN-….ipynb nor a zip file",
            "learner-1/Untitled.IPYNB: it is neither a file NN-….ipynb nor a zip file",
            "learner-1/b/04-x.ipynb: it lies below other notebooks",
            "learner-2/homework.ipynb: it is neither a file NN-….ipynb nor a zip file",
            "learner-3/77-mine.ipynb: no notebook 77 is known",
            "learner-4: it holds no notebook NN-….ipynb",
        )
    ]


def learners(*folders):
    found, problems = find(*folders)
    assert problems == []
    return [(submission.learner, submission.path.parent) for submission in found]


def test_a_folder_with_notebooks_is_one_learner_and_any_other_holds_some(tmp_path):
    hand_in(tmp_path / "class" / "anna", [])
    hand_in(tmp_path / "class" / "group" / "bob" / "notebooks", [])
    hand_in(tmp_path / "class" / "anna" / "work", [])
    hand_in(tmp_path / "class" / ".ipynb_checkpoints", [])
    top = tmp_path / "class"
    assert learners(top) == [
        ("anna", top / "anna"),
        ("group/bob/notebooks", top / "group/bob/notebooks"),
    ]
    assert learners(top / "anna", top) == learners(top)


def test_two_of_the_same_name_are_told_apart(tmp_path):
    hand_in(tmp_path / "one" / "anna", [])
    hand_in(tmp_path / "two" / "anna", [])
    hand_in(tmp_path / "two" / "bob", [])
    found = learners(tmp_path / "one", tmp_path / "two")
    assert [name for name, _ in found] == [f"{tmp_path}/one/anna", f"{tmp_path}/two/anna", "bob"]


def test_of_two_with_the_same_number_the_one_named_as_delivered_is_graded(tmp_path):
    delivered = workbook.notebook("03")[1].name
    for name in ("03-Copy1.ipynb", delivered):
        hand_in(tmp_path / "anna", [], name)
    [submission] = find(tmp_path)[0]
    assert submission.path.name == delivered
    assert submission.note == f"graded was {delivered}, not 03-Copy1.ipynb"


EVIL = "<script>alert(1)</script>"


def result(learner, passed=True, **more):
    submission = Submission(learner, "03", Path("03-mine.ipynb"), ("03.1",))
    return Result(submission, {"03.1": (passed, f"{EVIL}; found")}, **more)


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path):
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "anna"]
    report.write([result(name) for name in names], tmp_path)
    assert sorted(rows(tmp_path)) == sorted(["'=1+1", "'+1", "'-1", "'@SUM(A1)", "anna"])


def test_what_is_no_text_costs_nobody_a_grade(tmp_path):
    hand_in(tmp_path / "class" / os.fsdecode(b"caf\xe9"), [RIGHT, "raise ValueError('\\ud800')"])
    command = labkit("grade", tmp_path / "class", "--out", tmp_path)
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert rows(tmp_path)["caf?"]["passed"] == "1"
    assert "cell 3: " in rows(tmp_path)["caf?"]["messages"]


def test_the_page_escapes_everything_and_stands_alone(tmp_path):
    report.write([result(EVIL, runs=EVIL), result("b", problem=EVIL)], tmp_path)
    page = (tmp_path / "grades.html").read_text()
    assert EVIL not in page
    assert page.count("&lt;script&gt;") == 7
    assert "http" not in page and "src=" not in page


def test_the_table_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    report.write([result("anna")], tmp_path)
    before = (tmp_path / "grades.csv").read_text()
    monkeypatch.setattr(Path, "replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report.write([result("bob")], tmp_path)
    assert (tmp_path / "grades.csv").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grades.csv", "grades.html"]


def test_a_folder_that_a_notebook_locked_or_nested_deeply_is_removed(table):
    assert table["locks and nests"]["03.1"] == "1"
    assert "03: runs from top to bottom" in table["locks and nests"]["messages"]
    # Nothing is left behind, see `table`; and what a link in it points to is as it was.
    assert not Path(workbook.NOTEBOOKS, "00-start-here.ipynb").stat().st_mode & 0o111


def test_a_table_that_cannot_be_written_is_told_before_the_work(monkeypatch, capsys, tmp_path):
    from labkit import __main__

    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(sys, "argv", ["labkit", "grade", "--out", str(tmp_path), str(tmp_path)])
    assert __main__.main() == 1
    assert capsys.readouterr().err.startswith(f"labkit: grade: cannot write into {tmp_path}")


def test_a_file_that_is_no_notebook_is_not_told_by_our_name_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("03-mine.ipynb")
    path.write_text('{"nbformat": 3, "worksheets": [{"cells": []}]}')
    with pytest.raises(SystemExit, match=r"^03-mine\.ipynb is not a Jupyter notebook"):
        worker.main([path.name, "20", "512"])
