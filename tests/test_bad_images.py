"""Images that are not what they should be, disks that are full, processes that are killed."""

import hashlib
import json
import os
import signal
import subprocess
import tarfile

import pytest

from tests.helpers.images import MOUNTING, busybox, layout, member, tar
from tests.test_images import loaded


def refused(who, folder, path=None):
    """Load it, and see that nothing has changed; return what was said."""
    before = who.stored()
    outside = snapshot(who)
    message = who.refusal("load", "-i", path or folder)
    assert who.stored() == before
    assert snapshot(who) == outside
    return message


def snapshot(who):
    """All files around the store, and some of the machine's."""
    around = {str(p): p.lstat().st_mtime_ns for p in who.home.glob("*") if p != who.data}
    return around, {
        p: os.lstat(p).st_mtime_ns for p in ("/", "/etc", "/tmp/..", "/etc/passwd", "/usr/bin")
    }


BAD = {
    "../x": "leads out",
    "a/../../x": "leads out",
    "..": "leads out",
    "/etc/x": "leads out",
    "a/..": "leads out",
    ".wh...": None,
    ".wh.../x": None,
    "x/.wh...": None,
}


@pytest.mark.parametrize("name", [n for n in BAD if BAD[n]])
def test_names_that_lead_out(mydocker, name):
    layout(mydocker.home / "bad", [tar(*busybox(), member(name, data=b"x"))])
    assert BAD[name] in refused(mydocker, mydocker.home / "bad")


@pytest.mark.parametrize("name", [".wh...", "x/.wh...", "x/../.wh.y"])
def test_whiteouts_of_no_name(mydocker, name):
    layout(mydocker.home / "bad", [tar(member("x", tarfile.DIRTYPE)), tar(member(name))])
    assert "leads out" in refused(mydocker, mydocker.home / "bad")


OUT = "../" * 20


@pytest.mark.parametrize(
    "members",
    [
        [
            member("link", tarfile.SYMTYPE, linkname=OUT + "tmp"),
            member("link/mydocker-was-here", data=b"x"),
        ],
        [
            member("link", tarfile.SYMTYPE, linkname="/tmp"),
            member("link/mydocker-was-here", data=b"x"),
        ],
        [
            member("link", tarfile.SYMTYPE, linkname=OUT + "tmp/mydocker-was-here"),
            member("link", data=b"x"),
        ],
        [
            member("link", tarfile.SYMTYPE, linkname=OUT + "tmp"),
            member("link/.wh.mydocker-was-here"),
        ],
        [member("link", tarfile.SYMTYPE, linkname=OUT + "tmp"), member("link/.wh..wh..opq")],
        [
            member("link", tarfile.SYMTYPE, linkname=OUT + "tmp"),
            member("link/mydocker-was-here", tarfile.DIRTYPE),
        ],
    ],
    ids=["relative", "absolute", "over it", "whiteout", "opaque", "folder"],
)
def test_links_that_lead_out_lead_nowhere(mydocker, members):
    layout(mydocker.home / "odd", [tar(*busybox(), *members)])
    before = os.stat("/tmp").st_mode, os.listxattr("/tmp")
    mydocker("load", "-i", mydocker.home / "odd")
    assert not os.path.lexists("/tmp/mydocker-was-here")
    assert before == (os.stat("/tmp").st_mode, os.listxattr("/tmp"))


def test_hard_links_that_lead_out(mydocker):
    for number, target in enumerate([OUT + "etc/passwd", "/etc/shadow", "nosuch"]):
        layout(mydocker.home / f"bad{number}", [tar(member("x", tarfile.LNKTYPE, linkname=target))])
        refused(mydocker, mydocker.home / f"bad{number}")


def test_a_changed_byte(mydocker):
    blob = layout(mydocker.home / "bad", [tar(*busybox())])
    data = bytearray(blob.read_bytes())
    data[5000] ^= 1
    blob.write_bytes(data)
    message = refused(mydocker, mydocker.home / "bad")
    assert message == f"blob {blob.name[:12]} does not hold what its name says"


def test_a_layer_that_the_configuration_does_not_name(mydocker):
    layout(mydocker.home / "bad", [tar(*busybox())], diffs=["sha256:" + "0" * 64])
    assert "is not the layer that the image names" in refused(mydocker, mydocker.home / "bad")


def test_nobody_else_s_layer_gets_into_an_image(mydocker):
    """An image may not put its own files where another image's layer will be looked for."""
    good = tar(*busybox())
    evil = tar(*busybox(), member("evil"))
    layout(mydocker.home / "bad", [evil], diffs=["sha256:" + hashlib.sha256(good).hexdigest()])
    refused(mydocker, mydocker.home / "bad")


@pytest.mark.parametrize("compress", [False, True])
def test_a_truncated_layer(mydocker, compress):
    whole = tar(*busybox())
    folder = mydocker.home / "bad"
    # Its digest is right, so that it is the tar that is looked at.
    import gzip as g

    cut = g.compress(whole, 1)[:300000] if compress else whole[:700000]
    layout(folder, [cut], diffs=["sha256:" + hashlib.sha256(whole).hexdigest()])
    refused(mydocker, folder)


@pytest.mark.parametrize(
    "data",
    [b"", b"x" * 5000, b"\x1f\x8bxx", b"\x28\xb5\x2f\xfdzstd" * 100],
    ids=["empty", "text", "gzip", "zstd"],
)
def test_a_layer_that_is_no_tar(mydocker, data):
    layout(mydocker.home / "bad", [data], diffs=["sha256:" + "1" * 64])
    refused(mydocker, mydocker.home / "bad")


def test_a_truncated_archive(mydocker):
    layout(mydocker.home / "good", [tar(*busybox())])
    subprocess.run(
        ["tar", "-cf", mydocker.home / "all.tar", "-C", mydocker.home / "good", "."], check=True
    )
    os.truncate(mydocker.home / "all.tar", 600000)
    refused(mydocker, None, mydocker.home / "all.tar")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"manifests": {}}',
        '{"manifests": [{}]}',
        "[" * 100000,
        '{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "x"}, '
        '"digest": "sha256:../../etc/passwd"}]}',
        '{"manifests": [{"annotations": {"org.opencontainers.image.ref.name": "x"}, "digest": 5}]}',
        '{"manifests": [{"annotations": null}]}',
        '"\ud800"'.encode("utf-8", "surrogatepass"),
    ],
)
def test_an_index_that_is_none(mydocker, text):
    layout(mydocker.home / "bad", [tar(*busybox())])
    data = text if isinstance(text, bytes) else text.encode()
    (mydocker.home / "bad/index.json").write_bytes(data)
    refused(mydocker, mydocker.home / "bad")


@pytest.mark.parametrize(
    "config",
    [
        {"rootfs": {}},
        {"rootfs": {"diff_ids": [5]}},
        {"rootfs": {"diff_ids": []}},
        [1],
        {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}, "config": {"Env": [5]}},
        {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}, "config": {"Env": ["NOVALUE"]}},
        {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}, "config": {"Cmd": "sh"}},
        {"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}, "config": []},
        {"rootfs": {"diff_ids": ["md5:1"]}},
    ],
)
def test_a_configuration_that_is_none(mydocker, config):
    layout(mydocker.home / "bad", [tar(*busybox())], config=config)
    refused(mydocker, mydocker.home / "bad")


def test_no_layout_at_all(mydocker, tmp_path):
    (mydocker.home / "empty").mkdir()
    (mydocker.home / "text").write_text("hello\n" * 1000)
    for path in ("nosuch", "empty", "text", "/dev/null"):
        refused(mydocker, None, mydocker.home / path)


@pytest.mark.parametrize("kind", ["fifo", "link", "folder", "fifo in a tar", "link in a tar"])
@pytest.mark.parametrize("name", ["blobs/sha256/" + "1" * 64, "index.json"])
def test_files_that_are_none_in_a_layout(mydocker, name, kind):
    folder = mydocker.home / "bad"
    layout(folder, [tar(*busybox())])
    path = folder / name
    path.unlink(missing_ok=True)
    if kind.startswith("fifo"):
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    if kind.endswith("tar"):
        subprocess.run(["tar", "-cf", f"{folder}.tar", "-C", folder, "."], check=True)
        folder = folder.with_suffix(".tar")
    assert refused(mydocker, folder) == f"{name} in the layout is no plain file"


def test_more_layers_than_a_mount_takes(root):
    layout(root.home / "many", [tar(*busybox()), *(tar(member(f"f{n}")) for n in range(70))])
    root.ok("load", "-i", root.home / "many")
    assert "71 layers" in root.refusal("run", "x", "true")
    layout(
        root.home / "fewer", [tar(*busybox()), *(tar(member(f"f{n}")) for n in range(49))], name="y"
    )
    root.ok("load", "-i", root.home / "fewer")
    assert root.ok("run", "y", "sh", "-c", "ls /f0 /f48") == "/f0\n/f48\n"


# Half way

FULL = [
    *MOUNTING,
    'mkdir -p "$0"; mount -t tmpfs -o size=3m,mode=777 none "$0"; "$@"; s=$?; '
    'find "$0" -type f -size +0 | grep -c . ; exit $s',
]


def test_a_full_disk(mydocker):
    if mydocker.kind != "root":
        mydocker.data.mkdir()
    layout(
        mydocker.home / "big",
        [tar(*busybox(), member("more", data=os.urandom(1 << 20)))],
        compress=True,
    )
    words = mydocker.words("load", "-i", mydocker.home / "big")
    run = subprocess.run(
        [*FULL, str(mydocker.data), *words],
        env=mydocker.environment(),
        cwd=mydocker.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 125
    assert "No space left on device" in json.loads(run.stderr)["msg"]
    assert run.stdout == "0\n"


def test_a_full_disk_while_building(mydocker):
    if mydocker.kind != "root":
        mydocker.data.mkdir()
    run = subprocess.run(
        [*FULL, str(mydocker.data), *mydocker.words("image", "build", "tiny")],
        env=mydocker.environment(),
        cwd=mydocker.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 125 and "No space left on device" in run.stderr and run.stdout == "0\n"


def test_two_builds_at_once(mydocker):
    runs = [
        subprocess.Popen(
            mydocker.words("run", "tiny", "echo", str(n)),
            env=mydocker.environment(),
            cwd=mydocker.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(4)
    ]
    for n, run in enumerate(runs):
        out, err = run.communicate(timeout=120)
        assert (run.returncode, out) == (0, f"{n}\n"), err
    assert len([n for n in mydocker.stored() if n.startswith("layers/")]) == 1


def test_killed_while_unpacking(mydocker):
    big = tar(*busybox(), *(member(f"files/{n}", data=b"x" * 1000) for n in range(20000)))
    layout(mydocker.home / "big", [big])
    for _ in range(3):
        run = subprocess.Popen(
            mydocker.words("load", "-i", mydocker.home / "big"),
            env=mydocker.environment(),
            cwd=mydocker.folder,
        )
        while not (mydocker.data / "new/layer/files").exists():
            assert run.poll() is None
        run.kill()
        run.wait()
        assert mydocker.ok("image", "list") == ""
    mydocker("image", "build", "y", "sh")
    mydocker.ok("image", "rm", "y")
    assert mydocker.stored() == []


def test_ctrl_c_while_unpacking(mydocker):
    big = tar(*busybox(), *(member(f"files/{n}", data=b"x" * 1000) for n in range(20000)))
    layout(mydocker.home / "big", [big])
    for to_all in (False, True):
        run = subprocess.Popen(
            mydocker.words("load", "-i", mydocker.home / "big"),
            env=mydocker.environment(),
            cwd=mydocker.folder,
            start_new_session=True,
            stderr=subprocess.PIPE,
        )
        while not (mydocker.data / "new/layer/files").exists():
            assert run.poll() is None
        (os.killpg if to_all else os.kill)(run.pid, signal.SIGINT)
        assert run.communicate()[1].count(b"\n") <= 1
        assert run.returncode in (125, 130)
        assert [n for n in mydocker.stored() if n.startswith(("new", "layers"))] == []


def test_save_overwrites_nothing(mydocker):
    loaded(mydocker)
    (mydocker.home / "there").write_text("mine")
    assert "is there already" in mydocker.refusal("save", "-o", mydocker.home / "there", "x")
    assert "is there already" in mydocker.refusal("save", "-o", mydocker.home, "x")
    assert (mydocker.home / "there").read_text() == "mine"
    assert "No such file" in mydocker.refusal("save", "-o", mydocker.home / "nosuch/out.tar", "x")


def test_a_full_disk_while_saving(mydocker):
    loaded(mydocker, tar(member("more", data=os.urandom(2 << 20))))
    small = mydocker.home / "small"
    small.mkdir()
    for name in ("out", "out.tar"):
        run = subprocess.run(
            [*FULL, str(small), *mydocker.words("save", "-o", small / name, "x")],
            env=mydocker.environment(),
            cwd=mydocker.folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 125 and run.stdout == "0\n", run
        assert (
            run.stderr.count("\n") == 1
            and "No space left on device" in json.loads(run.stderr)["msg"]
        )


def test_where_an_overlay_cannot_lie(root, tmp_path):
    loaded(root)
    script = (
        'mkdir "$0/u" "$0/w" "$0/m"; '
        'mount -t overlay -o lowerdir=/tmp,upperdir="$0/u",workdir="$0/w" none "$0/m" '
        '&& cp -r "$1" "$0/m/data" && '
        'export MYDOCKER_DATA="$0/m/data"; shift; exec "$@"'
    )
    before = [*MOUNTING, script, str(tmp_path), str(root.data)]
    assert root.ok("run", "x", "sh", "-c", "echo ok > /x; cat /x", prefix=before) == "ok\n"
    for name in "uwm":
        os.rename(tmp_path / name, tmp_path / f"{name}1")
    message = root.refusal("run", "--name", "box", "x", "true", prefix=before)
    assert "is on an overlay" in message and "MYDOCKER_DATA" in message
