"""Notebook 20."""

from tests.answers.stub import solved

SORT = (
    'states.sort(key=lambda state: now[state["id"]][2] if now[state["id"]] else -1, reverse=True)'
)

WRONG = {
    "20.1": [
        (solved("20.1", ", reverse=True", ""), "the largest first"),
        (
            solved("20.1", SORT, 'states = [state for state in states if now[state["id"]]]'),
            "also those without",
        ),
        (
            solved("20.1", "[2] if now", "[3] if now"),
            "By the number of bytes",
        ),
    ],
    "20.2": [
        (solved("20.2", " | linux.CLONE_NEWCGROUP", ""), "comes before exec"),
        ("import subprocess\nsubprocess.run(['sleep', '1000'])", "os.execvp"),
        ("print('done')", "sleep 1000"),
    ],
}
