"""Notebook 18."""

from tests.answers.stub import solved

WRONG = {
    "18.1": [
        ("import os\nprint(os.uname().nodename)", "setns(2)"),
        (solved("18.1", " | linux.CLONE_NEWUTS", ""), "setns(2)"),
    ],
    "18.2": [
        (solved("18.2", "self.target['exit']", "0"), "`exit`"),
        (solved("18.2", "self.target['name']", "name"), "also where its ID"),
    ],
}
