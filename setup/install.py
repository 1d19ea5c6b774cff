"""Brings `.venv` up to date with the locks beside this file: `python3 setup/install.py lab test`.

LABKIT_VENV names another folder than `.venv`.

uv installs, with pip's settings; where it cannot, pip does.
"""

import ast
import fcntl
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from subprocess import CalledProcessError, check_call, check_output

SETUP = Path(__file__).resolve().parent
ROOT = SETUP.parent
VENV = ROOT / os.environ.get("LABKIT_VENV", ".venv")
PYTHON = f"{VENV}/bin/python"
# Inside a virtual environment this names the interpreter that it was made from.
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
BASE_HAS_PIP = sys.prefix == sys.base_prefix and find_spec("pip")
MADE_FOR = f"{VENV} {BASE} {sys.version}\n"
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "proxy": "ALL_PROXY",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
}


def main(parts: list[str]) -> None:
    """Install the course's kit and what the locks of these parts name.

    A stamp for each part holds all that it was made from: a second call only compares.

    Args:
        parts: "lab", what a lab needs; after it perhaps "test", and then "dev"; or "hub".
    """
    stamps = [VENV / f"{part}-ready" for part in parts]
    files = [SETUP / "install.py", *SETUP.glob("*.lock"), *SETUP.glob("data/**/*.json")]
    inputs = [ROOT / "pyproject.toml", *sorted(files)]
    wanted = MADE_FOR + "".join(path.read_text() for path in inputs)
    fcntl.flock(os.open(SETUP, os.O_RDONLY), fcntl.LOCK_EX)  # of two `make`, the second waits here
    if all(map(wanted.__eq__, map(_read, stamps))):
        return
    if not _read(stamps[0]).startswith(MADE_FOR):
        import ensurepip  # noqa: F401
        import venv

        print(f"Creating {VENV.name} with {BASE}", flush=True)
        # A pip of its own would take as long as all the rest: where BASE has one, uv brings it.
        venv.create(VENV, clear=True, with_pip=not BASE_HAS_PIP)
    locks = [word for part in parts for word in ("-r", f"{SETUP}/{part}.lock")]
    try:
        _install(_uv(), locks)
    except CalledProcessError:
        print("uv cannot install here, its reason stands above. pip takes longer:", flush=True)
        _install([*_pip(), "install"], locks)
    for stamp in stamps:
        stamp.write_text(wanted)


def _install(install: list[str], locks: list[str]) -> None:
    check_call([*install, "--require-hashes", *locks])
    check_call([*install, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])


def _uv() -> list[str]:
    """Return uv's `pip install`, with pip's settings: the uv on PATH, or one that pip brings."""
    uv = shutil.which("uv")
    if uv is None:
        uv = f"{VENV}/bin/uv"
        check_call([*_pip(), "install", "-q", "--only-binary=:all:", "-r", f"{SETUP}/uv.lock"])
    # To pip all indexes are equal (the hashes guard that), and it trusts what the system trusts.
    os.environ |= {"UV_INDEX_STRATEGY": "unsafe-best-match", "UV_SYSTEM_CERTS": "1"}
    aloud = {**os.environ, "PIP_QUIET": "0"}
    lines = check_output([*_pip(), "config", "list"], text=True, env=aloud).splitlines()
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):  # the last one wins
        key, _, value = line.partition("=")
        if name := UV_NAMES.get(key.rpartition(".")[2]):
            between = "," if name == "UV_FIND_LINKS" else " "
            os.environ[name] = between.join(ast.literal_eval(value).split())
    return [uv, "pip", "install", "--python", PYTHON]


def _pip() -> list[str]:
    own = any(VENV.glob("lib/*/site-packages/pip"))
    words = [PYTHON, "-m", "pip"] if own else [BASE, "-m", "pip", "--python", PYTHON]
    return [*words, "--disable-pip-version-check", "--no-input"]


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    # What steers the user's own Python, or lies in the folder where they are, is none of ours.
    os.environ.pop("PYTHONHOME", None)
    os.environ.pop("PYTHONPATH", None)
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        main(sys.argv[1:])
    except ImportError:
        sys.exit(
            f"labkit setup: {BASE} cannot create a virtual environment: its modules venv and "
            "ensurepip are missing (Debian and Ubuntu package them apart). "
            "Cure: sudo apt install python3-venv"
        )
    except CalledProcessError as error:
        sys.exit(
            f"labkit setup: `{' '.join(error.cmd[1:5])} …` ended with status {error.returncode}; "
            "its own message stands above. Usual causes: no network, a full disk. Run make setup "
            "again: it goes on from there."
        )
    except OSError as error:
        sys.exit(f"labkit setup: cannot write {error.filename or VENV}: {error.strerror}.")
