"""Notebook 17."""

from tests.answers.stub import solved

WRONG = {
    "17.1": [
        (solved("17.1", "signal.SIGKILL", "signal.SIGTERM"), "SIGKILL can't"),
        (solved("17.1", '"KILL"', '"TERM"'), "was not"),
        ("import os, signal\nos.kill(int(open('pid').read()), signal.SIGKILL)", "TERM where"),
    ],
    "17.2": [
        (solved("17.2", 'print(state["name"]', 'print(state["id"]'), "not the ID"),
        (solved("17.2", "process in asked:", "process in asked[::-1]:"), "in the order"),
    ],
}
