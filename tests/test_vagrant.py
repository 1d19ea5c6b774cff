"""What vm/vagrant.rb and vm/triggers.rb do around a VM, with a machine of ours in Vagrant's place.

Its machine runs the VM's own commands, such as labkit-course, in a folder of the test's. What only
a real VM shows is in tests/vm.py.
"""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests import vm, vm_host
from tests.helpers.browser import free_port
from tests.helpers.course import ROOT
from tests.helpers.tools import needed

# Reads one JSON line: what the machine is like, and which of ClassVM's methods to call.
DRIVER = """
require "json"
require "open3"
require ARGV.delete_at(0)

class UI
  %i[info warn].each { |kind| define_method(kind) { |text| puts "#{kind}: #{text}" } }
end

class Shell
  def wait_for_ready(_seconds) = true

  def execute(command, error_check:)
    out, err, status = Open3.capture3("bash", "-c", command, binmode: true)
    yield :stdout, out
    yield :stderr, err
    status.exitstatus
  end
end

Machine = Struct.new(:id, :state, :ui, :communicate, :config, :provider_name)
given = JSON.parse(STDIN.read)
state = Struct.new(:id).new(given["state"].to_sym)
networks = [[:forwarded_port, { id: "jupyter" }]]
config = Struct.new(:vm).new(Struct.new(:networks, :boot_timeout).new(networks, 1))
id = given["state"] == "not_created" ? nil : "1"
machine = Machine.new(id, state, UI.new, Shell.new, config, given["provider"].to_sym)
class_vm = ClassVM.new(given["folder"], given["settings"])
given["calls"].each do |name|
  name == "start" ? state.id = :running : class_vm.public_send(name, machine)
end
exit if given["calls"].any?

# No calls: which box is it?
names = %i[box box_url box_download_checksum box_download_checksum_type hostname]
box = Struct.new(*names).new
class_vm.choose_box(box, given["provider"].to_sym, given["release"], "public/box")
puts box.to_h.compact.to_json
"""
TOKEN = "a-token-of-the-VM"
NAMES = [
    "mine.md",
    "ä b.md",
    "练习.ipynb",
    "作业.ipynb",
    f"{'长' * 80}.md",
    f"{'d' * 90}/{'f' * 90}",
]


class Vagrant:
    """A course's folder on the host and a learner's home in the VM."""

    def __init__(self, tmp_path):
        self.folder = tmp_path / "Kurs-ä"
        self.home = tmp_path / "home"
        self.tools = tmp_path / "tools"
        self.mine = self.home / "mydocker" / "mine"
        self.driver = tmp_path / "driver.rb"
        self.folder.mkdir()
        self.mine.mkdir(parents=True)
        self.driver.write_text(DRIVER)
        # The VM's vagrant user may do anything; here nobody needs to be root.
        self.command("sudo", 'exec "$@"')
        self.address("$1")

    def command(self, name, body):
        """A command of the VM."""
        self.tools.mkdir(exist_ok=True)
        (self.tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (self.tools / name).chmod(0o755)

    def address(self, port):
        """What labkit-url says."""
        page = f"http://127.0.0.1:{port}/lab/tree/00-start-here.ipynb?token={TOKEN}"
        self.command("labkit-url", f'echo "{page}"')

    def box(self, provider="libvirt", release="", **environment):
        """What is chosen, as Vagrant's settings are called."""
        run = self.call(provider=provider, release=release, **environment)
        assert (run.returncode, run.stderr) == (0, "")
        return json.loads(run.stdout)

    def call(
        self,
        *names,
        words=(),
        state="running",
        port=8888,
        provider="virtualbox",
        release="",
        **environment,
    ):
        texts = ("LABKIT_TOKEN", "LABKIT_BOX", "LABKIT_HUB", "LABKIT_DRIVER")
        settings = {"LABKIT_PORT": port} | dict.fromkeys(texts, "")
        given = {
            "folder": str(self.folder),
            "settings": settings,
            "state": state,
            "calls": names,
            "provider": provider,
            "release": release,
        }
        tools = f"{self.tools}:{ROOT}/vm/guest:{os.environ['PATH']}"
        mine = {k: v for k, v in os.environ.items() if not k.startswith("LABKIT_")}
        return subprocess.run(
            ["ruby", self.driver, ROOT / "vm" / "vagrant.rb", *words],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            env=mine | {"HOME": str(self.home), "PATH": tools} | environment,
        )

    def saved(self):
        """Name to text of what lies in saved/TIME/."""
        return {
            str(path.relative_to(time)): path.read_text()
            for time in self.folder.glob("saved/*")
            for path in time.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def vagrant(tmp_path):
    needed("ruby", "ruby")
    return Vagrant(tmp_path)


def test_work_of_any_name_is_saved(vagrant):
    for name in NAMES:
        path = vagrant.mine / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}")
    run = vagrant.call("save_work")
    assert run.returncode == 0, run.stderr
    assert vagrant.saved() == {name: f"# {name}" for name in NAMES}
    assert run.stdout.startswith("info: Saved 6 files in ")


def test_images_and_what_an_overlay_left_are_not_the_learners_work(vagrant):
    (vagrant.mine / "images").mkdir()
    (vagrant.mine / "images" / "mine.png").write_text("mine")
    for name in ("images", "layers/abc/usr/bin", "containers"):
        (vagrant.mine / "work/12/data" / name).mkdir(parents=True)
    (vagrant.mine / "work/12/data/layers/abc/bin").symlink_to("usr/bin")
    (vagrant.mine / "work/12/answer.md").write_text("mine")
    shut = vagrant.mine / "work" / "11" / "work" / "work"
    shut.mkdir(parents=True)
    (shut / "x").write_text("a file that never is there")
    shut.chmod(0)
    run = vagrant.call("save_work", words=["destroy"])
    shut.chmod(0o700)
    assert run.returncode == 0, run.stderr
    assert vagrant.saved() == {"images/mine.png": "mine", "work/12/answer.md": "mine"}


def test_what_is_no_text_is_saved_as_it_is(vagrant):
    content = bytes(range(256))
    (vagrant.mine / "picture.png").write_bytes(content)
    (vagrant.mine / os.fsdecode(b"caf\xe9.md")).write_text("mine")
    assert vagrant.call("save_work").returncode == 0
    [saved] = (vagrant.folder / "saved").iterdir()
    assert (saved / "picture.png").read_bytes() == content
    assert (saved / "caf?.md").read_text() == "mine"


def test_what_is_saved_already_is_not_saved_again(vagrant):
    (vagrant.mine / "练习.ipynb").write_text("mine")
    assert "Saved 1 file in" in vagrant.call("save_work").stdout
    assert vagrant.call("save_work").stdout == ""


def test_halt_saves_what_can_be_read_and_says_what_could_not(vagrant):
    (vagrant.mine / "a.md").write_text("mine")
    (vagrant.mine / "home").symlink_to(vagrant.home)
    run = vagrant.call("save_work", words=["halt"])
    assert run.returncode == 0
    assert vagrant.saved() == {"a.md": "mine"}
    assert "mine/home is not saved: it is a link to a folder. It stays in the VM" in run.stdout


def test_destroy_is_refused_where_a_part_could_not_be_saved(vagrant):
    (vagrant.mine / "a.md").write_text("mine")
    (vagrant.mine / "home").symlink_to(vagrant.home)
    run = vagrant.call("save_work", words=["destroy"])
    assert run.returncode == 1
    assert "mine/home is not saved: it is a link to a folder. Nothing is dest" in run.stderr
    assert vagrant.saved() == {"a.md": "mine"}
    off = vagrant.call("save_work", words=["destroy"], state="poweroff")
    assert off.returncode == 1
    assert vagrant.call("save_work", words=["destroy"], LABKIT_DISCARD="1").returncode == 0


def test_destroy_is_refused_where_the_vm_cannot_be_asked(vagrant):
    vagrant.command("labkit-course", "echo Traceback >&2; exit 1")
    run = vagrant.call("save_work", words=["destroy"])
    assert run.returncode == 1
    assert "in the VM ended with 1: Traceback. Nothing is destroyed" in run.stderr


def test_a_file_that_this_machine_cannot_write_is_named(vagrant):
    (vagrant.mine / "a.md").write_text("mine")
    (vagrant.folder / "saved").write_text("in the way")
    run = vagrant.call("save_work", words=["destroy"])
    assert run.returncode == 1
    assert "saved first: File exists" in run.stderr or "Not a directory" in run.stderr


def test_a_vm_that_is_off_is_destroyed_where_its_work_was_saved(vagrant):
    (vagrant.mine / "a.md").write_text("mine")
    assert vagrant.call("save_work", words=["halt"]).returncode == 0
    assert vagrant.call("save_work", words=["destroy"], state="poweroff").returncode == 0


@contextmanager
def jupyter(token):
    """A server that knows one token, as JupyterLab does; yields its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            known = self.path in ("/api", f"/api/status?token={token}")
            self.send_response(200 if known else 403)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield server.server_port
        server.shutdown()


def test_the_address_is_printed_where_it_leads_to_the_vm(vagrant):
    with jupyter(TOKEN) as port:
        run = vagrant.call("print_address", port=port, http_proxy="http://127.0.0.1:9")
    assert run.stdout == f"http://127.0.0.1:{port}/lab/tree/00-start-here.ipynb?token={TOKEN}\n"
    assert (run.returncode, run.stderr) == (0, "")


def test_a_port_that_leads_nowhere_is_named(vagrant):
    port = free_port()
    run = vagrant.call("print_address", port=port)
    said = f"Port {port} does not lead to the VM. Cure: vagrant reload\n"
    assert (run.returncode, run.stdout, run.stderr) == (1, "", said)


def test_a_port_that_leads_to_somebody_elses_jupyterlab_is_named(vagrant):
    with jupyter("another-token") as port:
        run = vagrant.call("print_address", port=port)
    assert run.returncode == 1
    assert f"Port {port} does not lead to the VM" in run.stderr


def test_what_was_saved_before_the_last_start_does_not_count(vagrant):
    (vagrant.mine / "a.md").write_text("mine")
    assert vagrant.call("save_work", words=["halt"]).returncode == 0
    assert vagrant.call("find_port", words=["up"], state="poweroff").returncode == 0
    run = vagrant.call("save_work", words=["destroy"], state="poweroff")
    assert run.returncode == 1
    assert "the VM is off and was not asked for it. Nothing is destroyed" in run.stderr


def test_in_a_vm_without_room_the_address_is_told_all_the_same(tmp_path):
    (tmp_path / ".labkit-token").write_text(TOKEN)
    script = (ROOT / "vm/guest/labkit-url").read_text()
    with jupyter(TOKEN) as port:
        (tmp_path / "labkit-url").write_text(script.replace("127.0.0.1:8888", f"127.0.0.1:{port}"))
        run = subprocess.run(
            ["sh", "-c", f"ulimit -f 0; exec {sys.executable} labkit-url 8899"],
            cwd=tmp_path,
            env=os.environ | {"HOME": str(tmp_path)},
            capture_output=True,
            text=True,
        )
    address = f"http://127.0.0.1:8899/lab/tree/00-start-here.ipynb?token={TOKEN}\n"
    assert (run.returncode, run.stdout) == (0, address)
    assert run.stderr.startswith(f"labkit-url: {tmp_path}/.labkit-port cannot keep the port 8899:")
    assert run.stderr.count("\n") == 1


def port_at_start(vagrant, **settings):
    assert vagrant.call("find_port", state="poweroff", **settings).returncode == 0
    return int((vagrant.folder / ".vagrant/labkit-port").read_text().split()[1])


def test_a_vm_keeps_its_port_until_another_is_asked_for(vagrant):
    first, second = free_port(), free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = taken.getsockname()[1]
        moved = port_at_start(vagrant, LABKIT_PORT=str(asked))
        assert moved > asked
    assert port_at_start(vagrant, LABKIT_PORT=str(asked)) == moved
    assert port_at_start(vagrant, port=first) == moved
    assert port_at_start(vagrant, LABKIT_PORT=str(second)) == second
    assert port_at_start(vagrant, port=first) == second


def test_the_vm_after_a_destroyed_one_has_the_port_of_the_settings(vagrant):
    first, second = free_port(), free_port()
    assert port_at_start(vagrant, port=first) == first
    vagrant.call("forget_port", state="running")
    assert port_at_start(vagrant, port=second) == first
    vagrant.call("forget_port", state="not_created")
    assert port_at_start(vagrant, port=second) == second


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LABKIT_PORT", "eighty", 'LABKIT_PORT is a number, not "eighty".'),
        ("LABKIT_PORT", "80", "LABKIT_PORT is a number from 1024 to 65535, not 80."),
        ("LABKIT_DRIVER", "xen", 'LABKIT_DRIVER is kvm or qemu, not "xen".'),
        ("LABKIT_HUB", "yes", 'LABKIT_HUB is 1 or nothing, not "yes".'),
        ("LABKIT_TOKEN", "a b&c#d", 'LABKIT_TOKEN is letters, digits, - and _, not "a b&c#d".'),
    ],
)
def test_a_setting_that_cannot_be_is_named(vagrant, name, value, said):
    run = vagrant.call("find_port", **{name: value})
    assert run.returncode == 1
    assert run.stderr == f"Vagrantfile: {said}\n"


def test_emulation_is_announced_with_its_reason(vagrant):
    run = vagrant.call("find_port", state="poweroff", provider="libvirt", LABKIT_DRIVER="qemu")
    assert "five to ten times slower: LABKIT_DRIVER asks for it." in run.stdout
    run = vagrant.call("find_port", state="poweroff", provider="virtualbox", LABKIT_DRIVER="qemu")
    assert "slower" not in run.stdout


def test_a_start_with_kvm_that_fails_says_what_to_try(vagrant):
    hint = "is KVM broken here? Try LABKIT_DRIVER=qemu vagrant up"
    kvm = {"provider": "libvirt", "LABKIT_DRIVER": "kvm"}
    assert hint in vagrant.call("find_port", state="poweroff", **kvm).stdout
    with jupyter(TOKEN) as port:
        vagrant.address(port)
        run = vagrant.call("find_port", "start", "print_address", state="poweroff", **kvm)
    assert (run.returncode, hint in run.stdout) == (0, False)


SUM = "0123456789ab" + "0" * 52


def build(vagrant, sums):
    (vagrant.folder / "build").mkdir()
    (vagrant.folder / "build/SHA256SUMS").write_text(sums)
    for provider in ("libvirt", "virtualbox"):
        (vagrant.folder / f"build/mydocker-{provider}.box").write_text("box")


def test_the_built_box_is_taken_with_its_checksum(vagrant):
    build(vagrant, f"{SUM}  mydocker-libvirt.box\n")
    assert vagrant.box() == {
        "box": "mydocker-0123456789ab",
        "box_url": str(vagrant.folder / "build/mydocker-libvirt.box"),
        "box_download_checksum": SUM,
        "box_download_checksum_type": "sha256",
    }


def test_a_built_box_that_has_no_checksum_is_taken_without(vagrant):
    build(vagrant, f"{SUM}  mydocker-libvirt.box\n")
    assert vagrant.box("virtualbox").keys() == {"box", "box_url"}


def test_boxes_are_looked_for_in_the_order_that_the_readme_names(vagrant):
    """LABKIT_BOX, build/, a release, a public one."""
    release = "https://example.org/metadata.json"
    public = {"box": "public/box"}
    assert vagrant.box() == public
    released = {"box": "mydocker/class", "box_url": release}
    assert vagrant.box(release=release) == released
    assert vagrant.box("virtualbox", release=release) == released
    assert vagrant.box("parallels", release=release) == public
    assert vagrant.box("vmware_desktop", release=release) == public
    build(vagrant, f"{SUM}  mydocker-libvirt.box\n")
    assert vagrant.box(release=release)["box"] == "mydocker-0123456789ab"
    assert vagrant.box("parallels", release=release) == public
    assert vagrant.box(release=release, LABKIT_BOX="debian/trixie64") == {"box": "debian/trixie64"}


def test_a_box_can_be_named_by_its_file_its_address_and_a_releases_metadata(vagrant):
    build(vagrant, "")
    address = "https://example.org/a.box"
    metadata = "https://example.org/metadata.json"
    file = "build/mydocker-libvirt.box"
    assert vagrant.box(LABKIT_BOX=file)["box_url"] == str(vagrant.folder / file)
    assert vagrant.box(LABKIT_BOX=address)["box_url"] == address
    assert vagrant.box(LABKIT_BOX=metadata) == {"box": "mydocker/class", "box_url": metadata}
    names = {vagrant.box(LABKIT_BOX=named)["box"] for named in (file, address)}
    assert len(names) == 2
    assert all(re.fullmatch("mydocker-[0-9a-f]{12}", name) for name in names)


@pytest.mark.parametrize("named", ["build/mydoker.box", "../class", "metadata.json", "a.box"])
def test_a_mistyped_file_is_not_taken_for_a_name(vagrant, named):
    run = vagrant.call(LABKIT_BOX=named)
    assert run.returncode == 1
    kinds = "a file that is there, an address, or a name such as debian/trixie64"
    assert run.stderr == f'Vagrantfile: LABKIT_BOX is {kinds}, not "{named}".\n'


def test_a_releases_metadata_names_each_box_with_its_checksum_and_architecture(tmp_path):
    (tmp_path / "vm").mkdir()
    (tmp_path / "build").mkdir()
    shutil.copy(ROOT / "vm" / "metadata.py", tmp_path / "vm")
    inside = json.dumps({"provider": "libvirt", "architecture": "arm64"}).encode()
    with tarfile.open(tmp_path / "build/mydocker-libvirt.box", "w") as box:
        member = tarfile.TarInfo("metadata.json")
        member.size = len(inside)
        box.addfile(member, io.BytesIO(inside))
    (tmp_path / "build/SHA256SUMS").write_text(f"{SUM}  mydocker-libvirt.box\n")
    command = [sys.executable, tmp_path / "vm/metadata.py", "1.2", "https://example.org/v1.2"]
    said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    provider = {
        "name": "libvirt",
        "url": "https://example.org/v1.2/mydocker-libvirt.box",
        "checksum_type": "sha256",
        "checksum": SUM,
        "architecture": "arm64",
        "default_architecture": True,
    }
    versions = [{"version": "1.2", "providers": [provider]}]
    assert said == {"name": "mydocker/class", "versions": versions}


def test_a_windows_checkout_keeps_the_line_ends_that_the_vm_needs(tmp_path):
    """Git for Windows sets core.autocrlf; a script that begins with `#!/bin/sh` CR does not run."""
    needed("git", "git")
    origin, clone = tmp_path / "origin", tmp_path / "clone"
    shutil.copytree(ROOT / "vm", origin / "vm")
    shutil.copy(ROOT / ".gitattributes", origin)
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "core.autocrlf=true"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], cwd=origin, check=True, capture_output=True)
    subprocess.run([*git, "clone", "-q", origin, clone], check=True)
    files = [path for path in clone.rglob("vm/**/*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if b"\r" in path.read_bytes()] == []


def test_the_test_of_the_vm_finds_the_plugins_that_the_user_installed(tmp_path, monkeypatch):
    (tmp_path / "users" / "gems").mkdir(parents=True)
    (tmp_path / "users" / "boxes").mkdir()
    (tmp_path / "users" / "plugins.json").write_text("theirs")
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "users"))
    home = vm_host.own_home(tmp_path / "own")
    assert (home / "plugins.json").read_text() == "theirs"
    assert (home / "gems").samefile(tmp_path / "users" / "gems")
    assert not (home / "boxes").exists()


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host of `make test-vm`, with an ssh of ours that refuses to connect twice."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    for name in ("ROOT", "REPORTS"):
        monkeypatch.setattr(vm_host, name, tmp_path)
    host = vm_host.Host(tmp_path)
    (tmp_path / "ssh_config").touch()
    return host


SSH = """#!/bin/sh
case "$*" in
  *"-O check"*) [ -e connected ] || exit 255 ;;
  *ControlMaster*) echo >> tried; [ $(wc -l < tried) -gt 2 ] || exit 255; touch connected ;;
  *) echo >> ran; echo answer; exit "${STATUS:-0}" ;;
esac
"""


def test_a_connection_that_is_refused_for_a_moment_is_tried_again(host):
    assert host.ssh("true") == "answer\n"
    assert Path("tried").read_text().count("\n") == 3
    assert Path("ran").read_text().count("\n") == 1


def test_a_connection_that_stays_refused_is_a_failure_and_no_command_is_run_twice(host):
    host.environment["STATUS"] = "255"
    with pytest.raises(vm_host.Failure, match="ended with 255"):
        host.ssh("true")
    assert Path("ran").read_text().count("\n") == 1
    Path("connected").unlink()
    Path("tried").unlink()
    host.slowness = 0.0
    with pytest.raises(vm_host.Failure, match="no connection to the VM's ssh"):
        host.ssh("true")
    assert Path("ran").read_text().count("\n") == 1


def test_a_commands_time_grows_with_the_slowness_and_ends_what_it_started(host):
    host.slowness = 2.0
    script = "echo $LABKIT_TIMEOUT; sleep 1000; echo no"
    with host.started("sh", "-c", script, seconds=0.5) as process:
        began = time.monotonic()
        assert process.communicate()[0] == "600\n"
    assert (process.returncode, time.monotonic() - began >= 0.9) == (-signal.SIGKILL, True)


def test_slowness_is_told_by_the_clock_and_never_below_one(monkeypatch):
    monkeypatch.setattr(vm_host, "LOOP", "import time; time.sleep(1)")
    assert vm_host.slowness() >= 1 / vm_host.LOOP_SECONDS
    monkeypatch.setattr(vm_host, "LOOP_SECONDS", 1000)
    assert vm_host.slowness() == 1


@pytest.mark.parametrize("full", [False, True])
def test_what_only_a_release_shows_again_runs_with_full_alone(tmp_path, monkeypatch, full):
    monkeypatch.setattr(vm, "FULL", full)
    phases = {name: runs for runs, name, _ in vm.Test(tmp_path).phases()}
    assert phases["a corrupt box is refused"] is full
    assert phases["a destroy that cannot save is refused"] is full
    assert phases["vagrant destroy saves the work first"]
