"""Notebook 11: layers."""

import hashlib
import io
import json
import secrets
import tarfile
from pathlib import Path

from labkit.exercise import MYDOCKER, PYTHON, Answer, exercise
from labkit.exercise.observe import expect, observed
from labkit.exercise.root import files_of

LOWER = {"etc/motd": "one\n", "etc/hosts": "two\n", "etc/old/a": "three\n", "etc/keep": "four\n"}
MOUNT = (
    "mkdir work merged; mount -t overlay overlay "
    "-o lowerdir=lower,upperdir=upper,workdir=work,userxattr merged && exec sleep 1000"
)
PROGRAMS = ("sh", "head", "sleep")
MIB = 2**20


@exercise(
    "11.1",
    PYTHON,
    "What did `upper` hold in this notebook after each of the three changes?",
    '`os.mknod(path, stat.S_IFCHR)` makes a device 0,0, `os.setxattr(path, name, b"y")` sets an '
    "attribute. The folders in between have to be there first.",
    "The attribute of an opaque folder is `user.overlay.opaque`.",
)
def a_layer_by_hand(answer: Answer) -> str:
    """With the answer's `upper` above `lower`, one sees what is wanted."""
    for name, text in LOWER.items():
        path = answer.folder / "lower" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with answer.start() as run:
        run.wait()
    upper = answer.folder / "upper"
    expect(upper.is_dir(), "a folder `upper`", "no such folder", "Your program makes it.")
    there = {
        str(path.relative_to(answer.folder / "lower")) for path in answer.folder.rglob("lower/**/*")
    }
    expect(
        set(LOWER) <= there, "a `lower` as it was", "one that lacks a file", "Only `upper` changes."
    )
    command = answer.command("unshare", "--map-root-user", "--mount", "sh", "-c", MOUNT)
    with observed(command, "an overlay of the two", "Could the kernel mount it?") as (_, sleep):
        etc = Path(f"/proc/{sleep.pid}/root{answer.folder}/merged/etc")
        seen = sorted(path.name for path in etc.iterdir())
        hint = "`/etc` itself must not be opaque: it only lacks one file."
        expect("keep" in seen, "`/etc/keep` as before", f"{', '.join(seen)} in `/etc`", hint)
        hint = "A whiteout is a character device with the number 0,0, and has the name of the file."
        expect("hosts" not in seen, "no `/etc/hosts`", f"{', '.join(seen)} in `/etc`", hint)
        expect("old" in seen, "a folder `/etc/old`", "none", "Removed *and made again*.")
        old = [path.name for path in (etc / "old").iterdir()]
        hint = "A folder shows what is below it, too, unless it is opaque."
        expect(not old, "an empty `/etc/old`", f"one that holds {', '.join(old)}", hint)
        hint = "`upper` holds the whole file, not the change."
        text = (etc / "motd").read_text() if (etc / "motd").is_file() else ""
        expect(text == "one\nmore\n", "`one` and `more` in `/etc/motd`", repr(text), hint)
    copies = [path for path in upper.rglob("*") if path.is_file()]
    hint = "What is as it was below need not be in `upper`."
    expect(len(copies) == 1, "one file in `upper`", f"{len(copies)}", hint)
    return "a layer that changes one file, removes one, and empties a folder"


@exercise(
    "11.2",
    PYTHON,
    "The name of a blob says what must be in it.",
    "For each file in `images/blobs/sha256`: is the SHA-256 of what it holds its name?",
)
def the_changed_byte(answer: Answer) -> str:
    """The answer names the one blob of many that does not hold what its name says."""
    blobs = answer.folder / "images/blobs/sha256"
    blobs.mkdir(parents=True)
    names = []
    for _ in range(20):
        data = secrets.token_bytes(5000)
        names.append(hashlib.sha256(data).hexdigest())
        (blobs / names[-1]).write_bytes(data)
    changed = bytearray((blobs / names[7]).read_bytes())
    changed[secrets.randbelow(5000)] ^= 1
    (blobs / names[7]).write_bytes(changed)
    (broken,) = answer.values("broken")
    wanted = "the name of the blob that was changed"
    hint = "`hashlib.sha256(data).hexdigest()`, of the bytes of the file (`open(path, 'rb')`)."
    expect(isinstance(broken, str), wanted, type(broken).__name__, "One name, a text.")
    expect(broken.removeprefix("sha256:") == names[7], wanted, "another name", hint)
    return "one bit in 100,000 bytes, found by its blob's name"


@exercise(
    "11.3",
    "mydocker/overlay.py",
    "Which mount does a container without a name write to?",
    "tmpfs(5) has an option for its size. Options stand in the last argument of `linux.mount`.",
    '`"mode=755,size=1m"`',
)
def no_more_than_a_mebibyte(answer: Answer) -> str:
    """A container without a name can write a MiB and no more; one with a name can."""
    data = answer.folder / "data"
    _make_image(data)
    fill = "head -c 3000000 /dev/zero > /big; exec sleep 1000"
    run = ("env", f"MYDOCKER_DATA={data}", *MYDOCKER, "run")
    hint = "A container on the image must start as before."
    with observed(answer.command(*run, "x", "sh", "-c", fill), "a container that runs", hint) as (
        _,
        sleep,
    ):
        size = Path(f"/proc/{sleep.pid}/root/big").stat().st_size
        hint = "Without a limit, a tmpfs takes half of the machine's memory."
        expect(
            size <= MIB,
            "a container that can write at most a MiB",
            f"one that wrote {size:,} bytes",
            hint,
        )
        hint = "A MiB is `size=1m`; `size=1` is a byte, which the kernel rounds up to a page."
        expect(
            size > MIB / 2,
            "a container that can write about a MiB",
            f"one that wrote {size:,} bytes",
            hint,
        )
    named = answer.command(*run, "--name", "box", "x", "sh", "-c", fill)
    with observed(named, "a container with a name") as (_, sleep):
        size = Path(f"/proc/{sleep.pid}/root/big").stat().st_size
        hint = "With a name, it writes to the disk."
        expect(size == 3000000, "one with a name that can write more", f"{size:,} bytes", hint)
    return "what a container without a name writes ends at a MiB"


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # The one ID that every lab knows. If it can't set an owner, tarfile leaves out the mode.
    member.uid, member.gid, member.uname, member.gname = 0, 0, "", ""
    return member


def _make_image(folder: Path) -> None:
    """Make an image `x` of PROGRAMS, as the notebook does."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, path in files_of(*PROGRAMS).items():
            tar.add(str(Path(path).resolve()), name, filter=_owned_by_root)
    image = folder / "images/x"
    blobs = image / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        return f"sha256:{digest}"

    layer = put(data.getvalue())
    config = {"config": {"Env": ["PATH=/bin"]}, "rootfs": {"diff_ids": [layer]}}
    manifest = {
        "config": {"digest": put(json.dumps(config).encode())},
        "layers": [{"digest": layer}],
    }
    names = {"org.opencontainers.image.ref.name": "x"}
    entry = {"digest": put(json.dumps(manifest).encode()), "annotations": names}
    (image / "index.json").write_text(json.dumps({"manifests": [entry]}))
    data.seek(0)
    with tarfile.open(fileobj=data) as tar:
        tar.extractall(folder / "layers" / layer[7:])
