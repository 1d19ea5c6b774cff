"""Notebook 21."""

from tests.answers.stub import solved

WRONG = {
    "21.1": [
        (solved("21.1", "signal.pause()", ""), "it has to stay"),
        (solved("21.1", '"10.9.0.1", 16', '"10.9.0.1", 24'), "says which others"),
    ],
    "21.2": [
        (solved("21.2", 'pack("I", size)', 'pack("H", size)'), "which link"),
        (
            solved(
                "21.2",
                "ask(NEWLINK, 0, link(name, attr",
                "ask(NEWLINK, CREATE | EXCLUSIVE, link(name, attr",
            ),
            "no flags",
        ),
        (solved("21.2", 'pack("I", size)', 'pack("I", 1500)'), "which link"),
        (solved("21.2", "size)), up=False))", "size))))"), "up=False"),
        (
            solved(
                "21.2",
                "link(name, attribute(4",
                'pack("BxHiII", 0, 0, 0, 0, 1) + link(name, attribute(4',
                "up=False))",
                "up=False)[16:])",
            ),
            "up=False",
        ),
    ],
}
