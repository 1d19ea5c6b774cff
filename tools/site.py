"""What `make site` does to a notebook on its way to a page; an extension of Sphinx."""

import ast
import re

import nbformat
from docutils.nodes import make_id
from pygments.lexer import Lexer
from pygments.lexers import BashLexer, PythonLexer
from pygments.token import Comment
from sphinx.application import Sphinx

from labkit.course import workbook

NOTEBOOK = re.compile(r'(<a href="[^":]*)\.ipynb#?([^"]*)"')


def folded(text: str) -> nbformat.NotebookNode:
    """Read a notebook: what JupyterLab shows collapsed is folded, what leads to one to its page."""
    book = nbformat.reads(text, as_version=4)
    book.metadata.language_info.pygments_lexer = "cell"
    for cell in book.cells:
        if cell.metadata.get("jupyter", {}).get("source_hidden"):
            solution = workbook.is_magic(cell.source, workbook.SOLUTION)
            cell.metadata.tags = ["hide-cell" if solution else "hide-input"]
            what = "the solution" if solution else cell.source.split()[1]
            cell.metadata.mystnb = {"code_prompt_show": f"Show {what}"}
        for output in cell.get("outputs", []):
            if content := output.get("data", {}).get("text/html"):
                output.data["text/html"] = NOTEBOOK.sub(page, content)
    return book


def page(link: re.Match[str]) -> str:
    """Return a link of NOTEBOOK as one to its page, where Docutils has named the headings."""
    return f'{link[1]}.html{link[2] and "#" + make_id(link[2])}"'


def anchor(title: str) -> str:
    """Return a heading's address as JupyterLab has it: a notebook's links are made for that."""
    return title.replace(" ", "-")


class CellLexer(Lexer):
    """Colours a cell: lines for IPython, then Python or, in some answers, shell."""

    def get_tokens_unprocessed(self, text):
        """Yield where each token begins, its kind, and its text."""
        magics = re.match(r"(%.*\n)*", text)[0]
        body = text[len(magics) :]
        try:
            ast.parse(body)
            lexer = PythonLexer()
        except SyntaxError:
            lexer = BashLexer()
        yield 0, Comment.Special, magics
        for position, kind, token in lexer.get_tokens_unprocessed(body):
            yield len(magics) + position, kind, token


def setup(app: Sphinx) -> None:
    """Make the lexer known by its name."""
    app.add_lexer("cell", CellLexer)
