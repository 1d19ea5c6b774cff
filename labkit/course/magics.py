"""The magics of the notebooks: `%notebook NN` and `%%source PATH`."""

import os
from collections.abc import Callable
from typing import Any, TypeVar

from labkit.course import workbook
from labkit.course.workbook import NOTEBOOKS, Source, WorkbookError
from labkit.course.workfolder import Change, WorkFolder

T = TypeVar("T")
SmokeTest = Callable[[dict[str, Source], dict[str, Source]], str]


def register(shell: Any, smoke_test: SmokeTest) -> None:
    """Give an IPython shell (`InteractiveShell`) the two magics.

    Args:
        shell: the kernel's.
        smoke_test: tells what broke in the runtime of the learner's notebooks, which it gets with
            that of the delivered ones; "" where nothing did.
    """
    from IPython.core.magic import no_var_expand  # who reads the file knows of no variables

    folders: list[WorkFolder] = []

    def open_notebook(line: str) -> WorkFolder:
        words = line.split()
        as_delivered = "--delivered" in words
        word = " ".join(word for word in words if word != "--delivered")
        number = _or_usage_error(lambda: workbook.notebook(word)[0])
        files, delivered = _or_usage_error(lambda: _runtimes(number, as_delivered))
        folder = _or_usage_error(lambda: WorkFolder.start(number, files, delivered=as_delivered))
        folders[:] = [folder]
        os.chdir(folder.path)
        if broken := smoke_test(files, delivered):
            # Said when the folder is open: who wants to go on, or to mend it here, can.
            raise _usage_error(
                "an edit broke the runtime that this notebook starts from: "
                f"{broken}. {_offer(number)}"
            )
        return folder

    @no_var_expand
    def source(line: str, cell: str) -> Change:
        def put() -> Change:
            if not folders:
                raise WorkbookError("first run the cell with %notebook, near the top")
            above = workbook.lines_above(shell, cell)
            return folders[0].put(workbook.source(line, cell, "this cell", above))

        return _or_usage_error(put)

    shell.register_magic_function(open_notebook, "line", "notebook")
    shell.register_magic_function(source, "cell", "source")


def _runtimes(number: int, as_delivered: bool) -> tuple[dict[str, Source], dict[str, Source]]:
    """Return the runtime that a notebook starts from, and the delivered one."""
    delivered = workbook.runtime(number, before=True, folder=NOTEBOOKS)
    if as_delivered:
        return delivered, delivered
    try:
        return workbook.runtime(number, before=True), delivered
    except WorkbookError as error:
        raise WorkbookError(f"{error} {_offer(number)}") from None


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
