"""A shell's terminal in a cell: one types into it, and cells go on typing into the same one.

The page draws it with xterm.js, which JupyterLab brings for its own terminals, or a line at a time
where it has none; see terminal.js.
"""

import contextvars
import os
import threading
import time
from pathlib import Path
from typing import Any

import anywidget

from labkit.shell import SCROLLBACK, Shell

HERE = Path(__file__).parent
# How many bytes a page may be behind, and how many seconds it may take none of them. The program
# waits for it meanwhile; after that nobody looks, and the page is told to begin anew when it wakes.
MAX_UNREAD, READ_TIMEOUT = 500_000, 5.0
# Seconds between two batches: Jupyter's server throws away what comes faster than 1 MB a second.
BATCH_INTERVAL = 0.025


class Terminal(anywidget.AnyWidget):
    """The terminal of a shell, as the value of a cell.

    Several views of one terminal show the same; the one that was focused last sets its size. A
    page that is loaded again shows what was printed before.
    """

    _esm = HERE / "terminal.js"
    _css = HERE / "terminal.css"

    def __init__(self, shell: Shell) -> None:
        """Show a shell's terminal.

        Args:
            shell: who runs in it. It is kept alive for as long as this terminal is.
        """
        super().__init__()
        self.shell = shell
        self._scrollback = bytearray()
        self._shown = False  # some page shows it; before that, nothing is sent
        self._sent = self._taken = 0  # bytes that went to pages, and that one of them has drawn
        self._news = threading.Condition()  # about what was taken
        self._lock = threading.RLock()  # a page's messages and the shell's come in two threads
        # JupyterLab sends a widget's messages to a thread of their own, so that they need not wait
        # for a running cell. But ipykernel sends the next one to wherever the widget spoke last. So
        # all output is sent as if it answered the page.
        self._page = contextvars.copy_context()
        shell.listen(self._output)
        self.on_msg(self._message)

    def __repr__(self) -> str:
        """What stands in the saved notebook, and on a front end without widgets."""
        return (
            f"Terminal of {' '.join(self.shell.argv)}: "
            "run this cell in JupyterLab, click into the terminal and type"
        )

    def _output(self, data: bytes | None) -> None:
        with self._lock:
            if data is not None:
                self._scrollback += data
                del self._scrollback[:-SCROLLBACK]
            if not self._shown:
                return
            if data is None:
                self._page.run(self._say_ended)
                return
            self._page.run(self.send, {"type": "output"}, [data])
            self._sent += len(data)
        with self._news:
            if not self._news.wait_for(
                lambda: self._sent - self._taken <= MAX_UNREAD, READ_TIMEOUT
            ):
                self._shown = False
        time.sleep(BATCH_INTERVAL)

    def _message(self, _: Any, content: Any, buffers: Any) -> None:
        self._page = contextvars.copy_context()
        kind = content.get("type")
        if kind == "input":
            self.shell.send(content["text"])
        elif kind == "bytes":
            self.shell.send(os.fsdecode(bytes(content["bytes"])))
        elif kind == "taken":
            self._take(content["bytes"])
        elif kind == "size":
            self._resize(content["rows"], content["columns"])
        elif kind == "hello":
            self.send({"type": "hello"})
        elif kind == "open":
            self._open(content["view"])

    def _open(self, view: str) -> None:
        rows, columns = self.shell.size
        with self._lock:
            self._shown = True
            self._taken = self._sent
            screen = {"type": "screen", "view": view, "rows": rows, "columns": columns}
            self.send(screen, [bytes(self._scrollback)])
            if self.shell.status is not None:
                self._say_ended()

    def _take(self, count: int) -> None:
        with self._news:
            self._taken = min(self._taken + count, self._sent)
            self._news.notify_all()
        if not self._shown:
            self.send({"type": "again"})

    def _resize(self, rows: int, columns: int) -> None:
        with self._lock:
            self.shell.resize(rows, columns)
            self.send({"type": "size", "rows": rows, "columns": columns})

    def _say_ended(self) -> None:
        self.send({"type": "ended", "status": self.shell.status})
