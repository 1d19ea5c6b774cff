"""labkit: what the notebooks stand on. Each room is a module; the runtime imports only `linux`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing typing here would cost every container start
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext labkit`: gives a notebook `%notebook`, `%%source`, `%%answer` and `%%solution`."""
    from labkit import check, magics

    magics.register(shell)
    check.register(shell)
