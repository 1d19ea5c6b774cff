"""The door for cells, and the command line: what is loaded, and when."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import labkit
from labkit import __main__

NAMES = [name for names in labkit.ROOMS.values() for name in names]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_door_is_what_its_room_calls_so(name):
    found = getattr(labkit, name)
    assert found.__name__ == name
    assert found.__module__.startswith("labkit.")


def test_a_name_that_is_not_there_is_an_import_error():
    with pytest.raises(ImportError, match="cannot import name 'nothing' from 'labkit'"):
        from labkit import nothing  # noqa: F401


def test_the_door_loads_nothing_before_it_is_asked():
    program = (
        "import sys; before = set(sys.modules); import labkit; print(set(sys.modules) - before)"
    )
    run = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True)
    assert ast.literal_eval(run.stdout) == {"labkit"}


def test_a_person_who_presses_tab_is_told_the_names():
    assert set(NAMES) <= set(dir(labkit))


def test_a_handler_of_the_command_line_hands_on():
    tree = ast.parse(Path(__main__.__file__).read_text())
    handlers = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    for handler in handlers:
        if not handler.name.startswith("_") and handler.name != "main":
            assert handler.end_lineno - handler.lineno < 10, handler.name
