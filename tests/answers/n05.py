"""Notebook 05."""

from tests.answers.stub import solution, solved

SLAVE = 'mount(None, "/", None, MS_REC | MS_SLAVE)'
PRIVATE = '    mount(None, "/", None, MS_REC | MS_PRIVATE)\n'
PROC = '    mount("proc", "/proc", "proc", MS_NOEXEC | MS_NOSUID | MS_NODEV)\n'
SHM = '    mount("shm", "/dev/shm", "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV)\n'
OVER = '    mount("dev", "/dev", "tmpfs")\n    os.mkdir("/dev/shm")\n'

WRONG = {
    "05.1": [
        (solved("05.1", f"    {SLAVE}\n", ""), "(`MS_REC`)"),
        (solved("05.1", SLAVE, 'mount(None, "/", None, MS_SLAVE)'), "(`MS_REC`)"),
        (solved("05.1", SLAVE, SLAVE.replace("MS_SLAVE", "1 << 20")), "(`MS_REC`)"),
        (solved("05.1", "MS_SLAVE", "MS_PRIVATE"), "deaf in both directions"),
        (solved("05.1", SLAVE, SLAVE.replace("MS_REC | ", "MS_PRIVATE | ")), "one propagation"),
        (solved("05.1", f"    {SLAVE}\n", "", PROC, f"{PROC}    {SLAVE}\n"), "on `/proc`"),
    ],
    "05.2": [
        (solved("05.2", "44", "300"), "eight bits"),
        (solved("05.2", "127", "126", '126,\n    "sh', '127,\n    "sh'), "not found"),
        (solved("05.2", ": 3,", ": 137,"), "kill PID 1"),
        (solved("05.2", "137", "9"), "the signal's number"),
        (solved("05.2", "44", '"44"'), "A number from 0 to 255"),
        ("print('44 127 126 3 137')", "Write `statuses = …`"),
    ],
    "05.3": [
        (solved("05.3", SHM, "", PRIVATE, SHM + PRIVATE), "before the mounts are private"),
        (
            solved("05.3", SHM, '    mount("shm", "/dev/shm", "tmpfs")\n'),
            "the same flags as for proc",
        ),
        (solved("05.3", SHM, '    mount("/dev/shm", "/dev/shm", None, 1 << 12)\n'), "bind mount"),
        (solved("05.3", SHM, SHM.replace('"tmpfs"', '"proc"')), "of type `tmpfs`"),
        (solved("05.3", SHM, SHM.replace('"tmpfs"', '"shm"')), "ended with status 1"),
        (solved("05.3", "/dev/shm", "/dev"), "not on `/dev`"),
        (solved("05.3", SHM, '    print("tmpfs on /dev/shm")\n'), "the files of the machine's"),
        (solved("05.3", SHM, OVER + SHM), "not on `/dev`"),
        (solved("05.3", SHM, SHM.replace("MS_NODEV", "MS_NODEV | 1")), "the same flags as for"),
    ],
    "05.4": [
        ("hostname mine", "that you are in"),
        ("nsenter --uts=/proc/1/ns/uts hostname mine", "another `/proc`"),
        ("umount /proc; hostname mine; hostname", "that you are in"),
        (solution("05.4").replace("/proc/1/", "/proc/self/"), "`/proc/self` is you"),
        ("mount -t proc proc /proc; nsenter --uts=/proc/1/ns/uts hostname mine", "that you are in"),
        (solution("05.4").replace("hostname mine", "echo mine"), "found: `lab`"),
    ],
}
