"""Notebook 26."""

from tests.answers.stub import solved

LOOK = "if not any(os.access(path, os.X_OK) for path in paths):"
EARLY = "        command = command_of(process)\n"

WRONG = {
    "26.1": [
        (
            "import os\nos.mkfifo('go')\n"
            "go = os.open('go', os.O_RDONLY | os.O_NONBLOCK)\n"
            "while not os.read(go, 1):\n    pass\n"
            "os.execvp('sleep', ['sleep', '1000'])",
            "again and again",
        ),
        (
            "import os\nos.mkfifo('go')\nopen('go')\nos.execvp('sleep', ['sleep', '1000'])",
            "Read a byte",
        ),
        (
            "import os, subprocess\nos.mkfifo('go')\nopen('go').read(1)\n"
            "subprocess.run(['sleep', '1000'])",
            "not fork",
        ),
    ],
    "26.2": [
        (solved("26.2", "os.X_OK", "os.F_OK"), "EACCES"),
        (solved("26.2", '[""] if "/" in name else ', ""), "no matter of PATH"),
        (solved("26.2", LOOK, LOOK.replace("any", "all")), "any of the folders"),
        (solved("26.2", EARLY, "", "execute(command,", "execute(command_of(process),"), "PREPARED"),
    ],
}
