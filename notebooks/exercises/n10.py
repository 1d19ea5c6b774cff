"""Notebook 10: files of its own."""

import shutil
from pathlib import Path

from labkit import procfs
from labkit.exercise import MYDOCKER, SH, Answer, exercise
from labkit.exercise.observe import expect, observed
from labkit.exercise.root import files_of, make_root

RUN = ("unshare", "--map-user=1000", "--map-group=1000", *MYDOCKER, "run", "--rootfs")
PROGRAMS = ("sh", "ls", "cat", "sleep", "touch", "mkdir")
# Becomes the answer in the root `cell`, as version 8 does, but leaves out the umount.
CARELESS = """
import os
from labkit import linux
outside = os.getcwd()
linux.unshare(linux.CLONE_NEWNS)
linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
linux.mount("cell", "cell", None, linux.MS_BIND)
os.chdir("cell")
linux.pivot_root(".", ".")
os.execve("/bin/sh", ["sh", "/answer.sh"], {"PATH": "/bin", "OUTSIDE": outside})
"""


@exercise(
    "10.1",
    SH,
    "Which files does `ldd` name for `sleep`? Each keeps its own path, below `small`.",
    "`cp` wants the folders to be there: `mkdir -p small/bin`, and for a path in a variable "
    '`mkdir -p "small${path%/*}"`.',
    "`for path in $(ldd /bin/sleep | grep -o '/[^ ]*'); do …; done`",
)
def the_smallest_root(answer: Answer) -> str:
    """A sleep runs in the root `small`, which holds no file that it does not need."""
    with answer.start() as run:
        run.wait()
    small = answer.folder / "small"
    wanted = "a folder `small`"
    hint = "Your script stays in its folder and makes it there."
    expect(small.is_dir() and not small.is_symlink(), wanted, "no such folder", hint)
    command = answer.command(*RUN, "small", "sleep", "1000")
    hint = (
        "A program needs the loader that it names, and the loader the libraries; `ldd` says all. "
        "(Where `cp` leaves a link, it leads to nothing in there: `cp -L`.)"
    )
    wanted = "a `sleep 1000` in a root of its own"
    with observed(command, wanted, hint, blocked=True) as (_, sleep):  # past its loader
        own = Path(f"/proc/{sleep.pid}/root").samefile(small)
        expect(own, "a sleep whose root is `small`", "one with another root")
    most = len(files_of("sleep"))
    files = sum(path.is_file() for path in small.rglob("*"))
    hint = "What `ldd` does not name, `sleep` never opens."
    expect(files <= most, f"a root of at most {most} files", f"{files} files", hint)
    return "`sleep` runs in a root that holds no file too many"


@exercise(
    "10.2",
    "mydocker/rootfs.py",
    "`fill_dev` mounts two tmpfs already. The new one goes below the new root, not on our `/tmp`.",
    '`linux.mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV)`',
)
def room_for_notes(answer: Answer) -> str:
    """In a root that is read-only, /tmp is a tmpfs of the container's own."""
    root = answer.folder / "cell"
    make_root(root, *PROGRAMS)
    (root / "tmp").mkdir()
    script = "echo note > /tmp/note; exec sleep 1000"
    command = answer.command(*RUN, str(root), "--read-only", "sh", "-c", script)
    wanted = "a tmpfs on `/tmp`"
    hint = "Until `pivot_root`, the path of the container's `/tmp` begins with `{root}`."
    with observed(command, wanted, hint) as (_, sleep):
        there = {mount.target: mount for mount in procfs.mounts(sleep.pid)}
        fstype = there["/tmp"].fstype if "/tmp" in there else "nothing that is mounted there"
        expect(fstype == "tmpfs", wanted, fstype, hint)
        options = {name: there[name].options.split(",") for name in ("/", "/tmp")}
        hint = "`/tmp` is another mount than `/`: only the root is read-only."
        expect("ro" in options["/"], "a root that is read-only", "one that can be written", hint)
        expect("rw" in options["/tmp"], "a `/tmp` that can be written", "a read-only one", hint)
        expect(
            Path(f"/proc/{sleep.pid}/root/tmp/note").is_file(),
            "the file `/tmp/note` that the command wrote",
            "none",
            "It must be there before the command begins, and stay.",
        )
    return "`/tmp` is a tmpfs, and `/` can still not be written"


@exercise(
    "10.3",
    SH,
    "`pivot_root` put the old root on top of the new one, at the same place. An absolute path "
    "begins below it. But a step on the way, `..` too, ends on what lies on top.",
    "What does `ls /..` show?",
)
def one_line_forgotten(answer: Answer) -> str:
    """The answer, in a root that was not taken apart, makes a file outside of it."""
    cell = answer.folder / "cell"
    make_root(cell, *PROGRAMS)
    shutil.copyfile(answer.folder / SH, cell / SH)
    (answer.folder / "careless.py").write_text(CARELESS)
    with answer.command(MYDOCKER[0], "careless.py") as run:
        run.wait()
    inside = [path for path in cell.rglob("got-out") if path.is_file()]
    expect(
        (answer.folder / "got-out").is_file(),
        "a file `got-out` in the folder `$OUTSIDE`",
        "one inside the new root" if inside else "none",
        "`$OUTSIDE` is a path of the old root, and an absolute path begins at the new one. Which "
        "path leads up from there? (A shell's own `cd` tidies `..` away before the kernel sees it. "
        "Other commands do not.)",
    )
    return "a file outside, made by somebody whose root was another folder"
