"""Pictures and the terminal in a cell. No system calls here: what is drawn comes from `procfs`."""

from labkit.view.mounts import MountsPicture, mounts_picture
from labkit.view.namespaces import NamespacePicture, Namespaces, namespace_picture
from labkit.view.quiz import Quiz
from labkit.view.steps import STEPS, FourSteps, four_steps
from labkit.view.terminal import Terminal
from labkit.view.timeline import TimeLine

__all__ = [
    "STEPS",
    "FourSteps",
    "MountsPicture",
    "NamespacePicture",
    "Namespaces",
    "Quiz",
    "Terminal",
    "TimeLine",
    "four_steps",
    "mounts_picture",
    "namespace_picture",
]
