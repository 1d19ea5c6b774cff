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
    from labkit.trace.record import Moment, Recording, Tree

LANES = ("parent", "init", "command")
NOTHING = "no moments"
SELF = "/proc/self/exe"

_COLUMNS = 100  # of the text form
_NO_CALL = "no system call"
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, repr=False)
class TimeLine(Picture):
    """A run, moment by moment. In a notebook it has a slider and real times.

    What is saved with a notebook shows the order alone, which is the same in every run.

    Attributes:
        recording: what `labkit.trace.record.record` returned.
    """

    recording: "Recording"

    def __repr__(self) -> str:
        """One line a moment, with the process tree at that moment; numbers are PIDs inside."""
        moments = self.recording.moments
        pids = [f"PID {pid}" if (pid := _inside(m.who)) else "" for m in moments]
        digits = max(map(len, pids), default=0)
        trees = [_chain(moment.tree) for moment in moments]
        room = min(max(map(columns, trees), default=0), _COLUMNS // 2)
        rows = [
            fit_columns(
                f"{number:>4}  {moment.role:<7} {pid:<{digits}}  {_what(moment)}",
                _COLUMNS - 2 - room,
            )
            for number, (pid, moment) in enumerate(zip(pids, moments, strict=True), 1)
        ]
        width = max(map(columns, rows), default=0)
        lines = []
        for step, places in _by_step(moments):
            lines.append(f"{step}{'' if places else f': {_NO_CALL}'}")
            for place in places:
                row, tree = rows[place], fit_columns(trees[place], room)
                lines.append(f"{row}{' ' * (width - columns(row))}  {tree}")
        return "\n".join(lines or [NOTHING])

    def html(self) -> str:
        """The lanes, and a sentence for each moment."""
        rows = "".join(
            f"<li>{markup(_sentence(moment))}<br><small>{markup(_chain(moment.tree))}</small></li>"
            for moment in self.recording.moments
        )
        return figure("lk-run", f"{self._lanes()}<ol>{rows}</ol>", "Time line")

    def _lanes(self) -> str:
        """Step by step the moments, each in the lane of the process that calls."""
        moments = self.recording.moments
        parts = []
        for step, places in _by_step(moments):
            marks = " ".join(_mark(moments, place) for place in places)
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
            ruler=_ruler([moment.time * 1000 for moment in self.recording.moments]),
            frames=list(self.frames()),
        )

    def frames(self) -> Iterator[dict[str, str]]:
        """Yield what the view with the slider shows at each moment: a sentence, and all else."""
        moments = self.recording.moments
        deepest = max((len(moment.tree) for moment in moments), default=0)
        for number, (step, moment) in enumerate(zip(_steps(moments), moments, strict=True), 1):
            place = f"{number} of {len(moments)}"
            log, sentence = moment.log, _sentence(moment)
            line = markup(f"{_clock(log.time)}  {log.level}: {log.message}") if log else "&nbsp;"
            rows = [
                f"<tr{' class=lk-calls' * (process.pid == moment.who.pid)}>"
                f'<td style="padding-left:{6 + 14 * max(0, min(depth, 8) - 1)}px">'
                f"{'└ ' * bool(depth)}{markup(process.name)}<td>{process.pid}"
                f"<td>{_inside(process) or '–'}"
                f"<td>{markup(' '.join(process.command)) or '(has ended)'}"
                for depth, process in moment.tree
            ]
            rows += ["<tr><td>&nbsp;"] * (deepest - len(rows))  # so that nothing jumps
            yield {
                "sentence": f"{place}: {sentence}",
                "html": f"<p>{place} · after {moment.time * 1000:.1f} ms · step {_title(step)}</p>"
                f"<strong>{markup(sentence)}</strong><code>{line}</code>"
                f"<table><tr><th>process<th>PID in the lab<th>PID inside<th>command line"
                f"{''.join(rows)}</table>",
            }


def _what(moment: "Moment") -> str:
    """Say what a moment does, in a few words."""
    words = " ".join(moment.words)
    if moment.log:
        return f"log: {visible(moment.log.message)}"
    if moment.prompt:
        return "first prompt"
    if moment.call == "write":
        return f"print {visible(words)}"
    if moment.call == "clone":
        return f"clone, new: {words}" if words else "fork"
    if moment.call == "mount":
        return f"mount {_mount(moment)}"
    if moment.call == "execve":
        return visible(f"exec {words}{': fails' * moment.failed}")
    return visible(f"{moment.call} {words}")


def _mount(moment: "Moment") -> str:
    source, target, fstype = map(visible, moment.words)
    return f"{source} on {target}" if fstype else f"{target}, how it propagates"


def _sentence(moment: "Moment") -> str:
    """Say what happens at a moment."""
    who = f"PID {_inside(moment.who)}, {moment.role}," if _inside(moment.who) else "The parent"
    words = visible(" ".join(moment.words))
    if moment.log:
        return f"{who} writes to the log: {visible(moment.log.message)}"
    if moment.prompt:
        return f"{who} shows the shell's first prompt."
    if moment.call == "write":
        return f"{who} writes: {words}" if words else f"{who} writes nothing."
    if moment.call == "exit":
        return f"{who} ends with status {words}."
    if moment.call == "mount":
        return f"{who} calls mount: {_mount(moment)}."
    if moment.call == "clone" and words:
        return f"{who} calls clone: a copy of itself will be PID 1 in new namespaces: {words}."
    if moment.call == "clone":
        return f"{who} forks: a copy of itself will run beside it."
    if moment.failed:
        return f"{who} calls exec, which fails: {words}"
    if moment.role == "parent":
        return f"A copy of the shell calls exec and becomes the parent: {words}"
    if moment.role == "command":
        return f"{who} calls exec and becomes: {words}"
    if moment.words[:1] == (SELF,):
        return f"{who} still a copy of the parent, calls exec to start its program anew: {words}"
    return f"{who} calls exec. The same process goes on as the command: {words}"


def _steps(moments: Sequence["Moment"]) -> list[int]:
    """Say which of the four steps each moment belongs to."""
    found: list[int] = []
    cloned = False
    for moment in moments:
        cloned = cloned or moment.call == "clone"
        if moment.role == "parent":
            step = 3 if cloned else 2 if moment.call != "execve" else 1
        else:
            step = 3 if moment.words[:1] == (SELF,) else 4
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


def _by_step(moments: Sequence["Moment"]) -> Iterator[tuple[str, list[int]]]:
    """Yield each step's title and the places of its moments."""
    steps = _steps(moments)
    for step in range(1, len(STEPS) + 1):
        places = [place for place, found in enumerate(steps) if found == step]
        # Parsing asks the kernel for nothing, and is a step all the same.
        if places or (step == 2 and any(later > step for later in steps)):
            yield _title(step), places


def _title(step: int) -> str:
    return f"{step} {STEPS[step - 1][0]}"


def _mark(moments: Sequence["Moment"], place: int) -> str:
    """Draw a moment: its number, who calls and what, in lanes of those that are alive."""
    moment, before = moments[place], moments[max(0, place - 1)]
    alive = [role for role in LANES if _alive(moment, role)]
    looks = [f"lk-lives-{role}" for role in alive]
    looks += [f"lk-born-{role}" for role in alive if not _alive(before, role)]
    return (
        f'<span class="lk-moment {" ".join(looks)}" data-moment="{place + 1}" '
        f'title="{markup(_sentence(moment))}"><span class="lk-{moment.role}">'
        f"<b>{place + 1}</b> <i>{moment.role}</i> {_kind(moment)}</span></span>"
    )


def _kind(moment: "Moment") -> str:
    if moment.call == "clone":
        return "clone" if moment.words else "fork"
    if moment.call == "write":
        return "log" if moment.log else "prompt" if moment.prompt else "print"
    return "exec" if moment.call == "execve" else moment.call


def _alive(moment: "Moment", role: str) -> bool:
    return any(
        name == role and process.state != "Z"
        for (_, process), name in zip(moment.tree, moment.roles, strict=True)
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
