"""What several files of tests share."""

import contextlib
import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from labkit.exercise.root import make_root
from tests.helpers import browser
from tests.helpers.course import LABKIT
from tests.helpers.images import Who
from tests.helpers.many import Many
from tests.helpers.runtime import RUN

BOOKS = "mine"  # beside the course in `lab_folder`
# For `make check`: what is quick and needs no browser.
FAST = {
    *("test_cache", "test_check", "test_doctor", "test_door", "test_escapes"),
    *(
        "test_fork",
        "test_linux",
        "test_procfs",
        "test_quiz",
        "test_shell",
        "test_versions",
        "test_view",
    ),
    "test_workbook",
}
# For `make test-platform`, beside the notebooks: the runtime, and the floor that it stands on.
PLATFORM = {
    *("test_cache", "test_doctor", "test_escapes", "test_fork", "test_init", "test_linux"),
    *(
        "test_bad_images",
        "test_images",
        "test_many",
        "test_network",
        "test_networks",
        "test_ports",
        "test_procfs",
    ),
    *("test_record", "test_rootfs"),
    *("test_rootless", "test_run", "test_sandbox", "test_scale"),
    *("test_shell", "test_sandboxed_run", "test_tty", "test_workbook"),
}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in FAST and "chromium" not in item.fixturenames:
            item.add_marker("fast")
        if item.path.stem in PLATFORM or item.path.suffix == ".ipynb":
            item.add_marker("platform")


PROGRAMS = (
    "sh ls cat sleep touch mkdir chroot mount umount tty ps stat rm "
    "echo hostname sha256sum stty test true yes"
)


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """A root with a few programs, for all tests that change nothing in it."""
    root = tmp_path_factory.mktemp("programs")
    root.chmod(0o755)
    make_root(root, *PROGRAMS.split())
    return root


@pytest.fixture(params=["on our files", "on a root"])
def start(request):
    """The words that start a container: of the last version without images, and of the newest."""
    if request.param == "on our files":
        return RUN
    return (LABKIT, "run", "--rootfs", str(request.getfixturevalue("programs")))


@pytest.fixture(scope="session")
def chromium():
    """A Chromium without a window. Where there is none, CI fails and others are told."""
    missing = []
    if importlib.util.find_spec("playwright") is None:
        missing.append("Playwright (make test installs it; else pip install playwright)")
    if browser.chromium() is None:
        missing.append("Chromium (Debian: sudo apt install chromium)")
    if missing:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"the tests of the pages need {' and '.join(missing)}")
    with browser.launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def lab_folder(tmp_path_factory):
    """Holds the copy of the course that `address` shows, and the learner's copies."""
    return tmp_path_factory.mktemp("lab")


@pytest.fixture(scope="module")
def address(lab_folder, chromium):  # first, whether there is a browser at all
    """The address of a JupyterLab, with its token."""
    with browser.lab(lab_folder) as address:
        yield address


@pytest.fixture
def blank(chromium):
    """An empty page that no server knows."""
    with browser.page(chromium) as page:
        yield page


@pytest.fixture(scope="module")
def lab_page(chromium, address):
    with browser.lab_page(chromium, address) as page:
        yield page


@pytest.fixture
def visit(chromium, lab_page, address):
    """Opens a notebook by its name; what was opened goes with the test.

    One that shall be `alone` gets a page of its own, which may be loaded again or closed.
    """
    with contextlib.ExitStack() as shown:

        def show(name, *, alone=False, **options):
            where = browser.notebook(chromium, address, name, **options)
            tab = browser.tab(lab_page, address, name, **options)
            return shown.enter_context(where if alone else tab)

        yield show


@pytest.fixture
def opened(visit, lab_folder):
    """Opens a new notebook with the given cells, and runs it."""

    def open_cells(*cells, run=True, **options):
        notebook = visit(browser.new_notebook(lab_folder / BOOKS, cells), **options)
        if run:
            notebook.run_all()
        return notebook

    return open_cells


KINDS = ["root", "one ID", "more IDs"] if os.geteuid() == 0 else ["one ID"]


@pytest.fixture(params=KINDS)
def mydocker(request):
    yield from someone(request.param)


@pytest.fixture
def root():
    yield from someone("root")


def someone(kind):
    """A user; what it did must leave no process and no mount."""
    who = Who(kind)
    yield who
    assert str(who.folder) not in Path("/proc/self/mountinfo").read_text()
    assert not [
        p for p in Path("/proc").glob("[0-9]*/environ") if str(who.data).encode() in readable(p)
    ]
    shutil.rmtree(who.folder)


@pytest.fixture(scope="session", params=KINDS)
def each_kind(request):
    yield from with_many(request.param)


@pytest.fixture(scope="session")
def as_root():
    yield from with_many("root")


def with_many(kind):
    many = Many(kind)
    yield many
    shutil.rmtree(many.folder)


@pytest.fixture
def many(each_kind):
    """A user of each kind with many containers, all of which go with the test."""
    yield each_kind
    each_kind.clean()


@pytest.fixture
def net(many):
    """One with a network `net`."""
    many.ok("network", "create", "net")
    return many


@pytest.fixture
def roots_many(as_root):
    yield as_root
    as_root.clean()


def readable(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""
