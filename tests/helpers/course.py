"""The course: where it lies, its command, and notebooks made for a test."""

import os
import sys
import tempfile
from pathlib import Path

import nbformat

from labkit.course import workbook
from tools.save import METADATA

ROOT = workbook.NOTEBOOKS.parent
LABKIT = str(Path(sys.executable).parent / "labkit")


def open_folder():
    """Make a folder that other users can enter; each pytest that starts closes its own to them."""
    folder = Path(tempfile.mkdtemp(dir=os.environ["LABKIT_TEST"]))
    folder.chmod(0o755)
    return folder


def book(folder, name, *cells):
    """Write a notebook of code cells."""
    content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    path = folder / name
    nbformat.write(content, path)
    return path


def faults(book):
    """Everything that would keep nbval from comparing a cell, and what does not belong in git."""
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    found = []
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("the counts are not 1, 2, 3, …")
    if dict(book.metadata) != METADATA:
        found.append("stray metadata in the notebook")
    for cell in book.cells:
        if set(cell.metadata) - {"jupyter", "nbgrader", "tags"}:
            found.append("stray metadata in a cell")
        for output in cell.get("outputs", []):
            if output.get("metadata") or "application/vnd.jupyter.widget-view+json" in output.get(
                "data", {}
            ):
                found.append("stray metadata or widget state in an output")
    return found
