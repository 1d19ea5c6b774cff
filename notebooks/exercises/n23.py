"""Notebook 23: names."""

import sys

from labkit.exercise import SH, Answer, exercise
from labkit.exercise.observe import expect, written

# Prints the slots that containers of these names and host names get, or how they are refused.
SLOTS = """
import os
from types import SimpleNamespace as Options
os.environ["MYDOCKER_DATA"] = os.path.abspath("data")
os.makedirs("data/networks/demo")
from mydocker.hosts import SIZE, Slot
for number, (name, hostname) in enumerate(GIVEN, 3):
    options = Options(name=name, id="0123456789ab", hostname=hostname, network="demo", volumes=[])
    options.address, options.cable = f"10.44.0.{number}", Options(number=number)
    try:
        Slot(options)
        with open("data/networks/demo/hosts") as file:
            file.seek(number * SIZE)
            print(file.read(SIZE).strip())
    except Exception as error:
        print(type(error).__name__)
"""


@exercise(
    "23.1",
    "mydocker/hosts.py",
    '`name.partition(".")[0]` is the first part of a name, or the name.',
    "`dict.fromkeys` keeps the order and no name twice.",
)
def the_short_name(answer: Answer) -> str:
    """A slot has the first parts of names, too, behind them and once."""
    wanted = {
        ("db", "base.example"): "10.44.0.3 db base.example base",
        ("web", "web.shop.example"): "10.44.0.4 web web.shop.example",
        ("web", None): "10.44.0.5 web",
        (None, "a.b"): "10.44.0.6 0123456789ab a.b a",
        ("x", f"{'long' * 6}.{'er' * 8}"): "UsageError",
        ("x", "a b.c"): "UsageError",
    }
    program = SLOTS.replace("GIVEN", repr([*wanted]))
    with answer.command(sys.executable, "-c", program) as run:
        run.wait()
    found = run.output.strip().splitlines()
    for number, (names, line) in enumerate(wanted.items()):
        said = " ".join(found[number : number + 1])
        hint = {
            0: "The first parts come behind what was there, and no name twice.",
            1: "No name twice.",
            2: "Without a dot, there is no other name.",
            3: "An ID is a name as well.",
            4: "Whether a line fits is asked when all its names are there.",
        }.get(number, "What was refused is still refused.")
        expect(said == line, f"`{line}` for {names}", f"`{said}`", hint)
    return "first parts behind the names, none twice"


@exercise(
    "23.2",
    SH,
    "What becomes of the file that was called `names`? It is still the one that is bound.",
    "The new text is kept in a variable or another file; then it goes *into* `names`, by `>`.",
)
def seen_in_there(answer: Answer) -> str:
    """A line of a file has changed, and where the file is bound, too."""
    before = ["10.44.0.2 web", "10.44.0.3 db", "10.44.0.4 mail"]
    wanted = [before[0], "10.44.0.9 db", before[2]]
    (answer.folder / "names").write_text("\n".join([*before, ""]))
    (answer.folder / "seen").touch()
    script = f"mount --bind names seen && sh {SH}; cat seen > found"
    with answer.command("unshare", "--map-root-user", "--mount", "sh", "-c", script) as run:
        run.wait()
    found = written(answer.folder / "found").splitlines()
    hint = (
        "`>` empties a file before the program on its left reads it."
        if not found
        else "All other lines stay."
    )
    if found == before:
        hint = "A new file by the name `names` is not the one that is bound."
    expect(found == wanted, f"`{', '.join(wanted)}` in `seen`", f"`{', '.join(found)}`", hint)
    return "one file, changed where it is"
