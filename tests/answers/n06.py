"""Notebook 06."""

from tests.answers.stub import solved, stub

SLEEP = """
import os
ours, theirs = os.openpty()
pid = os.fork()
if pid == 0:
    {child}
    os.execvp("sleep", ["sleep", "1000"])
os.close(theirs)
{wait}
"""
WAIT = "os.waitpid(pid, 0)"
STREAMS = "[os.dup2(theirs, stream) for stream in (0, 1, 2)]"
OPEN = "os.open(os.ttyname(theirs), os.O_RDWR)"
IF_PIPE = "    if not os.isatty(1):"
ONLCR = "settings[1] &= ~termios.ONLCR"
ASKS = "    parent = os.getppid()\n    while os.getppid() == parent:\n        pass\n"
CLOSE = "    os.close(loan)  # or it would wait for itself\n"
FINALLY = 'try:\n    print("ready")\n    time.sleep(1000)\nfinally:\n    pass'
SLEEPS = 'print("ready")\ntime.sleep(1000)'
RAW = "tty.setraw(0)\n"
THE_CHILD_IS_RAW = "if os.fork():\n    os.wait()\n"
LATER = """if os.fork() == 0:
    time.sleep({seconds})
    termios.tcsetattr(0, termios.TCSANOW, settings)
    os._exit(0)
"""
GIVE_BACK = "termios.tcsetattr(0, termios.TCSANOW, settings)"
HANDLER = "import signal\nsignal.signal(signal.SIGKILL, print)\n"

WRONG = {
    "06.1": [
        (SLEEP.format(child=STREAMS, wait=WAIT), "before it becomes `sleep`"),
        (SLEEP.format(child=f"{STREAMS}; os.setsid()", wait=WAIT), "counts for nothing"),
        (SLEEP.format(child=f"os.setsid(); {OPEN}", wait=WAIT), "`os.dup2(terminal, 0)`"),
        (SLEEP.format(child="os.login_tty(theirs)", wait=""), "SIGHUP"),
        (
            SLEEP.format(child="os.login_tty(theirs)", wait="import time; time.sleep(2000)"),
            "not to wait",
        ),
        ("print('Ss+ pts/7 sleep 1000')", "`os.waitpid(pid, 0)`"),
        (
            SLEEP.format(
                child="os.login_tty(theirs)", wait="while not os.waitpid(pid, 1)[0]:\n    pass"
            ),
            "again and again",
        ),
    ],
    "06.2": [
        (solved("06.2", IF_PIPE, "    if True:"), "stairs"),
        (solved("06.2", IF_PIPE, "    if not os.isatty(0):"), "output that counts"),
        (
            solved(
                "06.2",
                "settings[1] &= ~termios.ONLCR",
                "tty.setraw(slave); settings = termios.tcgetattr(slave)",
            ),
            "One flag is enough",
        ),
        (solved("06.2", "settings[1] &=", "settings[3] &="), "output flags"),
        (solved("06.2", "~termios.ONLCR", "~termios.OPOST"), "One flag is enough"),
        (solved("06.2", "settings[1] &= ~termios.ONLCR", "settings[1] = 0"), "One flag is enough"),
        (solved("06.2", "&= ~termios.ONLCR", "^= termios.ONLCR"), "toggles"),
        (solved("06.2", IF_PIPE, "    if not all(map(os.isatty, (0, 1, 2))):"), "does not matter"),
        (
            solved("06.2", IF_PIPE, "    if not os.isatty(0) or not os.isatty(1):"),
            "does not matter",
        ),
        (
            solved("06.2", IF_PIPE, "    if not (os.isatty(0) or os.isatty(1)):"),
            "output that counts",
        ),
        (solved("06.2", ONLCR, f"{ONLCR}; settings[3] &= ~termios.ECHO"), "One flag is enough"),
        (solved("06.2", ONLCR, f"{ONLCR}; settings[0] = 0"), "One flag is enough"),
    ],
    "06.3": [
        (stub("06.3").replace(SLEEPS, FINALLY), "nobody is left"),
        (solved("06.3", CLOSE, ""), "other end of its pipe"),
        ("print('ready')", "one that has ended"),
        (stub("06.3").replace(RAW, LATER.format(seconds=1) + RAW), "as long as you run"),
        (stub("06.3").replace(RAW, LATER.format(seconds=6) + RAW), "What does it wait for"),
        (solved("06.3", GIVE_BACK, 'os.system("stty sane")'), "what this one had"),
        (stub("06.3").replace(RAW, HANDLER + RAW), "says why it ended"),
        (stub("06.3").replace(RAW, THE_CHILD_IS_RAW + RAW), "the parent who got"),
        (stub("06.3").replace("tty.setraw(0)", ""), "raw when you say"),
        (stub("06.3").replace(SLEEPS, "time.sleep(1000)"), "prints nothing"),
        (solved("06.3", "    os.read(alive, 1)\n", ASKS), "again and again"),
    ],
}
