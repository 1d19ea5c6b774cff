"""What the course's Jupyter server does in another way than others; `jupyter` starts it so."""

import asyncio

from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection


class PromptConnection(ZMQChannelsWebsocketConnection):
    """A kernel's messages to a page, sent off at once.

    For each key that is typed into a terminal the kernel sends three small messages: busy, the
    letter, idle. TCP would hold the second back until the page has confirmed the first, which it
    does 40 ms later (TCP_NODELAY in tcp(7) is about this).
    """

    # Its base class and the base class of that disagree about the type.
    def connect(self) -> asyncio.Future[None] | None:  # type: ignore[override]
        """Connect the page with its kernel."""
        self.websocket_handler.set_nodelay(True)
        return super().connect()
