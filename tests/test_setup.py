"""doctor, `labkit lab`, and what happens before anything is installed."""

import hashlib
import http.server
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import nbformat
import pytest
from nbformat.sign import NotebookNotary

from labkit import doctor, procfs
from labkit.course import jupyter, workbook
from tests.helpers.browser import free_port
from tests.helpers.course import LABKIT, ROOT
from tests.helpers.processes import ORDINARY, until, until_gone

# Inside a virtual environment this names the interpreter that it was made from.
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
# The one on PATH, or the one that `make dev` brought.
UV = shutil.which("uv", path=f"{os.environ['PATH']}:{Path(sys.executable).parent}")

SITE = Path(sysconfig.get_path("purelib"))
FORBID = ["unshare", "--user", "--map-root-user", "sh", "-c"]
NO_NAMESPACES = (
    "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set -all --inh-caps -all "
)


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
def test_doctor_finds_this_machine_healthy(prefix):
    run = subprocess.run([*prefix, LABKIT, "doctor"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    *lines, limits, network, runtimes, _ = run.stdout.splitlines()
    assert "".join(lines).count("✓") == 8
    assert limits[1:].startswith(f" {doctor.LIMITS}")
    assert network == f"✓ {doctor.NETWORK}"
    assert runtimes[1:].startswith(f" {doctor.RUNTIMES}")
    assert run.stdout.endswith("The labs can run here.\n")


@pytest.mark.parametrize("command", ["doctor", "lab"])
def test_where_namespaces_are_forbidden_cause_and_cure_are_named(command):
    run = subprocess.run(
        [*FORBID, f"{NO_NAMESPACES}{LABKIT} {command}"], capture_output=True, text=True
    )
    assert run.returncode == 1
    said = run.stdout + run.stderr
    assert "Here user.max_user_namespaces is 0. Cure: sudo sysctl" in said
    assert "Traceback" not in said


def test_doctor_names_a_missing_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    problem = doctor.check()["the tools ps, ip, unshare, mount and hostname"]
    assert problem.startswith("ps, ip, unshare, mount, hostname not found. Cure: sudo apt")


def lab_environment(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    names = {"HOME": str(home), "JUPYTER_RUNTIME_DIR": str(home / "r")}
    return {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | names


def test_lab_prints_the_address_and_serves_there_with_a_token_alone(tmp_path):
    port = free_port()
    command = [LABKIT, "lab", "--port", str(port), "--no-browser"]
    (tmp_path / "signal.py").write_text("x = 1\n")  # ends any Python that takes it for its own
    options = {"cwd": tmp_path, "env": lab_environment(tmp_path), "start_new_session": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as lab:
        address = next(line for line in lab.stdout if "Open" in line).split()[1]
        assert address.startswith(f"http://127.0.0.1:{port}/lab/tree/00-start-here.ipynb?token=")
        until(lambda: answers(port), 60)
        page, token = address.split("?token=")
        assert len(token) == 48
        base = f"http://127.0.0.1:{port}"
        assert urllib.request.urlopen(f"{base}/api/kernelspecs?token={token}").status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{base}/api/kernelspecs")
        assert token not in Path(f"/proc/{lab.pid}/cmdline").read_text()
        pids = [process.pid for _, process in procfs.tree(lab.pid)]
        lab.send_signal(signal.SIGTERM)
    assert "tree/00-start-here.ipynb" in page
    until_gone(pids)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_busy_port_is_one_clear_sentence():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        run = subprocess.run([LABKIT, "lab", "--port", str(port)], capture_output=True, text=True)
    assert run.returncode == 1
    expected = f"cannot listen on 127.0.0.1:{port}: Address already in use. Choose another"
    assert expected in run.stderr
    assert run.stderr.count("\n") == 1


def test_the_courses_notebooks_are_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    jupyter.trust(workbook.NOTEBOOKS)
    notary = NotebookNotary()
    for path in workbook.notebooks().values():
        assert notary.check_signature(nbformat.read(path, as_version=4)), path.name
    notary.store.close()


@pytest.mark.parametrize("text", ["", "half {", "[]", '{"cells": 3}', '{"nbformat": 4}'])
def test_a_broken_notebook_does_not_keep_the_others_from_being_trusted(monkeypatch, tmp_path, text):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    good, broken = tmp_path / "02-good.ipynb", tmp_path / "01-broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(), good)
    broken.write_text(text)
    monkeypatch.setattr(workbook, "notebooks", lambda _: {1: broken, 2: good})
    jupyter.trust(tmp_path)
    notary = NotebookNotary()
    assert notary.check_signature(nbformat.read(good, as_version=4))
    notary.store.close()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [([], 2, ""), (["nonsense"], 2, "invalid choice: 'nonsense'"), (["--help"], 0, "")],
)
def test_the_command_line(words, status, said):
    run = subprocess.run([LABKIT, *words], capture_output=True, text=True)
    assert run.returncode == status
    assert said in run.stderr
    assert "Traceback" not in run.stderr


OTHERS = """
import importlib.util
assert importlib.util.find_spec("labkit") is None
from jupyter_client.manager import start_new_kernel
manager, client = start_new_kernel(kernel_name="labkit")
code = "import os, sys, labkit; print(os.uname().nodename, sys.executable, os.getpid())"
client.execute_interactive(code, timeout=120)
manager.shutdown_kernel(now=True)
"""


def test_the_lab_kernel_starts_from_another_environment(tmp_path):
    # As in the environment of nbgrader, which knows Jupyter and nothing of labkit.
    subprocess.run([BASE, "-m", "venv", "--without-pip", tmp_path / "other"], check=True)
    other = next((tmp_path / "other").glob("lib/python*/site-packages"))
    for found in SITE.iterdir():
        if not found.name.startswith(("labkit", "mydocker", "_")):
            (other / found.name).symlink_to(found)
    environment = lab_environment(tmp_path) | {"JUPYTER_PATH": f"{sys.prefix}/share/jupyter"}
    command = [tmp_path / "other/bin/python", "-c", OTHERS]
    options = {"cwd": tmp_path, "env": environment, "timeout": 300}
    run = subprocess.run(command, capture_output=True, text=True, **options)
    assert run.stdout == f"lab {sys.prefix}/bin/python 2\n", run.stderr


@pytest.fixture
def fresh(tmp_path):
    """A clone without .venv."""
    clone = tmp_path / "clone"
    keep = shutil.ignore_patterns(".*", "__pycache__", "work")
    shutil.copytree(ROOT, clone, ignore=keep)
    return clone


def make(folder, *words, **environment):
    command = ["make", "--no-print-directory", *words]
    names = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=names | environment
    )


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old(fresh):
    body = "case $1 in -V) echo Python 3.9.2;; *) exit 1;; esac"
    run = make(fresh, "setup", f"PYTHON={script(fresh / 'python3.9', body)}")
    assert run.returncode == 2
    assert "is Python 3.9.2, the course needs Python 3.11 or newer" in run.stderr
    assert "Traceback" not in run.stderr


def test_no_python_of_that_name(fresh):
    run = make(fresh, "lab", "PYTHON=python9")
    assert "there is no python9 here" in run.stderr
    assert "make lab PYTHON=" in run.stderr


def test_a_python_without_the_venv_module(fresh):
    # A Python that does not find ensurepip, as Debian's without python3-venv.
    (fresh / "hide").mkdir()
    (fresh / "hide" / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hide:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'ensurepip': raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Hide())\n"
    )
    run = make(fresh, "setup", f"PYTHON={BASE}", PYTHONPATH=str(fresh / "hide"))
    assert run.returncode == 2
    assert "sudo apt install python3-venv" in run.stderr
    assert "Traceback" not in run.stderr


def test_pip_that_fails_is_named_and_the_next_setup_goes_on(fresh):
    (fresh / "setup" / "lab.lock").write_text("six==1.17.0 --hash=sha256:" + "0" * 64 + "\n")
    (fresh / "signal.py").write_text("x = 1\n")  # ends any Python that takes it for its own
    run = make(fresh, "setup", f"PYTHON={BASE}", PIP_NO_INDEX="1")
    assert run.returncode == 2
    assert "labkit setup: `-m pip" in run.stderr
    assert "Traceback" not in run.stderr
    assert not (fresh / ".venv" / "lab-ready").exists()


def repacked(name, folder):
    """Write what is installed of a package of pure Python as a wheel; return its line in a lock."""
    package = distribution(name)
    tag = f"{name.replace('-', '_')}-{package.version}"
    wheel = folder / f"{tag}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file in package.files:
            if file.suffix != ".pyc" and file.name not in ("INSTALLER", "RECORD", "REQUESTED"):
                archive.write(file.locate(), file)
        archive.writestr(f"{tag}.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={package.version} --hash=sha256:{digest}\n"


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_the_lock_is_installed_by_uv_or_where_there_is_none_by_pip(fresh, tmp_path, installer):
    wheels, tools = tmp_path / "wheels", tmp_path / "tools"
    wheels.mkdir()
    tools.mkdir()
    (fresh / "setup" / "lab.lock").write_text(repacked("flit-core", wheels))
    for tool in ("cat", "find", "make", "sh", *(["uv"] if installer == "uv" else [])):
        (tools / tool).symlink_to(UV if tool == "uv" else shutil.which(tool))
    # No other index: pip's own setting, which uv must follow, and where pip finds no uv.
    settings = {"PATH": str(tools), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
    run = make(fresh, "setup", f"PYTHON={BASE}", **settings)
    assert run.returncode == 0, run.stderr
    installed = next(fresh.glob(".venv/lib/python*/site-packages/flit_core-*/INSTALLER"))
    assert installed.read_text().strip() == installer
    assert (fresh / ".venv/share/jupyter/kernels/labkit/kernel.json").exists()
    assert (fresh / ".venv/share/jupyter/lab/settings/overrides.json").exists()
    again = make(fresh, "setup", **settings)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


class Index(http.server.ThreadingHTTPServer):
    """An index that has nothing, or a proxy that leads nowhere, and what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Nothing)
        self.asked = set()


class Nothing(http.server.BaseHTTPRequestHandler):
    server: Index

    def do_GET(self):
        asker = self.headers.get("User-Agent", "").partition("/")[0]
        self.server.asked.add((asker, self.path))
        self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def index():
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


OPENSSL = """
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = index
[extensions]
basicConstraints = CA:FALSE
subjectAltName = IP:127.0.0.1
"""


def certified(server, folder):
    """Let a server speak TLS, by a certificate that no system trusts; return the certificate."""
    (folder / "openssl.cnf").write_text(OPENSSL)
    new = (
        "openssl req -x509 -config openssl.cnf -newkey rsa:2048 -nodes -keyout key -out certificate"
    )
    subprocess.run(new.split(), cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate", folder / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return str(folder / "certificate")


@pytest.mark.parametrize("way", ["variable", "file", "proxy", "certificate"])
def test_pips_settings_reach_uv(fresh, tmp_path, monkeypatch, index, way):
    for name in os.environ:
        if name.startswith(("PIP_", "UV_", "SSL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    address = f"http://127.0.0.1:{index.server_port}"
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {address}/simple\n")
    settings = {
        "variable": {"PIP_INDEX_URL": f"{address}/simple"},
        "file": {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")},
        "proxy": {"PIP_INDEX_URL": "http://index.invalid/simple", "PIP_PROXY": address},
        "certificate": {"PIP_INDEX_URL": f"{address.replace('http', 'https')}/simple"},
    }[way]
    if way == "certificate":
        # As the class VM's box is made: a quiet pip tells its settings all the same.
        settings |= {"PIP_CERT": certified(index, tmp_path), "PIP_QUIET": "1"}
    (fresh / "setup" / "lab.lock").write_text("nosuch==1.0 --hash=sha256:" + "0" * 64 + "\n")
    path = f"{Path(UV).parent}:{os.environ['PATH']}"
    run = make(fresh, "setup", f"PYTHON={BASE}", PATH=path, UV_NO_CACHE="1", **settings)
    assert run.returncode == 2
    asked_by_uv = {
        path.removeprefix("http://index.invalid") for who, path in index.asked if who == "uv"
    }
    assert asked_by_uv == {"/simple/nosuch/"}


def test_a_second_setup_starts_no_pip():
    run = make(ROOT, "setup", PATH=os.environ["PATH"])
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


KILLED = """
import os, signal, subprocess

def test():
    work = os.path.join(os.environ["LABKIT_TEST"], "work", "work")
    os.makedirs(os.path.join(work, "index"))
    os.chmod(work, 0)
    with open("pid", "w") as file:
        print(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid, file=file)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_tests_that_are_killed_leave_nothing(tmp_path):
    (tmp_path / "test_killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    del environment["LABKIT_TEST"]
    command = [sys.executable, "-m", "pytest", "-p", "conftest", tmp_path / "test_killed.py"]
    command = [*ORDINARY, *command]  # root may enter any folder
    assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == -signal.SIGKILL
    until_gone([int((tmp_path / "pid").read_text())])
    until(lambda: not [*tmp_path.glob("labkit-test-*")])
