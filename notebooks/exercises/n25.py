"""Notebook 25: beside runc."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect, fail_if_crashed, observed

NEW = ("--user", "--map-root-user", "--mount", "--net", "--ipc", "--uts", "--pid", "--fork")
DESCRIBE = "import json; from mydocker import bundle; print(json.dumps(bundle.describe(0, 0)))"
# Mounts what the folder's config.json lists, and stays.
MOUNT = """
import os
from mydocker import config, linux, mounts
root = os.path.abspath("rootfs")
linux.mount(root, root, None, linux.MS_BIND)
mounts.mount_all(config.load(".")["mounts"], ".", root)
os.execvp("sleep", ["sleep", "1000"])
"""


def mount(answer: Answer, config: object) -> Any:
    """Mount a bundle's list with the runtime in the answer's folder."""
    (answer.folder / "rootfs").mkdir(exist_ok=True)
    (answer.folder / "config.json").write_text(json.dumps(config))
    run = answer.command("unshare", *NEW, sys.executable, "-c", MOUNT)
    return observed(run, "a list that can be mounted", "What does the runtime say to it?")


def mounted(pid: int, place: str) -> tuple[set[str], str, set[str]]:
    """What lies on a place in the root: options of the mount, file system, its own options."""
    text = Path(f"/proc/{pid}/mountinfo").read_text()
    rows = [line.split() for line in text.splitlines()]
    *_, row = [row for row in rows if row[4].endswith(f"/rootfs{place}")] or [[""] * 6 + ["-"] * 4]
    return {*row[5].split(",")}, row[-3], {*row[-1].split(",")}


@exercise(
    "25.1",
    PYTHON,
    "`config` is made of dictionaries and lists: change it and print it as JSON.",
    '`config["root"]["readonly"]`, and one more entry in `config["mounts"]`.',
    'Its options are those of mount(8), as in `["noexec", "size=1m"]`.',
)
def a_bundle_of_your_own(answer: Answer) -> str:
    """The printed config.json has a root to read only and a small tmpfs, and is as it was else."""
    with answer.command(sys.executable, "-c", DESCRIBE) as run:
        run.wait()
    given = json.loads(run.output)
    config: Any = None
    (answer.folder / "given.json").write_text(run.output)
    with answer.command("sh", "-c", '"$0" "$1" < given.json', sys.executable, PYTHON) as run:
        run.wait()
        fail_if_crashed(run, "a config.json")
    with contextlib.suppress(ValueError):
        config = json.loads(run.output)
    expect(isinstance(config, dict), "a config.json", run.summary(), "`print(json.dumps(config))`")
    hint = '`config["root"]` has a field `readonly`; `True` of Python becomes `true` in JSON.'
    expect(config["root"].get("readonly") is True, "a root to read only", "a writable one", hint)
    with mount(answer, config) as (_, sleep):
        options, kind, limits = mounted(sleep.pid, "/tmp")
    hint = "One more entry in `mounts`, with the destination `/tmp` and the type `tmpfs`."
    expect(kind == "tmpfs", "a tmpfs on `/tmp`", f"`{kind}`", hint)
    expect("noexec" in options, "a /tmp without programs", ",".join(sorted(options)), "`noexec`")
    hint = "`size=1m` is an option of tmpfs, and stands beside the others."
    expect("size=1024k" in limits, "room for 1 MiB", ",".join(sorted(limits)), hint)
    config["root"]["readonly"] = False
    config["mounts"] = [entry for entry in config["mounts"] if entry["destination"] != "/tmp"]
    hint = "Add to the list of mounts, and leave the others in it."
    expect(config == given, "all the rest as it was", "other changes", hint)
    return "a root to read only, and 1 MiB for notes"


@exercise(
    "25.2",
    "mydocker/mounts.py",
    "Keep what the first `place` returned under a name of its own, such as `below`.",
    "`shutil.copytree(below, target, symlinks=True, dirs_exist_ok=True)`",
)
def what_lay_below(answer: Answer) -> str:
    """A tmpfs with tmpcopyup holds what lay below, one without it nothing."""
    root = answer.folder / "rootfs"
    for name in ("data", "other"):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep" / "file").write_text("kept")
        (root / name / "link").symlink_to("deep/file")
    plain: dict[str, object] = {"type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}
    mounts = [plain | {"destination": "/other"}]
    mounts += [plain | {"destination": "/data", "options": ["nosuid", "tmpcopyup"]}]
    process = {"args": ["true"], "cwd": "/"}
    namespaces = {"namespaces": [{"type": "mount"}]}
    config = {"ociVersion": "1.0.2", "mounts": mounts, "process": process, "linux": namespaces}
    with mount(answer, config) as (_, sleep):
        above = Path(f"/proc/{sleep.pid}/root{root}")
        options, kind, _ = mounted(sleep.pid, "/data")
        hint = "It is mounted as before, with its other options; then the copy is made."
        expect(kind == "tmpfs" and "nosuid" in options, "a tmpfs on /data", f"`{kind}`", hint)
        found = sorted(path.name for path in (above / "data").iterdir())
        hint = "From the descriptor for what lies below to `target`, which is on top by then."
        expect(found == ["deep", "link"], "what lay in /data", found or "an empty folder", hint)
        copied = above / "data/deep/file"
        expect(copied.read_text() == "kept", "the file in its folder", "another one", hint)
        hint = "A link is copied as a link: `symlinks=True`."
        expect((above / "data/link").is_symlink(), "a link that is still one", "none", hint)
        hint = "Only where `tmpcopyup` is among the options."
        expect(not any((above / "other").iterdir()), "nothing in /other", "a copy", hint)
    return "a tmpfs that begins with what the image has"
