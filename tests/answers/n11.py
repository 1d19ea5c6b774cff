"""Notebook 11."""

from tests.answers.stub import solved

WRONG = {
    "11.1": [
        ("print('done')", "Your program makes it"),
        (
            solved(
                "11.1",
                'os.mknod("upper/etc/hosts", stat.S_IFCHR)',
                'open("upper/etc/hosts", "w").close()',
            ),
            "A whiteout is",
        ),
        (
            solved("11.1", 'os.setxattr("upper/etc/old", "user.overlay.opaque", b"y")', ""),
            "unless it is opaque",
        ),
        (solved("11.1", 'setxattr("upper/etc/old"', 'setxattr("upper/etc"'), "must not be opaque"),
        (solved("11.1", "one\\nmore", "more"), "the whole file"),
        (
            solved(
                "11.1",
                'os.makedirs("upper/etc/old")',
                'os.makedirs("upper/etc/old")\nopen("upper/etc/keep", "w").write("four\\n")',
            ),
            "need not be",
        ),
        ("import os, shutil\nos.makedirs('upper')\nshutil.rmtree('lower/etc/old')", "Only `upper`"),
    ],
    "11.2": [
        ("import os\nbroken = os.listdir('images/blobs/sha256')", "One name"),
        ("broken = '0' * 64", "hexdigest"),
        ("print('the seventh')", "Write `broken = …`"),
    ],
    "11.3": [
        (solved("11.3", ",size=1m", ",size=1"), "`size=1m`"),
        (solved("11.3", ",size=1m", ",nr_inodes=100"), "half of the machine's"),
        (solved("11.3", "if in_memory:\n        linux", "if True:\n        linux"), "With a name"),
    ],
}
