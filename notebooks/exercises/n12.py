"""Notebook 12: images that others made."""

import gzip
import hashlib
import io
import json
import random
import secrets
import tarfile
from pathlib import Path

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect

REF_NAME = "org.opencontainers.image.ref.name"
LINK = tarfile.SYMTYPE
HONEST: tuple[tuple[tuple[str, str], ...], ...] = (  # each a tar: names, and what the links say
    (("bin/busybox", ""), ("bin/sh", "/bin/busybox")),
    (("etc/notes..txt", ""), ("..data", "")),
    (("etc/mtab", "../proc/mounts"), ("etc/host", "")),
    (("etc/localtime", "../../../usr/share/zoneinfo/UTC"), ("etc/localtime.old", "")),
    (("./usr/bin/env", ""), ("usr/./lib/x", "")),
    (("usr/lib/../share/x", ""),),
)
EVIL: tuple[tuple[tuple[str, str], ...], ...] = (
    (("etc/passwd", ""), ("../passwd", "")),
    (("usr/../../x", ""),),
    (("/etc/cron.d/x", ""),),
    (("door", ".."), ("door/x", "")),
    (("tmp", "/tmp"), ("etc/x", ""), ("tmp/x", "")),
    (("usr/share/door", "../../.."), ("usr/share/door/x/y", "")),
)


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
    _write_layout(answer.folder / "leaky", "leaky", layers)
    (secret,) = answer.values("secret")
    wanted = "the word that stood in `/etc/secret`"
    expect(isinstance(secret, str), wanted, type(secret).__name__, "A text: `….decode()`.")
    hint = "A whiteout hides. The layer below is as it was, and is sent along with the image."
    expect(secret.strip() == word, wanted, f"{secret:.30}", hint)
    return "a secret that everybody gets who gets the image"


@exercise(
    "12.2",
    PYTHON,
    "`..` in a name is one way, a name that begins with `/` another. What does a link do?",
    "A link does harm only where a later name goes through it. `os.path.normpath` takes `a/../b` "
    "for `b`.",
    "Keep the names of the links so far. Is one of them the beginning of this member's path?",
)
def those_that_lead_out(answer: Answer) -> str:
    """The answer names the tars that would put a file outside their folder, and no other."""
    (tars := answer.folder / "tars").mkdir()
    kinds = [
        *((files, True) for files in (*EVIL, EVIL[3])),
        *((files, False) for files in HONEST * 2),
    ]
    names = random.sample([f"{number:02}.tar" for number in range(len(kinds))], len(kinds))
    for name, (files, _) in zip(names, kinds, strict=True):
        (tars / name).write_bytes(_tar(dict(files), link=True))
    (evil,) = answer.values("evil")
    wanted = "the names of the tars that lead out"
    expect(isinstance(evil, list), wanted, type(evil).__name__, "A list of names.")
    for name, (files, leads_out) in zip(names, kinds, strict=True):
        members = ", ".join(f"{path} -> {link}" if link else path for path, link in files)
        found = f"{'no' if leads_out else 'the'} name of one that holds {members}"
        hint = "`..` may be part of a name, and not every link is gone through."
        hint = "That one leads out." if leads_out else f"That one stays inside: {hint}"
        expect((name in evil) == leads_out, wanted, found, hint)
    return "tars that lead out by a name or by a link, told from those that do not"


@exercise(
    "12.3",
    "mydocker/commands.py",
    "Which blob lists the layers, and what else does it say about each?",
    '`find(name).manifest["layers"]` is a list; each has its `size`.',
    'sum(layer["size"] for layer in find(name).manifest["layers"])',
)
def how_much_it_is(answer: Answer) -> str:
    """`image list` ends each line with the sum of the layers' sizes."""
    env = ("env", f"MYDOCKER_DATA={answer.folder / 'data'}", *MYDOCKER)
    sizes = {}
    for name, count in (("one", 1), ("three", 3)):
        layers = [_tar({f"f{n}": "x" * random.randrange(99999)}) for n in range(count)]
        if name == "three":
            layers[1] = gzip.compress(layers[1])
        sizes[name] = sum(map(len, layers))
        _write_layout(answer.folder / name, name, layers)
        with answer.command(*env, "load", "-i", name) as run:
            run.wait()
        hint = "`load` must work as before."
        expect(run.status == 0, "an image that is loaded", run.summary(), hint)
    with answer.command(*env, "image", "list") as run:
        run.wait()
    said = {line.split()[0]: line.split()[-1] for line in run.output.splitlines() if line.strip()}
    for name, size in sizes.items():
        wanted = "the bytes of all its layers at the end of an image's line"
        hint = "As they were sent: `size` in the manifest, of all layers of the image."
        expect(said.get(name) == str(size), wanted, f"`{said.get(name, '')}`", hint)
    return "what each image is, in bytes, as it was sent"


def _tar(files: dict[str, str], link: bool = False) -> bytes:
    """Make a tar of files and what they hold, or of links and where they lead."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            if link and text:
                member.type, member.linkname, text = LINK, text, ""
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def _write_layout(folder: Path, name: str, layers: list[bytes]) -> None:
    (blobs := folder / "blobs/sha256").mkdir(parents=True)

    def put(data: bytes) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"digest": f"sha256:{digest}", "size": len(data)}

    tars = [gzip.decompress(layer) if layer[:1] == b"\x1f" else layer for layer in layers]
    diffs = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in tars]
    config = put(json.dumps({"rootfs": {"diff_ids": diffs}}).encode())
    manifest = put(json.dumps({"config": config, "layers": [*map(put, layers)]}).encode())
    entry = {**manifest, "annotations": {REF_NAME: name}}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"manifests": [entry]}))
