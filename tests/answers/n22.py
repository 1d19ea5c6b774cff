"""Notebook 22."""

from tests.answers.stub import solved

WRONG = {
    "22.1": [
        (solved("22.1", "range(5)", "range(6)"), "no byte is free"),
        (solved("22.1", "1, number", "0, number"), "lowest byte"),
        (solved("22.1", "lockf(", "flock(").replace(", 1, number", ""), "lowest byte"),
        (
            "import os, signal\n"
            "taken = open('places').read() if os.path.exists('places') else ''\n"
            "print(len(taken) if len(taken) < 5 else 'full', flush=True)\n"
            "if len(taken) >= 5:\n"
            "    raise SystemExit(1)\n"
            "open('places', 'a').write('x')\n"
            "signal.pause()",
            "must not be written",
        ),
    ],
    "22.2": [
        (solved("22.2", "[wanted] if wanted else numbers", "numbers"), "2 and 5 are taken"),
        (solved("22.2", "{wanted} is taken", "{wanted} is in use"), "2 and 5 are taken"),
    ],
}
