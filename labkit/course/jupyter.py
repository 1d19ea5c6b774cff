"""Starts JupyterLab on the learner's copies: on 127.0.0.1, with a token; or for a JupyterHub."""

import asyncio
import contextlib
import os
import secrets
import socket
from argparse import Namespace
from pathlib import Path

import nbformat
from jupyter_core.paths import jupyter_runtime_dir
from jupyter_server.services.kernels.connection.channels import ZMQChannelsWebsocketConnection
from jupyterlab.labapp import LabApp
from nbformat.sign import NotebookNotary

from labkit import cgroup, doctor
from labkit.course import copies, workbook
from labkit.errors import CourseError

HOST = "127.0.0.1"
# A kernel's socket is a file with about this many characters after the runtime folder's name,
# and a socket's path has at most 107 (unix(7)).
SOCKET_NAME = 60
SETTINGS = (
    "--ServerApp.log_level=WARN",
    "--LabApp.log_level=WARN",
    "--ServerApp.kernel_websocket_connection_class=labkit.course.jupyter.PromptConnection",
    # Each page would have Node.js look whether JupyterLab should be built again: a second.
    "--ServerApp.tornado_settings={'page_config_data': {'buildCheck': False}}",
    "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
)


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


def start(options: Namespace) -> None:
    """Be JupyterLab until it is stopped.

    Args:
        options: of `labkit lab`. A VM whose manager forwards a port of the host to the VM's outer
            address listens on 0.0.0.0; nobody else does.

    Raises:
        CourseError: it cannot start; with the cure.
        OSError: the copies cannot be written.
    """
    _check_machine()
    ip, port = options.ip, options.port
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ip, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            said = f"cannot listen on {ip}:{port}: {reason}. Choose another: make lab PORT=8899"
            raise CourseError(said) from None
    folder, first = _folder(options.edit)
    token = os.environ.setdefault("JUPYTER_TOKEN", secrets.token_hex(24))
    print(f"\n  Open   http://{HOST}:{port}/lab/tree/{first}?token={token}")
    print("  Stop   Ctrl-C, here\n", flush=True)
    words = [*_settings(folder), f"--ServerApp.ip={ip}", f"--ServerApp.port={port}"]
    words += ["--ServerApp.port_retries=0", f"--LabApp.default_url=/lab/tree/{first}"]
    if options.no_browser or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        words.append("--no-browser")
    LabApp.launch_instance(words)


def start_for_hub(_: Namespace) -> None:
    """Be a learner's server of a JupyterHub until that stops it.

    The address, and who may open it, come from the hub, in the environment. Errors as of `start`.
    """
    if "JUPYTERHUB_SERVICE_URL" not in os.environ:
        said = "--hub is for a JupyterHub alone, which tells the address; see docs/hub.md"
        raise CourseError(said)
    _check_machine()
    from jupyterhub.singleuser import main  # which the hub's environment alone has

    folder, first = _folder(False)
    main([*_settings(folder), f"--ServerApp.default_url=/lab/tree/{first}"])


def _check_machine() -> None:
    """Raise CourseError where the labs cannot run on this machine."""
    report = doctor.check()
    if not report.healthy:
        problems = [f"✗ {need}: {problem}" for need, problem in report.items() if problem]
        raise CourseError("\n  ".join(["the labs cannot run here yet:", *problems]))
    with contextlib.suppress(OSError):  # before there are kernels and terminals to be moved
        cgroup.take_leaf()


def _settings(folder: Path) -> list[str]:
    """Return the words that every JupyterLab on that folder is started with."""
    words = [*SETTINGS, f"--ServerApp.root_dir={folder}"]
    if len(jupyter_runtime_dir()) + SOCKET_NAME < 107:
        words.append("--KernelManager.transport=ipc")
    if os.geteuid() == 0:
        words.append("--allow-root")
    return words


def _folder(edit: bool) -> tuple[Path, str]:
    """Make the folder ready that is to be opened; the kernels are told of it, too.

    Returns:
        the folder, and the name of its first notebook.
    """
    # An author's labs leave `mine/` alone.
    mine = workbook.NOTEBOOKS.parent / "build" / "mine" if edit else workbook.mine().absolute()
    os.environ["LABKIT_MINE"] = str(mine)
    for line in [] if edit else copies.prepare():
        print(f"  {line}")
    folder = workbook.NOTEBOOKS if edit else mine
    trust(folder)
    return folder, workbook.notebooks(folder)[0].name


def trust(folder: Path) -> None:
    """Sign the course's notebooks in a folder, so that Jupyter shows the pictures saved in them.

    One that is half written or broken stays unsigned: JupyterLab says so when it is opened.
    """
    notary = NotebookNotary()
    for path in workbook.notebooks(folder).values():
        try:
            book = nbformat.read(path, as_version=4)
        except Exception:  # whatever nbformat says about a file that is no notebook
            continue
        if not notary.check_signature(book):
            notary.sign(book)
    notary.store.close()
