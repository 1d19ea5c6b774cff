"""What every picture can do: it says itself in words and in HTML, which the browser lays out.

The HTML reads well without any style: lists, and words that say what colours say. pictures.css
makes boxes, lanes and colours of it, in both themes and at any width; what is saved carries it.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

STYLE = re.sub(
    r"/\*.*?\*/|\s+", " ", Path(__file__).with_name("pictures.css").read_text(encoding="utf-8")
)


@dataclass(frozen=True, kw_only=True, repr=False)
class Picture:
    """A picture says `html` and `__repr__`.

    `__repr__` is the picture in words: what a plain front end shows and nbval compares.

    Attributes:
        ended: it will not change any more, however often one looks.
        moving: its HTML has also what differs from run to run: PIDs in the lab, inode numbers,
            times. A saved one goes without, as the words do.
    """

    ended: bool = False
    moving: bool = False

    def live(self) -> Self:
        """Return the form for a page where it moves."""
        return replace(self, moving=True)

    def html(self) -> str:
        """Return it for a page that has the style."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return f"<style>{STYLE}</style>{self.html()}"


def figure(kind: str, content: str, label: str) -> str:
    """Return the frame of a picture.

    Args:
        kind: a class of pictures.css.
        content: HTML.
        label: what a screen reader says before it reads the content.
    """
    inner = f'<div class="{kind}">{content}</div>'
    return f'<figure class="lk-picture" aria-label="{label}">{inner}</figure>'
