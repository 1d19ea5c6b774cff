"""`make notebooks`: runs notebooks in the lab kernel and saves what they printed, nothing else.

For whoever writes the course: edit a notebook, `make notebooks NN=03`, look at the difference.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from labkit.course import workbook

METADATA = {
    "kernelspec": {"display_name": "Container lab", "language": "python", "name": "labkit"},
    "language_info": {"name": "python"},
}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def save(path: Path) -> str:
    """Run a notebook from top to bottom and write it back with its outputs.

    Args:
        path: the notebook; it stays as it was where a cell fails.

    Returns:
        "" or what went wrong, in a few lines.
    """
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if cell.source.strip()]
    book.metadata = nbformat.from_dict(METADATA)
    with tempfile.TemporaryDirectory(prefix="labkit-") as work:
        before = os.environ.get("LABKIT_MINE")
        os.environ["LABKIT_MINE"] = work
        local = {"transport": "ipc", "connection_file": f"{work}/kernel.json"}
        try:
            client = NotebookClient(
                book,
                timeout=120,
                kernel_name="labkit",
                config=Config({"KernelManager": local}),
                record_timing=False,
                coalesce_streams=True,
                resources={"metadata": {"path": str(path.parent)}},
            )
            client.execute()
        except CellExecutionError as error:
            return f"{path.name}: {error}"
        finally:
            os.environ.pop("LABKIT_MINE")
            if before is not None:
                os.environ["LABKIT_MINE"] = before
    strip(book)
    nbformat.write(book, path)
    return ""


def strip(book: nbformat.NotebookNode) -> None:
    """Remove widget state and whatever metadata a run left behind."""
    book.metadata = nbformat.from_dict(METADATA)
    for cell in book.cells:
        cell.metadata = nbformat.from_dict(
            {
                key: cell.metadata[key]
                for key in ("jupyter", "nbgrader", "tags")
                if key in cell.metadata
            }
        )
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


def main(words: list[str]) -> int:
    """Save the notebooks of these numbers, all without any; stop where one fails."""
    try:
        books = [workbook.notebook(word)[1] for word in words]
    except workbook.WorkbookError as error:
        print(f"make notebooks: {error}", file=sys.stderr)
        return 1
    for path in books or workbook.notebooks().values():
        print(f"{path.name} …", end=" ", flush=True)
        problem = save(path)
        print(problem or "saved")
        if problem:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
