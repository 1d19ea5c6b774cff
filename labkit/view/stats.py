"""What containers take of memory, processors and tasks, and what they may take at most."""

from dataclasses import dataclass

from labkit.view.picture import Picture, figure, frame, grid
from labkit.view.text import table

SPAN = 60  # seconds that a line shows
HEAD = ("CONTAINER ID", "CPU %", "MEM USAGE / LIMIT", "MEM %", "PIDS")  # as of docker stats
NOTHING = "No container has a control group."
CAPTION = "A bar shows how much of its limit it takes, a line the last minute."


@dataclass(frozen=True)
class Part:
    """What a container takes of one thing: at which second how much; and its limit, if any."""

    points: list[tuple[float, float]]
    limit: float | None


@dataclass(frozen=True, repr=False)
class StatsPicture(Picture):
    """What containers take at one moment, and took before. What is saved has that moment alone.

    Attributes:
        containers: ID to "memory" in bytes, "processor" in processors, "tasks".
    """

    containers: dict[str, dict[str, Part]]

    def __repr__(self) -> str:
        """A table with the columns of docker stats."""
        rows: list[tuple[str, ...]] = [HEAD] if self.containers else [(NOTHING,)]
        for name, parts in self.containers.items():
            words = {label: _words(label, part) for label, part in parts.items()}
            memory, cpu, tasks = (f"{now} / {most}" for now, most, _ in words.values())
            rows.append((name, cpu, memory, words["memory"][2], tasks))
        return table(rows, "   ")

    def html(self) -> str:
        """A frame for each container; in it, for each thing, words, a bar and a line."""
        content = f"<p>{NOTHING}</p>" * (not self.containers)
        for name, parts in self.containers.items():
            cells = grid(self._cell(label, part) for label, part in parts.items())
            content += frame("container", f"container {name}", cells)
        content += f"<p><small>{CAPTION}</small></p>" * self.moving
        return figure("lk-stats", content, "What each container takes")

    def _cell(self, label: str, part: Part) -> str:
        now, most, share = _words(label, part)
        most = "no limit" if part.limit is None else f"of {most}"
        most += f", {share}" * (label == "memory" and share != "--")
        bar = f'<b style="width: min(100%, {share})"></b>' * (share != "--")
        line = _line(part) * self.moving
        return f'<p>{label} <strong>{now}</strong> {most}</p><div class="lk-bar">{bar}</div>{line}'


def _line(part: Part) -> str:
    """Draw the last minute; the upper edge is the limit or, where there is none, the most seen."""
    top = part.limit or max((value for _, value in part.points), default=0) or 1
    moments = [(SPAN + time - part.points[-1][0], value) for time, value in part.points]
    points = " ".join(
        f"{x:.1f},{100 - 100 * min(1, value / top):.1f}" for x, value in moments if x >= 0
    )
    box = f'viewBox="0 0 {SPAN} 100" preserveAspectRatio="none" aria-hidden="true"'
    return f'<svg {box}><polyline points="{points}"/></svg>'


def _words(label: str, part: Part) -> tuple[str, str, str]:
    """Say how much it is, the limit, and how much of the limit it is."""
    write = {"memory": _size, "processor": "{:.2%}".format, "tasks": "{:.0f}".format}[label]
    now = part.points[-1][1] if part.points else None
    share = "--" if now is None or not part.limit else f"{now / part.limit:.2%}"
    return (
        "--" if now is None else write(now),
        "max" if part.limit is None else write(part.limit),
        share,
    )


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.4g}{unit}"
        number /= 1024
    return f"{number:.4g}GiB"
