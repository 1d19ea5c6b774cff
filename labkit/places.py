"""Where the course's things lie. Used at every start, like `linux`, so it imports little."""

import os

COURSE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
NOTEBOOKS = os.path.join(COURSE, "notebooks")
LINUX = os.path.join(COURSE, "labkit", "linux.py")  # of which the runtime gets a copy
# Jupyter starts a kernel in its notebook's folder; `%notebook` changes the working directory.
try:
    START = os.getcwd()
except FileNotFoundError:  # it was removed under us
    START = "/"


def mine() -> str:
    """Return where the learner's copies are: beside `notebooks`, or where LABKIT_MINE says."""
    beside = os.path.join(os.path.dirname(NOTEBOOKS), "mine")
    return os.path.join(START, os.environ.get("LABKIT_MINE") or beside)


def here() -> str:
    """Return which notebooks count for this process: the learner's where it started among them."""
    place = os.path.realpath(mine())
    return mine() if f"{START}/".startswith(f"{place}/") else NOTEBOOKS


def work_folder() -> str:
    """Return where working folders live."""
    return f"{mine()}/work"
