"""TimeLine: what is drawn and said of a recording, also of an odd one."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from labkit.procfs import Process
from labkit.trace.record import Event, Log, Recording
from labkit.view import TimeLine
from labkit.view import timeline as room
from labkit.view.picture import STYLE
from labkit.view.text import columns
from tests.helpers.pages import LAYOUT_FAULTS, LOW_CONTRASTS, THEMES, themed

RUN = "python3 main.py run -ti /bin/sh"
SHELL = (0, Process(4, 2, (4,), "sh", "", ("/bin/sh",), 0))
PARENT = (1, Process(5, 4, (5,), "python3", "", tuple(RUN.split()), 0))
INIT = (2, Process(6, 5, (6, 1), "exe", "", ("/proc/self/exe", "init", "/bin/sh"), 0))
COMMAND = (2, replace(INIT[1], name="sh", command=("/bin/sh",)))
ROLES = ("", "parent", "init", "command")


def event(call, *words, at=0.0, who=PARENT, tree=(SHELL, PARENT), log="", **more):
    roles = ["", "parent", "command" if COMMAND in tree else "init", *["command"] * 200]
    line = Log("info", log, datetime(2026, 11, 24, 12, 0, 1, 250000, tzinfo=UTC)) if log else None
    values = {"prompt": False} | more
    return Event(
        time=at,
        call=call,
        words=words,
        who=who[1],
        tree=tuple(tree),
        roles=tuple(roles[: len(tree)]),
        log=line,
        **values,
    )


START = event("execve", *RUN.split())
CLONE = event("clone", "UTS", "PID", at=0.01)
COME_ON = event("write", "{…}", at=0.02, who=INIT, tree=(SHELL, PARENT, INIT), log="init come on")
EXEC = event("execve", "/bin/sh", at=0.02, who=INIT, tree=(SHELL, PARENT, INIT))
PROMPT = event("write", "$ ", at=0.03, who=COMMAND, tree=(SHELL, PARENT, COMMAND), prompt=True)
SHORT = (START, CLONE, COME_ON, EXEC, PROMPT)
MARKUP = "</text><script>alert(1)</script>&\x1b[31m\u202e"


def of(*events: Event) -> TimeLine:
    return TimeLine(Recording(events, ""))


def print_(text: str, **more) -> Event:
    return event("write", text, who=COMMAND, tree=(SHELL, PARENT, COMMAND), **more)


def with_children(count: int) -> Event:
    """An event of which the container has that many processes more."""
    one = Process(0, 6, (0, 0), "sleep", "", ("sleep", "1"), 0)
    more = [(3, replace(one, pid=n, pids=(n, n - 5))) for n in range(7, 7 + count)]
    return event("exit", "0", who=COMMAND, tree=(SHELL, PARENT, COMMAND, *more))


ODD = {
    "none at all": of(),
    "one": of(START),
    "a hundred": of(*SHORT, *[print_(f"line {n}\n", at=0.1 + n) for n in range(95)]),
    "a thousand": of(*SHORT, *[print_("x", at=0.1) for _ in range(995)]),
    "all at the same time": of(*[replace(m, time=0.0) for m in SHORT]),
    "a long log line": of(START, replace(CLONE, log=Log("info", "word " * 500, datetime.now(UTC)))),
    "markup": of(
        START,
        CLONE,
        replace(COME_ON, log=replace(COME_ON.log, message=MARKUP)),
        EXEC,
        print_(MARKUP),
        event("execve", MARKUP),
        event("mount", MARKUP, MARKUP, MARKUP),
    ),
    "markup in names": of(
        replace(
            START,
            who=replace(PARENT[1], name=MARKUP),
            tree=(SHELL, (1, replace(PARENT[1], name=MARKUP))),
        )
    ),
    "wide letters": of(START, print_("漢字 🙂 " * 40)),
    "many processes": of(*SHORT, with_children(150)),
    "no container": of(START, event("write", "usage", at=0.1), event("exit", "1", at=0.1)),
    "only the container": of(COME_ON, EXEC, PROMPT),
}
TAGS = {"style", "figure", "div", "strong", "span", "b", "i", "small", "ol", "li", "br"}
odd = pytest.mark.parametrize("line", ODD.values(), ids=ODD)


@odd
def test_the_text_form_has_a_line_for_each_moment_and_fits_a_page(line):
    text = repr(line)
    numbers = re.findall(r"^ *(\d+)  ", text, re.MULTILINE)
    assert numbers == [str(n + 1) for n in range(len(line.recording.events))]
    assert all(columns(row) <= 100 for row in text.split("\n"))
    assert text.replace("\n", "").isprintable()


class Marks(HTMLParser):
    """The tags of a picture, and of each event its number and its classes."""

    def __init__(self, line):
        super().__init__()
        self.tags, self.numbers, self.looks = set(), [], []
        self.feed(line._repr_html_())

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        found = dict(attributes)
        if "data-moment" in found:
            self.numbers.append(found["data-moment"])
            self.looks.append(found["class"])


def alive(line, role):
    """The numbers of the events at which somebody is there."""
    return [n for n, look in enumerate(Marks(line).looks, 1) if f"lk-lives-{role}" in look]


def born(line):
    """Who appears at which event."""
    found = [re.findall(r"lk-born-(\w+)", look) for look in Marks(line).looks]
    return {role: number for number, roles in enumerate(found, 1) for role in roles}


@odd
def test_the_drawing_is_well_formed_and_nothing_in_it_is_markup(line):
    assert Marks(line).tags <= TAGS


def test_every_moment_is_marked_once():
    for line in ODD.values():
        assert Marks(line).numbers == [str(n + 1) for n in range(len(line.recording.events))]


def test_steady_forms_hold_no_times_and_no_pid_of_the_lab():
    other = [
        replace(
            m,
            time=m.time * 3,
            tree=tuple((d, replace(p, pid=p.pid + 900, ppid=p.ppid + 900)) for d, p in m.tree),
            who=replace(m.who, pid=m.who.pid + 900),
        )
        for m in SHORT
    ]
    for form in (repr, TimeLine._repr_html_):
        assert form(of(*SHORT)) == form(of(*other))


def test_steps():
    assert re.findall(r"^\d .*$", repr(of(*SHORT)), re.MULTILINE) == [
        "1 command line",
        "2 parse: no system call",
        "3 isolated child",
        "4 init",
    ]
    assert "2 parse\n" in repr(of(START, event("write", "usage")))
    assert "2 parse" not in repr(of(START))


def test_in_version_2_init_ends_where_the_command_begins():
    line = of(*SHORT)
    assert [alive(line, role) for role in ROLES[1:]] == [[1, 2, 3, 4, 5], [3, 4], [5]]
    assert born(line) == {"init": 3, "command": 5}


def test_in_version_1_init_goes_on():
    child = (3, Process(7, 6, (7, 2), "sh", "", ("/bin/sh",), 0))
    tree = (SHELL, PARENT, INIT, child)
    fork = event("clone", who=INIT, tree=(SHELL, PARENT, INIT))
    prompt = event("write", "$ ", who=child, tree=tree, prompt=True)
    line = of(START, CLONE, COME_ON, fork, replace(prompt, roles=ROLES))
    assert alive(line, "init") == [3, 4, 5]
    assert born(line) == {"init": 3, "command": 5}


def test_a_process_that_ends_takes_its_lane_with_it():
    bye = event("exit", "0", who=COMMAND, tree=(SHELL, PARENT, COMMAND))
    end = event("exit", "255")
    line = of(*SHORT, bye, end)
    assert alive(line, "command") == [5, 6]
    assert alive(line, "parent") == [1, 2, 3, 4, 5, 6, 7]


def test_an_exec_that_fails_makes_no_command():
    line = of(*SHORT[:3], replace(EXEC, failed=True))
    assert "exec /bin/sh: fails" in repr(line)
    assert "PID 1, init, calls exec, which fails: /bin/sh</strong>" in line.live().html()


def test_a_tree_with_siblings_in_one_line():
    assert repr(of(with_children(2))).endswith("  sh ─ python3 ─ sh(1) ─ [sleep(2), sleep(3)]")


def test_a_zombie_is_told():
    zombie = (2, replace(COMMAND[1], state="Z", command=()))
    line = of(event("exit", "0", tree=(SHELL, PARENT, zombie)))
    assert repr(line).endswith("  sh ─ python3 ─ sh(1, ended)")


def test_frames_hold_all_that_the_view_shows():
    frame = of(*SHORT).live().html().split("<li")[3]
    assert "<strong>PID 1, init, writes to the log: init come on</strong>" in frame
    assert "3 of 5 · after 20.0 ms · step 4 init" in frame
    assert "2026-11-24T12:00:01.250+00:00  info: init come on" in frame
    assert frame.count("<tr") == 4  # the head, and a process each
    assert frame.count("<tr class=lk-calls>") == 1


def test_a_notebook_gets_the_view_beside_the_steady_forms():
    from IPython.core.formatters import DisplayFormatter

    line = of(*SHORT)
    data, _ = DisplayFormatter().format(line)
    assert data["text/plain"] == repr(line)
    assert data["text/html"] == line._repr_html_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"]


PAGE = """<meta charset=utf-8><style>{css}</style><div id=here></div>
<script type=module>
{code}
const data = JSON.parse(document.getElementById("data").textContent);
render({{ model: {{ get: (name) => data[name] }}, el: document.getElementById("here") }});
</script><script type=application/json id=data>{data}</script>"""


@pytest.fixture
def show(blank):
    """Show a time line on a page that has no kernel; what it throws fails the test."""
    errors: list[str] = []
    page = blank
    page.on("pageerror", lambda error: errors.append(str(error)))

    def show(line: TimeLine, width=600, theme="light"):
        data = {"html": line.live().html()}
        path = Path(room.__file__)
        html = PAGE.format(
            css=STYLE + path.with_suffix(".css").read_text(),
            code=path.with_suffix(".js").read_text().replace("export default", "void"),
            data=json.dumps(data).replace("<", "\\u003c"),
        )
        page.set_viewport_size({"width": width, "height": 900})
        page.set_content(themed(theme, html))
        return page

    yield show
    assert errors == []


def test_the_slider_moves_by_keyboard_and_says_where_it_is(show):
    page = show(of(*SHORT))
    slider = page.get_by_role("slider", name="Moment of the run")
    slider.focus()
    assert slider.get_attribute("aria-valuetext").startswith(
        "1 of 5: A copy of the shell calls exec"
    )
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert (
        slider.get_attribute("aria-valuetext")
        == "3 of 5: PID 1, init, writes to the log: init come on"
    )
    assert page.locator(".lk-now[data-moment]").get_attribute("data-moment") == "3"
    detail = page.locator("li.lk-now").inner_text()
    assert "after 20.0 ms · step 4 init" in detail
    assert "12:00:01.250+00:00  info: init come on" in detail
    assert page.locator("li.lk-now .lk-calls").inner_text().split("\t") == [
        "└ exe",
        "6",
        "1",
        "/proc/self/exe init /bin/sh",
    ]


def test_play_goes_to_the_end_and_stops(show):
    page = show(of(START, CLONE))
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Play").wait_for()
    assert page.get_by_role("slider").input_value() == "1"


def test_a_click_on_a_mark_goes_there(show):
    page = show(of(*SHORT))
    page.locator("[data-moment='4']").click()
    assert page.get_by_role("slider").input_value() == "3"


@odd
def test_the_view_of_odd_recordings(show, line):
    page = show(line, width=380)
    assert page.locator("#here script").count() == 0
    if line.recording.events:
        page.get_by_role("slider").focus()
        page.keyboard.press("End")
        count = len(line.recording.events)
        assert page.get_by_role("slider").get_attribute("aria-valuetext").startswith(f"{count} of")
    assert page.evaluate(LAYOUT_FAULTS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


@odd
def test_nothing_saved_is_wider_than_its_output_or_cut_off(blank, line):
    blank.set_viewport_size({"width": 380, "height": 800})
    blank.set_content(line._repr_html_())
    assert blank.evaluate(LAYOUT_FAULTS) == []


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read_in_both_themes(show, theme):
    page = show(of(*SHORT), theme=theme)
    assert page.evaluate(LOW_CONTRASTS) == []
    page.set_content(themed(theme, of(*SHORT)._repr_html_()))
    assert page.evaluate(LOW_CONTRASTS) == []
