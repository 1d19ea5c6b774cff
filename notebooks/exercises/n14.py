"""Notebook 14: locks on the doors."""

import json
import os
import secrets
import shutil
import sys
from pathlib import Path

from labkit import procfs
from labkit.exercise import MYDOCKER, PYTHON, SH, Answer, exercise
from labkit.exercise.observe import expect, observed, written
from labkit.exercise.root import make_root

USER = ("unshare", "--map-user=1000", "--map-group=1000")  # an ordinary user, whoever we are
RUN = (*MYDOCKER, "run", "--rootfs", "root")
READ_ONLY = ("sys", "sys/kernel", "sys/vm", "bus", "fs", "irq")
FILTERED = "2"  # SECCOMP_MODE_FILTER: linux/seccomp.h
EAFNOSUPPORT = 97
# Makes sockets and a folder, writes down what the kernel said, and stays.
PROBE = """
import json, os, socket
said = {}
for family in (1, 2, 10, 16, 17):
    try:
        socket.socket(family, socket.SOCK_RAW if family > 10 else socket.SOCK_STREAM).close()
        said[family] = 0
    except OSError as error:
        said[family] = error.errno
os.mkdir("made")
json.dump(said, open("said.json", "w"))
os.execvp("sleep", ["sleep", "1000"])
"""
# Puts a key of this name on a new session keyring, and runs a program.
WITH_KEY = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
add_key, keyctl = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
libc.syscall(keyctl, 1, None)
assert libc.syscall(add_key, b"user", sys.argv[1].encode(), b"x", 1, -3) > 0
os.execvp(sys.argv[2], sys.argv[2:])
"""


@exercise(
    "14.1",
    "mydocker/masks.py",
    "Read-only is a flag of a mount, and `/proc/sys/net` is no mount yet.",
    "Bind it on itself, when `/proc/sys` is done; then `linux.set_read_only` with `False`.",
    '`linux.mount("/proc/sys/net", "/proc/sys/net", None, linux.MS_BIND)`',
)
def a_router(answer: Answer) -> str:
    """Of the read-only paths, /proc/sys/net can be written, and nothing else."""
    root(answer, "sleep")
    wanted = "a container whose command runs"
    crash = "Only a mount can be made read-only or writable. Bind the folder on itself first."
    with observed(answer.command(*USER, *RUN, "sleep", "1000"), wanted, crash) as (_, sleep):
        inside = Path(f"/proc/{sleep.pid}/root/proc")
        for name in filter(lambda name: (inside / name).exists(), READ_ONLY):
            hint = "Everything else stays as it was: bind `net` alone, after the loop."
            expect(is_read_only(inside / name), f"a read-only /proc/{name}", "a writable one", hint)
        hint = "What is bound is read-only as that from which it comes. `set_read_only(…, False)`"
        found = not is_read_only(inside / "sys/net")
        expect(found, "a writable /proc/sys/net", "a read-only one", hint)
        masked = not (inside / "keys").exists() or (inside / "keys").is_char_device()
        expect(masked, "a covered /proc/keys", "one that can be read", "All masks stay.")
    return "/proc/sys/net can be written, and nothing else of /proc/sys"


@exercise(
    "14.2",
    PYTHON,
    "The filter in the section on system calls refuses one call. Here an argument decides as well.",
    "Load the number; for another call skip to the last step. Load the argument, at byte 16; for "
    "AF_UNIX skip the step that refuses.",
    "`(LOAD, 0, 0, 0), (EQUAL, 0, 3, SOCKET), (LOAD, 0, 0, 16), (EQUAL, 1, 0, 1), …`",
)
def no_network(answer: Answer) -> str:
    """Sockets are made for AF_UNIX alone, all others get EAFNOSUPPORT, and no call else fails."""
    answer.script("probe.py", PROBE)
    wanted = "a program that makes sockets and a folder, and stays"
    crash = {
        "Invalid argument": "The kernel takes no program whose steps lead beyond its end. The last "
        "step is a RETURN, no step skips more than there are, and LOAD takes a place of the table.",
        "": "A filter that refuses other calls, too, ends most programs, and an error without "
        "`ERROR |` ends it at once (159). Which steps does a call pass that is not `socket`?",
    }
    run = answer.start(sys.executable, "probe.py")
    with observed(run, wanted, crash[""], crash=crash) as (_, sleep):
        said = json.loads(written(answer.folder / "said.json"))
        filtered = procfs.status(sleep.pid)["Seccomp"] == FILTERED
        expect(filtered, "a program with a filter", "one without", "`linux.set_seccomp_filter`")
        unix = said.pop("1")
        others = {*said.values()}
        expect(
            0 not in others,
            "no socket of another family than AF_UNIX",
            f"one of family {next((family for family, error in said.items() if not error), '')}",
            "Which step refuses? A call gets there whose number is SOCKET and argument is not 1.",
        )
        expect(
            unix == 0,
            "a socket of the family AF_UNIX",
            f"error {unix} for it",
            "The family is the first argument, the four bytes at 16. After the second LOAD the "
            "register holds it.",
        )
        expect(
            others == {EAFNOSUPPORT},
            "error 97 for the other families",
            f"error {', '.join(map(str, sorted(others)))}",
            "The answer is `ERROR | 97`: the filter chooses the number.",
        )
    return "sockets of AF_UNIX are made, of no other family"


@exercise(
    "14.3",
    SH,
    "A mask is a mount, and whoever has CAP_SYS_ADMIN may change mounts.",
    "There are two ways: take the mask off, or mount a second proc elsewhere, on /tmp.",
    "`umount /proc/keys`, then `grep` for the word.",
)
def what_the_mask_hides(answer: Answer) -> str:
    """The script has found the name of a key that stands in the masked /proc/keys."""
    word = f"word-{secrets.token_hex(8)}"
    folder = root(answer, "sh", "cat", "grep", "mount", "umount")
    shutil.copy(answer.folder / SH, folder)
    words = [*RUN, "--cap-add", "SYS_ADMIN", "sh", SH]
    with answer.command(*USER, sys.executable, "-c", WITH_KEY, word, *words) as run:
        run.wait()
    wanted = "the word in the file `found`"
    found = folder / "found"
    hint = "Your script runs in the container's `/`, and writes it there: `… > found`."
    expect(found.is_file(), wanted, "no such file", hint)
    text = written(found)
    expect(
        word in text,
        wanted,
        "a file without it" if text.strip() else "an empty file",
        "What does `/proc/keys` show while `/dev/null` covers it?",
    )
    return "the name of a key, from behind the mask"


def is_read_only(path: Path) -> bool:
    """Tell whether the mount that a path lies on is read-only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def root(answer: Answer, *programs: str) -> Path:
    """Make a root of this machine's own programs in an answer's folder, and return it."""
    folder = answer.folder / "root"
    for name in ("bin", "dev", "proc", "sys", "tmp"):
        (folder / name).mkdir(parents=True)
    make_root(folder, *filter(shutil.which, programs))
    return folder
