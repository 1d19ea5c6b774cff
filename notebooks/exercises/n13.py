"""Notebook 13: building images."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect, observed
from labkit.exercise.root import files_of

PROGRAMS = ("sh", "rm", "sleep")


@exercise(
    "13.1",
    PYTHON,
    "Notebooks 11 and 12 wrote such a layout; `put` and the two dictionaries are what you need.",
    "`rootfs.diff_ids` and the manifest's `layers` list both layers, the lower one first. The name "
    "of a whiteout is `bin/.wh.rm`.",
    "`base.tar` is a layer as it is: `put(open('base.tar', 'rb').read())`.",
)
def a_layout_by_hand(answer: Answer) -> str:
    """What the answer wrote is loaded, and a container on it shows both layers."""
    with tarfile.open(answer.folder / "base.tar", "w") as base:
        for name, path in files_of(*PROGRAMS).items():
            base.addfile(*_member(name, Path(path).read_bytes()))
    with answer.start() as run:
        run.wait()
    expect((answer.folder / "out/index.json").is_file(), "`out/index.json`", "no such file")
    env = ("env", f"MYDOCKER_DATA={answer.folder / 'data'}", *MYDOCKER)
    with answer.command(*env, "load", "-i", "out") as run:
        run.wait()
    expect(
        run.status == 0,
        "a layout that `mydocker load` takes",
        run.summary(),
        "It says what it lacks.",
    )
    names = sorted(path.name for path in (answer.folder / "data/images").iterdir())
    expect("mine" in names, "an image `mine`", ", ".join(names))
    hint = "Are both layers in both lists, the lower one first?"
    with observed(
        answer.command(*env, "run", "mine", "sleep", "1000"), "a `sleep 1000` on `mine`", hint
    ) as (_, sleep):
        root = Path(f"/proc/{sleep.pid}/root")
        there = sorted(path.name for path in (root / "bin").iterdir())
        hint = "`bin/.wh.rm` in the upper layer says it."
        expect("rm" not in there, "no `/bin/rm`", f"{', '.join(there)} in `/bin`", hint)
        expect(
            "sh" in there,
            "`/bin/sh` from below",
            f"{', '.join(there)} in `/bin`",
            "Only `rm` goes.",
        )
        motd = root / "etc/motd"
        text = motd.read_text() if motd.is_file() else ""
        expect("hello" in text, "`hello` in `/etc/motd`", repr(text), "A file of your upper layer.")
    lists = _manifest(answer.folder / "data/images/mine")["layers"]
    expect(len(lists) == 2, "an image of two layers", f"{len(lists)}", "`base.tar` stays as it is.")
    return "a container on two layers, one of them made by hand"


@exercise(
    "13.2",
    "mydocker/build.py",
    "Which part of an image says what its containers run, and with which variables?",
    "The configuration's `config` has one more key for it; `image.py` reads it.",
    '`"WorkingDir": "/tmp"`',
)
def where_it_starts(answer: Answer) -> str:
    """A container on a built image starts in /tmp, since the image says so."""
    env = ("env", f"MYDOCKER_DATA={answer.folder / 'data'}", *MYDOCKER)
    with answer.command(*env, "image", "build", "x", *PROGRAMS) as run:
        run.wait()
    expect(
        run.status == 0, "an image that `build` makes", run.summary(), "Does it still build one?"
    )
    command = answer.command(*env, "run", "x", "sleep", "1000")
    with observed(command, "a `sleep 1000` on the image") as (_, sleep):
        found = str(Path(f"/proc/{sleep.pid}/cwd").readlink())
        hint = "The key stands in `config`, beside `Cmd`."
        expect(found == "/tmp", "a container that starts in `/tmp`", f"one in `{found}`", hint)
    manifest = _manifest(answer.folder / "data/images/x")
    blob = manifest["config"]["digest"][7:]
    config = json.loads((answer.folder / "data/images/x/blobs/sha256" / blob).read_text())
    said = str(config["config"].get("WorkingDir", "nothing"))
    hint = "An image of somebody else's must start where it did."
    expect(said == "/tmp", "an image that says `/tmp`", f"one that says {said}", hint)
    return "an image that says where its containers start"


def _member(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o755
    return member, io.BytesIO(data)


def _manifest(folder: Path) -> Any:
    [entry] = json.loads((folder / "index.json").read_text())["manifests"]
    return json.loads((folder / "blobs/sha256" / entry["digest"][7:]).read_text())
