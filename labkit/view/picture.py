"""What every picture can do: it says itself in words and in HTML, which the browser lays out.

The HTML reads well without any style: lists, and words that say what colours say. pictures.css
makes boxes, lanes and colours of it, in both themes and at any width; what is saved carries it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from labkit.view.text import markup


def _style(name: str) -> str:
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return re.sub(r"/\*.*?\*/|\s+", " ", text)


STYLE = _style("pictures.css")
MANY = _style("many.css")  # what pictures of many containers need besides
NETWORK = _style("network.css")


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
        html = self.html()
        more = MANY * ("lk-many" in html) + NETWORK * ("lk-network" in html)
        return f"<style>{STYLE}{more}</style>{html}"


def figure(kind: str, content: str, label: str) -> str:
    """Return the frame of a picture.

    Args:
        kind: a class of pictures.css.
        content: HTML.
        label: what a screen reader says before it reads the content.
    """
    inner = f'<div class="{kind}">{content}</div>'
    return f'<figure class="lk-picture" aria-label="{label}">{inner}</figure>'


def frame(look: str, title: str, *parts: str) -> str:
    """Return the frame of a side, "lab" or "container", with HTML in it."""
    strong = f"<strong>{markup(title)}</strong>"
    return f'<div class="lk-side lk-{look}">{strong}{"".join(parts)}</div>'


def grid(parts: Iterable[str]) -> str:
    """Return HTML side by side, as far as there is room."""
    return f'<div class="lk-many">{"".join(f"<div>{part}</div>" for part in parts)}</div>'
