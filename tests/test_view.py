"""The pictures: words and HTML say the same, whatever the kernel says; the browser lays it out."""

import os
import queue
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest

from labkit import (
    layers_picture,
    linux,
    look,
    mounts_picture,
    namespace_picture,
    netlink,
    procfs,
    stats_picture,
)
from labkit.look import Namespaces, Stats
from labkit.view import four_steps, namespaces
from labkit.view.layers import MAX_ROWS, LayersPicture
from labkit.view.live import Live
from labkit.view.mounts import MountsPicture
from labkit.view.namespaces import NamespacePicture, Row, Side
from labkit.view.network import MAX_ENDS, End, NetworkPicture, Wire
from labkit.view.stats import Part, StatsPicture
from labkit.view.text import columns, fit_columns, visible
from tests.helpers.pages import LAYOUT_FAULTS, LOW_CONTRASTS, THEMES, say, themed
from tests.helpers.processes import in_sandbox

KINDS = procfs.NAMESPACES
FIVE = ("mnt", "uts", "ipc", "pid", "net")


# ---- what stands in the HTML


class Read(HTMLParser):
    """The tags, classes and words of a piece of HTML; one that is not well formed is refused."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.classes, self.words, self.titles = [], [], [], []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "br":
            self._open.append(tag)
        for name, value in attributes:
            if name == "class":
                self.classes += value.split()
            elif name == "title":
                self.titles.append(value)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1] != "style" and data.strip():
            self.words.append(data)


def drawn(picture):
    """All words of the picture, piece by piece."""
    return Read(picture.html()).words


# ---- text


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
@pytest.mark.parametrize("width", [2, 10, 34])
def test_a_text_is_fitted_and_keeps_both_ends(text, width):
    shown = fit_columns(text, width)
    assert columns(shown) <= width
    head, mark, tail = shown.partition("…")
    assert text == shown or (mark and text.startswith(head) and text.endswith(tail))
    assert bool(mark) == (columns(text) > width)


def test_columns_of_a_terminal():
    assert [columns(text) for text in ("abc", "名前", "e\u0301", "🙂")] == [3, 4, 1, 2]


def test_all_words_are_escaped():
    evil = "</strong><script>alert(1)</script>&amp;\"'\x1b\ud800"
    row = Row(0, process(9, evil, evil), True, 1)
    pictures = (
        NamespacePicture(side(hostname=evil), (side(FIVE, evil, ((evil, True),)),), (row,)).live(),
        mounts_of({evil: stack((7, None)), "b": None}, (evil,)),
    )
    for picture in pictures:
        found = Read(picture.html())
        assert "script" not in found.tags
        assert visible(evil) in found.words
        assert set(found.titles) <= {f"{visible(evil)}: {visible(evil)}"}


# ---- namespaces, on odd input


def side(own=(), hostname="lab", links=(("lo", True),), kinds=KINDS):
    numbers = {kind: 4026531834 + n + 500 * (kind in own) for n, kind in enumerate(kinds)}
    return Side(tuple(numbers.items()), hostname, links)


def process(pid, name, *command, state="S"):
    return procfs.Process(pid, 1, (pid,), name, state, command, 0)


def changed(row, **changes):
    return replace(row, process=replace(row.process, **changes))


def tree(*names, depth=None, inside=True):
    """Processes below one another, or all on one level below the first."""
    return tuple(
        Row(
            depth=n if depth is None else min(n, depth),
            process=process(4_194_000 + n, name, name, "--option"),
            inside=inside,
            pid_inside=n + 1 if inside else None,
        )
        for n, name in enumerate(names)
    )


def container(rows, **other):
    lab = replace(side(), links=(("lo", True), ("eth0", True)))
    box = {"own": FIVE, "hostname": "box", "links": (("lo", False),)} | other
    return NamespacePicture(lab, (side(**box),), rows)


def several(*boxes, names=("sh",), more=0):
    """Containers, each below a process of the lab: host name, own kinds, which inode numbers."""
    sides, rows = [], []
    for number, (hostname, own, numbers) in enumerate(boxes, 1):
        box = side(own, hostname, (("lo", True),))
        kinds = tuple((kind, n + numbers * (kind in own)) for kind, n in box.namespaces)
        sides.append(replace(box, namespaces=kinds))
        inside = tree(*names)
        rows.append(Row(0, process(100 * number, "python3", "python3"), 0, None))
        rows += [replace(row, depth=row.depth + 1, inside=number) for row in inside]
    return NamespacePicture(side(), tuple(sides), tuple(rows), more)


def boxes(number):
    return [(f"{n:012x}", FIVE, n) for n in range(number)]


SEVERAL = {
    "two": several(("web", FIVE, 1), ("job", FIVE, 2), names=("sh", "sleep")),
    "three": several(*boxes(3)),
    "a shared one": several(("web", FIVE, 1), ("job", ("net",), 1), ("db", ("net", "uts"), 1)),
    "many more": several(*boxes(namespaces.MAX_CONTAINERS), more=194),
    "the lab's name": several(("lab", FIVE, 1), ("x", FIVE, 2), ("x", FIVE, 3), (None, FIVE, 4)),
    "odd names": several(("<b>\x1b\udcff", FIVE, 1), ("名" * 64, FIVE, 2), ("W" * 64, FIVE, 3)),
    "100 processes in each": several(*boxes(2), names=("sleep",) * 100),
    "several with their last state": replace(several(*boxes(2)), ended=True),
}
ODD = {
    "no children": container(tree("sh")),
    "no container": NamespacePicture(side(), (), tree("sh", "sleep", inside=False)),
    "no container, deep": NamespacePicture(side(), (), tree(*["sh"] * 40, inside=False)),
    "nothing at all": NamespacePicture(side(), (), (), ended=True),
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
        side(kinds=FIVE), (side(own=FIVE, kinds=("mnt", "pid")),), tree("sh")
    ),
    "a new kernel": NamespacePicture(
        side(kinds=(*KINDS, "aaa")), (side(own=FIVE, kinds=(*KINDS, "aaa")),), tree("sh")
    ),
    "zombies": container(tuple(changed(row, state="Z") for row in tree("sh", "a", "b"))),
    "the same PIDs": container(
        tuple(replace(row, pid_inside=None) for row in tree("sh", "sleep")), own=("uts",)
    ),
    "large PIDs": container(
        tuple(replace(row, pid_inside=4_194_303) for row in tree(*["W" * 15] * 12))
    ),
}


@pytest.mark.parametrize("picture", (ODD | SEVERAL).values(), ids=ODD | SEVERAL)
def test_every_form_is_well_formed(picture):
    for form in (picture, picture.live()):
        for text in (form.html(), form._repr_html_()):
            Read(text)
            text.encode()  # no lone surrogate is left
        assert all(columns(line) <= 80 for line in repr(form).split("\n"))
        assert "\x1b" not in repr(form)


@pytest.mark.parametrize("picture", ODD.values(), ids=ODD)
def test_words_and_drawing_name_the_same_things(picture):
    text, words = repr(picture), drawn(picture)
    facts = dict(re.findall(r"^(\w+) +(.*)$", text, re.MULTILINE))
    for whose in ("own", "shared"):
        if whose in facts:
            start = words.index(whose) + 1
            kinds = facts[whose].split()
            assert words[start : start + len(kinds)] == kinds
    for row in picture.rows[:20]:
        name = visible(row.process.name)
        assert name in words
        assert any(fit_columns(name, room) in text for room in range(9, 53))
        if row.pid_inside is not None:
            note = f"PID {row.pid_inside}"
            assert any(word.startswith(f"{note} inside") for word in words)
            assert any(word in (note, f"{note}, zombie") for word in words)
            assert f"{note} inside" in text
    if picture.containers:
        for link in re.findall(r"\w+ (?:up|down)", text):
            assert link in words
    more = re.findall(r"^  (… and .*)$", text, re.MULTILINE)
    for said in (*more, *[namespaces.ENDED] * picture.ended):
        assert said in text
        assert said in words
    assert ("No container:" in words) == ("No container:" in text)


@pytest.mark.parametrize("picture", SEVERAL.values(), ids=SEVERAL)
def test_several_containers_are_named_alike_in_words_and_in_html(picture):
    text, words = repr(picture), drawn(picture)
    names = re.findall("^container (.*)$", text, re.MULTILINE)
    titles = [word.removeprefix("container ") for word in words if word.startswith("container ")]
    assert [fit_columns(f"container {title}", 78)[10:] for title in titles] == names
    assert len(set(names)) == len(picture.containers)
    for number, (title, side) in enumerate(zip(titles, picture.containers, strict=True), 1):
        found = words[words.index(f"container {title}") :]
        start = found.index("own") + 1
        own = [kind for kind, _ in set(side.namespaces) - set(picture.lab.namespaces)]
        assert set(found[start : found.index("shared")]) <= {*own, "none"}
        row = next(row for row in picture.rows if row.inside == number)
        assert f"PID {row.pid_inside} in {title}" in words
    assert ("… and 194 more containers" in text) == ("… and 194 more containers" in words)


def test_a_namespace_of_two_containers_is_no_ones_own():
    text = repr(SEVERAL["a shared one"]).split("\n")
    assert text[1:4] == ["own       mnt ipc pid", "shared    user cgroup time", "with db   uts"]
    assert "with web, db net" in text


def test_200_processes_are_counted_not_listed():
    picture = ODD["200 processes"]
    assert repr(picture).endswith("  … and 180 more")
    assert drawn(picture).count("… and 180 more") == 2
    both = ODD["200 outside, too"]
    assert repr(both).endswith("  … and 360 more")
    assert "… and 180 more" in drawn(both)


def test_what_differs_from_run_to_run_is_not_saved():
    picture = container(tree("sh", "ps"))
    box = picture.containers[0]
    moved = tuple((kind, n + 7 * (kind in FIVE)) for kind, n in box.namespaces)
    other = replace(
        picture,
        lab=replace(picture.lab, links=(("eth9", True),)),
        containers=(replace(box, namespaces=moved),),
        rows=tuple(
            changed(row, pid=row.process.pid + 5, command=("other",)) for row in picture.rows
        ),
    )
    for form in (repr, NamespacePicture._repr_html_):
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


def several_containers(*names):
    """Start containers with these host names; return the picture of all, and of the first one."""

    def body():
        pipe, children = subprocess.PIPE, []
        for name in names:
            script = f"hostname {name}; echo; read line"
            command = ["unshare", "--pid", "--uts", "--fork", "sh", "-c", script]
            children.append(subprocess.Popen(command, stdin=pipe, stdout=pipe))
            children[-1].stdout.readline()
        print(namespace_picture())
        print("below the first")
        print(namespace_picture(children[0].pid))
        for child in children:
            child.communicate()

    return in_sandbox(body).split("below the first\n")


def test_several_containers_as_the_kernel_has_them():
    everything, first = several_containers("web", "job")
    assert everything == TWO
    assert first.split("\n")[2] == "hostname  lab outside, web inside"
    assert "job" not in first


TWO = """\
container web
own       uts pid
shared    mnt ipc net user cgroup time
hostname  lab outside, web inside
links     those of the lab
container job
own       uts pid
shared    mnt ipc net user cgroup time
hostname  lab outside, job inside
links     those of the lab
processes
  unshare
  └ sh      PID 1 in web
  unshare
  └ sh      PID 1 in job
"""


def test_more_containers_than_there_is_room_for_are_counted():
    everything, _ = several_containers(*"abcdefgh")
    assert re.findall("^container .$", everything, re.MULTILINE)[-1] == "container f"
    assert everything.count("└ sh") == everything.count("unshare") == 6
    assert "… and 2 more containers" in everything


def test_a_lab_without_containers():
    def body():
        with subprocess.Popen(["sleep", "100"]) as child:
            print(namespace_picture())
            child.kill()

    assert in_sandbox(body).split("\n") == [
        "hostname  lab",
        "No container: every process shares the lab's namespaces.",
    ]


@pytest.mark.parametrize(
    ("room", "reader"),
    [(procfs, "tree"), (procfs, "namespaces"), (procfs, "hostname"), (netlink, "links")],
)
def test_a_process_that_ends_while_it_is_read(monkeypatch, room, reader):
    child = subprocess.Popen(["unshare", "--user", "sleep", "100"], start_new_session=True)
    true = getattr(room, reader)

    def read(pid="self"):
        if pid != "self":
            child.kill()
            child.wait()
        result = true(pid)
        return result

    monkeypatch.setattr(room, reader, read)
    picture = namespace_picture(child.pid)
    child.kill()
    child.wait()
    Read(picture.html())
    assert reader != "tree" or repr(picture).endswith(namespaces.ENDED)


@pytest.mark.parametrize("state", [{"state": "R"}, {"state": "S", "command": ()}])
def test_a_process_that_is_about_to_become_another_is_waited_for(monkeypatch, state):
    shell = procfs.Process(5, 1, (5,), "sh", "S", ("sh",), 1)
    child = replace(shell, pid=6, ppid=5)
    then = replace(child, name="sleep", command=("sleep", "100"))
    looks = [[(0, shell), (1, replace(child, **state))]] * 3 + [[(0, shell), (1, then)]] * 2
    monkeypatch.setattr(procfs, "tree", lambda pid: looks.pop(0))
    assert [row.process.name for row in namespace_picture(5).rows] == ["sh", "sleep"]


def test_one_that_only_waits_is_not_waited_for(monkeypatch):
    shell = procfs.Process(5, 1, (5,), "sh", "S", ("sh",), 1)
    looks = [[(0, shell), (1, replace(shell, pid=6, ppid=5))]] * 2  # one more to be sure of it
    monkeypatch.setattr(procfs, "tree", lambda pid: looks.pop(0))
    assert [row.process.name for row in namespace_picture(5).rows] == ["sh", "sh"]


def test_a_process_that_does_not_exist():
    assert namespaces.ENDED in repr(namespace_picture(2**22 + 1))


# ---- mounts


def stack(*mounts):
    """Mounts, the topmost first: the group of each, and the one that it is a slave of."""
    found = []
    for group, master in mounts:
        words = [f"shared:{group}"] * bool(group) + [f"master:{master}"] * bool(master)
        propagation = " ".join(words) or "private"
        found.append(procfs.Mount(1, 0, "/", "/proc", "rw", propagation, "proc", "proc"))
    return found


MOUNTS = {
    "private": {"machine": stack((7, None)), "container": stack((None, None), (None, None))},
    "peers": {"machine": stack((9, None), (7, None)), "container": stack((9, None), (7, None))},
    "slave": {"machine": stack((7, None)), "container": stack((None, None), (None, 7))},
    "slave of another": {"container": stack((None, 99))},
    "the master on the right": {"slave": stack((None, 7)), "master": stack((7, None))},
    "shared slave": {"a": stack((7, None)), "b": stack((8, 7)), "c": stack((8, 7))},
    "crossing": {"a": stack((1, None), (2, None)), "b": stack((2, None), (1, None))},
    "one skipped": {"a": stack((7, None)), "b": stack((None, None)), "c": stack((7, None))},
    "many mounts": {"a": stack(*[(n, None) for n in range(1, 100)])},
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
        ("the master on the right", 0, 1, 1),
        ("shared slave", 1, 1, 2),
        ("one skipped", 0, 0, 0),
    ],
)
def test_peers_are_joined_and_slaves_follow_an_arrow(name, lines, arrows, slaves):
    found = Read(mounts_of(MOUNTS[name], ("/proc",)).html())
    assert found.words.count("↔") == lines
    assert found.words.count("→") + found.words.count("←") == arrows
    assert found.classes.count("lk-slave") == slaves


def test_an_arrow_leads_from_the_master_to_its_slave():
    slave, master = stack((None, 7)), stack((7, None))
    assert "→" in drawn(mounts_of({"master": master, "slave": slave}, ("/proc",)))
    assert "←" in drawn(mounts_of({"slave": slave, "master": master}, ("/proc",)))


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


# ---- layers


def lay(folder):
    """Fill two layers, the upper one by changes in a real overlay, and stay in that."""
    for name in ("lower/etc/old", "lower/opt/tool", "upper", "work", "merged"):
        os.makedirs(f"{folder}/{name}")
    for name in ("etc/hosts", "etc/motd", "etc/old/a", "etc/passwd", "opt/tool/run", "<b>\n"):
        Path(folder, "lower", name).touch()
    options = f"lowerdir={folder}/lower,upperdir={folder}/upper,workdir={folder}/work,userxattr"
    linux.mount("overlay", f"{folder}/merged", "overlay", 0, options)
    os.chdir(f"{folder}/merged")
    os.remove("etc/hosts")
    Path("etc/motd").write_text("another")
    shutil.rmtree("etc/old")
    os.mkdir("etc/old")
    shutil.rmtree("opt/tool")
    Path("opt/tool").touch()
    Path("new").touch()


def test_layers_as_overlayfs_merges_them(tmp_path):
    def body():
        try:
            lay(folder := f"{tmp_path}/disk")
        except OSError:  # this disk is an overlay itself, as in most containers
            linux.mount("none", folder := f"{tmp_path}/disk/work", "tmpfs")
            lay(folder)
        picture = layers_picture(lower=f"{folder}/lower", upper=f"{folder}/upper")
        print(picture)
        for path in picture.layers["lower"].keys() | picture.layers["upper"]:
            assert os.path.lexists(path) == bool(picture.seen(path)), path
        os.chdir("/")
        linux.umount(f"{folder}/merged")
        shutil.rmtree(folder)  # or nobody but root could remove work/work

    assert in_sandbox(body) == MERGED


MERGED = r"""
               lower   upper       you see
/<b>\n         file                lower
/etc           folder  folder      lower, upper
/etc/hosts     file    removed     nothing
/etc/motd      file    file        upper
/etc/old       folder  new folder  upper
/etc/old/a     file                nothing
/etc/passwd    file                lower
/new                   file        upper
/opt           folder  folder      lower, upper
/opt/tool      folder  file        upper
/opt/tool/run  file                nothing"""[1:]
LAYERS = {
    "three": LayersPicture(
        {
            "base": {"a": "folder", "a/x": "file", "b": "folder", "b/x": "file", "c": "file"},
            "<b>": {"a": "new folder", "a/y": "file", "b": "file", "c": "folder", "c/x": "file"},
            "名": {"a": "folder", "b": "folder", "b/y": "file", "c": "folder"},
        }
    ),
    "long": LayersPicture({"W" * 64: {"m" * 255: "folder", f"{'m' * 255}/名\udcff": "file"}}),
    "many": LayersPicture({"lower": {str(n): "file" for n in range(50)}, "upper": {}}),
    "none": LayersPicture({}),
}


def test_in_several_layers_the_topmost_that_says_something_wins():
    found = {path: ", ".join(LAYERS["three"].seen(path)) for path in LAYERS["three"].paths}
    assert found == {
        "a": "<b>, 名",
        "a/x": "",
        "a/y": "<b>",
        "b": "名",
        "b/x": "",
        "b/y": "名",
        "c": "<b>, 名",
        "c/x": "<b>",
    }


@pytest.mark.parametrize("picture", LAYERS.values(), ids=LAYERS)
def test_layers_in_words_and_in_html_are_the_same(picture):
    found, text = Read(picture.html()), repr(picture).splitlines()
    for line in text[1 : MAX_ROWS + 1]:
        path, *words = re.split("  +", line)
        assert " ".join(words) in " ".join(found.words)
        assert any(fit_columns(word, 40) == path for word in found.words)
    assert found.words.count("nothing") == repr(picture).count("nothing")
    assert ("… and 10 more" in found.words) == ("… and 10 more" in text)
    framed = found.classes.count("lk-shared") + found.classes.count("lk-own")
    assert framed == sum(len(picture.seen(path)) for path in picture.paths[:MAX_ROWS])


# ---- networks: what the kernel says of them is in test_networks.py


def ends(number, names="c{}", **other):
    return tuple(
        End(names.format(n), (f"10.44.0.{n}/24",), reaches=(f"c{n + 1}", "the bridge"), **other)
        for n in range(2, number + 2)
    )


BRIDGE = End("br0", ("10.44.0.1/24",))
EVIL = "<b>\x1b\udcff"
PORT = "127.0.0.1:8080 to 10.44.0.2:80"
NETWORKS = {
    "two": NetworkPicture(
        (
            Wire("switch of blue", BRIDGE, ends(3), (PORT, "0.0.0.0:2222 to 10.44.0.3:22")),
            Wire("switch of blue", None, (End("left", ()),)),
            Wire("switch of green", replace(BRIDGE, wrong="the bridge is down"), ends(1)),
        ),
        ("loner",),
        ("same",),
    ),
    "cables": NetworkPicture(
        (Wire("", None, ends(2)), Wire("", None, ends(2, wrong="its end of the cable is down")))
    ),
    "many": NetworkPicture(
        (
            Wire("switch of blue", BRIDGE, ends(50)),
            Wire("switch of few", BRIDGE, (replace(ends(1)[0], reaches=tuple("abcdef")),)),
        ),
        tuple(f"loner{n}" for n in range(40)),
    ),
    "long": NetworkPicture(
        (
            Wire(f"switch of {'W' * 64}", BRIDGE, ends(2, "m" * 62 + "{}"), (PORT * 9,)),
            Wire("", None, ends(2, "名" * 60 + "{}", wrong="down" * 9)),
        ),
        ("W" * 64, "h"),
    ),
    "odd": NetworkPicture((Wire(EVIL, End(EVIL, ()), (End(EVIL, (), EVIL),), (EVIL,)),), (EVIL,)),
    "none": NetworkPicture(()),
}


@pytest.mark.parametrize("picture", NETWORKS.values(), ids=NETWORKS)
def test_networks_in_words_and_in_html_are_the_same(picture):
    found, text = Read(picture.html()), repr(picture)
    words = " ".join(found.words)
    for line in text.split("\n"):
        for word in filter(None, re.split("  +|: |, ", line)):
            assert word in words
    assert "b" not in found.tags
    assert text.count(f"… and {50 - MAX_ENDS} more") == words.count(f"… and {50 - MAX_ENDS} more")


def test_a_cable_that_is_pulled_is_dashed_and_a_bridge_that_is_down_grey():
    classes = Read(NETWORKS["two"].html()).classes
    assert classes.count("lk-mute") == 2  # the bridge that is down, and where there is none
    assert Read(NETWORKS["cables"].html()).classes.count("lk-mute") == 2


def test_whom_one_reaches_is_counted_where_there_are_many():
    assert "reaches a, b, c, d and 2 more" in repr(NETWORKS["many"])


# ---- what containers take


def part(limit, *values):
    return Part([(float(second), value) for second, value in enumerate(values)], limit)


def taken(memory, processor, tasks):
    return {"memory": memory, "processor": processor, "tasks": tasks}


MIB = 1 << 20
STATS = {
    "three": StatsPicture(
        {
            "00000000002a": taken(
                part(64 * MIB, *(MIB * n for n in range(4, 62))),
                part(0.5, *(n % 7 / 14 for n in range(57))),
                part(32, *[1.0] * 20, *[3.0] * 38),
            ),
            "0123456789ab": taken(part(None, 5e6, 1e6), part(None, 1.25), part(None, 1.0, 2.0)),
            "ffffffffffff": taken(part(64 * MIB), part(None), part(0.0)),
        }
    ),
    "above its limit": StatsPicture(
        {"0" * 12: taken(part(MIB, 2e9), part(0.01, 0.0, 63.99), part(10, 4e6))}
    ),
    "none": StatsPicture({}),
}


def test_stats_have_dockers_columns():
    assert repr(STATS["three"]).split("\n") == [
        "CONTAINER ID   CPU %            MEM USAGE / LIMIT   MEM %    PIDS",
        "00000000002a   0.00% / 50.00%   61MiB / 64MiB       95.31%   3 / 32",
        "0123456789ab   125.00% / max    976.6KiB / max      --       2 / max",
        "ffffffffffff   -- / max         -- / 64MiB          --       -- / 0",
    ]


@pytest.mark.parametrize("picture", STATS.values(), ids=STATS)
def test_stats_in_words_and_in_html_are_the_same(picture):
    words = drawn(picture)
    for line in repr(picture).splitlines()[1:]:
        name, cpu, memory, share, tasks = re.split("   +", line)
        at = words.index(f"container {name}")
        for label, both in (("memory", memory), ("processor", cpu), ("tasks", tasks)):
            now, most = both.split(" / ")
            at = words.index(f"{label} ", at)
            assert words[at + 1] == now
            of = " no limit" if most == "max" else f" of {most}"
            assert words[at + 2] in (of, f"{of}, {share}")
            assert ("%" in share and label == "memory") == (words[at + 2] != of)
    assert ("No container has a control group." in words) == (not picture.containers)


def test_a_bar_is_as_long_as_the_share_of_the_limit_and_a_line_ends_now():
    html = STATS["three"].live().html()
    assert html.count('<div class="lk-bar"></div>') == 6  # no limit, or nothing to be seen
    assert "width: min(100%, 95.31%)" in html
    lines = [line.split() for line in re.findall('points="(.*?)"', html)]
    assert lines[0][0] == "3.0,93.8"
    assert [line[-1] for line in lines[:3]] == ["60.0,4.7", "60.0,100.0", "60.0,90.6"]
    assert "polyline" not in STATS["three"].html()


def group(folder, **files):
    """Write what looks like a control group."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{text}\n")


def test_a_group_as_the_kernel_has_it(tmp_path, monkeypatch):
    other = {"memory_max": 4 * MIB, "cpu_max": "50000 100000", "pids_max": "max"}
    one, two = tmp_path / ("a" * 12), tmp_path / ("b" * 12)
    group(
        one, memory_current=MIB, cpu_stat="usage_usec 5000000\nuser_usec 1", pids_current=2, **other
    )
    group(two, cpu_stat="usage_usec 1")  # no controllers: the file is there all the same
    group(tmp_path / ("c" * 12), pids_current=0)  # its container has ended
    group(tmp_path / ("d" * 12))  # it goes while it is read
    group(tmp_path / "lab", pids_current=7)
    clock = [10.0]

    def work(seconds):
        clock[0] += 20
        group(one, memory_current=2 * MIB, cpu_stat="usage_usec 9000000\nuser_usec 1")

    monkeypatch.setattr(procfs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(look, "time", SimpleNamespace(sleep=work))
    monkeypatch.setenv("MYDOCKER_CGROUP", str(tmp_path))
    text = repr(stats_picture())
    assert {re.sub("  +", "  ", line) for line in text.split("\n")[1:]} == {
        "aaaaaaaaaaaa  20.00% / 50.00%  2MiB / 4MiB  50.00%  2 / max",
        "bbbbbbbbbbbb  0.00% / max  -- / max  --  -- / max",
    }


def test_live_stats_follow_and_remember(monkeypatch, tmp_path):
    one = tmp_path / ("a" * 12)
    group(one, cpu_stat="usage_usec 1", memory_current=MIB, memory_max="max", pids_current=1)
    monkeypatch.setenv("MYDOCKER_CGROUP", str(tmp_path))
    live = Stats()
    group(one, memory_current=3 * MIB)
    memory = live.look().containers["a" * 12]["memory"]
    assert [value for _, value in memory.points] == [MIB, MIB, 3 * MIB]
    assert live.look(steady=True) == live.look(steady=True)
    shutil.rmtree(one)
    assert live.look().containers == {}


def test_without_a_folder_of_groups_stats_say_that_there_is_nothing(monkeypatch):
    monkeypatch.delenv("MYDOCKER_CGROUP", raising=False)
    for folder in ("", "/nonexistent"):
        monkeypatch.setenv("MYDOCKER_CGROUP", folder)
        for picture in (stats_picture(), Stats().look()):
            assert repr(picture) == "No container has a control group."


# ---- live


class Page(Live):
    """A live picture whose drawings on the page can be read."""

    def __init__(self, picture, listen=None):
        self.drawn: queue.Queue = queue.Queue()
        self.picture, self.looks = picture, 0
        super().__init__(listen)
        self.observe(lambda change: self.drawn.put(change.new), "html")

    def look(self, steady=False):
        self.looks += 1
        return self.picture

    def show(self):
        """A page says that it shows the picture, as it does three times a minute."""
        say(self)

    def next(self):
        return self.drawn.get(timeout=60)


class Signs:
    """Stands for a shell's terminal."""

    pid = 0

    def __init__(self):
        self.callbacks: queue.Queue = queue.Queue()
        self.cancelled = threading.Event()

    def listen(self, callback):
        self.callbacks.put(callback)
        return self.cancelled.set


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("labkit ")]


def join():
    for thread in threads():
        thread.join(60)
    assert threads() == []


@pytest.fixture
def brief(monkeypatch):
    """Pictures that look often, and are soon forgotten when no page shows them."""
    monkeypatch.setattr("labkit.view.live.POLL_INTERVAL", 0.01)
    monkeypatch.setattr("labkit.view.live.VIEW_TIMEOUT", 0.5)
    yield
    join()


def test_without_a_page_nothing_is_looked_at():
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    assert page.looks == 0
    assert signs.callbacks.empty()
    assert threads() == []
    assert page.drawn.empty()


def test_a_page_gets_the_live_form_at_once_and_again_when_it_changed(brief):
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    page.show()
    assert page.next() == page.picture.live().html()
    page.picture = container(tree("sh", "ps"))
    page.show()
    assert page.next() == page.picture.live().html()
    assert signs.cancelled.wait(60)
    assert page.drawn.empty()


def test_after_a_look_that_failed_the_pages_next_message_begins_anew(brief, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    signs = Signs()
    page = Page(None, signs.listen)  # which cannot be drawn
    page.show()
    assert signs.cancelled.wait(60)
    join()
    page.picture = container(tree("sh", "ps"))
    page.show()
    assert page.next() == page.picture.live().html()


def test_a_sign_makes_it_look(monkeypatch):
    monkeypatch.setattr("labkit.view.live.POLL_INTERVAL", None)  # only signs count
    signs = Signs()
    page = Page(container(tree("sh")), signs.listen)
    page.show()
    page.next()
    page.picture = replace(container(tree("sh", "ps")), ended=True)
    signs.callbacks.get(timeout=60)(b"$ ")
    assert "ps" in page.next()
    assert signs.cancelled.wait(60)


def test_silent_changes_show_at_the_next_beat(monkeypatch):
    monkeypatch.setattr("labkit.view.live.POLL_INTERVAL", 0.01)
    page = Page(container(tree("sh")))
    page.show()
    page.next()
    page.picture = replace(container(tree("sh", "ps")), ended=True)
    assert "ps" in page.next()
    join()


def test_a_page_that_went_without_a_word_is_forgotten(brief):
    page = Page(container(tree("sh")))
    page.show()
    page.next()
    join()
    page.picture = container(tree("sh", "ps"))
    page.show()
    assert "ps" in page.next()


def test_the_end_is_shown_and_ends_it(monkeypatch):
    monkeypatch.setattr("labkit.view.live.POLL_INTERVAL", 0.01)
    page = Page(container(tree("sh")))
    page.show()
    page.next()
    page.picture = replace(page.picture, ended=True)
    assert namespaces.ENDED in page.next()
    join()
    page.show()
    join()
    assert namespaces.ENDED in page.html


def test_after_the_end_it_shows_the_last_state():
    with subprocess.Popen(["sleep", "100"]) as child:
        live = Namespaces(child.pid)
        alive = live.look()
        child.kill()
    assert not alive.ended
    assert live.look() == replace(alive, ended=True)


def test_what_is_saved_of_a_live_picture_is_the_steady_form():
    with subprocess.Popen(["sleep", "100"]) as child:
        live = Namespaces(child.pid)
        data, _ = live._repr_mimebundle_()
        picture = namespace_picture(child.pid)
        child.kill()
    assert live.html == picture.live().html()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == repr(picture)
    assert data["text/html"] == picture._repr_html_()
    assert "image/svg+xml" not in data


# ---- in a browser, with the fonts that are there


EVERYTHING = (
    [four_steps(), four_steps(1, 4)]
    + [form for picture in (ODD | SEVERAL).values() for form in (picture, picture.live())]
    + [mounts_of(one) for one in MOUNTS.values()]
    + [*LAYERS.values()]
    + [*NETWORKS.values()]
    + [form for picture in STATS.values() for form in (picture, picture.live())]
)


def everything():
    return "".join(picture._repr_html_() for picture in EVERYTHING)


@pytest.mark.parametrize("width", [1200, 600, 380])
def test_text_stays_large_enough_and_the_page_does_not_scroll(blank, width):
    page = blank
    page.set_viewport_size({"width": width, "height": 800})
    page.set_content(everything())
    smallest = page.evaluate(
        """Math.min(...[...document.querySelectorAll("body *")].map(one =>
            parseFloat(getComputedStyle(one).fontSize)))"""
    )
    assert smallest >= 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [848, 380])
def test_nothing_is_wider_than_its_output_or_cut_off(blank, width):
    blank.set_viewport_size({"width": width, "height": 800})
    blank.set_content(everything())
    assert blank.evaluate(LAYOUT_FAULTS) == []


def test_what_is_wider_than_its_output_is_found(blank):
    wide = four_steps()._repr_html_().replace("you type", '<img width="900">')
    blank.set_content(f'<div style="width: 380px">{wide}</div>')
    assert blank.evaluate(LAYOUT_FAULTS)


def test_a_narrow_output_stacks(blank):
    picture = container(tree("sh"))._repr_html_()
    sides = {}
    for width in (848, 380):
        blank.set_content(f'<div style="width: {width}px">{picture}</div>')
        sides[width] = [one.bounding_box() for one in blank.locator(".lk-side").all()]
    assert sides[848][0]["y"] == sides[848][1]["y"]
    assert sides[380][0]["x"] == sides[380][1]["x"]


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read_in_both_themes(blank, theme):
    blank.set_content(themed(theme, everything()))
    assert blank.evaluate(LOW_CONTRASTS) == []


def test_words_that_cannot_be_read_are_found(blank):
    faint = four_steps()._repr_html_().replace("<p>", '<p style="color: #bbb">')
    blank.set_content(themed("light", faint))
    assert blank.evaluate(LOW_CONTRASTS)


@pytest.mark.parametrize("theme", THEMES)
def test_colours_follow_the_theme(blank, theme):
    paper, ink = THEMES[theme]
    blank.set_content(themed(theme, four_steps(1)._repr_html_()))
    style = blank.locator(".lk-picture").evaluate(
        "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color]"
    )
    assert [re.findall(r"\d+", one) for one in style] == [
        [str(int(one[i : i + 2], 16)) for i in (1, 3, 5)] for one in (paper, ink)
    ]


@pytest.mark.parametrize(("width", "most"), [(848, (3, 3)), (600, (2, 3)), (380, (1, 1))])
def test_containers_stand_side_by_side_where_there_is_room(blank, width, most):
    for picture, number in zip((SEVERAL["three"].live(), STATS["three"].live()), most, strict=True):
        blank.set_content(f'<div style="width: {width}px">{picture._repr_html_()}</div>')
        boxes = [
            one.bounding_box() for one in blank.locator(".lk-many").last.locator("> div").all()
        ]
        assert len({box["x"] for box in boxes}) == number


def test_without_its_style_a_picture_keeps_all_its_words(blank):
    picture = container(tree("sh", "ps"))
    blank.set_content(picture.html())
    shown = blank.locator("figure").inner_text()
    assert [word for word in drawn(picture) if word.strip() not in shown] == []
    assert "mnt uts ipc pid net" in shown
