"""The magics of the notebooks: `%notebook NN` and `%%source PATH`."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from labkit.course import rehearsal, workbook
from labkit.course.workbook import NOTEBOOKS, Change, Workbook, WorkbookError
from labkit.exercise.trial import NoSandbox

T = TypeVar("T")


def register(shell: Any) -> None:
    """Give an IPython shell (`InteractiveShell`) the two magics."""
    from IPython.core.magic import no_var_expand  # who reads the file knows of no variables

    books: list[Workbook] = []

    def open_notebook(line: str) -> Workbook:
        words = line.split()
        as_delivered = "--delivered" in words
        number = " ".join(word for word in words if word != "--delivered")
        found = _or_usage_error(lambda: workbook.notebook(number)[0])
        book, broken = _or_usage_error(lambda: _open(found, as_delivered))
        books[:] = [book]
        os.chdir(book.folder)
        if broken:  # said when the folder is open: who wants to go on, or to mend it here, can
            raise _usage_error(broken)
        return book

    @no_var_expand
    def source(line: str, cell: str) -> Change:
        def put() -> Change:
            if not books:
                raise WorkbookError("first run the cell with %notebook, near the top")
            above = workbook.lines_above(shell, cell)
            return books[0].put(workbook.source(line, cell, "this cell", above))

        return _or_usage_error(put)

    shell.register_magic_function(open_notebook, "line", "notebook")
    shell.register_magic_function(source, "cell", "source")


def _open(number: int, as_delivered: bool) -> tuple[Workbook, str]:
    """Open a notebook; return it, and what an edit to an earlier one broke."""
    delivered = NOTEBOOKS if as_delivered else None
    try:
        files = workbook.runtime(number, before=True, folder=delivered)
    except WorkbookError as error:
        if as_delivered:
            raise
        raise WorkbookError(f"{error} {_offer(number)}") from None
    broken = _broken(number, files)
    return Workbook.start(number, files, delivered=as_delivered), broken and (
        f"an edit broke the runtime that this notebook starts from: {broken}. {_offer(number)}"
    )


def _broken(number: int, files: dict[str, workbook.Source]) -> str:
    try:
        return rehearsal.broken(files, workbook.runtime(number, before=True, folder=NOTEBOOKS))
    except (WorkbookError, OSError, NoSandbox):
        return ""  # nothing can be started here


def _offer(number: int) -> str:
    return (
        "Mend it, save that notebook and run this cell again; or start from the notebooks "
        f"as delivered: %notebook {number:02} --delivered"
    )


def _or_usage_error(action: Callable[[], T]) -> T:
    try:
        return action()
    except (WorkbookError, OSError) as error:
        raise _usage_error(str(error)) from None


def _usage_error(message: str) -> Exception:
    """IPython's one-line kind of error, which comes without a traceback."""
    from IPython.core.error import UsageError

    error: Exception = UsageError(message)
    return error
