"""cache: `labkit run` reads nothing again while nothing changed, and sees whatever did."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labkit import places
from labkit.course import cache, workbook
from tests.helpers.course import LABKIT, ROOT, book

SOURCE = "%%source mydocker/__main__.py\ndef main():\n    print({})\n    return 0\n"
ALONE = "%%source mydocker/__init__.py\npass\n"
HEAVY = {"pathlib", "json", "re", "hashlib", "dataclasses", "typing", "tempfile", "ctypes"}


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A folder of notebooks that hold a small runtime."""
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    book(folder, "01-one.ipynb", SOURCE.format(1), ALONE)
    book(folder, "02-two.ipynb", SOURCE.format(2))
    monkeypatch.setattr(places, "NOTEBOOKS", str(folder))
    return folder


def assemble(course, upto=None):
    """What `labkit run` does where nothing is found."""
    before = cache.look()
    place = str(workbook.install(workbook.runtime(upto, folder=course)))
    cache.note(upto, place, before)
    return place


@pytest.fixture
def noted(course):
    """The folder of a runtime that was assembled."""
    place = assemble(course)
    assert cache.find(None) == place
    return Path(place)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def edit_and_touch_back(course, noted):
    before = (course / "02-two.ipynb").stat()
    edit(course / "02-two.ipynb", "print(2)", "print(3)")
    os.utime(course / "02-two.ipynb", ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (course / "02-two.ipynb").stat()
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


def replace_with_an_older_one(course, noted):
    shutil.copy2(course / "02-two.ipynb", course / "kept")
    (course / "kept").replace(course / "02-two.ipynb")


def add_a_notebook(course, noted):
    book(course, "03-three.ipynb", SOURCE.format(3))


def remove_a_notebook(course, noted):
    (course / "02-two.ipynb").unlink()


def remove_all(course, noted):
    shutil.rmtree(course)


def link_elsewhere(course, noted):
    (course / "02-two.ipynb").rename(course.parent / "elsewhere")
    (course / "02-two.ipynb").symlink_to("../elsewhere")


def edit_the_runtime(course, noted):
    edit(noted / "mydocker/__main__.py", "2", "4")


def remove_from_the_runtime(course, noted):
    (noted / "mydocker/__init__.py").unlink()


def add_to_the_runtime(course, noted):
    (noted / "mydocker/os.py").touch()


def damage(what):
    def change(course, noted):
        [note] = noted.parent.glob(".upto-None")
        note.write_bytes(what(note.read_bytes()))

    return change


def put_in_its_place(make):
    def change(course, noted):
        [note] = noted.parent.glob(".upto-None")
        note.unlink()
        make(note)

    return change


def another_work_folder(course, noted):
    os.environ["LABKIT_MINE"] = str(course.parent / "other")


CHANGES = {
    "an edit of the same size, its time set back": edit_and_touch_back,
    "an equal notebook in its place": replace_with_an_older_one,
    "a notebook more": add_a_notebook,
    "a notebook less": remove_a_notebook,
    "no notebooks": remove_all,
    "a link": link_elsewhere,
    "the runtime edited": edit_the_runtime,
    "a file of the runtime removed": remove_from_the_runtime,
    "a module more": add_to_the_runtime,
    "another work folder": another_work_folder,
    "half a note": damage(lambda text: text[: len(text) // 2]),
    "an empty note": damage(lambda text: b""),
    "a note of zeros": damage(lambda text: bytes(len(text))),
    "a note that is no text": damage(lambda text: b"\xff" + text),
    "a folder": put_in_its_place(Path.mkdir),
    "nothing": put_in_its_place(Path.exists),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen(course, noted, change, monkeypatch):
    monkeypatch.setenv("LABKIT_MINE", os.environ["LABKIT_MINE"])  # to be put back
    change(course, noted)
    assert cache.find(None) == ""


def test_a_link_to_nowhere_is_no_notebook_and_no_change(course):
    (course / "notes.ipynb").symlink_to("nowhere")
    place = assemble(course)
    assert cache.find(None) == place
    (course / "nowhere").touch()
    assert cache.find(None) == ""


def test_a_change_while_the_notebooks_are_read_is_seen(course):
    before = cache.look()
    files = workbook.runtime(folder=course)
    edit_and_touch_back(course, None)
    cache.note(None, str(workbook.install(files)), before)
    assert cache.find(None) == ""


@pytest.mark.parametrize("size", [0, 4])
def test_a_damaged_runtime_is_mended(course, noted, size):
    path = noted / "mydocker/__main__.py"
    path.write_bytes(path.read_bytes()[:size] + bytes(size))
    assert assemble(course) == str(noted)
    program = str(noted / workbook.START)
    run = subprocess.run([sys.executable, program], capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("2\n", "")


def test_each_version_is_noted_by_itself(course, noted):
    first = assemble(course, "01")
    assert cache.find("01") == first != cache.find(None)
    for word in ("1", "02", "../01", ""):
        assert cache.find(word) == ""


def labkit(course, *words, **options):
    """Run the kit of a course."""
    program = f"import sys; sys.path.insert(0, {str(course.parent)!r})\n"
    program += "from labkit.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-S", "-c", program, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.fixture
def whole(course):
    """The course with its kit."""
    shutil.copytree(ROOT / "labkit", course.parent / "labkit")
    return course


def test_edits_in_quick_succession_are_seen(whole):
    for number in (2, 3, 4, 5):
        book(whole, "02-two.ipynb", SOURCE.format(number))
        for _ in range(2):
            assert labkit(whole, "run").stdout == f"{number}\n"


def test_the_runtime_gets_all_words_and_a_place_for_its_images(whole):
    say = "*__import__('sys').argv[1:], __import__('os').environ['MYDOCKER_DATA']"
    book(whole, "02-two.ipynb", SOURCE.format(say))
    data = f"{whole.parent}/images"
    assert labkit(whole, "run", "-i", "tiny").stdout == f"run -i tiny {data}\n"
    for _ in range(2):
        assert labkit(whole, "mydocker", "image", "list").stdout == f"image list {data}\n"
    other = {"env": os.environ | {"MYDOCKER_DATA": "/other"}}
    assert labkit(whole, "mydocker", **other).stdout == "/other\n"


FULL = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))}


def test_nothing_is_imported_that_only_others_need(whole):
    book(whole, "02-two.ipynb", SOURCE.format("*__import__('sys').modules"))
    first = labkit(whole, "run").stdout.split()
    assert "pathlib" in first
    assert set(labkit(whole, "run").stdout.split()).isdisjoint(HEAVY)


def test_nor_by_what_pip_makes_of_the_command():
    command = [sys.executable, "-X", "importtime", LABKIT, "run", "--help"]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip() for line in said.splitlines()}
    assert "labkit.course.cache" in imported
    assert imported.isdisjoint(HEAVY)


@pytest.mark.parametrize("noted", [False, True], ids=["not noted", "noted"])
def test_with_every_disk_full_what_lies_assembled_runs(whole, noted):
    assert "/run/" in (said := labkit(whole, "run", **FULL).stderr)
    assert said.endswith(": File too large. Cure: LABKIT_MINE=/a/folder/of/yours\n")
    labkit(whole, "run")
    if not noted:
        (whole.parent / "work/run/.upto-None").unlink()
    run = labkit(whole, "run", **FULL)
    assert (run.stdout, run.stderr) == ("2\n", "")
