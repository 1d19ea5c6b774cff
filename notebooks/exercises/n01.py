"""Notebook 01: the command line."""

import json
import secrets
from collections.abc import Sequence
from typing import NamedTuple

from labkit.exercise import MYDOCKER, PYTHON, RUN, Answer, exercise
from labkit.exercise.observe import Hints, expect, expect_guesses, fail_if_crashed, written

PROGRAM = "/bin/some-program"
ARRIVED = "arrived.json"
# Takes the place of run.py, which says nothing of what it was called with.
NOTES = f"""
import json


def run(tty, command, *more):
    with open({ARRIVED!r}, "w") as file:
        json.dump([bool(tty), command], file, default=repr)
    return 0
"""
# Spellings that are near `-ti` and `-it`; where there is a comma, two words.
REFUSED = (
    *("-q", "-t", "-i", "-", "--ti", "-TI", "-tt", "-ii", "-tti", "--ttii-", "-tiny", "-item"),
    *("-ti=", "-it ", "-ti,-it", "-t,-i", "-ti\n"),
)
# No options, since they do not begin with `-`.
COMMANDS = ("ti-", " -it")
# Calls mydocker with each, until one gets through.
EACH = f"""
IFS=,
for word; do
    {RUN} $word {PROGRAM}
    [ -e {ARRIVED} ] && break
done
"""
# What stops an answer to 01.3, by what it printed.
STOPPED = {
    "is not callable": "The dictionary keeps the function itself. With parentheses, "
    "`name_command(…)`, it is called where the dictionary is made, and only its result is kept.",
    "positional argument": "`main` gives each command the list of the words behind it, even an "
    "empty one.",
    "": "What it printed says where it stopped.",
}
# What the delivered program does with a line, and why.
LINES = {
    "run /bin/echo -ti": "Only the first word after `run` is compared with `-ti`. What stands "
    "behind the container's command belongs to that command.",
    "run -ti -ti /bin/echo": "One `-ti` is taken away. What does the next test say of a word that "
    "begins with `-`?",
    "run -h": "`main` compares the *first* word with `-h`. Who sees the second?",
    "-h run": "Which word does `main` look at first?",
}


class Call(NamedTuple):
    """What became of a command line."""

    status: int | None
    output: str
    messages: list[str]  # those of the log
    arrived: tuple[bool, str] | None  # what `run` got: a terminal is wanted, and the command


@exercise(
    "01.1",
    "mydocker/command.py",
    "`words[:1]` is a list that holds the first word. With which two lists may it be equal?",
    '`in` compares with several: `words[:1] in (["-ti"], ["-it"])`.',
)
def two_spellings(answer: Answer) -> str:
    """Run gets the terminal and the command with -ti and -it, and other options are refused."""
    (answer.folder / "mydocker/run.py").write_text(NOTES)
    for option, hint in (
        ("-it", "Compare the first word with both spellings."),
        ("-ti", "The old spelling has to stay."),
    ):
        wanted = f"`run {option} COMMAND` reaches `run` with the terminal and the command"
        call = _call(answer, "run", option, PROGRAM)
        tty, command = expect(call.arrived, wanted, _said(call), hint)
        hint = "The option has to be taken away from `words`, whichever it is."
        expect(command == PROGRAM, wanted, f"the command is `{command}`", hint)
        hint = "The option is dropped without a meaning: `tty` must be true for both."
        expect(tty, wanted, "`tty` is False", hint)
    call = _call(answer, "run", PROGRAM)
    expect(
        call.arrived == (False, PROGRAM),
        "`run COMMAND` reaches `run` without the terminal",
        "`tty` is True" if call.arrived and call.arrived[0] else _said(call),
        'Now every `run` asks for the terminal. Python reads `a == ["-ti"] or ["-it"]` as '
        '`(a == ["-ti"]) or (["-it"])`, which is always true.',
    )
    call = _call(answer, "run", PROGRAM, "-it")
    expect(
        call.arrived == (False, PROGRAM),
        "`run COMMAND -it` reaches `run` without the terminal: here `-it` belongs to the command",
        _said(call),
        "Only the first word after `run` may be the option.",
    )
    _must_refuse_others(answer)
    call = _call(answer, "run", "-it")
    expect(
        call.arrived is None and call.status == 1 and "missing" in " ".join(call.messages),
        "`run -it` without a command: `missing container command`, with status 1",
        _said(call),
        "Take the option away first, then look whether a word is left.",
    )
    hint = "Without a word there is no `words[0]`. What is `words[:1]` then?"
    _call(answer, "run", hint=hint)
    return "`-ti` and `-it` both bring the terminal, other options are refused as before"


@exercise(
    "01.2",
    PYTHON,
    "Be the program: go through `main`, then `run_command`, with the words in your hand.",
    "For `words`: which word after `run` is taken away before the program looks for the command?",
)
def what_does_it_answer(answer: Answer) -> str:
    """The statuses are those that the program gives, and the fifth line gets its message."""
    statuses = {line: _call(answer, *line.split()).status for line in LINES}
    prediction, words = answer.values("prediction", "words")
    expect(
        isinstance(words, list) and all(isinstance(word, str) for word in words),
        "a list of words",
        f"`{words}`",
        'Such as `words = ["run", "-ti", "/bin/sh"]`.',
    )
    expect(
        len(words) > 1 and words[0] == "run",
        "a command line of at least two words that begins with `run`",
        f"`{' '.join(words)}`",
        "`run` alone gets that message, too. Which word behind it is no command either?",
    )
    form = "Guess, 0 or 1: the program will tell. (A number has no quotes.)"
    expect_guesses(prediction, statuses, form, "the exit status of `{}`", LINES)
    call = _call(answer, *words)
    expect(
        call.status == 1 and call.messages[-1:] == ["missing container command"],
        "the message `missing container command`, and status 1",
        _said(call),
        "A word stands behind `run`, but none that could be the command. `run_command` must take "
        "it for something it knows.",
    )
    return f"four statuses as you predicted, and `{' '.join(words)}` has no command"


@exercise(
    "01.3",
    "mydocker/command.py",
    "Two things: a function that takes `words`, and its word in `COMMANDS`.",
    '`log("info", …)` writes the line; `os.uname().nodename` is the host name.',
)
def a_command_of_your_own(answer: Answer) -> str:
    """A host name that the answer cannot know stands in the log, and run works as before."""
    (answer.folder / "mydocker/run.py").write_text(NOTES)
    name = f"host-{secrets.token_hex(4)}"
    rename = ("sh", "-c", 'hostname "$1" && shift && exec "$@"', "sh", name, *MYDOCKER)
    wanted = "`mydocker name` logs the host name"
    named = _call(answer, "name", program=rename, wanted=wanted, hint=STOPPED)
    hint = "A definition is not enough: `main` finds a function by its word in `COMMANDS`."
    expect("unknown command name" not in named.messages, wanted, "`unknown command name`", hint)
    printed = name in named.output
    expect(
        any(name in message for message in named.messages),
        wanted,
        f"the log says `{named.messages[-1]}`"
        if named.messages
        else "no line in the log" + ", but the name was printed" * printed,
        "`print` is not the log: call `log`."
        if printed
        else "`check` gives the sandbox a new name each time. Ask the kernel for it.",
    )
    expect(named.status == 0, "exit status 0", _said(named), "Return 0, or nothing.")
    hint = "`COMMANDS` must still hold the other two."
    call, init = _call(answer, "run", PROGRAM), _call(answer, "init")
    arrived = call.arrived == (False, PROGRAM)
    expect(arrived, "`run COMMAND` works as before", _said(call), hint)
    missing = "missing container command" in init.messages
    expect(missing, "`init` without a command says so, as before", _said(init), hint)
    hint = "Your function runs although `name` was not called: a definition is not a call."
    expect(not call.messages, "`run COMMAND` logs nothing of its own here", _said(call), hint)
    lines = named.output.splitlines()
    expect(
        named.messages == [name] and len(lines) == 1,
        "one line in the log, whose message is the host name and nothing else",
        f"`{named.messages[0]}`" if len(lines) == 1 else f"{len(lines)} lines",
        "Whoever reads the log by a program wants the name, without words around it."
        if len(lines) == 1
        else "One call of `log` is enough, and no `print`.",
    )
    return "`name` logs the host name, whatever it is, and `run` works as before"


def _must_refuse_others(answer: Answer) -> None:
    """Run mydocker with each word of REFUSED, and of COMMANDS."""
    call = _call(answer, *REFUSED, program=("sh", "-c", EACH, "sh"))
    refused = [f"unknown option {word.removeprefix('-ti,').split(',')[0]}" for word in REFUSED]
    word = REFUSED[min(len(call.messages), len(REFUSED) - 1)].replace(",", " ")
    expect(
        call.messages == refused,
        f"`run {word!r:.12} COMMAND` is an unknown option, with status 1",
        _said(call),
        "Only these two spellings are known; everything else that begins with `-` is refused.",
    )
    for word in COMMANDS:
        call = _call(answer, "run", word, PROGRAM)
        expect(
            call.arrived == (False, word),
            f"`run '{word}'` reaches `run` with the command `{word}`, and without the terminal",
            f"the command `{call.arrived[1]}`" if call.arrived else _said(call),
            "A word that has the letters of `-ti` is not yet `-ti`. Compare the whole word.",
        )


def _call(
    answer: Answer,
    *words: str,
    program: Sequence[str] = MYDOCKER,
    wanted: str = "a program that comes to its end",
    hint: Hints = "",
) -> Call:
    """Run mydocker, or what calls it, to its end."""
    (answer.folder / ARRIVED).unlink(missing_ok=True)
    with answer.command(*program, *words) as run:
        status = run.wait()
    fail_if_crashed(run, wanted, hint)
    lines = [_json(line) for line in run.output.splitlines()]
    messages = [str(line["msg"]) for line in lines if isinstance(line, dict) and "msg" in line]
    note = _json(written(answer.folder / ARRIVED))
    arrived = (bool(note[0]), str(note[1])) if isinstance(note, list) else None
    return Call(status, run.output, messages, arrived)


def _said(call: Call) -> str:
    """What a command line led to: its last message, or where it ended."""
    last = f"`{call.messages[-1]}`, " if call.messages else ""
    reached = "`run` was reached, " if call.arrived else ""
    return f"{reached}{last}status {call.status}"


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
