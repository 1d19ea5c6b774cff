"""Notebook 16."""

from tests.answers.stub import solved

WRONG = {
    "16.1": [
        ("import subprocess\nsubprocess.run(['true'])", "does not wait"),
        (solved("16.1", ", start_new_session=True", ""), "setsid"),
        (solved("16.1", ", stdout=null", ""), "DEVNULL"),
    ],
    "16.2": [
        ("import shutil\nshutil.copy('log', 'written')", "belong to the log"),
        ("print('done')", "where the program starts"),
        (
            solved(
                "16.2", "file.read(int(line.split()[1]))", "file.read(int(line.split()[1])).strip()"
            ),
            "a newline may be",
        ),
    ],
    "16.3": [
        (solved("16.3", "for name in names:", "for name in sorted(names):"), "in the order"),
        (solved("16.3", '["wait", *names]', '["wait", _, *names]'), "as before"),
    ],
}
