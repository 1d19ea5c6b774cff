"""A shell's terminal in a cell: one types into it, and cells go on typing into the same one.

The page draws it with xterm.js, which JupyterLab brings for its own terminals: the library is taken
out of the JupyterLab that is installed here and sent to the page once. Where there is none, the
page shows the screen as text, with a line to type into.
"""

import contextvars
import functools
import os
import threading
from pathlib import Path
from typing import Any

import anywidget
from jupyter_core.paths import jupyter_path

from labkit.shell import SCROLLBACK, Shell

HERE = Path(__file__).parent
# How many bytes a page may be behind, and how many seconds it may take none of them. The program
# waits for it meanwhile; after that nobody looks, and the page is told to begin anew when it wakes.
MAX_UNREAD, READ_TIMEOUT = 500_000, 5.0
# What only the chunk of JupyterLab's program that holds xterm.js has in it.
MARKS = ("xterm-helper-textarea", "Terminal=", "hunk_jupyterlab_application_top")


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
        self._cancel = shell.listen(self._output)
        self.on_msg(self._message)

    def close(self) -> None:
        """Take the terminal out of every page; the shell lives on."""
        self._cancel()
        super().close()

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

    def _message(self, _: Any, content: Any, buffers: Any) -> None:
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
        elif kind == "library":
            self._send_library()
        elif kind == "open":
            self._open(content["view"])

    def _send_library(self) -> None:
        try:
            self.send({"type": "library"}, [_xterm()])
        except FileNotFoundError as error:
            self.send({"type": "library", "problem": str(error)})

    def _open(self, view: str) -> None:
        rows, columns = self.shell.size
        with self._lock:
            self._shown, self._page = True, contextvars.copy_context()
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


@functools.cache
def _xterm() -> bytes:
    """Return the part of the installed JupyterLab that holds xterm.js.

    Raises:
        FileNotFoundError: there is none, or it looks different from what is known.
    """
    folders = [Path(folder) for folder in jupyter_path("lab", "static")]
    for path in (path for folder in folders for path in folder.glob("*.js")):
        if 100_000 < path.stat().st_size < 900_000:
            text = path.read_text(encoding="utf-8", errors="replace")
            if all(mark in text for mark in MARKS):
                return text.encode()
    raise FileNotFoundError(
        "no JupyterLab with xterm.js is installed beside this notebook's Python, and the terminal "
        "is drawn with it. Cure: pip install jupyterlab"
    )
