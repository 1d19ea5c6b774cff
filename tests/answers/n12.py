"""Notebook 12."""

from tests.answers.stub import solved, stub

WRONG = {
    "12.1": [
        (stub("12.1"), "A whiteout hides"),
        ("secret = b'word'", "A whiteout hides"),
        ("print('word-0')", "Write `secret = …`"),
    ],
    "12.2": [
        ("print('done')", "no such file"),
        (solved("12.2", '"bin/.wh.rm"', '"bin/rm"'), "`bin/.wh.rm`"),
        (solved("12.2", '"layers": layers', '"layers": layers[:1]'), "It says what it lacks"),
        (solved("12.2", "layers = [base, top]", "layers = [top, base]"), "no `/bin/rm`"),
        (solved("12.2", "layers = [base, top]", "layers = [base]"), "no `/bin/rm`"),
        (solved("12.2", ': "mine"', ': "yours"'), "an image `mine`"),
    ],
    "12.3": [
        (stub("12.3"), "beside `Cmd`"),
        (solved("12.3", '"WorkingDir": "/tmp"', '"WorkDir": "/tmp"'), "beside `Cmd`"),
    ],
}
