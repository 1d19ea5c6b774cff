"""The locks, pyproject.toml and environment.yml name the same packages and versions."""

import json
import re
import tomllib
from importlib.metadata import packages_distributions, version

import pytest
import yaml

from tests.helpers.course import ROOT

LOCKS = {path.stem: path.read_text() for path in (ROOT / "setup").glob("*.lock")}
PINNED = {
    part: dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, re.MULTILINE))
    for part, lock in LOCKS.items()
}
LOCKED = {name: version for pins in PINNED.values() for name, version in pins.items()}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PYPROJECT["dependency-groups"]
LAB = PYPROJECT["project"]["dependencies"]
DIRECT = sorted([*LAB, *GROUPS["setup"], *GROUPS["test"], *GROUPS["dev"]])
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_the_main_packages_are_direct_dependencies():
    assert {"ipykernel", "ipywidgets", "nbval", "pexpect", "jupyterlab"} <= set(DIRECT)


def test_conda_users_get_the_locked_versions_of_every_direct_dependency():
    pinned = [word for word in CONDA["dependencies"] if isinstance(word, str) and "==" in word]
    expected = [f"{name} =={LOCKED[name]}" for name in DIRECT if name != "playwright"]
    assert sorted(word.replace("_", "-") for word in pinned) == expected
    assert CONDA["channels"] == ["conda-forge"]


def test_the_container_for_one_click_has_what_the_readme_asks_for():
    asked = re.search(r"sudo apt install ([^`]*)`", (ROOT / "README.md").read_text())[1].split()
    assert set(asked) <= set((ROOT / ".devcontainer" / "Dockerfile").read_text().split())


def test_pip_comes_last_for_conda_users():
    assert list(CONDA["dependencies"][-1]) == ["pip"]


@pytest.mark.parametrize("part", LOCKS)
def test_the_lock_names_versions_and_hashes_and_no_server(part):
    for block in re.split(r"\n(?=\S)", LOCKS[part].strip()):
        assert re.match(r"[a-z0-9-]+==\S+( ;.*)? \\\n", block), block
        assert "--hash=sha256:" in block
    assert "://" not in LOCKS[part]
    assert not re.search(r"^-", LOCKS[part], re.MULTILINE)


def test_the_lock_of_the_hubs_proxy_names_versions_and_hashes_and_no_server():
    packages = json.loads((ROOT / "hub" / "package-lock.json").read_text())["packages"]
    del packages[""]  # ours
    assert "node_modules/configurable-http-proxy" in packages
    for name, package in packages.items():
        assert package["version"] and package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_the_locks_agree():
    assert all(LOCKED[name] == pins[name] for pins in PINNED.values() for name in pins)


def test_a_lab_is_spared_what_only_tests_need():
    assert not {"coverage", "mypy", "nbval", "playwright", "pytest", "ruff", "uv"} & {
        *PINNED["lab"]
    }


def test_what_a_lab_imports_is_a_direct_dependency():
    modules = set()
    for folder in ("labkit", "classroom", "notebooks/exercises"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text()
            modules |= set(re.findall(r"^ *(?:import|from) (\w+)", text, re.MULTILINE))
    owners = packages_distributions()
    packages = {owners[name][0].lower() for name in modules if name in owners} - {"mydocker-labkit"}
    assert {name.replace("_", "-") for name in packages} <= set(LAB)


@pytest.mark.parametrize("name", DIRECT)
def test_what_is_installed_is_what_is_locked(name):
    assert version(name) == LOCKED[name]
