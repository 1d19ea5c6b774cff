"""The four steps of a run, the same picture in every notebook with the step at hand lit."""

from dataclasses import dataclass

from labkit.view.picture import Picture, figure

STEPS = (
    ("command line", ("you type", "run -ti /bin/sh")),
    ("parse", ("which command,", "-ti or not, what to run")),
    ("isolated child", ("clone with five flags:", "UTS PID NS NET IPC")),
    ("init", ("mounts /proc,", "becomes the command")),
)


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

    def html(self) -> str:
        """Steps 1 to 3, which are the parent's, and the fourth in the new namespaces."""
        *parents, inside = map(self._step, range(1, len(STEPS) + 1))
        return figure(
            "lk-steps",
            f"<div><p>in your shell's namespaces</p><ul>{''.join(parents)}</ul></div>"
            f'<div class="lk-container"><p>in the new namespaces</p><ul>{inside}</ul></div>',
            "The four steps of a run",
        )

    def _step(self, number: int) -> str:
        name, lines = STEPS[number - 1]
        words = f"<br>{'<br>'.join(lines)}</li>"
        if number in self.lit:
            return f'<li class="lk-lit" aria-current="step"><strong>{number} {name}</strong>{words}'
        return f"<li><span>{number} {name}</span>{words}"


def four_steps(*lit: int) -> FourSteps:
    """Return the picture of the four steps.

    Args:
        *lit: numbers of the steps to light, 1 to 4.
    """
    return FourSteps(lit)
