"""Notebook 04."""

from tests.answers.stub import solution, solved

COPY = """
import os, shutil
shutil.copy(shutil.which("sleep"), "nothing")
os.execv("./nothing", ["nothing", "1000"])
"""
BEFORE = """
import os
with open("/proc/self/comm", "w") as comm:
    comm.write("nothing")
os.execvp("sleep", ["nothing", "1000"])
"""
FORGETS = """
import os
os.symlink("/bin/sleep", "nothing")
os.posix_spawn("./nothing", ["nothing", "1000"], {})
os.sched_yield()
"""
PRETENDS = """
import os, shutil, time
open("/proc/self/comm", "w").write("nothing")
print("COMMAND\\nnothing")
time.sleep(1000)
"""
HANDED = """
import os, subprocess
file = open("letter")
os.set_inheritable(file.fileno(), True)
"""
FIRST, SECOND = (
    f"    signal.signal(signal.{name}, signal.SIG_DFL)" for name in ("SIGPIPE", "SIGXFSZ")
)
BLOCK = "\n    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGPIPE])"

WRONG = {
    "04.1": [
        (solution("04.1").replace("True", "False"), "makes no new one"),
        (solution("04.1").replace("False", "True"), "run in the memory"),
        (
            solved(
                "04.1", '"a file that Python opened": False', '"a file that Python opened": True'
            ),
            "close-on-exec",
        ),
        (solved("04.1", '"its PID": True', '"its PID": "yes"'), "True or False"),
        ("print({'its PID': True})", "Write `survives = …`"),
    ],
    "04.2": [
        (solved("04.2", "os.set_inheritable(file.fileno(), True)", ""), "close-on-exec"),
        (HANDED + "subprocess.run(['sleep', '1000'], close_fds=False)", "second process"),
        (HANDED + "os.system('sleep 1000')", "second process"),
        (
            "import os\nos.unlink('letter'); os.symlink('/dev/null', 'letter')\n"
            "os.execvp('sleep', ['sleep', '1000'])",
            "none of them `letter`",
        ),
        (HANDED + "os.execvp('sh', ['sh', '-c', 'sleep 1000; true'])", "the word `exec`"),
        (HANDED + "print(open('letter').read())", "`os.execvp`"),
        (solved("04.2", "file.fileno()", "file"), "`file.fileno()`"),
        (solved("04.2", '["sleep", "1000"]', '["1000"]'), "program's own name"),
        (solved("04.2", '"sleep", ["sleep"', '"slip", ["sleep"'), "FileNotFoundError"),
    ],
    "04.3": [
        (solved("04.3", SECOND, ""), "One is left"),
        (solved("04.3", "SIG_DFL", "SIG_IGN"), "`signal.SIG_DFL`"),
        (
            solved("04.3", FIRST + "\n" + SECOND, "    os.system('trap - PIPE XFSZ')"),
            "SIGPIPE, SIGXFSZ",
        ),
        (
            solved(
                "04.3",
                FIRST + "\n" + SECOND,
                "",
                "    return 0",
                f"{FIRST}\n{SECOND}\n    return 0",
            ),
            "behind it no line runs",
        ),
        (solved("04.3", "signal.SIGXFSZ", "signal.SIGKILL"), "the kernel's own"),
        (solved("04.3", FIRST, "    signal.signal(SIGPIPE, SIG_DFL)"), "What it printed"),
        (solved("04.3", SECOND, SECOND + BLOCK), "another way not to hear"),
    ],
    "04.4": [
        ("import os\nos.execvp('sleep', ['nothing', '1000'])", "exec sets `comm` anew"),
        (BEFORE, "exec sets `comm` anew"),
        (solved("04.4", '["nothing", "1000"]', '["sleep", "1000"]'), "yours to choose"),
        (solved("04.4", 'execv("./nothing"', 'execvp("nothing"'), "exec needs a file"),
        (COPY, "A copy is another file"),
        (FORGETS, "wait for it"),
        (PRETENDS, "A copy is another file"),
    ],
}
