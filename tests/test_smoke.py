"""The smoke test: an edit that broke the runtime is named, and nothing else is."""

import contextlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from labkit.course import workbook
from labkit.course.workbook import NOTEBOOKS
from labkit.exercise import smoke
from labkit.exercise.sandboxed_run import Limits, SandboxedRun
from tests.helpers.processes import until

INIT = "mydocker/init.py"
MOUNT = 'mount("proc", "/proc", "proc", MS_NOEXEC | MS_NOSUID | MS_NODEV)'


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path))


def edited(upto, path, old, new):
    """Return the runtime before a notebook with one edit, and as it is."""
    files = workbook.runtime(upto, before=True, folder=NOTEBOOKS)
    assert old in files[path].text
    edit = replace(files[path], text=files[path].text.replace(old, new))
    return files | {path: edit}, files


def line(files, path, words):
    """The place of the first line of a file that holds some words, as a message names it."""
    number = next(n for n, text in enumerate(files[path].text.splitlines(), 2) if words in text)
    return f"{files[path].place}, line {number} ({path})"


@pytest.mark.parametrize("upto", [number for number in workbook.notebooks() if number])
def test_a_harmless_edit_is_not_blamed(upto):
    files = workbook.runtime(upto, before=True)
    mine = files if INIT not in files else edited(upto, INIT, '"""The', '"""My')[0]
    assert smoke.broken(mine, files) == ""


@pytest.mark.parametrize(
    ("upto", "path", "old", "new", "where", "error"),
    [
        (2, "mydocker/command.py", "from .run import run", "pass", "return run(", "NameError: "),
        (3, "mydocker/container_process.py", "clone(NAMESPACES)", "clone(0, 1)", "(0, 1)", "TypeE"),
        (4, INIT, "os.fork()", "os.frok()", "frok", "AttributeError: "),
        (5, INIT, "[command])", ")", "os.execv", "TypeError: execv expected 2 arguments, got 1"),
        (6, INIT, "import os\n", "", "os.", "NameError: "),
        (7, "mydocker/container.py", "import os\n", "", "os.", "NameError: "),
        (8, "mydocker/container.py", "import os\n", "", "os.", "NameError: "),
        (9, "mydocker/container.py", "import os\n", "", "os.", "NameError: "),
        (99, "mydocker/container.py", "import os\n", "", "null = os.", "NameError: "),
    ],
)
def test_a_broken_edit_is_named_in_each_version(upto, path, old, new, where, error):
    mine, files = edited(upto, path, old, new)
    assert smoke.broken(mine, files).startswith(f"{line(mine, path, where)}: {error}")


def test_where_an_edit_breaks_a_file_that_was_not_edited_both_are_named():
    mine, files = edited(4, INIT, "process(command, arguments)", "process(command)")
    said = smoke.broken(mine, files)
    assert said.startswith("02-namespaces.ipynb, cell ")
    assert "(mydocker/command.py): TypeError: run_container_init_process() takes 1" in said
    assert said.endswith(f"Edited: {line(mine, INIT, 'process(command)')}")


def test_an_edit_after_which_nothing_runs_is_named_without_a_traceback():
    mine, files = edited(4, INIT, "os.execv(command, [command])", "pass")
    place = line(mine, INIT, "pass")
    assert smoke.broken(mine, files) == (
        f"{place}: `run -ti /bin/pwd` ended with status 255, and the command did not run"
    )


def test_a_file_that_is_gone_is_named():
    files = workbook.runtime(4, before=True)
    mine = {path: source for path, source in files.items() if path != "mydocker/run.py"}
    said = smoke.broken(mine, files)
    assert f"{files['mydocker/run.py'].place} as delivered holds mydocker/run.py, yours" in said


def test_where_the_delivered_one_fails_as_well_nobody_is_blamed():
    mine, files = edited(4, INIT, MOUNT, "missing()")
    broken, _ = edited(4, INIT, MOUNT, "missing_too()")
    assert smoke.broken(mine, files)
    assert smoke.broken(mine, broken) == ""


def running_in(folder):
    """PIDs of the processes whose working directory lies below a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):  # gone, or somebody else's
            if place.readlink().is_relative_to(folder):
                found.append(int(place.parent.name))
    return found


@pytest.mark.parametrize("loop", ["while True: pass", "while True: print(0)"])
def test_an_edit_that_never_ends_is_ended_with_all_its_processes(monkeypatch, loop, tmp_path):
    mine, files = edited(4, INIT, MOUNT, loop)
    runs: list[SandboxedRun] = []

    class Run(SandboxedRun):
        def __init__(self, argv, folder, **_):
            # The delivered one ends by itself, and may take its time on a busy machine.
            super().__init__(argv, folder, limits=Limits(seconds=60 if runs else 2))
            runs.append(self)

    monkeypatch.setattr(smoke, "SandboxedRun", Run)
    said = smoke.broken(mine, files)
    assert said.startswith(
        f"{line(mine, INIT, loop)}: `run -ti /bin/pwd` did not end by itself: it "
    )
    first, second = runs
    assert (bool(first.exceeded), second.exceeded, second.status) == (True, "", 255)
    until(lambda: running_in(tmp_path) == [])


def test_what_was_not_edited_is_not_started(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", pytest.fail)
    files = workbook.runtime(8, before=True)
    assert smoke.broken(dict(files), files) == ""
