"""Pictures and the terminal in a cell: HTML that the browser lays out.

No system calls here: what is drawn comes from others, see `labkit.look`.
"""

from labkit.view.quiz import Quiz
from labkit.view.steps import STEPS, four_steps
from labkit.view.terminal import Terminal
from labkit.view.timeline import TimeLine

__all__ = ["STEPS", "Quiz", "Terminal", "TimeLine", "four_steps"]
