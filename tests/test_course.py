"""How the course gets into the class VM, and the learner's work out of it."""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.helpers.course import ROOT
from tests.helpers.processes import ORDINARY

COURSE = ROOT / "vm" / "guest" / "labkit-course"


def deliver(tmp_path, files):
    """Deliver `files`, name to text, to the learner's folder; return what was printed."""
    lines = [
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in files.items()
    ]
    archive = tmp_path / "course.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in {".delivered": "".join(lines), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    command = [COURSE, "deliver", archive, tmp_path / "learner"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def work(tmp_path, lost=(), homes=()):
    """What is brought out, name to text; `lost` is what it says that it could not read."""
    command = [*ORDINARY, COURSE, "work", tmp_path / "learner", *homes]
    run = subprocess.run(command, capture_output=True, check=True)
    assert run.stderr == b""
    told = json.loads(run.stdout)
    assert told["lost"] == list(lost)
    return {name: base64.b64decode(content).decode() for name, content in told["files"].items()}


@pytest.fixture
def learner(tmp_path):
    deliver(tmp_path, {"notebooks/01.ipynb": "one", "notebooks/02.ipynb": "two", "labkit/a.py": ""})
    return tmp_path / "learner"


def test_a_new_course_replaces_what_nobody_changed(tmp_path, learner):
    said = deliver(tmp_path, {"notebooks/01.ipynb": "ONE", "labkit/a.py": "x"})
    assert said == ""
    assert (learner / "notebooks/01.ipynb").read_text() == "ONE"
    assert (learner / "labkit/a.py").read_text() == "x"
    assert not (learner / "notebooks/02.ipynb").exists()


def test_what_was_changed_in_notebooks_goes_to_the_copies(tmp_path, learner):
    (learner / "notebooks/01.ipynb").write_text("mine")
    (learner / "notebooks/02.ipynb").write_text("mine too")
    (learner / "notebooks/ä b.md").write_text("new")
    (learner / "notebooks/own").mkdir()
    (learner / "notebooks/work").mkdir()
    (learner / ".as-delivered").mkdir()
    (learner / "mine").mkdir()
    (learner / "mine/02.ipynb").write_text("a copy")
    said = deliver(tmp_path, {"notebooks/01.ipynb": "ONE"})
    assert said.splitlines() == [
        "your notebooks/01.ipynb is now mine/01.ipynb",
        "your notebooks/02.ipynb is now mine/02.1.ipynb",
        "your notebooks/own is now mine/own",
        "your notebooks/ä b.md is now mine/ä b.md",
    ]
    assert (learner / "notebooks/01.ipynb").read_text() == "ONE"
    assert (learner / "mine/01.ipynb").read_text() == "mine"
    assert (learner / "mine/02.ipynb").read_text() == "a copy"
    assert (learner / "mine/02.1.ipynb").read_text() == "mine too"
    names = sorted(path.name for path in (learner / "notebooks").iterdir())
    assert names == ["01.ipynb", "work"]  # what is in `work` moves with the first start
    assert not (learner / ".as-delivered").exists()


def test_the_work_of_a_hubs_learners_goes_by_their_homes(tmp_path, learner):
    homes = [tmp_path / f"learner-{name}" for name in ("ada", "bob", "*")]
    for home in homes[:2]:
        (home / "mine").mkdir(parents=True)
        (home / "mine/01.ipynb").write_text(home.name)
    (homes[1] / "mine/folder").symlink_to(homes[0])
    lost = ["learner-bob/mine/folder is not saved: it is a link to a folder"]
    assert work(tmp_path, lost, homes) == {
        "learner-ada/01.ipynb": "learner-ada",
        "learner-bob/01.ipynb": "learner-bob",
    }


def test_the_copies_are_left_alone(tmp_path, learner):
    (learner / "mine").mkdir()
    (learner / "mine/01.ipynb").write_text("mine")
    deliver(tmp_path, {"notebooks/01.ipynb": "ONE"})
    assert (learner / "mine/01.ipynb").read_text() == "mine"


def test_a_changed_file_of_the_kit_is_put_aside(tmp_path, learner):
    (learner / "labkit/a.py").write_text("mine")
    assert deliver(tmp_path, {"labkit/a.py": "x"}) == "your labkit/a.py is now labkit/a.1.py\n"
    assert (learner / "labkit/a.py").read_text() == "x"
    assert (learner / "labkit/a.1.py").read_text() == "mine"


def test_scripts_can_be_run(tmp_path):
    deliver(tmp_path, {"vm/run": "#!/bin/sh\n", "vm/text": "text"})
    assert (tmp_path / "learner/vm/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "learner/vm/text").stat().st_mode & 0o777 == 0o644


def test_the_work_is_what_lies_in_the_learners_folder(tmp_path, learner):
    assert work(tmp_path) == {}
    (learner / "mine/.ipynb_checkpoints").mkdir(parents=True)
    (learner / "mine/.ipynb_checkpoints/02.ipynb").write_text("derived")
    (learner / "mine/02.ipynb").write_text("mine")
    (learner / "mine/ä b.md").write_text("new")
    (learner / "mine/dangling").symlink_to("nowhere")
    assert work(tmp_path) == {"02.ipynb": "mine", "ä b.md": "new"}


def test_the_work_is_also_what_a_link_leads_to_and_a_folder_named_run(tmp_path, learner):
    (tmp_path / "elsewhere.md").write_text("linked")
    for folder in ("run", "work/run"):
        (learner / "mine" / folder).mkdir(parents=True)
        (learner / "mine" / folder / "a.py").write_text("x")
    (learner / "mine/link.md").symlink_to(tmp_path / "elsewhere.md")
    assert work(tmp_path) == {"link.md": "linked", "run/a.py": "x"}


def test_what_cannot_be_read_is_named_and_the_rest_comes(tmp_path, learner):
    (learner / "mine").mkdir()
    (learner / "mine/02.ipynb").write_text("mine")
    (learner / "mine/secret.md").write_text("")
    (learner / "mine/secret.md").chmod(0)
    (learner / "mine/closed").mkdir(0)
    (learner / "mine/home").symlink_to(tmp_path)
    lost = (
        "mine/home is not saved: it is a link to a folder",
        "mine/secret.md is not saved: Permission denied",
        "mine/closed is not saved: Permission denied",
    )
    assert work(tmp_path, lost) == {"02.ipynb": "mine"}


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, learner):
    (learner / "notebooks/01.ipynb.new").symlink_to("/dev/full")
    with pytest.raises(subprocess.CalledProcessError) as failure:
        deliver(tmp_path, {"notebooks/01.ipynb": "ONE"})
    place = learner / "notebooks/01.ipynb"
    cure = "Cure: make room in the VM"
    said = f"labkit-course: {place}: No space left on device. {cure}\n"
    assert failure.value.stderr == said
    assert place.read_text() == "one"
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [COURSE, "work", learner], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert run.returncode == 1
    assert run.stderr == f"labkit-course: No space left on device. {cure}\n"


def test_without_words_it_says_how_it_is_used():
    run = subprocess.run([COURSE], capture_output=True, text=True)
    assert run.returncode == 1
    assert "labkit-course deliver" in run.stderr
