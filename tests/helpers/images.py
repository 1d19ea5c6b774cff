"""What the tests of images share: the runtime as several kinds of user, tars, image layouts."""

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from labkit.course import workbook
from tests.helpers.course import open_folder
from tests.helpers.tools import needed

PYTHON = "/usr/bin/python3"  # for another user, who can't reach ours
NOBODY = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--inh-caps=-all"]
MAPPED = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    'for f in subuid subgid; do mount --bind "$0" /etc/$f; done; exec "$@"',
]


# To mount something of our own before the runtime starts.
MOUNTING = ["unshare", *(["--map-root-user"] if os.geteuid() else []), "--mount", "sh", "-c"]


class Who:
    """A kind of user, with a copy of the runtime that it can read and a store of its own."""

    def __init__(self, kind):
        self.kind, self.folder = kind, (folder := open_folder())
        shutil.copytree(
            workbook.install(workbook.runtime()) / "mydocker",
            folder / "mydocker",
            ignore=shutil.ignore_patterns("__py*", ".*"),
        )
        self.home = folder / "home"
        self.home.mkdir()
        self.data = self.home / "data: a, b"
        self.prefix = []
        if os.geteuid():
            self.kind = "one ID"
        if kind == "root" or os.geteuid():
            return
        if kind == "more IDs":
            needed("newuidmap", "uidmap")
        shutil.chown(self.home, "nobody", "nogroup")
        ids = folder / "ids"
        ids.write_text("nobody:100000:65536\n")
        self.prefix = NOBODY if kind == "one ID" else [*MAPPED, str(ids), *NOBODY]

    def __call__(self, *words, prefix=(), **options):
        settings = {
            "capture_output": True,
            "text": True,
            "timeout": 120,
            "stdin": subprocess.DEVNULL,
        }
        return subprocess.run(
            self.words(*words, prefix=prefix),
            env=self.environment(),
            cwd=self.folder,
            **{**settings, **options},
        )

    def words(self, *words, prefix=()):
        python = PYTHON if self.prefix else sys.executable
        return [*prefix, *self.prefix, python, "-S", "-m", "mydocker", *map(str, words)]

    def environment(self):
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MYDOCKER_DATA": str(self.data),
            "PYTHONDONTWRITEBYTECODE": "1",
            "LC_ALL": "C.UTF-8",
            "LABKIT_TEST": os.environ["LABKIT_TEST"],
        }

    def ok(self, *words, **options):
        run = self(*words, **options)
        assert (run.returncode, run.stderr) == (0, ""), (run.returncode, run.stdout, run.stderr)
        return run.stdout

    def refusal(self, *words, status=125, **options):
        """Return the one sentence with which it refuses."""
        run = self(*words, **options)
        assert run.returncode == status, (run.returncode, run.stdout, run.stderr)
        assert run.stderr.count("\n") == 1, run.stderr
        return json.loads(run.stderr)["msg"]

    def stored(self):
        """What lies in the store."""
        return sorted(str(p.relative_to(self.data)) for p in self.data.glob("*/*"))


def member(name, kind=tarfile.REGTYPE, data=b"", **more):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(data), 0o755
    for key, value in more.items():
        setattr(info, key, value)
    return info, data


def tar(*members):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def busybox():
    needed("busybox", "busybox-static")
    return [
        member("bin", tarfile.DIRTYPE),
        member("bin/busybox", data=Path("/usr/bin/busybox").read_bytes()),
        *(
            member(f"bin/{name}", tarfile.SYMTYPE, linkname="/bin/busybox")
            for name in (
                "sh",
                "ls",
                "cat",
                "stat",
                "id",
                "env",
                "pwd",
                "touch",
                "find",
                "sleep",
                "rm",
                "mkdir",
                "test",
            )
        ),
        member("etc", tarfile.DIRTYPE),
        member("etc/passwd", data=b"root:x:0:0::/root:/bin/sh\nme:x:1000:1001::/home/me:/bin/sh\n"),
        member("etc/group", data=b"root:x:0:\nus:x:1002:\n"),
        member("tmp", tarfile.DIRTYPE, mode=0o1777),
    ]


def layout(folder, tars, name="x", compress=False, asked=None, config=None, **spoiled):
    """Write an image layout by hand; `spoiled` changes what it says."""
    blobs = folder / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(data, kind):
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {
            "mediaType": f"application/vnd.oci.image.{kind}",
            "digest": f"sha256:{digest}",
            "size": len(data),
        }

    diffs = ["sha256:" + hashlib.sha256(t).hexdigest() for t in tars]
    config = config or {
        "architecture": "amd64",
        "os": "linux",
        "config": asked or {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": spoiled.get("diffs", diffs)},
    }
    layers = [
        put(gzip.compress(t, 1) if compress else t, "layer.v1.tar" + "+gzip" * compress)
        for t in tars
    ]
    manifest = {
        "schemaVersion": 2,
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": spoiled.get("layers", layers),
    }
    entry = put(json.dumps(manifest).encode(), "manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return blobs / layers[-1]["digest"][7:]
