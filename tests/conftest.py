"""What several files of tests share."""

import importlib.util
import os

import pytest

from tests import browser


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
