"""nbval against a kernel of a learner's server: `pytest --nbval -p tests.helpers.hub_kernel …`.

The kernel is the one that the server gives a notebook's page; it stays when nbval is done.
SERVER and TOKEN in the environment say whose.
"""

import json
import os
import time
import uuid
from collections import deque
from queue import Empty
from typing import Any

import nbval.plugin
import requests
import websocket
from jupyter_server.services.kernels.connection.base import deserialize_binary_message
from nbval.kernel import RunningKernel

BOOK = "03-the-first-container.ipynb"
SERVER, TOKEN = "LABKIT_HUB_SERVER", "LABKIT_HUB_TOKEN"


class Kernel(RunningKernel):
    """What nbval wants of a kernel, by the server's REST and WebSocket."""

    language = "python"

    def __init__(self, kernel_name="labkit", cwd=None, startup_timeout=600, *, server=None):
        server, token = server or (os.environ[SERVER], os.environ[TOKEN])
        self.session, self.api = uuid.uuid4().hex, f"{server}api"
        self.headers = {"Authorization": f"token {token}"}
        page: Any = {
            "path": BOOK,
            "name": BOOK,
            "type": "notebook",
            "kernel": {"name": kernel_name},
        }
        answer = requests.post(f"{self.api}/sessions", json=page, headers=self.headers, timeout=600)
        answer.raise_for_status()
        self.kernel = f"{self.api}/kernels/{answer.json()['kernel']['id']}"
        address = f"ws{self.kernel.removeprefix('http')}/channels?session_id={self.session}"
        self.socket = websocket.create_connection(address, header=self.headers, timeout=600)
        self.waiting: dict[str, deque[Any]] = {"iopub": deque(), "shell": deque()}

    def execute_cell_input(self, cell_input, allow_stdin=None):
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "version": "5.3"}
        header |= {"session": self.session, "username": ""}
        content = {"code": cell_input, "silent": False, "store_history": False}
        content |= {"allow_stdin": bool(allow_stdin), "stop_on_error": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content}
        self.socket.send(json.dumps(message | {"channel": "shell", "buffers": []}))
        return header["msg_id"]

    def get_message(self, stream, timeout=None):
        end = None if timeout is None else time.monotonic() + timeout
        while not self.waiting[stream]:
            self.socket.settimeout(None if end is None else max(end - time.monotonic(), 0.001))
            try:
                kind, data = self.socket.recv_data()
            except websocket.WebSocketTimeoutException:
                raise Empty from None
            binary = kind == websocket.ABNF.OPCODE_BINARY
            message = deserialize_binary_message(data) if binary else json.loads(data)
            self.waiting.setdefault(message["channel"], deque()).append(message)
        return self.waiting[stream].popleft()

    def run(self, text):
        """Run a cell; return what it shows as text."""
        message, shown = self.execute_cell_input(text), list[str]()
        while True:
            said = self.get_message("iopub", 600)
            content = said["content"]
            if said["parent_header"].get("msg_id") != message:
                continue
            if content.get("execution_state") == "idle":
                return "".join(shown)
            shown.append(content.get("text") or content.get("data", {}).get("text/plain", ""))
            shown += content.get("traceback", [])

    def is_alive(self):
        return True

    def interrupt(self):
        requests.post(f"{self.kernel}/interrupt", headers=self.headers, timeout=600)

    def stop(self):
        self.socket.close()


nbval.plugin.RunningKernel = Kernel
