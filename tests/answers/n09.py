"""Notebook 09."""

from tests.answers.stub import solved

MAPS = """
import os
from labkit import linux
linux.unshare(linux.CLONE_NEWUSER)
for file, line in {lines}:
    with open(f"/proc/self/{{file}}", "w") as kernel:
        kernel.write(line)
os.execvp("sleep", ["sleep", "1000"])
"""
UID, DENY, GID = ("uid_map", "1234 0 1"), ("setgroups", "deny"), ("gid_map", "1234 0 1")
GIVEN_AWAY = """
    import struct
    libc = ctypes.CDLL(None)
    none = struct.pack("6I", *[0xFFFFFFFF & ~(1 << CAP_SYS_ADMIN), 0xFFFFFFFF, 0] * 2)
    libc.capset(struct.pack("Ii", 0x20080522, 0), none)
"""
DROP = "    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0)\n"
DROP_ALL = "    for number in range(41):\n        ctypes.CDLL(None).prctl(24, number, 0, 0, 0)\n"
SLEEP = "sleep 1000"
DEEP = "M = 'python3 -m mydocker run -e PATH'\n"
TWO = DEEP + "command = f'{M} {M} sleep 1000'\nprediction = {'pid': 2, 'user': 1}"
USERS = DEEP + "command = f'{M} {M} {M} sleep 1000'\nprediction = {'pid': 3, 'user': 3}"
PIDS = DEEP + "command = f'{M} {M} {M} sleep 1000'\nprediction = {'pid': 1, 'user': 1}"

WRONG = {
    "09.1": [
        (MAPS.format(lines=()), "still empty"),
        ("import os\nos.execvp('sleep', ['sleep', '1000'])", "is not a namespace"),
        (MAPS.format(lines=[UID]), "after `deny`"),
        (MAPS.format(lines=[UID, GID, DENY]), "Before `gid_map`"),
        (MAPS.format(lines=[("uid_map", "0 1234 1"), DENY, GID]), "then the one outside"),
        (MAPS.format(lines=[UID, DENY, ("gid_map", "0 1234 1")]), "gid_map is still empty"),
        (MAPS.format(lines=[("uid_map", "0 0 1"), DENY, GID]), "the ID inside"),
        ("print('uid=1234 gid=1234')", "becomes `sleep`"),
    ],
    "09.2": [
        (solved("09.2", DROP, GIVEN_AWAY), "again after exec"),
        (solved("09.2", DROP, "    print('CapEff: no CAP_SYS_ADMIN')\n"), "again after exec"),
        (solved("09.2", DROP, DROP_ALL), "number 21"),
        (solved("09.2", "CAP_SYS_ADMIN, 0", "1 << CAP_SYS_ADMIN, 0"), "not its bit"),
        (
            solved("09.2", DROP, "", '    log("info", "init come on")\n', GIVEN_AWAY),
            "for the mounts",
        ),
    ],
    "09.3": [
        (USERS, "When does `container.clone` ask"),
        (PIDS, "holds one number for each"),
        (USERS.replace("'user': 3", "'user': True"), "A number each"),
        (TWO, "Three are wanted"),
        ("print('3 pid, 1 user')", "Write `prediction = …`"),
        (TWO.replace("sleep 1000'", "unshare -pf sleep 1000'").replace("2", "3"), "Three are"),
    ],
    "09.4": [
        ("grep -ao 'word-[0-9a-f]*' /proc/*/cmdline > found", "Whose `/proc`"),
        ("mount -t proc proc /proc; ps -ef > found", "Whose `/proc`"),
        ("umount /proc; cat /proc/*/cmdline", "`… > found`"),
        ("echo word-0123456789abcdef > found", "Whose `/proc`"),
    ],
}
