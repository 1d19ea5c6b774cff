"""Notebook 12."""

from tests.answers.stub import solved, stub

WRONG = {
    "12.1": [
        (stub("12.1"), "A whiteout hides"),
        ("secret = b'word'", "A whiteout hides"),
        ("print('word-0')", "Write `secret = …`"),
    ],
    "12.2": [
        (stub("12.2"), "That one leads out"),
        ("evil = 3", "A list of names"),
        ("import os\nevil = os.listdir('tars')", "stays inside"),
        (solved("12.2", "if member.issym()", "if False"), "That one leads out"),
        (solved("12.2", "os.path.normpath(member.name)", "member.name"), "That one leads out"),
        (
            solved("12.2", 'links["/".join(parts)] = member.linkname', "return True"),
            "stays inside",
        ),
    ],
    "12.3": [
        (stub("12.3"), "As they were sent"),
        (
            solved(
                "12.3",
                'for layer in image.manifest["layers"]',
                'for layer in image.manifest["layers"][:1]',
            ),
            "As they were sent",
        ),
        (solved("12.3", "{size:>12}", "{size / 1e6:>12}"), "As they were sent"),
    ],
}
