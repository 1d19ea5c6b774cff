"""A recorded run as a time line: who did what, in three lanes, to be stepped through."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from labkit.procfs import Process
from labkit.trace.record import SELF, Moment, Recording, Tree
from labkit.view.drawing import Drawing, Picture, columns, fit_columns, visible
from labkit.view.steps import STEPS

LANES = ("parent", "init", "command")
NOTHING = "no moments"
COLOR = {"parent": "parent", "init": "container", "command": "container"}

_COLUMNS = 100  # of the text form
_SLOT, _BLOCK, _MOST = 58, 132, 4  # px for a mark, at least for a block; marks in a block
_TOP, _LANE, _BAR = 38, 62, 26  # px: where lanes begin, height of a lane and of its bar
_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


@dataclass(frozen=True, repr=False)
class TimeLine(Picture):
    """A run, moment by moment. In a notebook it has a slider and real times.

    What is saved with a notebook shows the order alone, which is the same in every run.

    Attributes:
        recording: what `labkit.trace.record.record` returned.
    """

    recording: Recording

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
            for number, pid, moment in zip(_numbers(moments), pids, moments, strict=True)
        ]
        width = max(map(columns, rows), default=0)
        lines = []
        for block in _blocks(moments):
            if block.title:
                lines.append(_title(block))
            for number in range(block.first, block.first + block.count):
                row, tree = rows[number - 1], fit_columns(trees[number - 1], room)
                lines.append(f"{row}{' ' * (width - columns(row))}  {tree}")
        return "\n".join(lines or [NOTHING])

    @property
    def label(self) -> str:
        """What a screen reader says of the drawing; the sentences stand below it."""
        count = len(self.recording.moments)
        return f"Time line of {self.recording.command}: {count} moments of parent, init and command"

    def panes(self) -> list[Drawing]:
        """One pane for each step, of a long step several."""
        moments = self.recording.moments
        if not moments:
            pane = Drawing(_BLOCK)
            pane.text(4, 18, NOTHING, room=_BLOCK, faint=True)
            return [pane]
        return [_draw(block, moments) for block in _blocks(moments)]

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<li style="margin:2px 0">{escape(_sentence(moment))}'
            f'<div style="opacity:.75;font-size:12px">{escape(_chain(moment.tree))}</div></li>'
            for moment in self.recording.moments
        )
        return (
            f"{super()._repr_html_()}"
            f'<ol style="margin:8px 0 0;padding-left:34px;overflow-wrap:anywhere">{rows}</ol>'
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        """Add the view with the slider; the other forms come from the methods above."""
        bundle = _View(
            picture=super()._repr_html_(), frames=list(self.frames())
        )._repr_mimebundle_()
        return {_WIDGET_VIEW: bundle[0][_WIDGET_VIEW]} if bundle else {}

    def frames(self) -> Iterator[dict[str, Any]]:
        """Yield what the view with the slider shows at each moment."""
        moments = self.recording.moments
        for step, moment in zip(_steps(moments), moments, strict=True):
            log = moment.log
            yield {
                "ms": round(moment.time * 1000, 1),
                "step": f"{step} {STEPS[step - 1][0]}",
                "sentence": _sentence(moment),
                "log": visible(f"{_clock(log.time)}  {log.level}: {log.message}") if log else "",
                "tree": [
                    {
                        "depth": depth,
                        "name": visible(process.name),
                        "here": process.pid,
                        "inside": _inside(process),
                        "command": visible(" ".join(process.command)) or "(has ended)",
                        "calls": process.pid == moment.who.pid,
                    }
                    for depth, process in moment.tree
                ],
            }


def _what(moment: Moment) -> str:
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


def _mount(moment: Moment) -> str:
    source, target, fstype = map(visible, moment.words)
    return f"{source} on {target}" if fstype else f"{target}, how it propagates"


def _sentence(moment: Moment) -> str:
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


def _steps(moments: Sequence[Moment]) -> list[int]:
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


def _numbers(moments: Sequence[Moment]) -> range:
    return range(1, len(moments) + 1)


def _inside(process: Process) -> int:
    """Return its PID in the innermost namespace, 0 for one that is only in the lab's."""
    return process.pids[-1] if len(process.pids) > 1 else 0


def _clock(time: Any) -> str:
    """Write a log line's time as precisely as the line did."""
    return str(time.isoformat(timespec="milliseconds" if time.microsecond else "seconds"))


def _chain(tree: Tree) -> str:
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


@dataclass(frozen=True)
class _Block:
    """A stretch of the time line that is drawn in one piece.

    Attributes:
        step: its number.
        title: whether it is the step's first.
        first: number of its first moment, or of the next one where it has none.
        count: how many moments it has; 0 is a step without a system call.
    """

    step: int
    title: bool
    first: int
    count: int


def _blocks(moments: Sequence[Moment]) -> Iterator[_Block]:
    steps = _steps(moments)
    number = 1
    for step in range(1, len(STEPS) + 1):
        count = steps.count(step)
        if not count and step != 2:  # parsing asks the kernel for nothing
            continue
        if not count and not any(later > step for later in steps):
            continue
        parts = max(1, math.ceil(count / _MOST))
        for part in range(parts):
            size = count // parts + (part < count % parts)
            yield _Block(step, part == 0, number, size)
            number += size


def _title(block: _Block) -> str:
    return f"{block.step} {STEPS[block.step - 1][0]}" + ("" if block.count else ": no system call")


class _Pane(Drawing):
    """A block's drawing; a view can light its marks."""

    def __init__(self, block: _Block) -> None:
        super().__init__(max(_BLOCK, block.count * _SLOT))
        self._block = block

    def place(self, number: float) -> float:
        """Return where a moment lies; what comes before or after lies at an edge.

        Half a number more is the time after that moment, before the next.
        """
        first, count = self._block.first, self._block.count
        position = (number - first + 0.5) / count if count else float(number >= first)
        return min(1.0, max(0.0, position)) * self.width

    def mark(self, number: int, moment: Moment) -> None:
        """Draw a moment: its number in a circle, and what kind it is."""
        x, y, role = self.place(number), _middle(moment.role), COLOR[moment.role]
        title = _sentence(moment)
        half = 11 if number < 100 else 15
        self._parts.append(f'<g data-moment="{number}">')
        self.box(x - half, y - 11, 2 * half, 22, role, outline=True, radius=11, title=title)
        self.text(x, y + 4, str(number), room=2 * half, anchor="middle", bold=True, title=title)
        self._parts.append("</g>")
        self.text(x, y + 27, _kind(moment), room=_SLOT, anchor="middle", title=title)


def _draw(block: _Block, moments: Sequence[Moment]) -> Drawing:
    pane = _Pane(block)
    pane.box(1, 2, pane.width - 2, 24, radius=6)
    name, room = f"{block.step} {STEPS[block.step - 1][0]}", pane.width - 10
    pane.text(
        pane.width / 2, 18, name, room=room, anchor="middle", bold=True, faint=not block.title
    )
    number_one = block.first == 1 and block.count > 0
    for life in _lives(moments):
        begins, ends = pane.place(life.start), pane.place(life.end)
        if begins >= ends:
            continue
        color, middle = COLOR[life.role], _middle(life.role)
        if born := life.origin and block.first - 0.5 <= life.start < block.first + block.count:
            begins = max(begins, 5)  # the head of the arrow needs room
        pane.box(begins, middle - _BAR / 2, ends - begins, _BAR, color, radius=0)
        if born:
            top = _middle(life.origin) + _BAR / 2
            pane.line((begins, top), (begins, middle - _BAR / 2), role=color, arrow=True)
        name = life.name if born or number_one else life.role
        x, left = begins + 8, bool(born) and begins > pane.width / 2
        pane.text(
            begins - 8 if left else x,
            middle - _BAR / 2 - 4,
            name,
            room=begins - 8 if left else pane.width - x,
            role=color,
            anchor="end" if left else "start",
        )
    for number in range(block.first, block.first + block.count):
        pane.mark(number, moments[number - 1])
    pane.height += 8  # where panes stand below each other
    if not block.count:
        note = "no system call"
        middle = _middle("parent") + 4
        pane.text(pane.width / 2, middle, note, room=pane.width, anchor="middle", faint=True)
    return pane


def _middle(role: str) -> float:
    """Return how far down the middle of a lane's bar is."""
    return _TOP + LANES.index(role) * _LANE + 18 + _BAR / 2


def _kind(moment: Moment) -> str:
    if moment.call == "clone":
        return "clone" if moment.words else "fork"
    if moment.call == "write":
        return "log" if moment.log else "prompt" if moment.prompt else "print"
    return "exec" if moment.call == "execve" else moment.call


@dataclass(frozen=True)
class _Life:
    """How long somebody is there.

    Attributes:
        role: and so the lane.
        name: in words.
        start: after which moment, as number and a half.
        end: after which moment; infinite where it lives on.
        origin: role that it came from, "" for the parent.
    """

    role: str
    name: str
    start: float
    end: float
    origin: str


def _lives(moments: Sequence[Moment]) -> Iterator[_Life]:
    """Yield parent, init and command, those of them that appear, as the trees show them."""
    for role in LANES:
        there = [
            n for n, moment in zip(_numbers(moments), moments, strict=True) if _alive(moment, role)
        ]
        if not there:
            continue
        first, last = there[0], there[-1]
        who = _alive(moments[first - 1], role)[0]
        before = moments[first - 2] if first > 1 else moments[0]
        # A new process has its parent's lane as its origin, one that called exec its own.
        known = {
            process.pid: name for (_, process), name in zip(before.tree, before.roles, strict=True)
        }
        origin = "" if first == 1 else known.get(who.pid) or known.get(who.ppid, "")
        where = f", PID {_inside(who)}" if _inside(who) else ", in the lab"
        at_end = moments[-1].role != role or moments[-1].call != "exit"
        end = float("inf") if last == len(moments) and at_end else last + 0.5
        yield _Life(role, role + where, first - 0.5, end, origin)


def _alive(moment: Moment, role: str) -> list[Process]:
    return [
        process
        for (_, process), name in zip(moment.tree, moment.roles, strict=True)
        if name == role and process.state != "Z"
    ]


class _View(anywidget.AnyWidget):
    """The view with the slider: timeline.js has all it needs to step through the run."""

    _esm = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
    _css = Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
    picture: traitlets.Unicode[str, str | bytes] = traitlets.Unicode().tag(sync=True)
    frames: traitlets.List[dict[str, Any]] = traitlets.List().tag(sync=True)
