"""A picture that is drawn again when something may have changed: one widget for all of them."""

import contextvars
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget

from labkit.view.picture import STYLE, Picture

POLL_INTERVAL = 1.0  # seconds between two looks where nothing gives a sign
SETTLE_TIME = 0.1  # seconds that a sign waits for more of its kind
VIEW_TIMEOUT = 60.0  # seconds that a page counts as watching; live.js renews it every 20

Listener = Callable[[bytes | None], None]


class Live(anywidget.AnyWidget):
    """Shows a picture, and looks again while a page shows it. Subclasses say `look`.

    Nothing is looked at and nothing is sent before a page says that it shows the picture. Then a
    thread looks, soon after each sign and every POLL_INTERVAL, and sends the drawing when it has
    changed. It ends with the last page that watches, and when what is drawn has ended.
    """

    _esm = Path(__file__).with_name("live.js").read_text(encoding="utf-8")
    _css = STYLE

    def __init__(self, listen: Callable[[Listener], Callable[[], None]] | None = None) -> None:
        """Wait for a page.

        Args:
            listen: takes a function to call at each sign that something may have changed, from
                any thread; returns one that stops this. As `Shell.listen`.
        """
        super().__init__()
        self._listen = listen
        self._guard = threading.Lock()  # a page's messages come on several threads
        self._drawing = threading.Lock()  # looks are sent in the order in which they were taken
        self._watching: dict[str, float] = {}  # view to the time when its lease ends
        self._looking: threading.Thread | None = None
        self._sign = threading.Event()
        self._shown: Picture | None = None
        # ipykernel sends a page's next message to the thread that the widget spoke from last, and
        # the main one may be busy with a cell. So all is sent as if it answered the page.
        self._page = contextvars.copy_context()
        self.on_msg(self._hear)

    def look(self) -> Picture:
        """Return the picture of this moment."""
        raise NotImplementedError

    def still(self) -> Picture:
        """Return the picture to save with the notebook."""
        return self.look()

    def _repr_mimebundle_(self, **options: Any) -> Any:
        bundle: Any = super()._repr_mimebundle_(**options)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle or {}, {})
        picture = self.still()
        steady = {"text/plain": repr(picture), "text/html": picture._repr_html_()}
        return {**data, **steady}, metadata

    def _hear(self, _: object, message: dict[str, str], __: object) -> None:
        view, shown = message["view"], message["state"] == "shown"
        with self._guard:
            self._page = contextvars.copy_context()
            new = view not in self._watching
            if shown:
                self._watching[view] = time.monotonic() + VIEW_TIMEOUT
            else:
                self._watching.pop(view, None)
                self._sign.set()
        if shown and new:
            self._show(again=True)
        with self._guard:
            if self._watching and not self._has_ended() and not self._looking:
                name = f"labkit {type(self).__name__}"
                self._looking = threading.Thread(target=self._keep_looking, name=name, daemon=True)
                self._looking.start()

    def _keep_looking(self) -> None:
        cancel = self._listen(lambda _: self._sign.set()) if self._listen else None
        try:
            while self._is_watched():
                if self._sign.wait(POLL_INTERVAL):
                    time.sleep(SETTLE_TIME)
                    self._sign.clear()
                self._show()
        finally:
            if cancel:
                cancel()
            with self._guard:  # a look has failed: the page's next message begins anew
                if self._looking is threading.current_thread():
                    self._looking = None

    def _is_watched(self) -> bool:
        with self._guard:
            now = time.monotonic()
            self._watching = {view: end for view, end in self._watching.items() if end > now}
            if self._watching and not self._has_ended():
                return True
            self._looking = None
            return False

    def _show(self, again: bool = False) -> None:
        with self._drawing:
            picture = self.look()
            if again or picture != self._shown:
                self._shown = picture
                self._page.run(self.send, {"html": picture.live().html()})

    def _has_ended(self) -> bool:
        return self._shown is not None and self._shown.ended
