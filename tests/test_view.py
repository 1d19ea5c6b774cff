"""view: the drawing and its words say the same, whatever the kernel says."""

import os
import queue
import re
import signal
import subprocess
import threading
import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

import pytest

from labkit import linux, procfs
from labkit.view import drawing, four_steps, mounts_picture, namespace_picture, namespaces
from labkit.view.drawing import (
    ROLES,
    Drawing,
    as_svg,
    color,
    columns,
    fit,
    fit_columns,
    measure,
    visible,
)
from labkit.view.live import Live
from labkit.view.mounts import Layer, MountsPicture, Stack
from labkit.view.namespaces import NamespacePicture, Namespaces, Row, Side
from tests.test_linux import in_sandbox

SVG = "{http://www.w3.org/2000/svg}"
THEMES = {"light": ("#ffffff", "#000000"), "dark": ("#111111", "#ffffff")}
KINDS = procfs.NAMESPACES
FIVE = ("mnt", "uts", "ipc", "pid", "net")


# ---- what is drawn, read back from the SVG


@dataclass(frozen=True)
class Box:
    left: float
    top: float
    right: float
    bottom: float
    text: str = ""

    def overlaps(self, other):
        across = min(self.right, other.right) - max(self.left, other.left)
        return across > 0.1 and min(self.bottom, other.bottom) - max(self.top, other.top) > 0.1

    def holds(self, other):
        return (
            self.left - 0.1 <= other.left
            and self.top - 0.1 <= other.top
            and other.right <= self.right + 0.1
            and other.bottom <= self.bottom + 0.1
        )


def number(element, name):
    return float(element.get(name))


def text_box(element):
    size = float(element.get("font-size", drawing.SIZE))
    width = measure(element.text, size, bold=element.get("font-weight") == "600")
    shift = {"start": 0, "middle": 0.5, "end": 1}[element.get("text-anchor", "start")]
    left, y = number(element, "x") - shift * width, number(element, "y")
    return Box(left, y - 0.78 * size, left + width, y + 0.24 * size, element.text)


def rectangle(element):
    x, y = number(element, "x"), number(element, "y")
    return Box(x, y, x + number(element, "width"), y + number(element, "height"))


def geometry(pane):
    """Words and boxes of a pane, and the pane itself."""
    root = ET.fromstring(as_svg([pane], ""))
    words = [text_box(element) for element in root.iter(f"{SVG}text")]
    boxes = [rectangle(element) for element in root.iter(f"{SVG}rect") if element.get("x")]
    return words, boxes, Box(0, 0, pane.width, pane.height)


def faults(picture):
    """Words that leave their pane, lie on other words, or cross the edge of a box."""
    found = []
    for pane in picture.panes():
        words, boxes, page = geometry(pane)
        for place, word in enumerate(words):
            if not page.holds(word):
                found.append(f"{word} leaves the pane")
            found += [f"{word} lies on {other}" for other in words[:place] if word.overlaps(other)]
            found += [
                f"{word} crosses {box}"
                for box in boxes
                if word.overlaps(box) and not box.holds(word)
            ]
        found += [f"{box} leaves the pane" for box in boxes if not page.holds(box)]
    return found


def drawn(picture):
    """All words of the drawing, each in full where it was shortened."""
    root = ET.fromstring(picture._repr_svg_())
    found = []
    for element in root.iter(f"{SVG}text"):
        title = element.find(f"{SVG}title")
        found.append(element.text if title is None else title.text)
    return found


# ---- the drawing language


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", ROLES)
def test_words_can_be_read_in_both_themes(theme, role):
    page = THEMES[theme]
    pairs = [
        (color(role, look, *page), on)
        for look in ("line", "words", "faint")
        for on in (page[0], color(role, "area", *page))
    ]
    pairs.append((color(role, "on", *page), color(role, "solid", *page)))
    assert all(contrast(one, other) >= 4.5 for one, other in pairs)


def contrast(one, other):
    """Contrast ratio as WCAG 2 defines it."""

    def luminance(rgb):
        parts = [int(rgb[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 名 🙂", "plain ü 名 🙂"),
        ("a\nb\tc\x1b[1m", r"a\nb\tc\x1b[1m"),
        ("turned \u202e round", r"turned \u202e round"),
        ("no text \udcff\udc80", r"no text \xff\x80"),
        ("lone \ud800", r"lone \ud800"),
        ("null \0", r"null \x00"),
    ],
)
def test_nothing_stays_invisible(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize("text", ["x" * 300, "名" * 99, "e\u0301" * 99, "W", "", "abc def"])
@pytest.mark.parametrize("width", [12, 60, 200])
def test_a_text_is_fitted_and_keeps_both_ends(text, width):
    shown = fit(text, width)
    assert measure(shown) <= max(width, measure("…"))
    head, mark, tail = shown.partition("…")
    assert text == shown or (mark and text.startswith(head) and text.endswith(tail))
    assert bool(mark) == (measure(text) > width)


def test_columns_of_a_terminal():
    assert [columns(text) for text in ("abc", "名前", "e\u0301", "🙂")] == [3, 4, 1, 2]


def test_all_words_are_escaped():
    pane = Drawing(400)
    evil = "</text><script>alert(1)</script>&amp;\"'\x1b\ud800"
    pane.text(0, 20, evil, room=60, title=evil)
    pane.box(0, 30, 20, 20, title=evil)
    root = ET.fromstring(as_svg([pane], evil))
    assert "script" not in {element.tag.removeprefix(SVG) for element in root.iter()}
    assert [title.text for title in root.iter(f"{SVG}title")] == [visible(evil)] * 2
    assert root.get("aria-label") == visible(evil)


def test_the_four_steps_fit():
    for lit in ((), (1, 2, 3, 4)):
        assert faults(four_steps(*lit)) == []
        assert "…" not in four_steps(*lit)._repr_svg_()


# ---- namespaces, on odd input


def side(own=(), hostname="lab", links=(("lo", True),), kinds=KINDS):
    numbers = {kind: 4026531834 + n + 500 * (kind in own) for n, kind in enumerate(kinds)}
    return Side(tuple(numbers.items()), hostname, links)


def tree(*names, depth=None, inside=True):
    """Processes below one another, or all on one level below the first."""
    return tuple(
        Row(
            depth=n if depth is None else min(n, depth),
            pid=4_194_000 + n,
            inside=inside,
            pid_inside=n + 1 if inside else None,
            name=name,
            command=(name, "--option"),
            zombie=False,
        )
        for n, name in enumerate(names)
    )


def container(rows, **other):
    lab = replace(side(), links=(("lo", True), ("eth0", True)))
    box = {"own": FIVE, "hostname": "box", "links": (("lo", False),)} | other
    return NamespacePicture(lab, side(**box), rows)


ODD = {
    "no children": container(tree("sh")),
    "no container": NamespacePicture(side(), None, tree("sh", "sleep", inside=False)),
    "no container, deep": NamespacePicture(side(), None, tree(*["sh"] * 40, inside=False)),
    "nothing at all": NamespacePicture(side(), None, (), ended=True),
    "ended with its last state": replace(container(tree("sh", "ps")), ended=True),
    "200 processes": container(tree(*["sleep"] * 200, depth=1)),
    "200 outside, too": container(
        (*tree(*["old"] * 200, depth=1, inside=False), *tree(*["sleep"] * 200, depth=1))
    ),
    "40 levels": container(tree(*[f"level{n}" for n in range(40)])),
    "18 levels": container(tree(*[f"level{n}" for n in range(18)])),
    "markup": container(tree("<b>&amp;</b>", "</text>", "\"'><script>", "a<b>&c")),
    "control characters": container(tree("a\nb", "\x1b[31m", "\x00", "\u202eabc", "\x7f")),
    "lone surrogates": container(tree("\udcff\udc80", "\ud800"), hostname="\udcff"),
    "wide names": container(
        tree("容器運行時的進程名稱", "데몬", "🐳🐳🐳", "👩‍👩‍👧‍👦"), hostname="主機名稱"
    ),
    "other scripts": container(tree("ﷺﷺﷺﷺﷺ", "مرحبا", "नमस्ते", "ก็็็็็็็", "ǄǄǄǄǄǄǄǄ")),
    "long names": container(tree("W" * 64, "m" * 500, "x" * 15), hostname="h" * 64),
    "wide and long": container(tree("名" * 64, "🐳" * 64, depth=1), hostname="W" * 64),
    "many links": container(tree("sh"), links=tuple((f"veth{n:011}", True) for n in range(50))),
    "no links": container(tree("sh"), links=()),
    "nothing may be read": container(tree("sh"), hostname=None, links=None),
    "an old kernel": NamespacePicture(
        side(kinds=FIVE), side(own=FIVE, kinds=("mnt", "pid")), tree("sh")
    ),
    "a new kernel": NamespacePicture(
        side(kinds=(*KINDS, "aaa")), side(own=FIVE, kinds=(*KINDS, "aaa")), tree("sh")
    ),
    "zombies": container(tuple(replace(row, zombie=True) for row in tree("sh", "a", "b"))),
    "the same PIDs": container(
        tuple(replace(row, pid_inside=None) for row in tree("sh", "sleep")), own=("uts",)
    ),
    "large PIDs": container(
        tuple(replace(row, pid_inside=4_194_303) for row in tree(*["W" * 15] * 12))
    ),
}


@pytest.mark.parametrize("picture", ODD.values(), ids=ODD)
@pytest.mark.parametrize("form", ["saved", "live"])
def test_nothing_is_cut_off_or_overlaps(picture, form):
    assert faults(picture.live() if form == "live" else picture) == []


@pytest.mark.parametrize("picture", ODD.values(), ids=ODD)
def test_every_form_is_well_formed(picture):
    for form in (picture, picture.live()):
        for text in (form._repr_svg_(), form._repr_html_()):
            root = ET.fromstring(text)
            assert root.get("role") == "img"
            assert root.get("aria-label")
            text.encode()  # no lone surrogate is left
        assert all(columns(line) <= 80 for line in repr(form).split("\n"))
        assert "\x1b" not in repr(form)


@pytest.mark.parametrize("picture", ODD.values(), ids=ODD)
def test_words_and_drawing_name_the_same_things(picture):
    text, words = repr(picture), drawn(picture)
    facts = dict(re.findall(r"^(\w+) +(.*)$", text, re.MULTILINE))
    for kind, own in picture._kinds():
        word = "own" if own else "shared"
        assert f"{kind} {word}" in words
        assert kind in facts[word].split()
    for row in picture._shown()[0]:
        name = visible(row.name)
        assert name in words
        assert any(fit_columns(name, room) in text for room in range(9, 53))
        if row.pid_inside is not None:
            note = f"PID {row.pid_inside}"
            assert any(word.startswith(f"{note} inside") for word in words)
            assert any(word in (note, f"{note}, zombie") for word in words)
            assert f"{note} inside" in text
    if picture.container:
        for link in picture._links():
            assert link in words
            assert link in text
    for said in (picture._shown()[1], namespaces.ENDED * picture.ended):
        assert said in text
        assert not said or said in words
    assert ("No container:" in words) == ("No container:" in text)


def test_200_processes_are_counted_not_listed():
    picture = ODD["200 processes"]
    assert repr(picture).endswith("  … and 180 more")
    assert drawn(picture).count("… and 180 more") == 2
    both = ODD["200 outside, too"]
    assert "  … and 360 more, 180 of them in the container" in repr(both)
    assert "… and 180 more" in drawn(both)


def test_what_differs_from_run_to_run_is_not_saved():
    picture = container(tree("sh", "ps"))
    other = replace(
        picture,
        lab=replace(picture.lab, links=(("eth9", True),)),
        container=replace(
            picture.container,
            namespaces=tuple(
                (kind, n + 7 * (kind in FIVE)) for kind, n in picture.container.namespaces
            ),
        ),
        rows=tuple(replace(row, pid=row.pid + 5, command=("other",)) for row in picture.rows),
    )
    for form in (repr, NamespacePicture._repr_svg_, NamespacePicture._repr_html_):
        assert form(picture) == form(other)
    assert "4194001" in "".join(drawn(picture.live()))
    assert drawn(picture.live()) != drawn(other.live())


# ---- namespaces, as the kernel has them


def in_container(flags, script="hostname box; echo ready; read line"):
    """Start a shell in new namespaces below another process, and look at that one."""

    def body():
        ready, answer = os.pipe()
        quiet, _ = os.pipe()  # nobody writes: the shell waits
        middle = os.fork()
        if middle == 0:
            with open("/proc/self/comm", "w") as name:
                name.write("middle")
            pid = linux.clone(flags)
            if pid == 0:
                os.dup2(quiet, 0)
                os.dup2(answer, 1)
                os.execvp("sh", ["sh", "-c", script])
            os.waitpid(pid, 0)
            os._exit(0)
        os.read(ready, 100)
        print(repr(namespace_picture(middle)))
        os.kill(middle, signal.SIGKILL)

    return in_sandbox(body)


def test_a_container_as_the_kernel_has_it():
    flags = 0
    for name in ("NS", "UTS", "IPC", "PID", "NET"):
        flags |= getattr(linux, f"CLONE_NEW{name}")
    text = in_container(flags)
    assert text.split("\n") == [
        "own       mnt uts ipc pid net",
        "shared    user cgroup time",
        "hostname  lab outside, box inside",
        "links     lo down",
        "processes",
        "  middle",
        "  └ sh     PID 1 inside",
    ]


def test_a_child_with_a_new_uts_namespace_alone_is_a_container_too():
    text = in_container(linux.CLONE_NEWUTS)
    assert "own       uts\n" in text
    assert "links     those of the lab" in text
    assert text.endswith("└ sh     inside")


def test_who_makes_a_namespace_inside_stays_inside():
    script = "hostname box; unshare --uts sh -c 'echo ready; read line'; true"
    assert in_container(linux.CLONE_NEWUTS, script).split("\n")[-2:] == [
        "  └ sh     inside",
        "    └ sh   inside",
    ]


def test_unshare_that_forks_is_outside_of_the_namespaces_that_it_makes():
    def body():
        command = ["unshare", "--pid", "--mount", "--fork", "sh", "-c", "echo; read line"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            child.stdout.readline()
            print(repr(namespace_picture(child.pid)))
            child.stdin.close()

    assert in_sandbox(body).split("\n")[-3:] == [
        "processes",
        "  unshare",
        "  └ sh      PID 1 inside",
    ]


@pytest.mark.parametrize("reader", ["tree", "namespaces", "hostname", "links"])
def test_a_process_that_ends_while_it_is_read(monkeypatch, reader):
    child = subprocess.Popen(["unshare", "--user", "sleep", "100"], start_new_session=True)
    true = getattr(procfs, reader)

    def read(pid="self"):
        if pid != "self":
            child.kill()
            child.wait()
        result = true(pid)
        return result

    monkeypatch.setattr(procfs, reader, read)
    picture = namespace_picture(child.pid)
    child.kill()
    child.wait()
    assert faults(picture) == []
    assert reader != "tree" or repr(picture).endswith(namespaces.ENDED)


@pytest.mark.parametrize("state", [{"state": "R"}, {"state": "S", "command": ()}])
def test_a_process_that_is_about_to_become_another_is_waited_for(monkeypatch, state):
    shell = procfs.Process(5, 1, (5,), "sh", "S", ("sh",), 1)
    child = replace(shell, pid=6, ppid=5)
    then = replace(child, name="sleep", command=("sleep", "100"))
    looks = [[(0, shell), (1, replace(child, **state))]] * 3 + [[(0, shell), (1, then)]]
    monkeypatch.setattr(procfs, "tree", lambda pid: looks.pop(0))
    assert [row.name for row in namespace_picture(5).rows] == ["sh", "sleep"]


def test_one_that_only_waits_is_not_waited_for(monkeypatch):
    shell = procfs.Process(5, 1, (5,), "sh", "S", ("sh",), 1)
    looks = [[(0, shell), (1, replace(shell, pid=6, ppid=5))]]
    monkeypatch.setattr(procfs, "tree", lambda pid: looks.pop(0))
    assert [row.name for row in namespace_picture(5).rows] == ["sh", "sh"]


def test_a_process_that_does_not_exist():
    assert namespaces.ENDED in repr(namespace_picture(2**22 + 1))


# ---- mounts


def stack(*layers, hidden=0):
    return Stack(tuple(Layer("proc", one, two, False) for one, two in layers), hidden)


MOUNTS = {
    "private": {"machine": stack((7, None)), "container": stack((None, None), (None, None))},
    "peers": {"machine": stack((9, None), (7, None)), "container": stack((9, None), (7, None))},
    "slave": {"machine": stack((7, None)), "container": stack((None, None), (None, 7))},
    "slave of another": {"container": stack((None, 99))},
    "the master on the right": {"slave": stack((None, 7)), "master": stack((7, None))},
    "shared slave": {"a": stack((7, None)), "b": stack((8, 7)), "c": stack((8, 7))},
    "crossing": {"a": stack((1, None), (2, None)), "b": stack((2, None), (1, None))},
    "one skipped": {"a": stack((7, None)), "b": stack((None, None)), "c": stack((7, None))},
    "many layers": {"a": stack(*[(n, None) for n in range(6)], hidden=94)},
    "nothing mounted": {"a": stack(), "b": stack((7, None))},
    "ended": {"a": stack((7, None)), "b": None},
    "nobody": {},
    "markup": {"<b>&\x1b\udcff": stack((7, None)), "名" * 40: stack((7, None))},
    "large numbers": {"a": stack((2_000_000_000, None)), "b": stack((2_000_000_000, None))},
}


def mounts_of(namespaces, targets=("/proc", "/mnt/" + "long<" * 20)):
    return MountsPicture(
        targets,
        tuple(
            (name, None if one is None else (one,) * len(targets))
            for name, one in namespaces.items()
        ),
    )


@pytest.mark.parametrize("namespaces", MOUNTS.values(), ids=MOUNTS)
def test_mounts_are_drawn_without_faults(namespaces):
    picture = mounts_of(namespaces)
    assert faults(picture) == []
    for text in (picture._repr_svg_(), picture._repr_html_()):
        ET.fromstring(text)
    assert all(columns(line) <= 80 for line in repr(picture).split("\n"))
    words = drawn(picture)
    for propagation in re.findall(r"(?:shared|slave of|private).*$", repr(picture), re.MULTILINE):
        assert propagation in words


@pytest.mark.parametrize(
    ("name", "lines", "arrows", "slaves"),
    [
        ("private", 0, 0, 0),
        ("peers", 2, 0, 0),
        ("slave", 0, 1, 1),
        ("slave of another", 0, 0, 1),
        ("shared slave", 1, 1, 2),
        ("one skipped", 1, 0, 0),
    ],
)
def test_peers_are_joined_and_slaves_follow_an_arrow(name, lines, arrows, slaves):
    root = ET.fromstring(mounts_of(MOUNTS[name], ("/proc",))._repr_svg_())
    paths = [path.get("class") for path in root.iter(f"{SVG}path")]
    assert paths.count("lk-lab-tip") == arrows
    assert paths.count("lk-lab-edge") == lines + arrows
    boxes = [box for box in root.iter(f"{SVG}rect") if box.get("class").startswith("lk-lab-area")]
    assert sum(box.get("stroke-dasharray") is not None for box in boxes) == slaves


def test_the_accident_of_notebook_05():
    def body():
        linux.unshare(linux.CLONE_NEWNS)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_SHARED)
        for flags in (0, linux.MS_REC | linux.MS_PRIVATE, linux.MS_REC | linux.MS_SLAVE):
            start, go = os.pipe()
            done, said = os.pipe()
            pid = linux.clone(linux.CLONE_NEWNS | linux.CLONE_NEWPID)
            if pid == 0:
                if flags:
                    linux.mount(None, "/", None, flags)
                linux.mount("proc", "/mnt", "proc")
                os.write(said, b"!")
                os.read(start, 1)
                os._exit(0)
            os.read(done, 1)
            pids = {"machine": os.getpid(), "container": pid}
            print(mounts_picture(pids, targets=("/", "/mnt")))
            os.write(go, b"!")
            os.waitpid(pid, 0)
            if not flags:
                linux.umount("/mnt")

    assert in_sandbox(body) == ACCIDENT


ACCIDENT = """\
/
  machine    root file system  shared, group 1
  container  root file system  shared, group 1
/mnt
  machine    proc  shared, group 2
  container  proc  shared, group 2
/
  machine    root file system  shared, group 1
  container  root file system  private
/mnt
  machine    nothing is mounted here
  container  proc  private
/
  machine    root file system  shared, group 1
  container  root file system  slave of group 1
/mnt
  machine    nothing is mounted here
  container  proc  private"""


def test_what_lies_below_the_readers_own_mount_is_left_out():
    def body():
        for _ in range(3):
            linux.mount("none", "/mnt", "tmpfs")
        pid = linux.clone(linux.CLONE_NEWNS)
        if pid == 0:
            linux.mount("proc", "/mnt", "proc")
            print(mounts_picture({"reader": os.getppid(), "inside": "self"}, ["/mnt"]))
            os._exit(0)
        os.waitpid(pid, 0)
        print(mounts_picture({"reader": "self"}, ["/mnt"]))

    assert in_sandbox(body).split("\n") == [
        "/mnt",
        "  reader  tmpfs  private",
        "  inside  proc  private",
        "/mnt",
        "  reader  tmpfs  private",
    ]


# ---- live


class Page(Live):
    """A live picture whose messages to the page can be read."""

    def __init__(self, picture, listen=None):
        self.sent: queue.Queue = queue.Queue()
        self.picture, self.looks = picture, 0
        super().__init__(listen)

    def look(self):
        self.looks += 1
        return self.picture

    def send(self, content, buffers=None):
        self.sent.put(content["html"])

    def hear(self, state, view="one"):
        self._hear(self, {"view": view, "state": state}, [])

    def next(self):
        return self.sent.get(timeout=60)


class Signs:
    """Stands for a shell's terminal."""

    pid = 0

    def __init__(self):
        self.callbacks = []
        self.cancelled = threading.Event()

    def listen(self, callback):
        self.callbacks.append(callback)

        def cancel():
            self.callbacks.remove(callback)
            self.cancelled.set()

        return cancel


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit ")]


def test_without_a_page_nothing_is_looked_at():
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    assert page.looks == 0
    assert signs.callbacks == []
    assert threads() == []
    assert page.sent.empty()


def test_a_page_gets_the_live_form_at_once_and_again_when_it_changed():
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    page.hear("shown")
    assert page.next() == page.picture.live()._repr_html_()
    page.picture = container(tree("sh", "ps"))
    page._sign.set()
    assert page.next() == page.picture.live()._repr_html_()
    page.hear("hidden")
    assert signs.cancelled.wait(60)
    assert page.sent.empty()


def test_after_a_look_that_failed_the_pages_next_message_begins_anew(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    page.hear("shown")
    page.next()
    page.picture = None  # which cannot be drawn
    page._sign.set()
    assert signs.cancelled.wait(60)
    while threads():
        pass
    page.picture = container(tree("sh", "ps"))
    page.hear("shown")
    assert page.next() == page.picture.live()._repr_html_()
    page.hear("hidden")


def test_a_sign_makes_it_look(monkeypatch):
    monkeypatch.setattr("labkit.view.live.BEAT", None)  # only signs count
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    page.hear("shown")
    page.next()
    while not signs.callbacks:
        pass  # the thread is on its way
    page.picture = container(tree("sh", "ps"))
    signs.callbacks[0](b"$ ")
    assert "ps" in page.next()
    page.hear("hidden")
    assert signs.cancelled.wait(60)


def test_silent_changes_show_at_the_next_beat(monkeypatch):
    monkeypatch.setattr("labkit.view.live.BEAT", 0.01)
    page = Page(container(tree("sh")))
    page.hear("shown")
    page.next()
    page.picture = container(tree("sh", "ps"))
    assert "ps" in page.next()
    page.hear("hidden")
    join()
    assert page.sent.empty()


def join():
    for thread in threads():
        thread.join(60)
    assert threads() == []


def test_it_looks_until_the_last_of_two_pages_goes(monkeypatch):
    monkeypatch.setattr("labkit.view.live.BEAT", 0.01)
    page = Page(container(tree("sh")))
    for view in ("one", "two"):
        page.hear("shown", view)
        page.next()
    page.hear("hidden", "one")
    page.picture = container(tree("sh", "ps"))
    page.next()
    page.hear("hidden", "two")
    join()


def test_a_page_that_went_without_a_word_is_forgotten(monkeypatch):
    monkeypatch.setattr("labkit.view.live.BEAT", 0.01)
    monkeypatch.setattr("labkit.view.live.LEASE", 0.05)
    page = Page(container(tree("sh")))
    page.hear("shown")
    join()
    page.hear("shown")
    assert page.next() == page.next()
    join()


def test_the_end_is_shown_and_ends_it(monkeypatch):
    monkeypatch.setattr("labkit.view.live.BEAT", 0.01)
    page = Page(container(tree("sh")))
    page.hear("shown")
    page.next()
    page.picture = replace(page.picture, ended=True)
    assert namespaces.ENDED in page.next()
    join()
    page.hear("shown", "two")
    assert namespaces.ENDED in page.next()
    assert threads() == []


def test_after_the_end_it_shows_the_last_state():
    with subprocess.Popen(["sleep", "100"]) as child:
        live = Namespaces(child.pid)
        alive = live.look()
        child.kill()
    assert not alive.ended
    assert live.look() == replace(alive, ended=True)


def test_what_is_saved_of_a_live_picture_is_the_steady_form():
    with subprocess.Popen(["sleep", "100"]) as child:
        data, _ = Namespaces(child.pid)._repr_mimebundle_()
        picture = namespace_picture(child.pid)
        child.kill()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == repr(picture)
    assert data["text/html"] == picture._repr_html_()
    assert data["image/svg+xml"] == picture._repr_svg_()


# ---- in a browser, with the fonts that are there


EVERYTHING = (
    [four_steps(1)]
    + [picture.live() for picture in ODD.values()]
    + [mounts_of(one) for one in MOUNTS.values()]
)


def test_no_text_is_wider_in_the_browser_than_measured(blank):
    page = blank
    for picture in EVERYTHING:
        page.set_content(picture._repr_svg_())
        widths = page.evaluate(
            "[...document.querySelectorAll('text')].map(one => one.getComputedTextLength())"
        )
        root = ET.fromstring(picture._repr_svg_())
        boxes = [text_box(element) for element in root.iter(f"{SVG}text")]
        wide = [
            (box.text, width, box.right - box.left)
            for box, width in zip(boxes, widths, strict=True)
            if width > box.right - box.left + 0.5
        ]
        assert wide == []


@pytest.mark.parametrize("width", [1200, 600, 380])
def test_text_stays_large_enough_and_the_page_does_not_scroll(blank, width):
    page = blank
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content("".join(picture._repr_html_() for picture in EVERYTHING))
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll("text")].map(text => {
            const svg = text.ownerSVGElement;
            const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            return parseFloat(getComputedStyle(text).fontSize) * scale;
        }))"""
    )
    assert smallest >= 9.9
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", THEMES)
def test_colours_follow_the_theme(blank, theme):
    paper, ink = THEMES[theme]
    page = blank
    style = f"--jp-layout-color0:{paper};--jp-content-font-color0:{ink}"
    page.set_content(f'<body style="{style}">{four_steps(1)._repr_html_()}</body>')
    fill = page.evaluate("getComputedStyle(document.querySelector('.lk-neutral-area')).fill")
    parts = [float(part) for part in re.findall(r"[\d.]+", fill)]
    scale = 255 if "srgb" in fill else 1
    wanted = color("neutral", "area", paper, ink)
    assert [round(part * scale) for part in parts] == pytest.approx(
        [int(wanted[i : i + 2], 16) for i in (1, 3, 5)], abs=1
    )
