"""The lock, pyproject.toml and environment.yml name the same packages and versions."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = sorted(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_the_main_packages_are_direct_dependencies():
    assert {"ipykernel", "ipywidgets", "nbval", "pexpect", "jupyterlab"} <= set(DIRECT)


def test_conda_users_get_the_locked_versions_of_every_direct_dependency():
    pinned = [word for word in CONDA["dependencies"] if isinstance(word, str) and "==" in word]
    assert sorted(pinned) == [f"{name} =={LOCKED[name]}" for name in DIRECT]
    assert CONDA["channels"] == ["conda-forge"]


def test_pip_comes_last_for_conda_users():
    assert list(CONDA["dependencies"][-1]) == ["pip"]


def test_the_lock_names_versions_and_hashes_and_no_server():
    for block in re.split(r"\n(?=\S)", LOCK.strip()):
        assert re.match(r"[a-z0-9-]+==\S+( ;.*)? \\\n", block), block
        assert "--hash=sha256:" in block
    assert "://" not in LOCK
    assert not re.search(r"^-", LOCK, re.MULTILINE)


@pytest.mark.parametrize("name", DIRECT)
def test_what_is_installed_is_what_is_locked(name):
    assert version(name) == LOCKED[name]
