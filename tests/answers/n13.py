"""Notebook 13."""

from tests.answers.stub import solved, stub

WRONG = {
    "13.1": [
        ("print('done')", "no such file"),
        (solved("13.1", '"bin/.wh.rm"', '"bin/rm"'), "`bin/.wh.rm`"),
        (solved("13.1", '"layers": layers', '"layers": layers[:1]'), "It says what it lacks"),
        (solved("13.1", "layers = [base, top]", "layers = [top, base]"), "no `/bin/rm`"),
        (solved("13.1", "layers = [base, top]", "layers = [base]"), "no `/bin/rm`"),
        (solved("13.1", ': "mine"', ': "yours"'), "an image `mine`"),
    ],
    "13.2": [
        (stub("13.2"), "beside `Cmd`"),
        (solved("13.2", '"WorkingDir": "/tmp"', '"WorkDir": "/tmp"'), "beside `Cmd`"),
    ],
}
