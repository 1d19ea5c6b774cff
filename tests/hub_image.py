"""`make test-hub-image`: can the labs run in the image for Kubernetes, as hub/values.yaml says?

There is no cluster here: podman starts the image with what the values ask of one, and in a mount
namespace of its own, so that nothing is left behind.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from labkit.doctor import LIMITS
from tests.helpers.tools import PRIVATE
from tests.vm_host import ROOT, Failure, expect

INSIDE = "inside"
VALUES = yaml.safe_load((ROOT / "hub" / "values.yaml").read_text())
POD = VALUES["singleuser"]
SECURITY = VALUES["hub"]["config"]["KubeSpawner"]["container_security_context"]
# Limits are the cluster's; and podman's own are refused where CAP_SYS_RESOURCE is missing.
UNLIMITED = "--cgroups=disabled --ulimit=nofile=1024:1024 --ulimit=nproc=4096:4096"
# What a pod's settings are called here; each is there only where the values have it.
SETTINGS = {
    "hostUsers": (POD["extraPodConfig"].get("hostUsers") is False, "--uidmap=0:100000:65536"),
    "procMount": (SECURITY.get("procMount") == "Unmasked", "--security-opt=unmask=ALL"),
    "seccompProfile": (
        SECURITY.get("seccompProfile") == {"type": "Unconfined"},
        "--security-opt=seccomp=unconfined",
    ),
    "allowPrivilegeEscalation: false": (
        not POD.get("allowPrivilegeEscalation"),
        "--security-opt=no-new-privileges",
    ),
}


class Image:
    """The image, in a store of its own, and a learner's volumes."""

    def __init__(self, folder: Path) -> None:
        self.podman = ["podman", f"--root={folder}/store", f"--runroot={folder}/run"]
        self.podman += ["--storage-driver=overlay", "--cgroup-manager=cgroupfs"]
        self.podman += ["--events-backend=none"]
        build = ["build", "--quiet", "--file=hub/Containerfile", "build"]
        made = subprocess.run([*self.podman, *build], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        expect(made.returncode == 0, "podman cannot build the image")
        self.name = made.stdout.strip()
        places = [POD["storage"]["homeMountPath"]]
        places += [mount["mountPath"] for mount in POD["storage"]["extraVolumeMounts"]]
        self.volumes = []
        for place in places:
            (folder / Path(place).name).mkdir()
            self.volumes.append(f"--volume={folder / Path(place).name}:{place}:U")

    def run(self, command: str, without: str = "") -> tuple[int, str]:
        """Run a command as a learner's pod would; return its status, and what it says."""
        flags = [flag for name, (set_, flag) in SETTINGS.items() if set_ and name != without]
        flags += ["--runtime=crun", "--net=none", f"--user={POD['uid']}", *UNLIMITED.split()]
        words = ["run", "--rm", *flags, *self.volumes, self.name, "sh", "-c", command]
        run = subprocess.run(
            [*self.podman, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return run.returncode, run.stdout


def check(image: Image) -> None:
    """Where all is as the values say, all is well; where one thing is not, it is named."""
    status, said = image.run("labkit doctor")
    print(said)
    # A container's own cgroup is not delegated.
    wrong = [line for line in said.splitlines() if "✗" in line and LIMITS not in line]
    expect(status == 0 and not wrong and said.endswith("The labs can run here.\n"), said)
    for name, cause in (("procMount", "/proc are masked"), ("seccompProfile", "A seccomp filter")):
        status, said = image.run("labkit doctor", without=name)
        expect(status == 1 and cause in said and name in said, f"without {name}: {said}")
    books = " ".join(f"notebooks/{number}-*.ipynb" for number in ("03", "10", "11", "14"))
    pytest = "cd /srv/mydocker && python -m pytest -q --nbval -p no:cacheprovider -n 2"
    status, said = image.run(f"{pytest} --dist=loadfile {books}")
    expect(status == 0, said[-3000:])
    print(f"notebooks: {said.splitlines()[-1]}")
    status, said = image.run(
        "touch /srv/mydocker/x || grep -l '%%solution' /srv/mydocker/notebooks/*.ipynb"
    )
    expect(status == 1 and "Permission denied" in said, f"learners can change or read: {said}")


def main(words: list[str]) -> int:
    """Try the image; return 0 where the labs can run in it."""
    if words != [INSIDE]:
        command = [*PRIVATE, sys.executable, "-m", "tests.hub_image", INSIDE]
        return subprocess.run(command, cwd=ROOT).returncode
    with tempfile.TemporaryDirectory(prefix="hub-image-") as folder:
        check(Image(Path(folder)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Failure as failure:
        sys.exit(f"test-hub-image: {failure}")
