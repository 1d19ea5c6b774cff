"""Pictures and the terminal in a cell. No system calls here: what is drawn comes from `procfs`."""

from labkit.view.mounts import MountsPicture, mounts_picture
from labkit.view.namespaces import NamespacePicture, Namespaces, namespace_picture
from labkit.view.steps import STEPS, FourSteps, four_steps
from labkit.view.terminal import Terminal

__all__ = [
    "STEPS",
    "FourSteps",
    "MountsPicture",
    "NamespacePicture",
    "Namespaces",
    "Terminal",
    "four_steps",
    "mounts_picture",
    "namespace_picture",
]
