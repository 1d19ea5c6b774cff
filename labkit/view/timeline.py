"""A recorded run as a time line: who did what, in three lanes, to be stepped through."""

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
    from labkit.trace.record import Event, Log, Recording, Tree

LANES = ("parent", "init", "command")
NOTHING = "no moments"
SELF = "/proc/self/exe"

_COLUMNS = 100  # of the text form
_NO_CALL = "no system call"
_NO_MARK = f'<span class="lk-moment lk-lives-parent"><small>{_NO_CALL}</small></span>'
_HEAD = "<tr><th>process<th>PID in the lab<th>PID inside<th>command line"
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
        """Step by step the events, each in the lane of its process; then what happens at each."""
        lanes = moments = ""
        for step, places in _by_step(self.recording.events):
            marks = " ".join(_mark(self.recording.events, place) for place in places) or _NO_MARK
            lanes += f'<div><strong>{step}</strong><div class="lk-marks">{marks}</div></div>'
            moments += "".join(self._moment(place, step) for place in places)
        content = f'<div class="lk-lanes">{lanes or NOTHING}</div><ol>{moments}</ol>'
        return figure("lk-run", content, "Time line")

    def _moment(self, place: int, step: str) -> str:
        event = self.recording.events[place]
        log, sentence = event.log, markup(_sentence(event))
        if not self.moving:
            return f"<li>{sentence}<br><small>{markup(_chain(event.tree))}</small></li>"
        ms, place_of = event.time * 1000, f"{place + 1} of {len(self.recording.events)}"
        line = markup(_log_line(log)) if log else "&nbsp;"
        rows = "".join(
            f"<tr{' class=lk-calls' * (process.pid == event.who.pid)}>"
            f'<td style="--depth: {depth}">{"└ " * bool(depth)}{markup(process.name)}'
            f"<td>{process.pid}<td>{_inside(process) or '–'}"
            f"<td>{markup(' '.join(process.command)) or '(has ended)'}"
            for depth, process in event.tree
        )
        return (
            f'<li data-ms="{ms}"><p>{place_of} · after {ms:.1f} ms · step {step}</p>'
            f"<strong>{sentence}</strong><code>{line}</code><table>{_HEAD}{rows}</table></li>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Add the view with the slider; the other forms come from the methods above."""
        bundle = View(html=self.live().html())._repr_mimebundle_()
        return {_WIDGET_VIEW: bundle[0][_WIDGET_VIEW]} if bundle else {}


def _kind(event: "Event") -> str:
    if event.call == "clone":
        return "clone" if event.words else "fork"
    if event.call == "write":
        return "log" if event.log else "prompt" if event.prompt else "print"
    return "exec" if event.call == "execve" else event.call


def _what(event: "Event") -> str:
    """Say what an event does, in a few words."""
    kind, words = _kind(event), visible(" ".join(event.words))
    if event.log:
        return f"log: {visible(event.log.message)}"
    if kind == "clone":
        return f"clone, new: {words}"
    if kind == "mount":
        return f"mount {_mount(event)}"
    return {"prompt": "first prompt", "fork": "fork"}.get(
        kind, f"{kind} {words}{': fails' * event.failed}"
    )


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


def _log_line(log: "Log") -> str:
    time = log.time.isoformat(timespec="milliseconds").replace(".000", "")
    return f"{time}  {log.level}: {log.message}"


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
    event, before = events[place], _alive(events[max(0, place - 1)])
    looks = [f"lk-lives-{role}" for role in _alive(event)]
    looks += [f"lk-born-{role}" for role in _alive(event) if role not in before]
    return (
        f'<span class="lk-moment {" ".join(looks)}" data-moment="{place + 1}" '
        f'title="{markup(_sentence(event))}"><span class="lk-{event.role}">'
        f"<b>{place + 1}</b> <i>{event.role}</i> {_kind(event)}</span></span>"
    )


def _alive(event: "Event") -> list[str]:
    pairs = zip(event.tree, event.roles, strict=True)
    alive = {role for (_, process), role in pairs if process.state != "Z"}
    return [role for role in LANES if role in alive]


class View(anywidget.AnyWidget):
    """The view with the slider: timeline.js steps through the moving form."""

    _esm = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    _css = STYLE + Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    html: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
