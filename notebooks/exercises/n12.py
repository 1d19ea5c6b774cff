"""Notebook 12: images."""

import hashlib
import io
import json
import secrets
import shutil
import subprocess
import tarfile
from pathlib import Path

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect, observed

PROGRAMS = ("sh", "rm", "sleep")
REF_NAME = "org.opencontainers.image.ref.name"


@exercise(
    "12.1",
    PYTHON,
    "What does the upper layer hold in place of the file? And the lower one?",
    "`index.json` names the manifest, that the layers, and each is a tar in `blobs/sha256`.",
    'tarfile.open(f"leaky/blobs/sha256/{digest[7:]}").extractfile("etc/secret")',
)
def a_secret_that_was_removed(answer: Answer) -> str:
    """The answer has read a file that the image's upper layer removes."""
    word = f"word-{secrets.token_hex(8)}"
    layers = [_tar({"etc/secret": word, "etc/motd": "hello"}), _tar({"etc/.wh.secret": ""})]
    _write_layout(answer.folder / "leaky", layers)
    (secret,) = answer.values("secret")
    wanted = "the word that stood in `/etc/secret`"
    expect(isinstance(secret, str), wanted, type(secret).__name__, "A text: `….decode()`.")
    hint = "A whiteout hides. The layer below is as it was, and is sent along with the image."
    expect(secret.strip() == word, wanted, f"{secret:.30}", hint)
    return "a secret that everybody gets who gets the image"


@exercise(
    "12.2",
    PYTHON,
    "Notebook 11 wrote such a layout; `put` and the two dictionaries are what you need.",
    "`rootfs.diff_ids` and the manifest's `layers` list both layers, the lower one first. The name "
    "of a whiteout is `bin/.wh.rm`.",
    "`base.tar` is a layer as it is: `put(open('base.tar', 'rb').read())`.",
)
def a_layout_by_hand(answer: Answer) -> str:
    """What the answer wrote is loaded, and a container on it shows both layers."""
    paths = {f"bin/{name}": str(shutil.which(name)) for name in PROGRAMS}
    said = subprocess.run(["ldd", *paths.values()], capture_output=True, text=True).stdout
    needed = {word for word in said.split() if word[0] == "/" and word[-1] != ":"}
    base = {
        name: Path(path).read_bytes() for name, path in {**paths, **{p: p for p in needed}}.items()
    }
    (answer.folder / "base.tar").write_bytes(
        _tar({name.lstrip("/"): data for name, data in base.items()})
    )
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
    "12.3",
    "mydocker/commands.py",
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
    image = answer.folder / "data/images/x"
    entry = json.loads((image / "index.json").read_text())["manifests"][0]
    manifest = json.loads((image / "blobs/sha256" / entry["digest"][7:]).read_text())
    config = json.loads((image / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    said = str(config["config"].get("WorkingDir", "nothing"))
    hint = "An image of somebody else's must start where it did."
    expect(said == "/tmp", "an image that says `/tmp`", f"one that says {said}", hint)
    return "an image that says where its containers start"


def _tar(files: dict[str, str | bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _write_layout(folder: Path, layers: list[bytes]) -> None:
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes) -> dict[str, str]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}"}

    put_layers = [put(data) for data in layers]
    config = {"rootfs": {"diff_ids": [layer["digest"] for layer in put_layers]}}
    manifest = {"config": put(json.dumps(config).encode()), "layers": put_layers}
    entry = {**put(json.dumps(manifest).encode()), "annotations": {REF_NAME: "leaky"}}
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))


def _manifest(folder: Path) -> dict[str, list[object]]:
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    digest = next(entry["digest"] for entry in entries if "mine" in entry["annotations"].values())
    found: dict[str, list[object]] = json.loads((folder / "blobs/sha256" / digest[7:]).read_text())
    return found
