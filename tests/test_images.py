"""Images and layers: made, run, changed, handed on."""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.helpers.images import busybox, layout, member, tar


def clean(who):
    """Nothing is left but images and what belongs to them."""
    assert [name for name in who.stored() if name.startswith(("containers/", "new/"))] == []


def test_tiny_is_built_when_it_is_first_asked_for(mydocker):
    first = mydocker("run", "tiny", "echo", "hello")
    assert (first.stdout, first.returncode) == ("hello\n", 0)
    assert re.fullmatch(r"building tiny from \d+ of this machine's programs\n", first.stderr)
    assert mydocker.ok("run", "tiny", "echo", "again") == "again\n"
    clean(mydocker)


def test_a_name_that_is_not_there_is_told_which_are(mydocker):
    tiny = ". `run tiny` builds a small one"
    assert mydocker.refusal("run", "nosuch") == f"no image 'nosuch'; there are: none{tiny}"
    mydocker("image", "build", "tools", "sh", "ls")
    assert mydocker.refusal("run", "sh") == f"no image 'sh'; there are: tools{tiny}"


def test_every_program_of_tiny_finds_its_libraries(root):
    root("image", "build", "tiny")
    script = (
        "for p in /bin/*; do $p --version </dev/null >/dev/null 2>/dev/null; s=$?; "
        "[ $s -ne 127 -a $s -ne 126 ] || echo $p; done"
    )
    assert root.ok("run", "tiny", "sh", "-c", script) == ""


def test_a_program_that_is_not_there_cannot_be_in_an_image(root):
    assert "nosuchprogram" in root("image", "build", "x", "sh", "nosuchprogram").stderr
    assert root("image", "list").stdout == ""


def test_a_program_given_by_its_path_lies_in_bin(mydocker):
    shutil.copy("/bin/true", mydocker.home / "tool")
    mydocker("image", "build", "x", "sh", mydocker.home / "tool")
    assert mydocker.ok("run", "x", "tool") == ""
    clean(mydocker)


@pytest.mark.parametrize("name", ["a,b", "a\\b", "a@b", "a/b", "..", ""])
def test_an_images_name_is_one_that_mount_takes(root, name):
    assert "no name for an image" in root("image", "build", name, "sh").stderr
    assert root("image", "list").stdout == ""


def test_nobody_else_enters_the_store(mydocker):
    mydocker("image", "build", "tiny")
    assert mydocker.data.stat().st_mode & 0o777 == 0o700


def test_a_layer_that_comes_twice(mydocker):
    mydocker("image", "build", "tiny")
    for below, image in ("tiny", "one"), ("one", "two"), ("two", "three"):
        mydocker.ok("run", "--name", "box", below, "true")
        mydocker.ok("commit", "box", image)
        mydocker.ok("rm", "box")
    assert mydocker.ok("run", "three", "echo", "hello") == "hello\n"


def test_what_a_container_writes_is_gone_with_it(mydocker):
    mydocker("image", "build", "tiny")
    mydocker.ok("run", "tiny", "sh", "-c", "echo x > /new; rm -r /etc")
    assert mydocker.ok("run", "tiny", "sh", "-c", "ls /new 2>&1; ls /etc").split("\n")[1:] == [""]
    clean(mydocker)


CHANGES = (
    "mkdir -p /old /old/sub; echo 1 > /old/a; echo 1 > /hosts; echo 1 > /motd",
    "echo more >> /motd; rm /hosts; rm -r /old; mkdir /old; echo x > /old/b; mkdir -m 700 /data; "
    "ln /motd /hard; ln -s /bin/sh /data/shell; chmod 4755 /motd",
)


def changed(who):
    """Two layers above tiny."""
    who("image", "build", "tiny")
    below = "tiny"
    for number, script in enumerate(CHANGES):
        who.ok("run", "--name", "box", below, "sh", "-c", script)
        who.ok("commit", "box", f"with{number}")
        who.ok("rm", "box")
        below = f"with{number}"


def test_a_commit_holds_the_changes_and_no_more(mydocker, tmp_path):
    changed(mydocker)
    tmp_path.chmod(0o777)
    mydocker.ok("save", "-o", mydocker.home / "out", "with1")
    import json

    index = json.loads((mydocker.home / "out/index.json").read_text())
    manifest = json.loads(
        (mydocker.home / "out/blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text()
    )
    top = manifest["layers"][-1]["digest"]
    with tarfile.open(mydocker.home / "out/blobs/sha256" / top[7:]) as archive:
        found = {m.name: (m.type, oct(m.mode), m.mtime, m.uid) for m in archive}
    names = ["data", "hard", ".wh.hosts", "motd", "old", "data/shell", "old/.wh..wh..opq", "old/b"]
    assert list(found) == names
    assert found["motd"] == (tarfile.LNKTYPE, "0o4755", 0, 0)
    # The same for every user, on every machine:
    assert top == "sha256:" + SECOND


SECOND = "6bd6b3f961db40528dad274dbe50f35b99bbb6ad276a0657980c0669e5c53981"


def test_a_committed_image_shows_what_the_container_showed(mydocker):
    changed(mydocker)
    script = "cat /motd; ls / /old; ls -l /hosts 2>/dev/null; stat -c '%a %h' /motd /data"
    said = mydocker.ok("run", "with1", "sh", "-c", script).split("\n")
    assert said[:2] == ["1", "more"] and said[-3:] == ["4755 2", "700 2", ""]
    assert "hosts" not in said and "b" in said and "a" not in said and "sub" not in said


def test_containers_with_a_name(mydocker):
    mydocker("image", "build", "tiny")
    mydocker.ok("run", "--name", "box", "tiny", "true")
    assert "name box is in use" in mydocker.refusal("run", "--name", "box", "tiny", "true")
    assert mydocker.refusal("commit", "bix", "x") == "no container 'bix'; there are: box"
    assert mydocker.refusal("image", "rm", "tiny") == "image tiny is in use by container box@tiny"
    mydocker.ok("run", "--name", "None", "tiny", "true")
    mydocker.ok("run", "tiny", "true")
    mydocker.ok("rm", "None")
    mydocker.ok("commit", "box", "saved")
    mydocker.ok("rm", "box")
    mydocker.ok("image", "rm", "tiny")  # whose layer the other image still needs
    assert mydocker.ok("run", "saved", "echo", "hello") == "hello\n"
    mydocker.ok("image", "rm", "saved")
    assert mydocker.stored() == []


@pytest.mark.parametrize("name", [".x", "../x", "a/b", "a b"])
def test_a_containers_name_is_no_path(root, name):
    assert "name" in root.refusal("run", "--name", name, "tiny", "true", status=1)


def test_a_running_container_is_neither_committed_nor_removed(root):
    root("image", "build", "tiny")
    with subprocess.Popen(
        root.words("run", "-i", "--name", "box", "tiny", "sh", "-c", "echo; read x"),
        env=root.environment(),
        cwd=root.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        run.stdout.readline()
        assert root.refusal("commit", "box", "x") == "container box is running"
        assert root.refusal("rm", "box") == "container box is running"
        run.communicate(b"\n")
    root.ok("rm", "box")


def test_an_image_is_not_removed_under_its_containers(mydocker):
    mydocker("image", "build", "tiny")
    with subprocess.Popen(
        mydocker.words("run", "-i", "tiny", "sh", "-c", "echo; read x; ls /bin/sh"),
        env=mydocker.environment(),
        cwd=mydocker.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as run:
        run.stdout.readline()
        assert "image tiny is in use by container" in mydocker.refusal("image", "rm", "tiny")
        assert run.communicate(b"\n")[0] == b"/bin/sh\n"
    mydocker.ok("image", "rm", "tiny")
    assert mydocker.stored() == []


@pytest.mark.parametrize("more", [(), ("-u", "1000")])
def test_kill_leaves_no_container(mydocker, more):
    if more and mydocker.kind == "one ID":
        pytest.skip("there is no other user here")
    mydocker("image", "build", "tiny")
    with subprocess.Popen(
        mydocker.words("run", *more, "tiny", "sh", "-c", "echo; exec sleep 1000"),
        env=mydocker.environment(),
        cwd=mydocker.folder,
        stdout=subprocess.PIPE,
    ) as run:
        run.stdout.readline()
        run.kill()
        run.stdout.read()  # the container's end
    mydocker.ok("image", "rm", "tiny")
    assert mydocker.stored() == []


def test_a_start_that_fails_leaves_a_volume_alone_also_below_pid_1(root):
    loaded(root)
    (root.home / "data").mkdir()
    (root.home / "data/file").write_text("kept")
    failing = ("-v", f"{root.home}/data:/etc/d", "-v", f"{root.home}/data/file:/bin")
    alone = ("unshare", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc")
    root.refusal("run", *failing, "x", "true", prefix=alone)
    assert (root.home / "data/file").read_text() == "kept"


# What an image asks for, and what the command line says.

ASKED = {
    "Env": ["PATH=/bin", "COLOUR=blue", "EMPTY="],
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ['echo "$COLOUR$EMPTY $(pwd) $(id -u):$(id -g)"'],
    "WorkingDir": "/made/for/it",
}


def loaded(who, *layers, **more):
    folder = who.home / "layout"
    layout(folder, [tar(*busybox()), *layers], **more)
    who.ok("load", "-i", folder)


def test_what_the_image_asks_for(mydocker):
    loaded(mydocker, asked=ASKED)
    assert mydocker.ok("run", "x") == "blue /made/for/it 0:0\n"
    words = ("-e", "COLOUR=red", "-w", "/tmp", "x", "pwd; echo $COLOUR")
    assert mydocker.ok("run", *words) == "/tmp\nred\n"


def test_an_image_without_a_command(root):
    loaded(root, asked={"Env": ["PATH=/bin"]})
    assert root.refusal("run", "x", status=1) == "missing container command"


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("1000", "1000:0"),
        ("33:44", "33:44"),
        ("0", "0:0"),
        ("0:1002", "0:1002"),
    ],
)
def test_users(mydocker, user, said):
    loaded(mydocker, asked=ASKED | {"User": user, "WorkingDir": ""})
    if mydocker.kind == "one ID" and user != "0":
        assert "subuid(5)" in mydocker.refusal("run", "x")
    else:
        assert mydocker.ok("run", "x") == f"blue / {said}\n"
    assert mydocker.ok("run", "-u", "0", "x", "id -u") == "0\n"
    assert "no number" in mydocker.refusal("run", "-u", "you", "x")


def test_another_user_has_no_rights(mydocker):
    if mydocker.kind == "one ID":
        pytest.skip("there is no other user here")
    loaded(mydocker)
    script = "grep Cap /proc/self/status; touch /x || echo no; touch /tmp/x && echo yes"
    for more in (), ("--init",):
        said = mydocker(
            "run", *more, "-u", "1000", "x", "sh", "-c", "cat /proc/self/status; " + script
        ).stdout
        assert re.search(r"CapEff:\s0{16}\n", said) and said.endswith("no\nyes\n")


def test_a_link_in_the_image_leads_no_volume_out(mydocker):
    loaded(mydocker, tar(member("out", tarfile.SYMTYPE, linkname="../../../../../../../../etc")))
    volume = ("-v", f"{mydocker.home}:/out/below")
    assert "has a link" in mydocker.refusal("run", *volume, "x", "true")
    assert not Path("/etc/below").exists()
    assert mydocker.ok("run", "-v", f"{mydocker.home}:/mnt", "x", "ls", "/mnt")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-v"], "wants a value"),
        (["-u"], "wants a value"),
        (["-x"], "unknown option -x"),
        ([], "missing image"),
    ],
)
def test_a_wrong_command_line(root, words, said):
    assert said in root.refusal("run", *words, *(["tiny"] if len(words) > 1 else []), status=1)


@pytest.mark.parametrize(
    "words",
    [["image"], ["image", "rm"], ["commit", "x"], ["save", "x"], ["load"], ["rm"], ["nosuch"]],
)
def test_commands_that_lack_words(root, words):
    assert words[0] in root.refusal(*words, status=1)


# What Linux before 6.6 does to an ordinary user: no attributes of users on a tmpfs.
OLD = """
import os, sys
real, calls = os.setxattr, []
def setxattr(path, name, *more):
    calls.append(name)
    if name.endswith(".try") and len(calls) <= 1:
        raise OSError(95, "Operation not supported")
    return real(path, name, *more)
os.setxattr = setxattr
sys.path.insert(0, ".")
from mydocker.__main__ import main
main()
"""


def test_where_memory_will_not_do_the_disk_does_and_is_left_clean(mydocker):
    loaded(mydocker)
    words = mydocker.words()[:-2]
    script = (
        "mkdir /d; touch /d/f; chmod 0 /d; rm -r /etc; "
        "grep -c ' / overlay' /proc/mounts; grep -o upperdir=[^,]* /proc/mounts"
    )
    run = subprocess.run(
        [
            *words,
            "-c",
            OLD,
            "run",
            "x",
            "/bin/busybox",
            "sh",
            "-c",
            script.replace("grep", "busybox grep").replace("chmod", "busybox chmod"),
        ],
        env=mydocker.environment(),
        cwd=mydocker.folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("1\nupperdir=../containers/.")
    clean(mydocker)
    if mydocker.kind != "one ID":
        script = "mkdir /d; touch /d/f; busybox chown -R 33:33 /d; busybox chmod 700 /d"
        run = subprocess.run(
            [*words, "-c", OLD, "run", "x", "sh", "-c", script],
            env=mydocker.environment(),
            cwd=mydocker.folder,
            capture_output=True,
            text=True,
        )
        assert (run.returncode, run.stderr) == (0, "")
        clean(mydocker)


def test_files_of_other_users_of_a_container_can_be_committed_and_removed(mydocker):
    loaded(mydocker)
    script = "mkdir /d; echo x > /d/f; busybox chown -R 33:44 /d && busybox chmod 700 /d; true"
    mydocker.ok(
        "run", "--name", "box", "x", "sh", "-c", script
    ) if mydocker.kind != "one ID" else mydocker("run", "--name", "box", "x", "sh", "-c", script)
    mydocker.ok("commit", "box", "y")
    ids = "0:0" if mydocker.kind == "one ID" else "33:44"
    assert mydocker.ok("run", "y", "stat", "-c", "%u:%g", "/d/f") == f"{ids}\n"
    mydocker.ok("rm", "box")
    for name in ("y", "x"):
        mydocker.ok("image", "rm", name)
    assert mydocker.stored() == []


def test_a_folder_is_still_a_root(mydocker):
    loaded(mydocker)
    root = mydocker.home / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy("/usr/bin/busybox", root / "bin/sh")
    if mydocker.kind != "root":
        for path in (root, root / "bin", root / "bin/sh"):
            shutil.chown(path, "nobody", "nogroup")
    words = ("--rootfs", root, "-w", "/made", "sh", "-c", "pwd; echo *")
    assert mydocker.ok("run", *words) == "/made\n*\n"
