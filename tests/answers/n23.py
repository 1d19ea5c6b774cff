"""Notebook 23."""

from tests.answers.stub import solved

GIVEN = '[name.partition(".")[0] for name in given]'

WRONG = {
    "23.1": [
        (solved("23.1", GIVEN, "[]"), "behind what was there"),
        (solved("23.1", f"given + {GIVEN}", f"{GIVEN} + given"), "behind what was there"),
        (solved("23.1", "names = dict.fromkeys(", "names = list("), "no name twice"),
        (solved("23.1", '".")[0] for', '".")[2] for'), "behind what was there"),
    ],
    "23.2": [
        ("sed s/0.3/0.9/ names > new; mv new names", "not the one that is bound"),
        ("sed s/0.3/0.9/ names > names", "empties a file before"),
        ("echo 10.44.0.9 db > names", "All other lines stay"),
    ],
}
