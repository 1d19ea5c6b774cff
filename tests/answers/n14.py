"""Notebook 14."""

from tests.answers.stub import solved

BIND = '    linux.mount("/proc/sys/net", "/proc/sys/net", None, linux.MS_BIND)\n'
WRITABLE = '    linux.set_read_only("/proc/sys/net", False)\n'

WRONG = {
    "14.1": [
        (solved("14.1", WRITABLE, ""), "`set_read_only(…, False)`"),
        (solved("14.1", "/proc/irq /proc/sys ", "/proc/irq ", BIND, "", WRITABLE, ""), "after the"),
        (solved("14.1", BIND, ""), "Only a mount"),
        (solved("14.1", BIND, "", '"/proc/sys/net", False', '"/proc/sys", False'), "as it was"),
        (solved("14.1", "/proc/keys", "/proc/lock"), "All masks stay"),
    ],
    "14.2": [
        (solved("14.2", "(EQUAL, 0, 3, SOCKET)", "(EQUAL, 3, 0, SOCKET)"), "refuses other calls"),
        (solved("14.2", "(EQUAL, 1, 0, 1)", "(EQUAL, 0, 1, 1)"), "argument is not 1"),
        (solved("14.2", "    (EQUAL, 1, 0, 1),  # AF_UNIX: skip one step\n", ""), "beyond its end"),
        (
            solved(
                "14.2",
                "3, SOCKET",
                "2, SOCKET",
                "    (LOAD, 0, 0, 16),  # its first argument\n",
                "",
            ),
            "holds it",
        ),
        (solved("14.2", "ERROR | 97", "ERROR | 1"), "chooses the number"),
        (solved("14.2", "linux.set_seccomp_filter(STEPS)\n", ""), "`linux.set_seccomp_filter`"),
        (solved("14.2", "(EQUAL, 0, 3, SOCKET)", "(EQUAL, 0, 9, SOCKET)"), "beyond its end"),
    ],
    "14.3": [
        ("grep word- /proc/keys > found", "while `/dev/null` covers it"),
        ("umount /proc/keys; cat /proc/keys", "`… > found`"),
        ("echo word-0123456789abcdef > found", "while `/dev/null` covers it"),
        ("umount /proc; cat /proc/keys > found", "while `/dev/null` covers it"),
    ],
}
