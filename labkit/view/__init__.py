"""Pictures and the terminal in a cell. No system calls here: what is drawn comes from `procfs`."""

from labkit.view.steps import STEPS, FourSteps, four_steps
from labkit.view.terminal import Terminal

__all__ = ["STEPS", "FourSteps", "Terminal", "four_steps"]
