"""Notebook 00."""

from tests.answers.stub import solved

ALL = "unshare --uts --pid --fork --mount-proc --net --ipc"
PREDICTION = """
command = "{command}"
number = {number}
alone = {alone}
"""
WITHOUT = "unshare --pid --fork sleep 1000"

WRONG = {
    "00.1": [
        ("hostname box; unshare --uts sleep 1000", "everybody shares"),
        ("unshare --uts hostname box\nsleep 1000", "in the same one"),
        ("unshare --uts sh -c 'hostname box; sleep 1000 &'", "not in the background"),
        ("unshare --uts sh -c 'hostname box; hostname'; hostname", "stays"),
        ("unshare --uts sh -c 'hostname box; sleep 1000", "Is a quote"),
        ("unshare --uts sh -c 'hostname box; sleep 1000'; (", "Is a quote"),
    ],
    "00.2": [
        (PREDICTION.format(command=WITHOUT, number=2, alone=False), "whatever `ps` may say"),
        (PREDICTION.format(command=WITHOUT, number=1, alone=True), "Who mounted this one"),
        (
            PREDICTION.format(
                command="unshare --pid --fork --mount-proc sleep 1000", number=1, alone=True
            ),
            "Leave `--mount-proc` out",
        ),
        (PREDICTION.format(command="unshare --pid sleep 1000", number=1, alone=False), "`--fork`"),
        (PREDICTION.format(command=WITHOUT, number="...", alone="..."), "a number for `number`"),
        (PREDICTION.format(command=WITHOUT, number="'1'", alone=False), "without quotes"),
        (PREDICTION.format(command=WITHOUT, number=True, alone=False), "without quotes"),
        (PREDICTION.format(command=WITHOUT, number=1, alone="'False'"), "without quotes"),
        (
            PREDICTION.format(
                command="unshare --pid --fork sh -c 'sleep 1000; true'", number=2, alone=False
            ),
            "Is that a shell?",
        ),
        ("print(1, False)", "Write `command = …`"),
    ],
    "00.3": [
        ("unshare --uts --net --ipc sleep 1000", "Add `--pid --fork --mount`"),
        (solved("00.3", "exec sleep 1000", "sleep 1000; true"), "*become*"),
        (solved("00.3", "--mount-proc", "--mount"), "`--mount-proc` mounts a new one"),
        (
            solved("00.3", "exec sleep", "mount -t tmpfs x /proc; mkdir /proc/1; exec sleep"),
            "`--mount-proc` mounts a new one",
        ),
        (solved("00.3", "set lo up;", "set lo up &"), "with `&` perhaps"),
        (f"{ALL} sleep 1000", "before it becomes the sleep"),
        (solved("00.3", "ip link set lo up; ", ""), "`lo` is down"),
    ],
    "00.4": [
        ("sleep 1000", "not what is asked"),
        ("unshare --user sh -c 'echo 0; exec sleep 1000'", "who outside is who inside"),
        ("unshare --user --map-user=7 sleep 1000", "user 7"),
        (
            "unshare --user sh -c 'echo 0 0 1 >/proc/$$/uid_map; exec sleep 1000'",
            "an option that writes it",
        ),
        ("unshare --user --map-root-user id -u", "while it sleeps"),
    ],
}
