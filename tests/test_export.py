"""`labkit export`, and the lines by which one starts the runtime in a terminal of one's own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.course import workbook
from tests.helpers.course import LABKIT, ROOT
from tests.helpers.processes import ORDINARY

NUMBERS = [f"{number:02}" for number in workbook.notebooks() if number > 0]


def export(*words):
    return subprocess.run([LABKIT, "export", *words], capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """An environment whose python3 knows nothing of this course."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/"}
    found = subprocess.run(
        ["python3", "-c", "import labkit"], env=environment, cwd="/", capture_output=True
    )
    assert b"No module named 'labkit'" in found.stderr
    return environment


def typed(line, environment, *, cwd="/", prefix=(), keys="echo $$; exit\n"):
    words = [*prefix, "sh", "-c", line]
    settings = {"env": environment, "cwd": cwd, "input": keys, "timeout": 60}
    return subprocess.run(words, capture_output=True, text=True, **settings)


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
@pytest.mark.parametrize("upto", NUMBERS)
def test_the_line_that_it_prints_starts_it_without_the_course(tmp_path, elsewhere, upto, prefix):
    line = export(str(tmp_path / "my box"), "--upto", upto).stdout
    run = typed(line, elsewhere, prefix=prefix)
    if "help" in line:  # from notebook 11 on: a shell would want an image
        assert (run.stdout.count("usage: mydocker run"), run.stderr) == (1, "")
        return
    shell = {"01": [], "02": [], "03": ["2"]}.get(upto, ["1"])  # its PID; 01 and 02 start none
    assert [word for word in run.stdout.split() if word.isdigit()] == shell, run
    assert "Traceback" not in run.stderr


def test_from_another_folder_the_finished_one_starts_too(tmp_path, programs, elsewhere):
    assert export(str(tmp_path / "box")).returncode == 0
    line = f"python3 {tmp_path}/box/start.py run --rootfs {programs} sh -c 'echo $$; pwd; exit 5'"
    run = typed(line, elsewhere)
    assert (run.stdout, run.stderr, run.returncode) == ("1\n/\n", "", 5)


@pytest.mark.parametrize("upto", NUMBERS)
def test_no_file_of_it_imports_the_course(upto):
    for source in workbook.runtime(upto).values():
        assert not re.search(r"^\s*(from|import) labkit", source.text, re.MULTILINE), source.path


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("x")
    for folder in (tmp_path, tmp_path / "mine"):
        run = export(str(folder))
        assert (run.returncode, run.stdout) == (1, "")
        assert f"{folder} is not an empty folder" in run.stderr
    assert os.listdir(tmp_path) == ["mine"]


def test_where_there_is_no_runtime_yet_it_says_so(tmp_path):
    run = export(str(tmp_path / "box"), "--upto", "00")
    assert "no notebook up to 00 holds mydocker/__main__.py" in run.stderr
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
def test_the_line_of_notebook_03_for_a_terminal_of_ones_own(elsewhere, prefix):
    [(_, text)] = [
        cell
        for cell in workbook.cells(workbook.notebook("03")[1])
        if "In a terminal of your own" in cell[1]
    ]
    line = next(word for word in re.findall("`([^`]+)`", text) if word.startswith("unshare -"))
    folder = workbook.install(workbook.runtime("03"))
    run = typed(line, elsewhere, cwd=folder, prefix=prefix)
    assert run.stdout.splitlines()[-1] == "2"


def test_the_readme_names_it():
    assert "labkit export" in (ROOT / "README.md").read_text()
