"""A picture that is drawn again when something may have changed: one widget for all of them."""

import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.view.picture import MANY, NETWORK, STYLE, Picture

POLL_INTERVAL = 1.0  # seconds between two looks where nothing gives a sign
SETTLE_TIME = 0.1  # seconds that a sign waits for more of its kind
VIEW_TIMEOUT = 60.0  # seconds that a page counts as watching; live.js renews it every 20

Listener = Callable[[bytes | None], None]


class Live(anywidget.AnyWidget):
    """Shows a picture, and looks again while a page shows it. Subclasses say `look`.

    When a page says that it shows the picture, a thread begins to look, soon after each sign and
    every POLL_INTERVAL. It ends when no page has said so for VIEW_TIMEOUT, and when what is drawn
    has ended.
    """

    _esm = Path(__file__).with_name("live.js")
    _css = STYLE + MANY + NETWORK
    html: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)

    def __init__(self, listen: Callable[[Listener], Callable[[], None]] | None = None) -> None:
        """Wait for a page.

        Args:
            listen: takes a function to call at each sign that something may have changed, from
                any thread; returns one that stops this. As `Shell.listen`.
        """
        super().__init__()
        self._listen = listen
        self._lock = threading.Lock()  # a page's messages come on several threads
        self._watched_until = 0.0
        self._looking = False
        self._sign = threading.Event()
        # ipykernel sends a page's next message to the thread that the widget spoke from last, and
        # the main one may be busy with a cell. So all is sent as if it answered the page.
        self._page = contextvars.copy_context()
        self.on_msg(self._hear)

    def look(self, steady: bool = False) -> Picture:
        """Return the picture of this moment; a steady one is saved with the notebook."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**options)
        data, metadata = bundle or ({}, {})
        picture = self.look(steady=True)
        self.html = picture.live().html()
        steady = {"text/plain": repr(picture), "text/html": picture._repr_html_()}
        return {**data, **steady}, metadata

    def _hear(self, *_: object) -> None:
        """A page shows the picture."""
        self.send({})  # nothing but a word from where the page's next message shall go
        with self._lock:
            self._page = contextvars.copy_context()
            self._watched_until = time.monotonic() + VIEW_TIMEOUT
            if not self._looking:
                self._looking = True
                name = f"labkit {type(self).__name__}"
                threading.Thread(target=self._keep_looking, name=name, daemon=True).start()

    def _keep_looking(self) -> None:
        cancel = self._listen(lambda _: self._sign.set()) if self._listen else None
        try:
            while self._is_watched():
                self._sign.clear()
                picture = self.look()
                self._page.run(setattr, self, "html", picture.live().html())
                if picture.ended:
                    break
                if self._sign.wait(POLL_INTERVAL):
                    time.sleep(SETTLE_TIME)
        finally:
            self._looking = False  # also where a look has failed: the next message begins anew
            if cancel:
                cancel()

    def _is_watched(self) -> bool:
        with self._lock:
            self._looking = time.monotonic() < self._watched_until
            return self._looking
