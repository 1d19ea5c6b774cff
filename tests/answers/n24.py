"""Notebook 24."""

from tests.answers.stub import solved

LISTEN = 'listener = socket.create_server(("127.0.0.1", 0))\n'
LEAVE = "linux.unshare(linux.CLONE_NEWNET)\n"

WRONG = {
    "24.1": [
        (solved("24.1", LISTEN + LEAVE, LEAVE + LISTEN), "where it was made"),
        (solved("24.1", LEAVE, ""), "comes before `accept`"),
        (solved("24.1", "while True:", "for _ in range(1):"), "a second caller may come"),
        (
            solved("24.1", "print(listener.getsockname()[1]", "print(listener"),
            "print the number alone",
        ),
    ],
    "24.2": [
        (solved("24.2", '("127.0.0.1", "0")', '("127.0.0.1", words[0])'), "One number is"),
        (solved("24.2", '2: ("127.0.0.1",)', '2: ("0.0.0.0",)'), "All else is"),
        (solved("24.2", "0 < int(inner)", "0 <= int(inner)"), "All else is"),
    ],
}
