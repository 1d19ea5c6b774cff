"""The four steps of a run, the same picture in every notebook with the step at hand lit."""

from dataclasses import dataclass

from labkit.view.drawing import Drawing, Picture

STEPS = (
    ("command line", ("you type", "run -ti /bin/sh")),
    ("parse", ("which command,", "-ti or not, what to run")),
    ("isolated child", ("clone with five flags:", "UTS PID NS NET IPC")),
    ("init", ("mounts /proc,", "becomes the command")),
)

_WIDTH, _HEIGHT, _BOX, _GAP = 200, 122, 172, 24


@dataclass(frozen=True, repr=False)
class FourSteps(Picture):
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

    def panes(self) -> list[Drawing]:
        """One pane for each step."""
        return [self._step(number) for number in range(1, len(STEPS) + 1)]

    def _step(self, number: int) -> Drawing:
        name, lines = STEPS[number - 1]
        inside, lit = number == len(STEPS), number in self.lit
        pane = Drawing(_WIDTH, _HEIGHT)
        x = (_WIDTH - _BOX) / 2 if inside else 2
        room = _BOX - 20
        # Steps 1 to 3 are the parent's, the fourth happens in the new namespaces.
        if inside:
            frame = _BOX + 24
            pane.box(x - 12, 2, frame, _HEIGHT - 4, "container", dashed=True, radius=10)
            pane.text(
                x + _BOX / 2,
                21,
                "in the new namespaces",
                room=_BOX,
                role="container",
                anchor="middle",
            )
        elif number == 1:
            pane.text(x, 21, "in your shell's namespaces", room=_WIDTH - 4, faint=True)
        pane.box(x, 32, _BOX, 76, "lab" if lit else "neutral", solid=lit)
        pane.text(x + 10, 55, f"{number} {name}", room=room, size=14, bold=True, on_solid=lit)
        for row, line in enumerate(lines):
            pane.text(x + 10, 77 + 18 * row, line, room=room, on_solid=lit, faint=not lit)
        if not inside:
            pane.line((x + _BOX + 2, 70), (x + _BOX + _GAP, 70), arrow=True, width=2)
        return pane


def four_steps(*lit: int) -> FourSteps:
    """Return the picture of the four steps.

    Args:
        *lit: numbers of the steps to light, 1 to 4.
    """
    return FourSteps(lit)
