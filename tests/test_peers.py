"""What others wrote is run here, and what is written here others read."""

import json
import os
import shutil
import subprocess
import tarfile

import pytest

from tests.helpers.course import open_folder
from tests.helpers.images import busybox, member, tar
from tests.helpers.tools import PRIVATE, needed
from tests.test_images import changed

PEERS = ("skopeo", "umoci", "podman", "runc", "crun")
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
LONG = "n" * 255
SCRIPTS = [
    "файл",
    "文件",
    "ملف",
    "फ़ाइल",
    "ファイル",
    "é",
    "e\u0301",
    "with space",
    "a\nb",
    "-dash",
    "😀",
    "a:b,c",
]
TIME = 1234567890


@pytest.fixture(autouse=True)
def peers():
    for name in PEERS:
        needed(name, name)


def said(*words, **options):
    run = subprocess.run(
        [*PRIVATE, *map(str, words)], capture_output=True, text=True, timeout=120, **options
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def first():
    return tar(
        *busybox(),
        member("a", tarfile.DIRTYPE, mtime=TIME, mode=0o750, uid=33, gid=44),
        member("a/file", data=b"1", mtime=TIME, mode=0o4751, uid=33, gid=44),
        member(
            "a/hard", tarfile.LNKTYPE, linkname="a/file", mtime=TIME, mode=0o4751, uid=33, gid=44
        ),
        member("a/link", tarfile.SYMTYPE, linkname="../../../../etc/passwd"),
        member("a/fifo", tarfile.FIFOTYPE),
        member("a/null", tarfile.CHRTYPE, devmajor=1, devminor=3),
        member(f"a/{LONG}", data=b"long"),
        member("/".join(["d" * 200] * 5), tarfile.DIRTYPE),
        *(member(f"names/{name}", data=name.encode()) for name in SCRIPTS),
        member("dir", tarfile.DIRTYPE),
        member("dir/gone", data=b"x"),
        member("dir/stays", data=b"x"),
        member("opaque", tarfile.DIRTYPE),
        member("opaque/below", data=b"x"),
        member("becomes", tarfile.DIRTYPE),
        member("becomes/below", data=b"x"),
        member("file-then-dir", data=b"x"),
    )


def second():
    return tar(
        member("dir/.wh.gone"),
        member("dir/.wh.never"),
        member("opaque/.wh.below"),
        member("opaque/.wh.-first"),
        member("opaque/.wh..wh..opq"),
        member("opaque", tarfile.DIRTYPE, mode=0o711, mtime=TIME),
        member("opaque/above", data=b"y"),
        member(".wh.becomes"),
        member("becomes/", tarfile.DIRTYPE),
        member("becomes/above", data=b"y"),
        member(".wh.file-then-dir"),
        member("file-then-dir", tarfile.DIRTYPE),
    )


@pytest.fixture(params=[False, True], ids=["umoci", "skopeo, gzip"])
def foreign(request):
    """An image of two layers that umoci put together, or that skopeo copied and compressed."""
    tmp_path = open_folder()
    place = tmp_path / "foreign"
    said("umoci", "init", "--layout", place)
    said("umoci", "new", "--image", f"{place}:x")
    for number, data in enumerate((first(), second())):
        (tmp_path / f"{number}.tar").write_bytes(data)
        said("umoci", "raw", "add-layer", "--image", f"{place}:x", tmp_path / f"{number}.tar")
    said(
        "umoci",
        "config",
        "--image",
        f"{place}:x",
        "--config.cmd",
        "/bin/sh",
        "--config.env",
        "PATH=/bin",
    )
    if request.param:
        said(
            "skopeo",
            "--insecure-policy",
            "copy",
            "--dest-compress",
            f"oci:{place}:x",
            f"dir:{tmp_path}/dir",
        )
        shutil.rmtree(place)
        said("skopeo", "--insecure-policy", "copy", f"dir:{tmp_path}/dir", f"oci:{place}:x")
    subprocess.run(["chmod", "-R", "a+rX", tmp_path], check=True)
    yield place
    shutil.rmtree(tmp_path)


def test_an_image_of_others(mydocker, foreign):
    mydocker.ok("load", "-i", foreign)

    def show(script):
        return mydocker.ok("run", "x", "sh", "-c", script)

    assert show("ls /dir /opaque /becomes; ls -d /file-then-dir").split() == [
        "/becomes:",
        "above",
        "/dir:",
        "stays",
        "/opaque:",
        "above",
        "/file-then-dir",
    ]
    ids = "0 0" if mydocker.kind == "one ID" else "33 44"
    assert show("stat -c '%a %h %Y %u %g' /a/file /a/hard") == f"4751 2 {TIME} {ids}\n" * 2
    assert show("stat -c '%a %Y' /a /opaque") == f"750 {TIME}\n711 {TIME}\n"
    assert show(
        "test /a/file -ef /a/hard && cat /a/hard; ls -l /a/link | sed 's/.*a/a/'".replace(
            " | sed 's/.*a/a/'", ""
        )
    ).startswith("1")
    assert show("cat /a/link") == "root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/home/me:/bin/sh\n"
    assert show("test -p /a/fifo; echo $?; test -e /a/null; echo $?") == "0\n1\n"
    assert show(f"cat /a/{LONG}") == "long"
    for name in SCRIPTS:
        assert mydocker.ok("run", "x", "cat", f"/names/{name}") == name
    assert (
        mydocker.ok("run", "x", "stat", "-c", "%F", "/" + "/".join(["d" * 200] * 5))
        == "directory\n"
    )
    assert mydocker.ok("run", "x", "stat", "-c", "%a", "/tmp") == "1777\n"


def test_an_image_of_others_goes_on_unchanged(mydocker, foreign):
    mydocker.ok("load", "-i", foreign)
    mydocker.ok("save", "-o", mydocker.home / "again.tar", "x")
    digests = [
        json.loads(said("skopeo", "inspect", place))["Digest"]
        for place in (f"oci:{foreign}:x", f"oci-archive:{mydocker.home}/again.tar:x")
    ]
    assert digests[0] == digests[1]
    mydocker.ok("image", "rm", "x")
    mydocker.ok("load", "-i", mydocker.home / "again.tar")
    assert mydocker.ok("run", "x", "cat", "/dir/stays") == "x"


def test_nothing_of_an_image_of_others_stays(mydocker, foreign):
    mydocker.ok("load", "-i", foreign)
    mydocker.ok("run", "--name", "box", "x", "sh", "-c", "touch /a/x; rm -r /dir")
    mydocker.ok("rm", "box")
    mydocker.ok("image", "rm", "x")
    assert mydocker.stored() == []


def test_skopeo_and_umoci_read_ours(mydocker, tmp_path):
    changed(mydocker)
    mydocker.ok("save", "-o", mydocker.home / "out", "with1")
    for place in (mydocker.home / "out", mydocker.data / "images/with1"):
        if ":" in str(place):
            os.symlink(place, tmp_path / "data")  # the peers split at colons
            place = tmp_path / "data"
        found = json.loads(said("skopeo", "inspect", f"oci:{place}:with1"))
        assert len(found["Layers"]) == 3
        said("umoci", "unpack", "--image", f"{place}:with1", tmp_path / f"bundle{place.name}")
        rootfs = tmp_path / f"bundle{place.name}" / "rootfs"
        assert (rootfs / "motd").read_text() == "1\nmore\n"
        assert not (rootfs / "hosts").exists()
        assert os.listdir(rootfs / "old") == ["b"]
        assert (rootfs / "motd").stat().st_nlink == 2


def test_podman_runs_ours(root, tmp_path):
    changed(root)
    root.ok("save", "-o", root.home / "out.tar", "with1")
    podman = [
        "podman",
        "--root",
        f"{root.folder}/root",
        "--runroot",
        f"{root.folder}/run",
        "--cgroup-manager=cgroupfs",
        "--storage-driver=vfs",
        "--events-backend=none",
    ]
    image = said(*podman, "pull", "-q", f"oci-archive:{root.home}/out.tar").strip()
    run = [
        *podman,
        "run",
        "--rm",
        "--net=none",
        "--cgroups=disabled",
        "--runtime=crun",
        "--security-opt=seccomp=unconfined",
        "--ulimit=nofile=1024:1024",
        "--ulimit=nproc=4096:4096",
    ]
    assert said(*run, image, "sh", "-c", "cat /motd; ls /old") == "1\nmore\nb\n"


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_runc_and_crun_run_what_umoci_unpacks_of_ours(root, tmp_path, runtime):
    changed(root)
    root.ok("save", "-o", root.home / "out", "with1")
    bundle = tmp_path / "bundle"
    said("umoci", "unpack", "--image", f"{root.home}/out:with1", bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"].update(terminal=False, args=["sh", "-c", "cat /motd; ls /old"])
    config["process"].pop("rlimits", None)
    config["linux"].pop("resources", None)
    (bundle / "config.json").write_text(json.dumps(config))
    words = [
        runtime,
        "--root",
        tmp_path / "state",
        "run",
        "-b",
        bundle,
        f"images-{runtime}-{os.getpid()}",
    ]
    assert said(*words) == "1\nmore\nb\n"
