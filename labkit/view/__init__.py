"""Pictures and the terminal in a cell. No system calls here: what is drawn comes from `procfs`."""

from labkit.view.namespaces import NamespacePicture, Namespaces, namespace_picture
from labkit.view.steps import STEPS, FourSteps, four_steps
from labkit.view.timeline import TimeLine

__all__ = [
    "STEPS",
    "FourSteps",
    "NamespacePicture",
    "Namespaces",
    "TimeLine",
    "four_steps",
    "namespace_picture",
]
