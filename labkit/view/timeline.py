"""A recorded run as a time line: who did what, in three lanes, to be stepped through."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from labkit.view.picture import STYLE, Picture, figure
from labkit.view.steps import STEPS
from labkit.view.text import columns, fit_columns, markup, visible

if TYPE_CHECKING:
    from labkit.procfs import Process
    from labkit.trace.record import Event, Recording, Tree

LANES = ("parent", "init", "command")
NOTHING = "no moments"
SELF = "/proc/self/exe"

_COLUMNS = 100  # of the text form
_NO_CALL = "no system call"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, repr=False)
class TimeLine(Picture):
    """A run, event by event. In a notebook it has a slider and real times.

    What is saved with a notebook shows the order alone, which is the same in every run.

    Attributes:
        recording: what `labkit.trace.record.record` returned.
    """

    recording: "Recording"

    def __repr__(self) -> str:
        """One line an event, with the process tree at that moment; numbers are PIDs inside."""
        events = self.recording.events
        pids = [f"PID {pid}" if (pid := _inside(m.who)) else "" for m in events]
        digits = max(map(len, pids), default=0)
        trees = [_chain(event.tree) for event in events]
        room = min(max(map(columns, trees), default=0), _COLUMNS // 2)
        rows = [
            fit_columns(
                f"{number:>4}  {event.role:<7} {pid:<{digits}}  {_what(event)}",
                _COLUMNS - 2 - room,
            )
            for number, (pid, event) in enumerate(zip(pids, events, strict=True), 1)
        ]
        width = max(map(columns, rows), default=0)
        lines = []
        for step, places in _by_step(events):
            lines.append(f"{step}{'' if places else f': {_NO_CALL}'}")
            for place in places:
                row, tree = rows[place], fit_columns(trees[place], room)
                lines.append(f"{row}{' ' * (width - columns(row))}  {tree}")
        return "\n".join(lines or [NOTHING])

    def html(self) -> str:
        """The lanes, and a sentence for each event."""
        rows = "".join(
            f"<li>{markup(_sentence(event))}<br><small>{markup(_chain(event.tree))}</small></li>"
            for event in self.recording.events
        )
        return figure("lk-run", f"{self._lanes()}<ol>{rows}</ol>", "Time line")

    def _lanes(self) -> str:
        """Step by step the events, each in the lane of the process that calls."""
        events = self.recording.events
        parts = []
        for step, places in _by_step(events):
            marks = " ".join(_mark(events, place) for place in places)
            if not places:
                marks = f'<span class="lk-moment lk-lives-parent"><small>{_NO_CALL}</small></span>'
            parts.append(f'<div><strong>{step}</strong><div class="lk-marks">{marks}</div></div>')
        return f'<div class="lk-lanes">{"".join(parts) or NOTHING}</div>'

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Add the view with the slider; the other forms come from the methods above."""
        bundle = self.view()._repr_mimebundle_()
        return {_WIDGET_VIEW: bundle[0][_WIDGET_VIEW]} if bundle else {}

    def view(self) -> "View":
        """Return what a notebook shows, with a slider and real times."""
        return View(
            lanes=figure("lk-run", self._lanes(), "Time line"),
            ruler=_ruler([event.time * 1000 for event in self.recording.events]),
            frames=list(self.frames()),
        )

    def frames(self) -> Iterator[dict[str, str]]:
        """Yield what the view with the slider shows at each event: a sentence, and all else."""
        events = self.recording.events
        deepest = max((len(event.tree) for event in events), default=0)
        for number, (step, event) in enumerate(zip(_steps(events), events, strict=True), 1):
            place = f"{number} of {len(events)}"
            log, sentence = event.log, _sentence(event)
            line = markup(f"{_clock(log.time)}  {log.level}: {log.message}") if log else "&nbsp;"
            rows = [
                f"<tr{' class=lk-calls' * (process.pid == event.who.pid)}>"
                f'<td style="padding-left:{6 + 14 * max(0, min(depth, 8) - 1)}px">'
                f"{'└ ' * bool(depth)}{markup(process.name)}<td>{process.pid}"
                f"<td>{_inside(process) or '–'}"
                f"<td>{markup(' '.join(process.command)) or '(has ended)'}"
                for depth, process in event.tree
            ]
            rows += ["<tr><td>&nbsp;"] * (deepest - len(rows))  # so that nothing jumps
            yield {
                "sentence": f"{place}: {sentence}",
                "html": f"<p>{place} · after {event.time * 1000:.1f} ms · step {_title(step)}</p>"
                f"<strong>{markup(sentence)}</strong><code>{line}</code>"
                f"<table><tr><th>process<th>PID in the lab<th>PID inside<th>command line"
                f"{''.join(rows)}</table>",
            }


def _what(event: "Event") -> str:
    """Say what an event does, in a few words."""
    words = " ".join(event.words)
    if event.log:
        return f"log: {visible(event.log.message)}"
    if event.prompt:
        return "first prompt"
    if event.call == "write":
        return f"print {visible(words)}"
    if event.call == "clone":
        return f"clone, new: {words}" if words else "fork"
    if event.call == "mount":
        return f"mount {_mount(event)}"
    if event.call == "execve":
        return visible(f"exec {words}{': fails' * event.failed}")
    return visible(f"{event.call} {words}")


def _mount(event: "Event") -> str:
    source, target, fstype = map(visible, event.words)
    return f"{source} on {target}" if fstype else f"{target}, how it propagates"


def _sentence(event: "Event") -> str:
    """Say what happens at an event."""
    who = f"PID {_inside(event.who)}, {event.role}," if _inside(event.who) else "The parent"
    words = visible(" ".join(event.words))
    if event.log:
        return f"{who} writes to the log: {visible(event.log.message)}"
    if event.prompt:
        return f"{who} shows the shell's first prompt."
    if event.call == "write":
        return f"{who} writes: {words}" if words else f"{who} writes nothing."
    if event.call == "exit":
        return f"{who} ends with status {words}."
    if event.call == "mount":
        return f"{who} calls mount: {_mount(event)}."
    if event.call == "clone" and words:
        return f"{who} calls clone: a copy of itself will be PID 1 in new namespaces: {words}."
    if event.call == "clone":
        return f"{who} forks: a copy of itself will run beside it."
    if event.failed:
        return f"{who} calls exec, which fails: {words}"
    if event.role == "parent":
        return f"A copy of the shell calls exec and becomes the parent: {words}"
    if event.role == "command":
        return f"{who} calls exec and becomes: {words}"
    if event.words[:1] == (SELF,):
        return f"{who} still a copy of the parent, calls exec to start its program anew: {words}"
    return f"{who} calls exec. The same process goes on as the command: {words}"


def _steps(events: Sequence["Event"]) -> list[int]:
    """Say which of the four steps each event belongs to."""
    found: list[int] = []
    cloned = False
    for event in events:
        cloned = cloned or event.call == "clone"
        if event.role == "parent":
            step = 3 if cloned else 2 if event.call != "execve" else 1
        else:
            step = 3 if event.words[:1] == (SELF,) else 4
        found.append(max([step, *found[-1:]]))
    return found


def _inside(process: "Process") -> int:
    """Return its PID in the innermost namespace, 0 for one that is only in the lab's."""
    return process.pids[-1] if len(process.pids) > 1 else 0


def _clock(time: Any) -> str:
    """Write a log line's time as precisely as the line did."""
    return str(time.isoformat(timespec="milliseconds" if time.microsecond else "seconds"))


def _chain(tree: "Tree") -> str:
    """Write a process tree in one line: sh ─ python3 ─ exe(1) ─ [sh(2), ls(3)]."""

    def write(start: int, end: int) -> str:
        depth, process = tree[start]
        name = visible(process.name)
        if details := [str(_inside(process))] * bool(_inside(process)) + ["ended"] * (
            process.state == "Z"
        ):
            name += f"({', '.join(details)})"
        starts = [n for n in range(start + 1, end) if tree[n][0] == depth + 1]
        below = [write(a, b) for a, b in zip(starts, [*starts, end][1:], strict=True)]
        if not below:
            return name
        return f"{name} ─ {below[0]}" if len(below) == 1 else f"{name} ─ [{', '.join(below)}]"

    return write(0, len(tree)) if tree else ""


def _by_step(events: Sequence["Event"]) -> Iterator[tuple[str, list[int]]]:
    """Yield each step's title and the places of its events."""
    steps = _steps(events)
    for step in range(1, len(STEPS) + 1):
        places = [place for place, found in enumerate(steps) if found == step]
        # Parsing asks the kernel for nothing, and is a step all the same.
        if places or (step == 2 and any(later > step for later in steps)):
            yield _title(step), places


def _title(step: int) -> str:
    return f"{step} {STEPS[step - 1][0]}"


def _mark(events: Sequence["Event"], place: int) -> str:
    """Draw an event: its number, who calls and what, in lanes of those that are alive."""
    event, before = events[place], events[max(0, place - 1)]
    alive = [role for role in LANES if _alive(event, role)]
    looks = [f"lk-lives-{role}" for role in alive]
    looks += [f"lk-born-{role}" for role in alive if not _alive(before, role)]
    return (
        f'<span class="lk-moment {" ".join(looks)}" data-moment="{place + 1}" '
        f'title="{markup(_sentence(event))}"><span class="lk-{event.role}">'
        f"<b>{place + 1}</b> <i>{event.role}</i> {_kind(event)}</span></span>"
    )


def _kind(event: "Event") -> str:
    if event.call == "clone":
        return "clone" if event.words else "fork"
    if event.call == "write":
        return "log" if event.log else "prompt" if event.prompt else "print"
    return "exec" if event.call == "execve" else event.call


def _alive(event: "Event", role: str) -> bool:
    return any(
        name == role and process.state != "Z"
        for (_, process), name in zip(event.tree, event.roles, strict=True)
    )


def _ruler(times: Sequence[float]) -> str:
    """Lead from each place of the slider to its true time, in milliseconds."""
    end, last = max(times, default=0) or 1, max(1, len(times) - 1)
    lines = "".join(
        f'<line x1="{1000 * place / last:.0f}" x2="{1000 * time / end:.0f}" y2="29"/>'
        for place, time in enumerate(times)
    )
    power = 10 ** math.floor(math.log10(end / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= end / 4)
    labels = "".join(
        f'<span style="left:{100 * time / end:.1f}%">{time:g}{"" if time else " ms"}</span>'
        for time in (number * step for number in range(int(end / step) + 1))
    )
    svg = f'<svg viewBox="0 0 1000 30" preserveAspectRatio="none">{lines}</svg>'
    return f"{svg}<div>{labels}</div>"


class View(anywidget.AnyWidget):
    """The view with the slider: timeline.js has all it needs to step through the run."""

    _esm = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    _css = STYLE + Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    lanes: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    ruler: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    frames: traitlets.List[dict[str, str]] = traitlets.List().tag(sync=True)
