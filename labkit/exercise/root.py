"""A root of this machine's own programs, for what judges and tests start in one."""

import shutil
import subprocess
from pathlib import Path


def files_of(*programs: str) -> dict[str, str]:
    """Return what programs need to run in a root: the path of each file there, and its path here.

    A program goes to `bin`; its loader and libraries keep their paths. ldd(1) names them.
    """
    paths = [str(shutil.which(name)) for name in programs]
    said = subprocess.run(["ldd", *paths], capture_output=True, text=True).stdout
    libraries = {word for word in said.split() if word.startswith("/") and not word.endswith(":")}
    files = {f"bin/{Path(path).name}": path for path in paths}
    return files | {path.lstrip("/"): path for path in sorted(libraries)}


def make_root(root: Path, *programs: str) -> None:
    """Make a folder a root in which programs run, and nothing else."""
    for name, source in files_of(*programs).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755)
