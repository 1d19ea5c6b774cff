"""Notebook 27."""

from tests.answers.stub import solved

WRONG = {
    "27.1": [
        (solved("27.1", 'WORDS["run"] = run', ""), "in `WORDS`"),
        (solved("27.1", "    start(folder, given)\n    status", "    status"), "wait at the FIFO"),
        (solved("27.1", "    return status\n\n\nWORDS", "\n\nWORDS"), "`return` the status"),
        (solved("27.1", "    delete(folder, given)\n    return", "    return"), "part of it"),
    ],
    "27.2": [
        (solved("27.2", "rpartition", "partition"), "the last `)`"),
        (solved("27.2", '.rpartition(")")[2].split()[19]', ".split()[21]"), "the last `)`"),
        (solved("27.2", "[19]", "[21]"), "Field 22"),
        (solved("27.2", "except (FileNotFoundError", "except (ValueError"), "it is `gone`"),
    ],
}
