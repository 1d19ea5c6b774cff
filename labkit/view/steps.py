"""The four steps of a run, the same picture in every notebook with the step at hand lit."""

from dataclasses import dataclass
from html import escape

STEPS = (
    ("command line", ("you type", "run -ti /bin/sh")),
    ("parse", ("which command,", "-ti or not, what to run")),
    ("isolated child", ("clone with five flags:", "UTS PID NS NET IPC")),
    ("init", ("mounts /proc,", "becomes the command")),
)


@dataclass(frozen=True)
class FourSteps:
    """The way from a command line to a container, with some of its steps lit.

    Attributes:
        lit: numbers of the steps at hand, 1 to 4; none lit means all are alike.
    """

    lit: tuple[int, ...] = ()

    def __repr__(self) -> str:
        """The picture in words; the step at hand stands in brackets."""
        names = (f"{n} {name}" for n, (name, _) in enumerate(STEPS, 1))
        marked = (f"[{name}]" if n in self.lit else name for n, name in enumerate(names, 1))
        return " → ".join(marked)

    def _repr_html_(self) -> str:
        """The same drawing, which shrinks where the page is narrow."""
        return f'<div style="max-width:800px;padding-left:8px">{self._repr_svg_()}</div>'

    def _repr_svg_(self) -> str:
        width, height, box, gap = 800, 128, 170, 24
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'style="max-width:{width}px" role="img" aria-label="{escape(repr(self))}" '
            'font-family="system-ui,DejaVu Sans,Arial,sans-serif">',
            f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
            # Steps 1 to 3 are the parent's, the fourth happens in the new namespaces.
            '<rect x="594" y="6" width="198" height="116" rx="10" fill="#fff4f2" '
            'stroke="#c62828" stroke-width="1.5" stroke-dasharray="5 4"/>',
            '<text x="693" y="24" font-size="12" fill="#a31f1f" text-anchor="middle">'
            "in the new namespaces</text>",
            '<text x="14" y="24" font-size="12" fill="#455a64">in your shell\'s namespaces</text>',
        ]
        for number, (name, lines) in enumerate(STEPS, 1):
            x = 12 + (number - 1) * (box + gap) + (14 if number == 4 else 0)
            lit = number in self.lit
            fill, text, soft = (
                ("#0b57d0", "#fff", "#fff") if lit else ("#eef1f5", "#1f2933", "#37474f")
            )
            parts.append(f'<rect x="{x}" y="36" width="{box}" height="76" rx="8" fill="{fill}"/>')
            parts.append(
                f'<text x="{x + 12}" y="59" font-size="15" font-weight="600" fill="{text}">'
                f"{number} {escape(name)}</text>"
            )
            for row, line in enumerate(lines):
                parts.append(
                    f'<text x="{x + 12}" y="{80 + 18 * row}" font-size="12" fill="{soft}">'
                    f"{escape(line)}</text>"
                )
            if number < 4:
                end = x + box + gap + (14 if number == 3 else 0) - 2
                parts.append(
                    f'<path d="M{x + box + 3} 74 H{end - 6}" stroke="#5f6b7a" stroke-width="2"/>'
                    f'<path d="M{end - 8} 69 L{end} 74 L{end - 8} 79 Z" fill="#5f6b7a"/>'
                )
        return "".join([*parts, "</svg>"])


def four_steps(*lit: int) -> FourSteps:
    """Return the picture of the four steps.

    Args:
        *lit: numbers of the steps to light, 1 to 4.
    """
    return FourSteps(lit)
