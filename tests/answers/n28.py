"""Notebook 28."""

from tests.answers.stub import solved

FOUND = "unknown := dict.fromkeys(find_unknown(value))"

WRONG = {
    "28.1": [
        ('echo "$@"', "Append to `words`"),
        (solved("28.1", 'exec "$RUNTIME"', '"$RUNTIME"'), "conmon waits"),
        (solved("28.1", '"$RUNTIME" "$@"', '"$RUNTIME" $@'), "in quotes"),
        (solved("28.1", ">> words", "> words"), "appends"),
    ],
    "28.2": [
        (solved("28.2", "        yield field\n", '        yield field.split(".")[0]\n'), "Go on"),
        (solved("28.2", "dict.fromkeys(find_unknown(value))", "[*find_unknown(value)]"), "once"),
        (solved("28.2", f"if {FOUND}:", f"if ({FOUND}) is not None:"), "Only"),
    ],
}
