"""Notebook 10."""

from tests.answers.stub import solution, solved

SLEEP = "mkdir -p small/bin\ncp /bin/sleep small/bin\n"
LOADER = """
for path in $(ldd /bin/sleep | grep -o '/[^ ]*/ld-[^ ]*'); do
    mkdir -p "small${path%/*}"
    cp "$path" "small$path"
done
"""
MOUNT = 'linux.mount("tmpfs", f"{root}/tmp", "tmpfs", MS_NOSUID | MS_NODEV)'
READ_ONLY = "linux.set_read_only(root, recursive=True)"

WRONG = {
    "10.1": [
        (SLEEP, "names, and the loader"),
        (SLEEP + LOADER, "the loader the libraries"),
        ("mkdir -p small/bin\nln -s /bin/sleep small/bin/sleep", "`cp -L`"),
        ("mkdir small\nmount --bind / small", "the loader the libraries"),
        (solution("10.1") + "\ncp /bin/sh small/bin", "never opens"),
        ("echo 'a root of 3 files'", "makes it there"),
    ],
    "10.2": [
        (solved("10.2", MOUNT, MOUNT.replace('f"{root}/tmp"', '"/tmp"')), "Until `pivot_root`"),
        (solved("10.2", MOUNT, f"{MOUNT[:-1]} | MS_RDONLY)"), "another mount than"),
        (
            solved("10.2", MOUNT, 'linux.mount("/tmp", f"{root}/tmp", None, MS_BIND)'),
            "Until `pivot_root`",
        ),
        (solved("10.2", READ_ONLY, "pass"), "only the root is read-only"),
        (solved("10.2", MOUNT, "print('tmpfs on /tmp')"), "Until `pivot_root`"),
    ],
    "10.3": [
        ("touch got-out", "leads up from there"),
        ('touch "$OUTSIDE/got-out"', "leads up from there"),
        ('mkdir -p "$OUTSIDE"\ntouch "$OUTSIDE/got-out"', "one inside the new root"),
        ('cd ../../..\ntouch ".$OUTSIDE/got-out"', "leads up from there"),
        ("echo got-out", "leads up from there"),
    ],
}
