"""The drawing language of the course: palette, text that fits, boxes, arrows, and `Picture`.

A picture is one pane or several. In HTML each pane is an SVG of its own, and they stand side by
side or, on a narrow page, below each other, so that text never gets smaller than 10 px. As
image/svg+xml they stand side by side in one drawing. Colours follow JupyterLab's theme through
its CSS variables; a front end without them, or a program without CSS, shows dark on white.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from html import escape

FONT = "system-ui,'DejaVu Sans',Arial,sans-serif"
SIZE = 12  # of ordinary text, in px of the drawing
SMALLEST = 10  # to which it may shrink on a narrow page

# What a colour means. Blue: the lab, or what is shared with it. Red: the container and what is
# its own. Violet: a process that stands between them. Amber: look here.
ROLES = {
    "lab": "#1565c0",
    "container": "#c62828",
    "parent": "#8e44ad",
    "notice": "#8a5a00",
    "neutral": "#5f6b7a",
}
PAPER, INK, ON_SOLID = "#ffffff", "#000000", "#ffffff"
# Share of the role's colour: in an area (the rest is paper), in lines and words (the rest is ink).
AREA, LINE = 0.14, 0.7
# Share of ink in ordinary words and in those that stand back (the rest is paper).
WORDS, FAINT = 0.87, 0.66

# Widths in em, never less than in DejaVu Sans and Arial; the usual system fonts are narrower.
_WIDTHS = {
    letter: width
    for width, letters in {
        0.34: " ',./:;I\\ijl|",
        0.42: "!()-[]frt·",
        0.50: '"*J`',
        0.60: "?L_cksvxyz",
        0.64: "$0123456789FTabdeghnopqu{}",
        0.70: "ABEKPSVXYZ",
        0.78: "&CDGHNRU└├│─",
        0.86: "#+<=>OQ^w~×",
        1.02: "%@MWm…–—→←↑↓↔",
    }.items()
    for letter in letters
}
_BOLD = 0.1  # how much wider a bold letter is at most
_ODD, _WIDE, _EMOJI = 1.1, 1.0, 1.3
ELLIPSIS = "…"
_JOINER = "\u200d"  # makes one emoji of several


def visible(text: str) -> str:
    r"""Return a text in which everything can be seen and nothing steers its surroundings.

    Control and formatting characters, lone surrogates and the like become `\n`, `\x1b`,
    `\u202e`; a byte that was no UTF-8 (see os.fsdecode) becomes `\xff`.
    """
    return "".join(map(_visible, text))


def measure(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """Return how wide a text is at most, in px.

    Args:
        text: as `visible` returns it.
        size: of the font, in px.
        bold: whether it is bold.
    """
    return size * sum(_widths(text, bold))


def fit(text: str, width: float, size: float = SIZE, *, bold: bool = False) -> str:
    """Return a text that is no wider than that; a longer one loses its middle to an ellipsis.

    Args:
        text: as `visible` returns it.
        width: in px.
        size: of the font, in px.
        bold: whether it is bold.
    """
    if measure(text, size, bold=bold) <= width:
        return text
    return _shorten(text, _widths(text, bold), width / size, sum(_widths(ELLIPSIS, bold)))


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes, as `visible` returns it."""
    return sum(map(_columns, text))


def fit_columns(text: str, width: int) -> str:
    """Return a text of at most that many columns of a terminal, shortened as `fit` does."""
    if columns(text) <= width:
        return text
    return _shorten(text, [float(_columns(letter)) for letter in text], width, 1)


def color(role: str, look: str, paper: str = PAPER, ink: str = INK) -> str:
    """Return a colour of the palette, as "#rrggbb".

    Args:
        role: a name in ROLES.
        look: "area", "solid", "line" (also of words), "on" (words on solid), "words" or "faint"
            (words without a role).
        paper: the page's colour.
        ink: the colour opposite to it.
    """
    mixed = {
        "area": (ROLES[role], AREA, paper),
        "solid": (ROLES[role], 1, paper),
        "line": (ROLES[role], LINE, ink),
        "on": (ON_SOLID, 1, paper),
        "words": (ink, WORDS, paper),
        "faint": (ink, FAINT, paper),
    }
    return _mix(*mixed[look])


class Drawing:
    """One pane: shapes and words on a surface of a given size, in px.

    Words come from anywhere: they are made visible, fitted to their room, and escaped here.
    """

    def __init__(self, width: float, height: float = 0) -> None:
        """Begin an empty pane.

        Args:
            width: of the pane; `min_width` follows from it and the smallest text.
            height: of the pane; it grows with what is drawn.
        """
        self.width, self.height = width, height
        self._parts: list[str] = []
        self._smallest: float = SIZE

    @property
    def min_width(self) -> int:
        """The width at which its smallest text is SMALLEST px high."""
        return math.ceil(self.width * min(1, SMALLEST / self._smallest))

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        role: str = "neutral",
        *,
        solid: bool = False,
        empty: bool = False,
        outline: bool = False,
        dashed: bool = False,
        stroke: float = 1.5,
        radius: float = 8,
        title: str = "",
    ) -> None:
        """Draw a box, by default an area in a tint of the role's colour.

        Args:
            x: left edge.
            y: top edge.
            width: to the right.
            height: downwards.
            role: a name in ROLES.
            solid: fill it with the full colour; words on it take `on_solid`.
            empty: leave it as the page is, and draw a line around.
            outline: with a line around.
            dashed: that line in dashes.
            stroke: how wide it is.
            radius: of the corners.
            title: shown when the mouse rests on it.
        """
        look = "paper" if empty else f"{role}-solid" if solid else f"{role}-area"
        fill = PAPER if empty else color(role, "solid" if solid else "area")
        edge = f" lk-{role}-edge" if empty or outline or dashed else ""
        shape = f'class="lk-{look}{edge}" fill="{fill}"'
        if edge:
            shape += f' stroke="{color(role, "line")}" stroke-width="{_n(stroke)}"'
        if dashed:
            shape += ' stroke-dasharray="5 4"'
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}" rx="{radius}"'
        self._add("rect", f"{place} {shape}", _title(title), y + height)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        room: float,
        size: float = SIZE,
        role: str = "",
        bold: bool = False,
        faint: bool = False,
        on_solid: bool = False,
        anchor: str = "start",
        title: str = "",
    ) -> float:
        """Write one line.

        Args:
            x: where it starts, or its middle or end, see anchor.
            y: of the base line.
            words: any text.
            room: width that it may take. What is longer is shortened, and shown whole when the
                mouse rests on it.
            size: of the font.
            role: a name in ROLES, for words in its colour.
            bold: in bold.
            faint: words that stand back.
            on_solid: words on a solid box.
            anchor: "start", "middle" or "end".
            title: shown when the mouse rests on it.

        Returns:
            the width that it takes at most.
        """
        whole = visible(words)
        shown = fit(whole, room, size, bold=bold)
        width = measure(shown, size, bold=bold)
        title = title or (whole if shown != whole else "")
        look = "on" if on_solid else "line" if role else "faint" if faint else "words"
        name = f"lk-{role}-line" if look == "line" else f"lk-{look}"
        form = f'x="{_n(x)}" y="{_n(y)}" class="{name}" fill="{color(role or "neutral", look)}"'
        if size != SIZE:
            form += f' font-size="{_n(size)}"'
        if bold:
            form += ' font-weight="600"'
        if anchor != "start":
            form += f' text-anchor="{anchor}"'
        if _is_uncertain(shown):
            form += f' textLength="{_n(width)}" lengthAdjust="spacingAndGlyphs"'
        self._smallest = min(self._smallest, size)
        self._add("text", form, escape(shown) + _title(title), y + size * 0.3)
        return width

    def line(
        self,
        *points: tuple[float, float],
        role: str = "neutral",
        arrow: bool = False,
        dashed: bool = False,
        width: float = 1.5,
        title: str = "",
    ) -> None:
        """Draw a line through points.

        Args:
            *points: x and y, two or more.
            role: a name in ROLES.
            arrow: with a head at the last point.
            dashed: in dashes.
            width: of the line.
            title: shown when the mouse rests on it.
        """
        if arrow:
            (x, y), (tip_x, tip_y) = points[-2:]
            length = math.hypot(tip_x - x, tip_y - y) or 1
            ahead_x, ahead_y = (tip_x - x) / length, (tip_y - y) / length
            back_x, back_y = tip_x - 8 * ahead_x, tip_y - 8 * ahead_y
            corners = (
                (back_x - 4.5 * ahead_y, back_y + 4.5 * ahead_x),
                (tip_x, tip_y),
                (back_x + 4.5 * ahead_y, back_y - 4.5 * ahead_x),
            )
            points = (*points[:-1], (back_x, back_y))
            head = f'd="{_path(corners)}Z" class="lk-{role}-tip" fill="{color(role, "line")}"'
            self._add("path", head, "", 0)
        form = f'd="{_path(points)}" class="lk-{role}-edge" fill="none" '
        form += f'stroke="{color(role, "line")}" stroke-width="{width}"'
        if dashed:
            form += ' stroke-dasharray="5 4"'
        self._add("path", form, _title(title), max(y for _, y in points))

    def content(self) -> str:
        """Return the shapes and words as SVG elements."""
        return "".join(self._parts)

    def _add(self, tag: str, attributes: str, inside: str, bottom: float) -> None:
        self._parts.append(
            f"<{tag} {attributes}>{inside}</{tag}>" if inside else f"<{tag} {attributes}/>"
        )
        self.height = max(self.height, math.ceil(bottom))


class Picture:
    """What every picture can do; a picture itself says `panes`, `__repr__` and maybe `label`.

    `__repr__` is the picture in words: what a plain front end shows and nbval compares.

    Attributes:
        ended: it will not change any more, however often one looks.
    """

    ended: bool = False

    def live(self) -> "Picture":
        """Return the form for a page where it moves; a saved one leaves out what never repeats."""
        return self

    def panes(self) -> Sequence[Drawing]:
        """Return the drawings that it consists of, from left to right."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What a screen reader says."""
        return " ".join(repr(self).split())

    def _repr_svg_(self) -> str:
        return as_svg(self.panes(), self.label)

    def _repr_html_(self) -> str:
        return as_html(self.panes(), self.label)


def as_svg(panes: Sequence[Drawing], label: str) -> str:
    """Return panes side by side as one SVG that stands on its own.

    Args:
        panes: from left to right.
        label: what a screen reader says.
    """
    width, height = sum(pane.width for pane in panes), max(pane.height for pane in panes)
    paper = f'<rect width="{_n(width)}" height="{_n(height)}" class="lk-paper" fill="{PAPER}"/>'
    parts, x = [], 0.0
    for pane in panes:
        inside = pane.content()
        parts.append(f'<g transform="translate({_n(x)} 0)">{inside}</g>' if x else inside)
        x += pane.width
    name = f'role="img" aria-label="{_attribute(label)}"'
    size = f'style="max-width:{_n(width)}px;height:auto"'
    return _svg(width, height, f"{name} {size}", f"<style>{STYLE}</style>{paper}{''.join(parts)}")


def as_html(panes: Sequence[Drawing], label: str) -> str:
    """Return panes as HTML: side by side, or below each other where the page is narrow.

    Args:
        panes: from left to right.
        label: what a screen reader says.
    """
    parts = []
    for number, pane in enumerate(panes):
        least = f"{pane.min_width}px"
        # Growing in proportion keeps panes at one scale, so what stands side by side lines up.
        size = f"flex:{pane.min_width} 1 {least};min-width:{least}"
        size += f";max-width:{_n(pane.width)}px;height:auto"
        style = f"<style>{STYLE}</style>" if number == 0 else ""
        hidden = f'aria-hidden="true" style="{size}"'
        parts.append(_svg(pane.width, pane.height, hidden, style + pane.content()))
    width = _n(sum(pane.width for pane in panes))
    box = "display:flex;flex-wrap:wrap;align-items:flex-start;overflow-x:auto"
    name = f'role="img" aria-label="{_attribute(label)}"'
    return (
        f'<div class="lk-picture" {name} style="{box};max-width:{width}px">{"".join(parts)}</div>'
    )


def _rules() -> Iterable[str]:
    """The palette for a page that has a theme; the same mixtures as `color`."""
    yield (
        f".lk-picture{{--lk-paper:var(--jp-layout-color0,{PAPER});"
        f"--lk-ink:var(--jp-content-font-color0,{INK})}}"
    )

    def mixed(hue: str, share: float, other: str) -> str:
        return f"color-mix(in srgb,{hue} {share:.0%},var(--lk-{other}))"

    yield ".lk-paper{fill:var(--lk-paper)}"
    yield f".lk-words{{fill:{mixed('var(--lk-ink)', WORDS, 'paper')}}}"
    yield f".lk-faint{{fill:{mixed('var(--lk-ink)', FAINT, 'paper')}}}"
    for role, hue in ROLES.items():
        yield f".lk-{role}-area{{fill:{mixed(hue, AREA, 'paper')}}}"
        yield f".lk-{role}-line,.lk-{role}-tip{{fill:{mixed(hue, LINE, 'ink')}}}"
        yield f".lk-{role}-edge{{stroke:{mixed(hue, LINE, 'ink')}}}"


# Where a program does not know color-mix, the attributes hold; they are the light theme.
STYLE = f"@supports (color:color-mix(in srgb,red,blue)){{{''.join(_rules())}}}"


def _svg(width: float, height: float, attributes: str, inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lk-picture" width="{_n(width)}" '
        f'height="{_n(height)}" viewBox="0 0 {_n(width)} {_n(height)}" {attributes} '
        f'font-family="{FONT}" font-size="{SIZE}">{inside}</svg>'
    )


def _title(text: str) -> str:
    return f"<title>{escape(visible(text))}</title>" if text else ""


def _attribute(text: str) -> str:
    return escape(visible(text.replace("\n", " ")))


def _path(points: Iterable[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(number: float) -> str:
    """A number as short as it can be written, and the same on every machine."""
    return f"{number:.1f}".removesuffix(".0")


def _mix(color: str, share: float, other: str) -> str:
    pairs = ((int(color[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def _visible(letter: str) -> str:
    if letter.isprintable() or letter == _JOINER:
        return letter
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode hides a byte here
        return f"\\x{code - 0xDC00:02x}"
    return letter.encode("unicode_escape").decode()


def _widths(text: str, bold: bool) -> list[float]:
    """Width in em of each character where it stands."""
    more = _BOLD if bold else 0
    found: list[float] = []
    for letter in text:
        if _joins(letter) and found:
            found.append(0)
        else:
            found.append(_width(letter) + more)
    return found


def _width(letter: str) -> float:
    if known := _WIDTHS.get(letter):
        return known
    if unicodedata.east_asian_width(letter) in "WF":
        return _WIDE if letter.isalpha() else _EMOJI
    if base := unicodedata.decomposition(letter).split(" ")[0]:  # é is as wide as e
        return _WIDTHS.get(chr(int(base, 16)), _ODD) if base[0] != "<" else _EMOJI
    return _ODD


def _joins(letter: str) -> bool:
    """Whether it is drawn onto the character before it."""
    return letter == _JOINER or unicodedata.category(letter) in ("Mn", "Me")


def _is_uncertain(text: str) -> bool:
    """Whether fonts differ so much here that the drawing must say how wide the text is."""
    return any(
        letter not in _WIDTHS
        and not (unicodedata.east_asian_width(letter) in "WF" and letter.isalpha())
        and not (letter.isalpha() and _width(letter) < _ODD)
        for letter in text
    )


def _columns(letter: str) -> int:
    if _joins(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def _shorten(text: str, widths: Sequence[float], room: float, ellipsis: float) -> str:
    """Keep as much of both ends as there is room for; the last letters matter as the first do."""
    room -= ellipsis
    head, tail = 0, len(text)
    left, right = 0.0, 0.0
    while head < tail:
        if left <= right:
            left += widths[head]
            if left + right > room:
                break
            head += 1
        else:
            right += widths[tail - 1]
            if left + right > room:
                break
            tail -= 1
    while tail < len(text) and _joins(text[tail]):  # a mark stays with its letter
        tail += 1
    while head and head < len(text) and _joins(text[head]):
        head -= 1
    return text[:head] + ELLIPSIS + text[tail:]
