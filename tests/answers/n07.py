"""Notebook 07."""

from tests.answers.stub import solved, stub

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

COPY = "    fcntl.ioctl(ours, termios.TIOCSWINSZ, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))"
REVERSED = COPY.replace("ours", "0", 1).replace(
    "ioctl(0, termios.TIOCG", "ioctl(ours, termios.TIOCG"
)
SWAPPED = "    termios.tcsetwinsize(ours, os.get_terminal_size(0))"
ONCE = "lambda *_: (copy_size(), signal.signal(signal.SIGWINCH, signal.SIG_DFL))"
AT_START = "\ncopy_size()\n"
LISTEN = "signal.signal(signal.SIGWINCH, copy_size)"
BUSY = "while not os.waitpid(pid, os.WNOHANG)[0]:\n    copy_size()\n"
WAIT = "os.waitpid(pid, 0)\n"
IF = 'if b"\\x1d" in data and self.source == 0 and os.isatty(0):'
DATA = '            data = b""  # as if it had been closed'

APART = "    os.setpgid(0, 0)\n    os.read(alive, 1)\n"
WRONG = {
    "07.1": [
        (stub("07.1").replace(SLEEPS, FINALLY), "nobody is left"),
        (solved("07.1", CLOSE, ""), "other end of its pipe"),
        ("print('ready')", "one that has ended"),
        (stub("07.1").replace(RAW, LATER.format(seconds=1) + RAW), "as long as you run"),
        (stub("07.1").replace(RAW, LATER.format(seconds=6) + RAW), "What does it wait for"),
        (solved("07.1", GIVE_BACK, 'os.system("stty sane")'), "what this one had"),
        (stub("07.1").replace(RAW, HANDLER + RAW), "says why it ended"),
        (stub("07.1").replace(RAW, THE_CHILD_IS_RAW + RAW), "the parent who got"),
        (stub("07.1").replace("tty.setraw(0)", ""), "raw when you say"),
        (stub("07.1").replace(SLEEPS, "time.sleep(1000)"), "prints nothing"),
        (solved("07.1", "    os.read(alive, 1)\n", ASKS), "again and again"),
        (solved("07.1", "    os.read(alive, 1)\n", APART), "in the background"),
    ],
    "07.2": [
        (solved("07.2", f"{LISTEN}\n", ""), "for each SIGWINCH"),
        (solved("07.2", AT_START, "\n"), "until somebody sets its size"),
        (solved("07.2", LISTEN, LISTEN.replace("copy_size", ONCE)), "there may be many"),
        (solved("07.2", COPY, REVERSED), "Which of the two"),
        (solved("07.2", COPY, SWAPPED), "has the lines first"),
        (solved("07.2", f"{LISTEN}\n", "", WAIT, BUSY), "again and again"),
        (solved("07.2", LISTEN, "signal.signal(signal.SIGWINCH, lambda: copy_size())"), "says why"),
        (solved("07.2", "    os.login_tty(theirs)\n", ""), "Leave the other lines"),
        ("print('33 121, 44 99')", "Leave the other lines"),
    ],
    "07.3": [
        (
            solved("07.3", IF, 'if data == b"\\x1d" and self.source == 0 and os.isatty(0):'),
            "several",
        ),
        (solved("07.3", IF, 'if b"\\x1d" in data:'), "`os.isatty(0)`"),
        (solved("07.3", IF, 'if b"\\x1d" in data and self.source == 0:'), "`os.isatty(0)`"),
        (solved("07.3", IF, 'if b"\\x1d" in data and os.isatty(0):'), "which relay"),
        (solved("07.3", IF, "if self.source == 0 and os.isatty(0):"), "byte 29"),
        (solved("07.3", IF, 'if "\\x1d" in data:'), "What it printed"),
        (solved("07.3", DATA, "            os._exit(129)"), "lives on"),
        (solved("07.3", DATA, "            raise SystemExit"), "Whoever only leaves"),
        (solved("07.3", DATA, '            data = b"\\x03"'), "returns what was read"),
    ],
}
