"""How the course gets into the class VM, and the learner's work out of it."""

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.browser import ROOT
from tests.test_sandbox import ORDINARY

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


def work(tmp_path, missing=""):
    """What is brought out, name to text; `missing` is what it says that it could not read."""
    command = [*ORDINARY, COURSE, "work", tmp_path / "learner"]
    run = subprocess.run(command, capture_output=True)
    assert run.stderr.decode() == missing
    assert run.returncode == (3 if missing else 0)
    with tarfile.open(fileobj=io.BytesIO(run.stdout)) as tar:
        return {member.name: tar.extractfile(member).read().decode() for member in tar}


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


def test_a_changed_notebook_stays_and_the_new_one_lies_beside_it(tmp_path, learner):
    (learner / "notebooks/01.ipynb").write_text("mine")
    (learner / "notebooks/02.ipynb").write_text("mine too")
    said = deliver(tmp_path, {"notebooks/01.ipynb": "ONE"})
    assert said == "kept your notebooks/01.ipynb; the delivered one lies beside it\n"
    assert (learner / "notebooks/01.ipynb").read_text() == "mine"
    assert (learner / "notebooks/01.ipynb.delivered").read_text() == "ONE"
    assert (learner / "notebooks/02.ipynb").read_text() == "mine too"


def test_a_changed_file_of_the_kit_is_put_aside(tmp_path, learner):
    (learner / "labkit/a.py").write_text("mine")
    assert deliver(tmp_path, {"labkit/a.py": "x"}) == "your labkit/a.py is now labkit/a.py.mine\n"
    assert (learner / "labkit/a.py").read_text() == "x"
    assert (learner / "labkit/a.py.mine").read_text() == "mine"


def test_scripts_can_be_run(tmp_path):
    deliver(tmp_path, {"vm/run": "#!/bin/sh\n", "vm/text": "text"})
    assert (tmp_path / "learner/vm/run").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "learner/vm/text").stat().st_mode & 0o777 == 0o644


def test_the_work_is_what_was_changed_or_added(tmp_path, learner):
    assert work(tmp_path) == {}
    (learner / "notebooks/02.ipynb").write_text("mine")
    (learner / "notebooks/ä b.md").write_text("new")
    (learner / "notebooks/.ipynb_checkpoints").mkdir()
    (learner / "notebooks/.ipynb_checkpoints/02.ipynb").write_text("derived")
    (learner / "notebooks/dangling").symlink_to("nowhere")
    assert work(tmp_path) == {"notebooks/02.ipynb": "mine", "notebooks/ä b.md": "new"}


def test_the_work_is_also_what_a_link_leads_to_and_a_folder_named_run(tmp_path, learner):
    (tmp_path / "elsewhere.md").write_text("linked")
    (learner / "notebooks/link.md").symlink_to(tmp_path / "elsewhere.md")
    for folder in ("run", "work/run"):
        (learner / "notebooks" / folder).mkdir(parents=True)
        (learner / "notebooks" / folder / "a.py").write_text("x")
    assert work(tmp_path) == {"notebooks/link.md": "linked", "notebooks/run/a.py": "x"}


def test_the_notebooks_as_delivered_are_kept_apart_and_renewed(tmp_path, learner):
    kept = learner / ".as-delivered"
    assert sorted(path.name for path in kept.iterdir()) == ["01.ipynb", "02.ipynb"]
    (learner / "notebooks/01.ipynb").write_text("mine")
    deliver(tmp_path, {"notebooks/01.ipynb": "ONE"})
    assert {path.name: path.read_text() for path in kept.iterdir()} == {"01.ipynb": "ONE"}
    assert work(tmp_path).keys() == {"notebooks/01.ipynb"}


def test_what_cannot_be_read_is_named_and_the_rest_comes(tmp_path, learner):
    (learner / "notebooks/02.ipynb").write_text("mine")
    (learner / "notebooks/secret.md").write_text("")
    (learner / "notebooks/secret.md").chmod(0)
    (learner / "notebooks/closed").mkdir(0)
    (learner / "notebooks/home").symlink_to(tmp_path)
    missing = "".join(
        f"labkit-course: notebooks/{name} is not saved: {reason}\n"
        for name, reason in (
            ("home", "it is a link to a folder"),
            ("secret.md", "Permission denied"),
            ("closed", "Permission denied"),
        )
    )
    assert work(tmp_path, missing) == {"notebooks/02.ipynb": "mine"}


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
