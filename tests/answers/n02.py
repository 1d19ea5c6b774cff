"""Notebook 02."""

from tests.answers.stub import solved, stub

SIX = """(
    CLONE_NEWUTS | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWCGROUP
)"""
UNSHARE = "linux.unshare(linux.CLONE_NEWPID)\n"
SHELL = 'os.system("sleep 1000 & sleep 2000 &")\nsignal.pause()\n'
HELD = 'held = os.open(f"/proc/{pid}/ns/uts", os.O_RDONLY)\n'
END = "os.kill(pid, signal.SIGKILL)\nos.waitpid(pid, 0)\n"
SETNS = 'linux.setns(os.open(f"/proc/1/ns/{kind}", os.O_RDONLY))'

WRONG = {
    "02.1": [
        (solved("02.1", SIX, "CLONE_NEWCGROUP"), "The five have to stay"),
        (solved("02.1", SIX, SIX.replace("|", "&")), "`&` keeps only"),
        (solved("02.1", "    CLONE_NEWCGROUP,\n", ""), "NameError"),
        (stub("02.1") + '\nprint("cgroup: its own")\n', "it shares cgroup"),
        (solved("02.1", SIX, f"{SIX} | 1 << 28  # CLONE_NEWUSER"), "One flag more"),
    ],
    "02.2": [
        (stub("02.2"), "makes a namespace with each call"),
        (solved("02.2", "    if os.fork() == 0:\n    ", ""), "fork, then `exec`"),
        (solved("02.2", UNSHARE, ""), "come after it"),
        (f"import os, signal\nfrom labkit import linux\n{UNSHARE}{SHELL}", "A shell in between"),
        (solved("02.2", UNSHARE, UNSHARE + 'os.system("true")\n'), "whose number 1 has ended"),
        (solved("02.2", "os.fork()", "linux.clone(linux.CLONE_NEWPID)"), "Ask once"),
        (solved("02.2", '("1000", "2000")', '("2000", "1000")'), "order of birth"),
        (solved("02.2", "signal.pause()", ""), "should wait for both"),
    ],
    "02.3": [
        (solved("02.3", HELD, ""), "nobody holds it open"),
        (solved("02.3", HELD + END, END + HELD), "before the child ends"),
        (solved("02.3", END, "linux.setns(held)\n" + END), "need not go in"),
        (solved("02.3", HELD, 'open("/tmp/held", "w")\n'), "Only the working folder"),
        (solved("02.3", END, ""), "Hold it first, then end the child"),
        (solved("02.3", 'linux.sethostname("survivor")', "pass"), "found: `lab`"),
        (solved("02.3", END + "signal.pause()", END + 'print("survivor")'), "has to stay"),
    ],
    "02.4": [
        (solved("02.4", SETNS, 'linux.sethostname("lab")'), "renamed the prison"),
        (solved("02.4", '("uts", "net")', '("uts",)'), "one kind at a time"),
        (solved("02.4", SETNS, "linux.unshare(linux.CLONE_NEWUTS)"), "is not the old one"),
        (solved("02.4", SETNS, 'linux.setns(open(f"/proc/1/ns/{kind}"))'), "a descriptor"),
        ("import os\nprint(os.uname().nodename)", "become the sleep"),
    ],
}
