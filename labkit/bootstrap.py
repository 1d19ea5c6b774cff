"""Creates `.venv` from the locked versions. It runs before anything is installed.

So it imports the standard library alone and is started as a file: `python3 labkit/bootstrap.py`.
A finished environment carries a stamp, so a second call returns in the time Python needs to start.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = (str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
LOCK = ROOT / "requirements.lock"
BROWSER_LOCK = ROOT / "tests" / "browser.lock"
# Inside a virtual environment this names the interpreter that it was made from.
BASE = os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def main(words: Sequence[str]) -> int:
    """Bring `.venv` up to date and return an exit status; errors are one line on stderr.

    Args:
        words: "--browser" adds what the tests of the pages need; "--here" registers the lab
            kernel with this very Python instead, for those who installed the packages in another
            way, such as environment.yml.
    """
    _keep_notebooks()
    if words == ["--here"]:
        _write_settings(Path(sys.prefix), sys.executable)
        return 0
    if words and words != ["--browser"]:
        return _fail(f"there is no option {words[0]!r}; there are --browser and --here")
    locks = [LOCK, BROWSER_LOCK] if words else [LOCK]
    if all(map(_is_ready, locks)):
        return 0
    guard = os.open(ROOT, os.O_RDONLY)  # two `make` at once: the second one waits here
    fcntl.flock(guard, fcntl.LOCK_EX)
    if all(map(_is_ready, locks)):
        return 0
    if not _has("venv") or not _has("ensurepip"):
        return _fail(
            f"{BASE} cannot create a virtual environment: its modules venv and ensurepip are "
            "missing (Debian and Ubuntu package them apart). Cure: sudo apt install python3-venv"
        )
    try:
        if not _is_ready(LOCK):
            _create()
        if words:
            _install(BROWSER_LOCK)
    except subprocess.CalledProcessError as error:
        command = " ".join(error.cmd[1:5])
        return _fail(
            f"`{command} …` ended with status {error.returncode}; its own message stands above. "
            "Usual causes: no network, a full disk. Run make setup again: it goes on from there."
        )
    except OSError as error:
        return _fail(f"cannot write {error.filename or VENV}: {error.strerror}.")
    return 0


def _create() -> None:
    for lock in (LOCK, BROWSER_LOCK):
        _ready_mark(lock).unlink(missing_ok=True)
    if not _same_interpreter():
        print(f"Creating .venv with {BASE}", flush=True)
        _run([BASE, "-m", "venv", "--clear", str(VENV)])
    print("Installing the locked packages (a minute or two the first time)", flush=True)
    _write_settings(VENV, str(PYTHON))
    install_kit = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "-e", str(ROOT))
    _install(LOCK, install_kit)
    # pip's script imports `re`, which takes half as long as `labkit run` may take in all.
    script = VENV / "bin" / "labkit"
    lines = script.read_text().splitlines(keepends=True)
    script.write_text(
        "".join(line for line in lines if line != "import re\n" and "re.sub(" not in line)
    )


def _install(lock: Path, then: Sequence[str] = ()) -> None:
    """Install what a lock file names, perhaps something more, and note that it is done."""
    _run([*PIP, "--require-hashes", "--requirement", str(lock)])
    if then:
        _run([*PIP, *then])
    _ready_mark(lock).write_text(_stamp(lock))


def _write_settings(prefix: Path, python: str) -> None:
    """Register the lab kernel, and keep JupyterLab from asking every learner about its news."""
    share = prefix / "share" / "jupyter"
    spec = {
        # -P: what lies in a learner's folder is no module of the launcher.
        "argv": [python, "-P", "-m", "labkit.sandbox", "-f", "{connection_file}"],
        "display_name": "Container lab",
        "language": "python",
        "interrupt_mode": "signal",
        "metadata": {"debugger": True},
    }
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
    for path, content in (
        (share / "kernels" / "labkit" / "kernel.json", spec),
        (share / "lab" / "settings" / "overrides.json", quiet),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")


def _keep_notebooks() -> None:
    """Keep the notebooks as they are now, where there is no git to bring them back.

    Later they may be the learner's, so only the first setup does it.
    """
    if (ROOT / ".git").exists() or (ROOT / ".as-delivered").exists():
        return
    sys.path.insert(0, str(ROOT))
    from labkit.course import delivered

    try:
        delivered.keep(ROOT)
    except OSError as error:
        _fail(f"labkit reset will not work: cannot write {error.filename}: {error.strerror}")


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def _run(command: Sequence[str]) -> None:
    # A virtual environment that is active in the user's shell must not steer this one, nor must
    # what lies in the folder where they are.
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONPATH")}
    subprocess.run(command, check=True, env=environment | {"PYTHONSAFEPATH": "1"})


def _ready_mark(lock: Path) -> Path:
    return VENV / f"{lock.stem}-ready"


def _stamp(lock: Path) -> str:
    inputs = [lock, ROOT / "pyproject.toml", Path(__file__)]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()
    return f"{VENV}\n{BASE}\n{sys.version}\n{digest}\n"


def _is_ready(lock: Path) -> bool:
    mark = _ready_mark(lock)
    return mark.is_file() and PYTHON.exists() and mark.read_text() == _stamp(lock)


def _same_interpreter() -> bool:
    """Whether `.venv` stands where it was made and runs this very interpreter."""
    if not PYTHON.exists() or not (VENV / "bin" / "pip").exists():
        return False
    ask = "import sys, os; print(os.path.realpath(sys._base_executable), sys.version)"
    answer = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True)
    moved = str(VENV) not in (VENV / "bin" / "pip").read_text(errors="replace")
    return answer.stdout == f"{BASE} {sys.version}\n" and not moved


def _fail(message: str) -> int:
    print(f"labkit setup: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
