"""Notebook 06."""

from tests.answers.stub import solved

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
WRONG = {
    "06.1": [
        (SLEEP.format(child=STREAMS, wait=WAIT), "before it becomes `sleep`"),
        (SLEEP.format(child=f"{STREAMS}; os.setsid()", wait=WAIT), "counts for nothing"),
        (SLEEP.format(child=f"os.setsid(); {OPEN}", wait=WAIT), "`os.dup2(terminal, 0)`"),
        (SLEEP.format(child=f"os.setsid(); os.dup2({OPEN}, 0)", wait=WAIT), "the same for 1 and 2"),
        (
            SLEEP.format(child=f"os.setsid(); t = {OPEN}; os.dup2(t, 0); os.dup2(t, 1)", wait=WAIT),
            "the same for 1 and 2",
        ),
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
                "tty.setraw(terminal); settings = termios.tcgetattr(terminal)",
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
}
