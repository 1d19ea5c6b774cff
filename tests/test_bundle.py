"""`image bundle`, and how create, start, state, kill and delete refuse what they can't do."""

import json
import os
import select
import socket
import subprocess
import sys

import pytest

from labkit.course import workbook
from labkit.exercise.root import make_root
from tests.helpers.processes import until

# Where runtimes may be called that would make control groups.
ALONE = ("unshare", "--user", "--map-root-user", "--mount")
BROKEN = {
    "intelRdt": ("linux.intelRdt.closID", lambda c: c["linux"].update(intelRdt={"closID": "a"})),
    "hooks": ("hooks.prestart.path", lambda c: c.update(hooks={"prestart": [{"path": "/x"}]})),
    "a terminal": ("process.terminal", lambda c: c["process"].update(terminal=True)),
    "seccomp": ("linux.seccomp.defaultAction", lambda c: c["linux"].update(
        seccomp={"defaultAction": "SCMP_ACT_ALLOW"})),
    "version 2": ("ociVersion 2.0.0", lambda c: c.update(ociVersion="2.0.0")),
    "no mount namespace": ("no mount namespace", lambda c: c["linux"].update(namespaces=[])),
    "a word for a list": ("config.json: ", lambda c: c["process"].update(capabilities="ALL")),
    "no process": ("config.json: no process", lambda c: c.pop("process")),
    "no linux": ("config.json: no linux", lambda c: c.pop("linux")),
    "no path of a root": ("KeyError('path')", lambda c: c.update(root={"readonly": True})),
    "a hostname of the machine's": ("wants a UTS namespace", lambda c: c.update(hostname="x")),
    "no command": ("process.args wants", lambda c: c["process"].update(args=[])),
    "a command in one word": ("process.args wants", lambda c: c["process"].update(args="sh")),
    "numbers for words": ("config.json: TypeError", lambda c: c["process"].update(args=[1])),
    "an environment of numbers": ("config.json: ", lambda c: c["process"].update(env=[1])),
    "no such capability": ("config.json: ", lambda c: c["process"].update(
        capabilities={"bounding": ["CAP_NOSUCH"]})),
    "no folder of files": ("nowhere", lambda c: c["root"].update(path="nowhere")),
    "an option of no file system": ("nosuch", lambda c: c["mounts"].append(
        {"destination": "/b", "type": "bind", "source": "rootfs", "options": ["nosuch"]})),
}  # fmt: skip


class Bundle:
    def __init__(self, folder, upto="27"):
        self.folder = folder
        make_root(folder / "rootfs", "sh", "cat", "sleep")
        self.config = {
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/"},
            "mounts": [],
            "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
        }
        self.program = workbook.install(workbook.runtime(upto)) / workbook.PROGRAM

    def command(self, *words):
        (self.folder / "config.json").write_text(json.dumps(self.config))
        command = [*ALONE, sys.executable, self.program, "--root", self.folder / "states", *words]
        return list(map(str, command))

    def __call__(self, *words):
        with (self.folder / "out").open("w+") as out, (self.folder / "err").open("w+") as err:
            # Files: of a pipe, the container would have an end.
            command = self.command(*words)
            run = subprocess.run(command, cwd=self.folder, stdout=out, stderr=err)
        run.stdout, run.stderr = ((self.folder / name).read_text() for name in ("out", "err"))
        return run

    def create(self, name="one"):
        return self("create", "--bundle", self.folder, name)

    def state(self, name="one"):
        return json.loads(self("state", name).stdout)


@pytest.fixture
def bundle(tmp_path):
    bundle = Bundle(tmp_path)
    yield bundle
    bundle("delete", "--force", "one")


@pytest.fixture
def whole(tmp_path):
    """The same for the runtime of notebook 28."""
    bundle = Bundle(tmp_path, "28")
    yield bundle
    bundle("delete", "--force", "one")


def refused(run):
    """Return the one sentence of a refusal."""
    assert run.returncode == 1, run
    [line] = run.stderr.splitlines()
    return json.loads(line)["msg"]


@pytest.mark.parametrize("case", BROKEN)
def test_a_config_that_is_not_implemented_says_so_and_leaves_nothing(bundle, case):
    says, change = BROKEN[case]
    change(bundle.config)
    assert says in refused(bundle.create())
    states = bundle.folder / "states"
    assert not states.exists() or list(states.iterdir()) == []


def test_what_is_empty_asks_for_nothing(bundle):
    bundle.config |= {"hooks": {}, "annotations": {"a": "b"}}
    bundle.config["process"]["terminal"] = False
    assert bundle.create().returncode == 0
    assert bundle.state()["annotations"] == {"a": "b"}


def test_each_word_refuses_where_it_has_no_place(bundle):
    assert "no container" in refused(bundle("start", "one"))
    assert bundle.create().returncode == 0
    assert "File exists" in refused(bundle.create())
    assert refused(bundle("delete", "one")) == "container one is created"
    assert bundle("start", "one").returncode == 0
    assert refused(bundle("start", "one")) == "container one is running"
    assert refused(bundle("kill", "one", "NOSUCH")) == "there is no signal NOSUCH"
    assert bundle("delete", "--force", "one").returncode == 0
    assert "no container" in refused(bundle("state", "one"))
    for name in ("..", "a/b"):
        assert "no ID" in refused(bundle("state", name))
    assert "no such word" in refused(bundle("pause", "one"))


def test_another_process_with_its_pid_is_not_the_container(bundle):
    assert bundle.create().returncode == 0
    path = bundle.folder / "states/one/state.json"
    state = json.loads(path.read_text())
    other = subprocess.Popen(["sleep", "1000"])
    path.write_text(json.dumps(state | {"pid": other.pid}))
    assert bundle.state()["status"] == "stopped"
    assert refused(bundle("kill", "one", "KILL")) == "container one is stopped"
    assert other.poll() is None
    other.kill()
    other.wait()
    path.write_text(json.dumps(state))


def test_exec_refuses_a_command_on_the_line(whole):
    assert whole.create().returncode == 0
    assert "exec wants --process FILE" in refused(whole("exec", "one", "true"))


def test_a_log_that_can_not_be_written_is_refused_before_anything_is_done(whole):
    said = refused(whole("--log", "nowhere/log", "create", "--bundle", whole.folder, "one"))
    assert said == "nowhere/log: No such file or directory"
    assert not (whole.folder / "states").exists()


def test_of_a_create_that_was_killed_nothing_stays(whole):
    """It is killed while its first process waits for a terminal's socket that nobody serves."""
    whole.config["process"]["terminal"] = True
    path, state = whole.folder / "console", whole.folder / "states/one/state.json"
    with socket.socket(socket.AF_UNIX) as line, socket.socket(socket.AF_UNIX) as other:
        line.bind(str(path))
        line.listen(0)
        other.connect(str(path))  # the only place
        words = ("create", "--bundle", whole.folder, "--console-socket", path, "one")
        with subprocess.Popen(whole.command(*words), stdout=subprocess.DEVNULL) as create:
            until(state.exists)
            first = os.pidfd_open(json.loads(state.read_text())["pid"])
            create.kill()
        assert whole("delete", "--force", "one").returncode == 0
    ended = select.poll()
    ended.register(first, select.POLLIN)
    assert ended.poll(60000)
    os.close(first)
    assert not state.parent.exists()


@pytest.mark.parametrize("text", [None, "{"])
def test_a_folder_whose_state_can_not_be_read_goes_by_force_alone(whole, text):
    folder = whole.folder / "states/one"
    folder.mkdir(parents=True)
    if text:
        (folder / "state.json").write_text(text)
    refused(whole("delete", "one"))
    assert whole("delete", "--force", "one").returncode == 0
    assert not folder.exists()


def test_a_link_leads_nowhere_else(bundle):
    outside = bundle.folder / "outside"
    outside.mkdir()
    root = bundle.folder / "rootfs"
    (root / "data").symlink_to(outside)
    (root / str(outside).lstrip("/")).mkdir(parents=True)
    mount = {"destination": "/data/new", "type": "tmpfs", "source": "tmpfs"}
    bundle.config["mounts"].append(mount)
    assert bundle.create().returncode == 0
    assert list(outside.iterdir()) == []
    assert (root / str(outside).lstrip("/") / "new").is_dir()


def test_an_image_becomes_a_bundle(mydocker):
    assert mydocker("image", "build", "x", "sh", "true").returncode == 0
    mydocker.ok("image", "bundle", "x", mydocker.home / "box")
    config = json.loads((mydocker.home / "box/config.json").read_text())
    assert config["process"]["args"] == ["/bin/sh"]
    kinds = [kind["type"] for kind in config["linux"]["namespaces"]]
    assert ("user" in kinds) == (mydocker.kind != "root")
    assert (mydocker.home / "box/rootfs/bin/true").exists()
    assert "box" in mydocker.refusal("image", "bundle", "x", mydocker.home / "box")
    assert "no image" in mydocker.refusal("image", "bundle", "nosuch", mydocker.home / "other")
