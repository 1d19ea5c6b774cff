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


def save(path: Path) -> None:
    """Run a notebook from top to bottom and write it back with its outputs.

    Raises:
        CellExecutionError: a cell fails; the notebook stays as it was.
    """
    book = nbformat.read(path, as_version=4)
    book.cells = [cell for cell in book.cells if cell.source.strip()]
    book.metadata = nbformat.from_dict(METADATA)
    with tempfile.TemporaryDirectory(prefix="labkit-") as work:
        local = {"transport": "ipc", "connection_file": f"{work}/kernel.json"}
        client = NotebookClient(
            book,
            timeout=120,
            kernel_name="labkit",
            config=Config({"KernelManager": local}),
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(path.parent)}},
        )
        client.execute(env=os.environ | {"LABKIT_MINE": work})
    strip(book)
    nbformat.write(book, path)


def strip(book: nbformat.NotebookNode) -> None:
    """Remove widget state and whatever metadata a run left behind."""
    book.metadata = nbformat.from_dict(METADATA)
    for cell in book.cells:
        kept = {"jupyter", "nbgrader", "tags"} & cell.metadata.keys()
        cell.metadata = nbformat.from_dict({key: cell.metadata[key] for key in sorted(kept)})
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            if "metadata" in output:
                output.metadata = nbformat.from_dict({})


def main(words: list[str]) -> None:
    """Save the notebooks of these numbers, all without any; stop where one fails."""
    books = [workbook.notebook(word)[1] for word in words]
    for path in books or workbook.notebooks().values():
        print(f"{path.name} …", end=" ", flush=True)
        save(path)
        print("saved")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (workbook.WorkbookError, CellExecutionError) as error:
        sys.exit(f"make notebooks: {error}")
