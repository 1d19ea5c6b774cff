"""`make test-hub`: a class of ten on a hub of its own, on 127.0.0.1; are its promises kept?

All learners run as this user, with a folder each: no account is made, nothing is left behind. The
table at the end says what each of them takes, and docs/hub.md what follows from it.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import IO

import requests

from classroom import submissions
from labkit.course.workbook import ANSWER, SOLUTION
from tests.helpers.hub_kernel import BOOK, SERVER, TOKEN, Kernel
from tests.vm_host import ROOT, Failure, expect, free_port

LEARNERS = [f"learner{number}" for number in range(1, 11)]
EXERCISE = "03.1"
PATIENCE = 900  # seconds for anything, on a machine that has much else to do
LOG = ROOT / "build" / "test-hub.log"
HUB = ROOT / ".venv-hub" / "bin" / "jupyterhub"


class Learner:
    """One of the class, as a browser that keeps its cookies."""

    def __init__(self, hub: str, name: str, password: str, home: Path) -> None:
        self.hub, self.name, self.password, self.home = hub, name, password, home
        self.server = f"{hub}/user/{name}/"

    def log_in(self) -> float:
        """Log in and wait for the server; return the seconds that both took."""
        self.browser = requests.Session()
        began = time.monotonic()
        answer = log_in(self.browser, self.hub, self.name, self.password)
        expect(f"/hub/spawn-pending/{self.name}" in answer.url, f"the login led to {answer.url}")
        progress = f"{self.hub}/hub/api/users/{self.name}/server/progress?_xsrf={self._xsrf()}"
        with self.browser.get(progress, stream=True, timeout=PATIENCE) as events:
            said = [json.loads(line[5:]) for line in events.iter_lines() if line[:5] == b"data:"]
        expect(said and said[-1].get("ready"), f"the server did not start: {said}")
        took = time.monotonic() - began
        token = self._ask("POST", f"users/{self.name}/tokens").json()["token"]
        self.token, self.headers = token, {"Authorization": f"token {token}"}
        return took

    def verify(self) -> float:
        """Run the notebook by nbval in the learner's kernel; return the seconds that it took."""
        began = time.monotonic()
        words = ["--nbval", "-q", "-p", "tests.helpers.hub_kernel", "-p", "no:cacheprovider"]
        words += [f"--nbval-kernel-startup-timeout={PATIENCE}", f"notebooks/{BOOK}"]
        surroundings = {**os.environ, SERVER: self.server, TOKEN: self.token}
        pytest = [sys.executable, "-m", "pytest", *words]
        run = subprocess.run(pytest, cwd=ROOT, env=surroundings, capture_output=True, text=True)
        expect(run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:])
        expect(re.search(r"^\d+ passed", run.stdout, re.MULTILINE), run.stdout[-300:])
        return time.monotonic() - began

    def pass_exercise(self) -> None:
        """Write an answer into the copy, save it, run it and its check."""
        book = self.copy()
        cells = {cell["source"].partition("\n")[0]: cell for cell in book["cells"]}
        solved = cells[f"{SOLUTION} {EXERCISE}"]["source"].partition("\n")[2]
        cells[f"{ANSWER} {EXERCISE}"]["source"] = f"{ANSWER} {EXERCISE}\n# {self.name}\n{solved}"
        whole = {"type": "notebook", "content": book}
        self._call("PUT", f"contents/{BOOK}", json=whole)
        kernel = Kernel(server=(self.server, self.token))
        kernel.run("%load_ext labkit\nfrom labkit import check")
        kernel.run(cells[f"{ANSWER} {EXERCISE}"]["source"])
        said = kernel.run(f'check("{EXERCISE}")')
        kernel.stop()
        expect(said.startswith(f"✓ {EXERCISE} passed"), said)

    def come_back(self) -> float:
        """Stop the server, log in anew, find the work; return the seconds until it was there."""
        self.stop()
        wait(lambda: not processes(self.home), f"the end of {self.name}'s processes")
        took = self.log_in()
        answers = [cell["source"] for cell in self.copy()["cells"]]
        expect(any(f"# {self.name}\n" in text for text in answers), "the answer is gone")
        shown = Kernel(server=(self.server, self.token)).run(
            "from labkit import progress; progress()"
        )
        expect("03 " in shown and "1 of " in shown, shown)
        return took

    def stop(self) -> None:
        """Stop the server."""
        self._ask("DELETE", f"users/{self.name}/server")
        model = f"{self.hub}/hub/api/users/{self.name}"
        wait(lambda: not self._get(model).json()["servers"], f"{self.name}'s server to stop")

    def copy(self) -> dict:
        """Return the learner's copy of the notebook, as the server gives it to the page."""
        return self._call("GET", f"contents/{BOOK}").json()["content"]

    def _call(self, method: str, path: str, **more) -> requests.Response:
        """Ask the learner's own server."""
        address, headers = f"{self.server}api/{path}", self.headers
        answer = requests.request(method, address, headers=headers, timeout=PATIENCE, **more)
        answer.raise_for_status()
        return answer

    def _ask(self, method: str, path: str) -> requests.Response:
        """Ask the hub for something that changes it, as its page does."""
        address, headers = f"{self.hub}/hub/api/{path}", {"X-XSRFToken": self._xsrf()}
        answer = self.browser.request(method, address, headers=headers, timeout=PATIENCE)
        answer.raise_for_status()
        return answer

    def _get(self, address: str) -> requests.Response:
        return self.browser.get(address, params={"_xsrf": self._xsrf()}, timeout=PATIENCE)

    def _xsrf(self) -> str:
        return xsrf(self.browser)


def log_in(browser: requests.Session, hub: str, name: str, password: str) -> requests.Response:
    """Fill in the hub's form."""
    browser.get(f"{hub}/hub/login", timeout=PATIENCE)
    form = {"username": name, "password": password, "_xsrf": xsrf(browser)}
    return browser.post(f"{hub}/hub/login", data=form, timeout=PATIENCE)


def xsrf(browser: requests.Session) -> str:
    return next(c.value for c in browser.cookies if c.name == "_xsrf" and c.path == "/hub/")


def wait(happened, what: str) -> None:
    """Wait until something has happened that tells nobody."""
    end = time.monotonic() + PATIENCE
    while not happened():
        expect(time.monotonic() < end, f"waited {PATIENCE} s for {what}")
        time.sleep(0.1)


def processes(home: Path) -> list[int]:
    """The PIDs of those that a learner's server is and has started."""
    mark = f"HOME={home}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def memory(pids: list[int]) -> float:
    """MB that processes hold, what they share with others divided among these."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss: +(\d+) kB", text, re.MULTILINE)[1])
    return total / 1024


def processor(pids: list[int]) -> float:
    """Seconds that processes have computed, with those that they started and waited for."""
    ticks = 0
    for pid in pids:
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime of proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def below(parent: int) -> list[int]:
    """A process and its descendants; learners' servers lead sessions of their own."""
    found = [parent]
    for pid in found:
        with suppress(OSError):
            found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return found


def start(folder: Path, log: IO[str], **settings: object) -> subprocess.Popen:
    """Start a hub whose settings are these, on ports of its own."""
    config = folder / "config.py"
    config.write_text(
        f"load_subconfig({str(ROOT / 'hub' / 'jupyterhub_config.py')!r})\n"
        f"c.JupyterHub.hub_port = {free_port()}\n"
        f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{free_port()}'\n"
    )
    surroundings = {k: v for k, v in os.environ.items() if not k.startswith("LABKIT_")}
    settings = {"SPAWNER": "simple", "FOLDER": folder} | settings
    surroundings |= {f"LABKIT_HUB_{name}": str(value) for name, value in settings.items()}
    command = [str(HUB), "-f", str(config)]
    return subprocess.Popen(
        command, cwd=folder, env=surroundings, stdout=log, stderr=log, start_new_session=True
    )


@contextmanager
def running(folder: Path, scheme: str = "http", **settings: object) -> Iterator[tuple[str, int]]:
    """A hub for the class; yields its address and its PID."""
    (folder / "learners.txt").write_text("\n".join(LEARNERS))
    port = free_port()
    with LOG.open("a") as log:
        hub = start(folder, log, PORT=port, **settings)
    address = f"{scheme}://127.0.0.1:{port}"
    try:
        wait(lambda: hub.poll() is not None or is_up(address), "the hub")
        expect(hub.poll() is None, "the hub ended")
        yield address, hub.pid
    finally:
        hub.send_signal(signal.SIGTERM)
        hub.wait(PATIENCE)


def check_refusals(folder: Path) -> None:
    """What would be unsafe, or cannot be, ends it with a sentence."""
    names = folder / "learners.txt"
    for listed, settings, says in (
        (None, {}, f"who may enter? Write the learners' names into {names}, one a line."),
        ("../x", {}, f"{names}: '../x' can be no account's name"),
        ("ada", {"IP": "0.0.0.0"}, "on 0.0.0.0 everybody on the way could read passwords"),
        ("ada", {"IP": "here"}, "LABKIT_HUB_IP=here: that is no address"),
        ("ada", {"MEMORY": "-1"}, "LABKIT_HUB_MEMORY=-1: that is no number above 0"),
    ):
        if listed:
            names.write_text(listed)
        with tempfile.TemporaryFile("w+") as said:
            status = start(folder, said, **settings).wait(PATIENCE)
            said.seek(0)
            text = said.read()
        expect(status and f"hub: {says}" in text, f"not said: {says}; but: {text[-500:]}")


def check_tls(folder: Path) -> None:
    """With a certificate it speaks TLS."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-subj", "/CN=localhost"]
    words += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*words, "-addext", "subjectAltName=IP:127.0.0.1"], check=True)
    os.environ["REQUESTS_CA_BUNDLE"] = str(cert)
    with running(folder, "https", CERT=cert, KEY=key) as (hub, _):
        page = requests.get(f"{hub}/hub/login", timeout=PATIENCE)
        expect("password" in page.text, page.text)
    del os.environ["REQUESTS_CA_BUNDLE"]


def is_up(address: str) -> bool:
    try:
        return requests.get(f"{address}/hub/health", timeout=PATIENCE).ok
    except requests.ConnectionError:
        return False


def listening(pids: list[int]) -> set[str]:
    """The addresses on which processes wait for connections, without ports."""
    lines = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    own = [
        line
        for line in lines.splitlines()
        if set(pids) & set(map(int, re.findall(r"pid=(\d+)", line)))
    ]
    return {line.split()[3].rpartition(":")[0] for line in own}


def be_class(folder: Path) -> tuple[float, dict[str, list[float]]]:
    """Log in, work, pass, come back, all at once; return the hub's own MB, and each learner's."""
    with running(folder) as (hub, process):
        with open(folder / "passwords.csv") as file:
            passwords = dict(csv.reader(file))
        homes = folder / "homes"
        learners = [Learner(hub, name, passwords[name], homes / name) for name in LEARNERS]
        for name, password in ((LEARNERS[0], ""), (LEARNERS[0], passwords[LEARNERS[1]]), ("x", "")):
            refused = log_in(requests.Session(), hub, name, password)
            expect(refused.status_code == 403, f"{name!r} came in with {password!r}")
        own = memory(below(process))

        def at_once(act):
            with ThreadPoolExecutor(len(learners)) as pool:
                return list(pool.map(act, learners))

        def of_each(measure):
            return [measure(processes(one.home)) for one in learners]

        table = {"s from the login to the server": at_once(Learner.log_in)}
        started = table["s of a core for that"] = of_each(processor)
        table["MB of the server"] = of_each(memory)
        table["s for notebook 03, by nbval"] = at_once(Learner.verify)
        after = of_each(processor)
        table["s of a core for that, nbval aside"] = [
            b - a for a, b in zip(started, after, strict=True)
        ]
        table["MB with its kernel"] = of_each(memory)
        at_once(Learner.pass_exercise)
        others = requests.get(f"{learners[1].server}api/contents", headers=learners[0].headers)
        expect(others.status_code == 403, "one learner's token opens another's server")
        everybody = [pid for one in learners for pid in processes(one.home)]
        heard = listening(below(process) + everybody)
        expect(heard == {"127.0.0.1"}, f"somebody listens on {heard}")
        table["s until back"] = at_once(Learner.come_back)
        with submissions.find([homes]) as (found, problems):
            graded = {one.learner for one in found if one.number == "03"}
            expect(graded == set(LEARNERS) and not problems, f"labkit grade finds {graded}")
        check_grading(learners[0], folder)
    return own, table


def check_grading(learner: Learner, folder: Path) -> None:
    """`labkit grade` takes a learner's home; of what lies there, the one book they worked on."""
    for other in (learner.home / "mine").glob("*.ipynb"):
        if other.name != BOOK:
            other.unlink()
    command = [f"{ROOT}/.venv/bin/labkit", "grade", f"{learner.home}", "--out", f"{folder}"]
    subprocess.run(command, check=True)
    with open(folder / "grades.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    expect([row["learner"] for row in rows] == [learner.name], f"graded: {rows}")
    expect(rows[0]["passed"] == rows[0][EXERCISE] == "1", f"graded: {rows}")


def main() -> int:
    """Try the hub; return 0 where every promise held."""
    LOG.parent.mkdir(exist_ok=True)
    LOG.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="hub-") as place:
        check_refusals(Path(place))
        check_tls(Path(place))
        own, table = be_class(Path(place))
    print(f"{len(LEARNERS)} learners at once, {os.cpu_count()} cores; the hub itself: {own:.0f} MB")
    for what, values in table.items():
        print(f"  {median(values):6.1f}  {min(values):6.1f} to {max(values):6.1f}  {what}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"test-hub: {failure}\nThe hub's own words are in {LOG}.")
