"""Notebook 01."""

from tests.answers.stub import solved

TTY = 'words[:1] in (["-ti"], ["-it"])'
ALMOST = (
    'bool(words) and set(words[0]) == set("-ti")',
    '"".join(words[:1]).startswith(("-ti", "-it"))',
    '"".join(words[:1]).strip("-") in ("ti", "it")',
    '"".join(words[:1]).lower() in ("-ti", "-it")',
    'len(words) > 0 and words[0] in "-ti -it"',
    'words[:1] != [] and words[0][:2] in ("-t", "-i")',
)
SPACED = (
    '"".join(words[:1]).strip() in ("-ti", "-it")',
    '"".join(words[:1]).split("=")[0] in ("-ti", "-it")',
    'bool(__import__("re").match("-(ti|it)$", "".join(words[:1])))',
)
AGAIN = """    tty = False
    while words[:1] in (["-ti"], ["-it"]):
        tty = True"""
APART = """    if sorted(words[:2]) == ["-i", "-t"]:
        words = ["-ti", *words[2:]]
    tty = words[:1] in (["-ti"], ["-it"])
"""
COMMANDS = ', "name": name_command}'
LOG = 'log("info", os.uname().nodename)'
PREDICTION = """
prediction = {{
    "run /bin/echo -ti": {},
    "run -ti -ti /bin/echo": {},
    "run -h": {},
    "-h run": {},
}}
words = {}
"""
RIGHT = (0, 1, 1, 0)

WRONG = {
    "01.1": [
        (
            solved("01.1", TTY, 'words[:1] and words[0].replace("i", "t") == "-tt"'),
            "Only these two spellings",
        ),
        (solved("01.1", TTY, 'words[:1] == ["-it"]'), "The old spelling has to stay"),
        (solved("01.1", TTY, 'words[:1] == ["-ti"] or ["-it"]'), "always true"),
        (
            solved(
                "01.1", TTY, 'words[:1] == ["-ti"]', "if tty:", 'if tty or words[:1] == ["-it"]:'
            ),
            "without a meaning",
        ),
        (solved("01.1", TTY, '"-ti" in words or "-it" in words'), "Only the first word"),
        (solved("01.1", TTY, 'words[0].startswith("-")'), "Only these two spellings"),
        (
            solved("01.1", TTY, 'words[0] in ("-ti", "-it") and len(words) > 1'),
            "`unknown option -it`",
        ),
        (solved("01.1", "    if tty:\n        words = words[1:]\n", ""), "both spellings"),
        (solved("01.1", TTY, 'words[0] in ("-ti", "-it")'), "Without a word"),
        *((solved("01.1", TTY, wrong), "Only these two spellings") for wrong in ALMOST),
        (solved("01.1", TTY, 'sorted("".join(words[:1])) == sorted("-ti")'), "the whole word"),
        (solved("01.1", f"    tty = {TTY}\n    if tty:", AGAIN), "Only these two spellings"),
        *((solved("01.1", TTY, wrong), "Only these two spellings") for wrong in SPACED),
        (solved("01.1", TTY, '"".join(words[:1]).lstrip() in ("-ti", "-it")'), "the whole word"),
        (solved("01.1", f"    tty = {TTY}\n", APART), "Only these two spellings"),
    ],
    "01.2": [
        (PREDICTION.format(1, 1, 1, 0, ["run", "-ti"]), "belongs to that command"),
        (PREDICTION.format(0, 0, 1, 0, ["run", "-ti"]), "the next test"),
        (PREDICTION.format(0, 1, 0, 0, ["run", "-ti"]), "Who sees the second"),
        (PREDICTION.format(*RIGHT, ["run"]), "no command either"),
        (PREDICTION.format(*RIGHT, ["run", "-it"]), "`unknown option -it`"),
        (PREDICTION.format(*RIGHT, "'run -ti'"), "a list of words"),
        (PREDICTION.format('"0"', 1, 1, 0, ["run", "-ti"]), "no quotes"),
        ("print('missing container command')", "Write `prediction = …`"),
    ],
    "01.3": [
        (solved("01.3", COMMANDS, "}"), "A definition is not enough"),
        (solved("01.3", COMMANDS, ', "name": name_command([])}'), "keeps the function itself"),
        (solved("01.3", LOG, "print(os.uname().nodename)"), "`print` is not the log"),
        (solved("01.3", LOG, 'log("info", "lab")'), "Ask the kernel"),
        (solved("01.3", LOG, LOG + "\n    " + LOG), "One call"),
        (solved("01.3", LOG, LOG.replace("os.", '"name: " + os.')), "without words around it"),
        (solved("01.3", "name_command(words)", "name_command()"), "the list of the words"),
        (
            solved("01.3", '{"init": init_command, "run": run_command, ', "{"),
            "still hold the other two",
        ),
        (solved("01.3", '"init": init_command, ', ""), "still hold the other two"),
        (
            solved("01.3", "    return 0\n\n\nCOMMANDS", "\n\nname_command([])\nCOMMANDS"),
            "not a call",
        ),
        (solved("01.3", LOG, LOG + "\n    print('done')"), "no `print`"),
    ],
}
