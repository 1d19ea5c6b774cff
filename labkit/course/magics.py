"""The magics of the notebooks: `%notebook NN` and `%%source PATH`."""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand

from labkit.course import workbook
from labkit.course.workbook import NOTEBOOKS, Source, WorkbookError
from labkit.course.workfolder import Change, WorkFolder

SmokeTest = Callable[[dict[str, Source], dict[str, Source]], str]
BROKEN = "an edit broke the runtime that this notebook starts from: {}."
OFFER = (
    "Mend it, save that notebook and run this cell again; or start from the notebooks "
    "as delivered: %notebook {:02} --delivered"
)


def register(shell: Any, smoke_test: SmokeTest) -> None:
    """Give an IPython shell (`InteractiveShell`) the two magics.

    Args:
        shell: the kernel's.
        smoke_test: tells what broke in the runtime of the learner's notebooks, which it gets with
            that of the delivered ones; "" where nothing did.
    """
    folders: list[WorkFolder] = []

    @_one_line_errors()
    def open_notebook(line: str) -> WorkFolder:
        words = line.split()
        as_delivered = "--delivered" in words
        number, _ = workbook.notebook(" ".join(word for word in words if word != "--delivered"))
        files = delivered = workbook.runtime(number, before=True, folder=NOTEBOOKS)
        if not as_delivered:
            try:
                files = workbook.runtime(number, before=True)
            except WorkbookError as error:
                raise WorkbookError(f"{error} {OFFER.format(number)}") from None
        folders[:] = [WorkFolder(number, files, delivered=as_delivered)]
        os.chdir(folders[0].path)
        if broken := smoke_test(files, delivered):
            # Said when the folder is open, for a person who goes on, or mends it here.
            raise WorkbookError(f"{BROKEN.format(broken)} {OFFER.format(number)}")
        return folders[0]

    @no_var_expand  # a program that reads the notebook's file knows of no variables
    @_one_line_errors()
    def source(line: str, cell: str) -> Change:
        if not folders:
            raise WorkbookError("first run the cell with %notebook, near the top")
        above = workbook.lines_above(shell, cell)
        return folders[0].put(workbook.source(line, cell, "this cell", above))

    shell.register_magic_function(open_notebook, "line", "notebook")
    shell.register_magic_function(source, "cell", "source")


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """Raise what is wrong as IPython's kind of error that comes without a traceback."""
    try:
        yield
    except WorkbookError as error:
        raise UsageError(str(error)) from None
    except OSError as error:
        said = f"cannot write {error.filename}: {error.strerror}."
        if isinstance(error, PermissionError):  # it is root's, who started the lab once
            said += f" Cure: sudo chown -R {os.getuid()} {workbook.mine()}"
        raise UsageError(said) from None
