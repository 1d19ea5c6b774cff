"""Notebook 03."""

from tests.answers.stub import solved

SLEEP = """
import os
from labkit import linux
pid = linux.clone({flags})
if pid == 0:
    {mount}
    os.execvp("sleep", ["sleep", "1000"])
{wait}
"""
MOUNT = 'linux.mount("proc", "/proc", "proc")'
FAKE = """linux.mount("none", "/proc", "tmpfs")
    os.mkdir("/proc/1")
    open("/proc/1/stat", "w").write("1 (sleep) S")"""
WAIT = "os.waitpid(pid, 0)"
BOTH = "linux.CLONE_NEWPID | linux.CLONE_NEWNS"
HIDE = """
import os, time
from labkit import linux
pid = os.fork()
if pid == 0:
    os.execvp("sleep", ["sleep", "1000"])
{hide}
os.waitpid(pid, 0)
"""
AGAIN = "\nwhile not os.waitpid(pid, os.WNOHANG)[0]:\n    pass"
NAMED, EXIT = '    sethostname("box")\n', "        os._exit(1)\n"

WRONG = {
    "03.1": [
        (SLEEP.format(flags="linux.CLONE_NEWPID", mount=MOUNT, wait=WAIT), "`CLONE_NEWNS`"),
        ('import os\nos.execvp("unshare", "unshare -pf --mount-proc sleep 1000".split())', "alone"),
        (SLEEP.format(flags="linux.CLONE_NEWNS", mount="pass", wait=WAIT), "a new count"),
        (SLEEP.format(flags=BOTH, mount="pass", wait=WAIT), "before `exec`"),
        (SLEEP.format(flags=BOTH, mount=MOUNT, wait=""), "os.waitpid(pid, 0)"),
        (SLEEP.format(flags=BOTH, mount=FAKE, wait=WAIT), "in the child, before `exec`"),
        (SLEEP.format(flags=BOTH, mount="linux.mount('proc', '/prox')", wait=WAIT), "child met"),
        (SLEEP.format(flags=BOTH, mount='os.execvp("sleep", ["1000"])', wait=WAIT), "own name"),
        (
            f"import os\nfrom labkit import linux\nlinux.unshare({BOTH})\n{MOUNT}\n"
            'os.execvp("sleep", ["sleep", "1000"])',
            "for life",
        ),
        ("import os\nos.system('unshare -pf --mount-proc sh -c \"sleep 1000; :\"')", "with `exec`"),
        ("print('sleep 1000 is PID 1, and alone')", "os.waitpid(pid, 0)"),
        (
            SLEEP.format(flags=BOTH, mount=MOUNT, wait="import time; time.sleep(5000)"),
            "not to wait",
        ),
        (SLEEP.format(flags=BOTH, mount=MOUNT, wait=AGAIN), "again and again"),
    ],
    "03.2": [
        (
            solved(
                "03.2",
                '\n    sethostname("box")',
                "",
                "    return 255",
                '    sethostname("box")\n    return 255',
            ),
            "too late",
        ),
        (solved("03.2", NAMED, "", EXIT, EXIT + NAMED), "who is faster"),
        (solved("03.2", '    sethostname("box")', '    print("box")'), "found: `lab`"),
        (solved("03.2", '"box"', '"Box"'), "small letters"),
        (
            solved("03.2", 'sethostname("box")', 'os.execvp("hostname", ["hostname", "box"])'),
            "became another program",
        ),
        (solved("03.2", "sethostname(", "set_host_name("), "NameError"),
    ],
    "03.3": [
        (HIDE.format(hide="os.kill(pid, 9)"), "not what is asked"),
        (HIDE.format(hide='os.rmdir(f"/proc/{pid}")'), "can be covered"),
        (
            HIDE.format(
                hide="linux.mount('x', '/proc', 'tmpfs')\nos.mkdir('/proc/2')\n"
                "os.mkfifo('/proc/2/stat')"
            ),
            "more than one process",
        ),
        (HIDE.format(hide='linux.mount("none", "/proc", "tmpfs")'), "more than one process"),
        (
            HIDE.format(
                hide="linux.unshare(linux.CLONE_NEWNS)\nlinux.mount('x', f'/proc/{pid}', 'tmpfs')"
            ),
            "that all share",
        ),
        (
            HIDE.format(hide='os.mkdir("proc")\nlinux.mount("none", "proc", "tmpfs")'),
            "not the name",
        ),
        (HIDE.replace('"sleep", ["sleep"', '"sleep", ["nothing"').format(hide=""), "not the name"),
        (HIDE.replace("os.fork()", "linux.clone(linux.CLONE_NEWPID)").format(hide=""), "`fork`"),
        (HIDE.format(hide="open(f'/proc/{pid}/comm', 'w').write('nobody')"), "not the name"),
        (solved("03.3", WAIT, "import signal; signal.pause()"), "not to wait"),
        (solved("03.3", WAIT, AGAIN), "again and again"),
    ],
}
