"""What `labkit grade` finds in zip files, in what a VM saved, in a hub's homes; what it refuses."""

import stat
import zipfile
from pathlib import Path

import pytest

from classroom import submissions
from labkit.course import renumbered, workbook

BOOK = workbook.notebook("03")[1]


def pack(path, *names, text=None):
    """Write a zip file with a notebook under each of these names; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, text or BOOK.read_text())
    return path


def found(*tops):
    """Return whose notebooks are found, the names of the files, and what cannot be used."""
    with submissions.find(tops) as (all_, problems):
        assert all(submission.path.read_bytes() for submission in all_)
        return [(one.learner, one.path.name) for one in all_], problems


def test_a_file_that_labkit_hand_in_packed_is_one_learners(tmp_path):
    one = pack(tmp_path / "hand-in-anna.zip", "01-the-command-line.ipynb", BOOK.name)
    pack(tmp_path / "hand-in-bob.zip", BOOK.name)
    anna = [("anna", "01-the-command-line.ipynb"), ("anna", BOOK.name)]
    assert found(one) == (anna, [])
    assert found(tmp_path) == ([*anna, ("bob", BOOK.name)], [])


@pytest.mark.parametrize(
    ("names", "learners"),
    [
        # Moodle: a folder for each, as newer and older versions name it, or all in one.
        (["Anna Li_4711_assignsubmission_file/{}"], ["Anna Li_4711"]),
        (["Anna Li_4711_assignsubmission_file_/{}"], ["Anna Li_4711"]),
        (["Anna Li_4711_assignsubmission_file_{}", "Bo_2_assignsubmission_file_{}"],
         ["Anna Li_4711", "Bo_2"]),
        # Canvas: name, perhaps LATE, the learner's number (or a word), the file's number.
        (["lianna_4711_815_{}", "bo_LATE_2_9_{}"], ["bo_2", "lianna_4711"]),
        (["anon_Xy12z_815_{}"], ["anon_Xy12z"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_the_zip_files_of_learning_platforms(tmp_path, names, learners, nested):
    one = tmp_path / "class.zip"
    if nested:
        pack(tmp_path / "hand-in-x.zip", BOOK.name)
        with zipfile.ZipFile(one, "w") as file:
            for name in names:
                file.write(tmp_path / "hand-in-x.zip", name.format("hand-in-x.zip"))
    else:
        pack(one, *[name.format(BOOK.name) for name in names])
    assert found(one) == ([(learner, BOOK.name) for learner in learners], [])


def test_a_learner_without_a_notebook_gets_a_line(tmp_path):
    names = [f"A_1_assignsubmission_file/{BOOK.name}", "B_2_assignsubmission_file/answer.docx"]
    assert found(pack(tmp_path / "m.zip", *names, "__MACOSX/._03-x.ipynb")) == (
        [("A_1", BOOK.name)],
        [f"cannot use {tmp_path}/m/B_2: it holds no notebook NN-….ipynb"],
    )


def test_a_home_on_a_hub_names_the_learner(tmp_path):
    for name in ("ada", "bob"):
        for folder in ("mine", Path("mine", "work", "03"), ".local/share"):
            (tmp_path / name / folder).mkdir(parents=True)
        (tmp_path / name / "mine" / BOOK.name).write_text(BOOK.read_text())
        (tmp_path / name / "mine" / "work" / "03" / "x.ipynb").write_text(BOOK.read_text())
    both = [("ada", BOOK.name), ("bob", BOOK.name)]
    assert found(tmp_path) == (both, [])
    assert found(tmp_path / "ada", tmp_path / "bob") == (both, [])
    (tmp_path / "cyd").mkdir()
    problem = f"cannot use {tmp_path / 'cyd'}: it holds no notebook NN-….ipynb"
    assert found(tmp_path) == (both, [problem])


def test_of_what_a_vm_saved_the_last_counts(tmp_path):
    for time, name in (("2026-03-01T10-00-00", "03-old.ipynb"), ("2026-03-02T09-00-00", BOOK.name)):
        for path in (name, "03-the-first-container.1.ipynb", f"work/{name}"):
            place = tmp_path / "anna" / "saved" / time / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("{}")
    assert found(tmp_path) == ([("anna/saved", BOOK.name)], [])
    assert found(tmp_path / "anna" / "saved") == ([("saved", BOOK.name)], [])


@pytest.mark.parametrize(
    "name",
    [
        "../03-x.ipynb",
        "/tmp/03-x.ipynb",
        "a/../../03-x.ipynb",
        "..\\03-x.ipynb",
        ".._assignsubmission_file_/03-x.ipynb",
        "n" * 300 + "/03-x.ipynb",
    ],
)
def test_no_file_is_written_outside_a_temporary_folder(tmp_path, monkeypatch, name):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "a" / "b"))
    one = pack(tmp_path / "one.zip", name)
    before = sorted(tmp_path.rglob("*"))
    with submissions.find([one]) as (all_, problems):
        [scratch] = (tmp_path / "a" / "b").iterdir()
        written = set(tmp_path.rglob("*")) - {scratch, *before}
        assert all(path.is_relative_to(scratch) for path in written)
        assert not all(path.is_dir() for path in written) or "File name too long" in problems[0]
        assert all_ or problems
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/03-x.ipynb").exists()


def test_a_link_in_a_zip_file_is_no_link_any_more(tmp_path):
    link = zipfile.ZipInfo("03-x.ipynb")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "one.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with submissions.find([tmp_path / "one.zip"]) as ([submission], _):
        assert not submission.path.is_symlink()
        assert submission.path.read_text() == "/etc/passwd"


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_UNPACKED", 1_000_000)
    monkeypatch.setattr(submissions, "MAX_FILES", 100)
    large = pack(tmp_path / "large.zip", BOOK.name, text=" " * 1_000_001)
    many = pack(tmp_path / "many.zip", *[f"{n}.txt" for n in range(101)], text="x")
    assert large.stat().st_size < 10_000
    for one in (large, many):
        all_, [problem] = found(one)
        assert all_ == []
        assert problem.endswith("it holds more than 100 files or 0.0 GB")


def test_what_several_zip_files_hold_is_counted_together(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_UNPACKED", 1_000_000)
    for learner in ("anna", "bob", "eve"):
        pack(tmp_path / f"hand-in-{learner}.zip", BOOK.name, text=" " * 400_000)
    all_, problems = found(tmp_path)
    assert [learner for learner, _ in all_] == ["anna", "bob"]
    assert len(problems) == 1


def test_zip_files_in_zip_files_come_to_an_end(tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, "MAX_DEPTH", len(tmp_path.parts) + 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = pack(tmp_path / "0.zip", BOOK.name)
    for number in range(1, 20):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as file:
            file.write(one, one.name)
        one = tmp_path / f"{number}.zip"
    all_, [problem] = found(one)
    assert all_ == []
    assert "it lies in more than" in problem


@pytest.mark.parametrize("damage", ["text", "half", "encrypted", "changed"])
def test_a_zip_file_that_cannot_be_read_gets_a_line(tmp_path, damage):
    one = pack(tmp_path / "one.zip", BOOK.name)
    data = bytearray(one.read_bytes())
    if damage == "encrypted":
        data[6] |= 1
        data[data.rindex(b"PK\x01\x02") + 8] |= 1
    elif damage == "changed":
        data[len(data) // 2] ^= 255
    one.write_bytes({"text": b"no zip", "half": data[: len(data) // 2]}.get(damage, data))
    all_, [problem] = found(one)
    assert all_ == []
    assert problem.startswith(f"cannot use {one}: it cannot be unpacked: ")
    assert "Traceback" not in problem


@pytest.mark.parametrize(("old", "new"), renumbered.NAMES.items())
def test_one_of_before_notebook_06_became_two_gets_a_line(tmp_path, old, new):
    one = pack(tmp_path / "hand-in-anna.zip", old, BOOK.name)
    why = f"it is of a course before 06 became two, in which {new[:2]} was {old[:2]}"
    assert found(one) == (
        [("anna", BOOK.name)],
        [f"cannot use {tmp_path}/anna/{old}: {why}; grade it with that"],
    )
