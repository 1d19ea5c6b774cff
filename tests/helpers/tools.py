"""Programs that a test needs and that not every machine has."""

import os
import shutil
import warnings

import pytest


def needed(tool, package):
    """The test is skipped where there is no such tool, and says so; CI has to install it."""
    if not shutil.which(tool):
        said = f"{tool} not found, so not tested. On Debian and Ubuntu: apt install {package}"
        if os.environ.get("CI"):
            pytest.fail(said)
        warnings.warn(said, stacklevel=2)
        pytest.skip(said)
