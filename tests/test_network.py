"""Networks: a switch, cables, addresses that nobody has twice."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path

import pytest

from labkit.doctor import no_network
from tests.helpers.images import MOUNTING, PYTHON
from tests.helpers.processes import kill

WHY = no_network()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
# Says what the kernel answers at an address, at a port where nobody listens.
KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=20)
except OSError as error:
    print(error.strerror)
"""
THERE, NOBODY_THERE, NO_WAY = "Connection refused", "No route to host", "Network is unreachable"
STARTS = int(os.environ.get("STARTS", "1000"))


def start(net, name, network="net"):
    net.ok("run", "-d", "--network", network, "--name", name, "small", "sleep", "1000")
    return net.state(name)["address"]


def knock(net, name, address):
    """Return what a container hears from an address."""
    user = ["--user", "--preserve-credentials"] if os.geteuid() else []
    words = ["nsenter", "--target", str(net.state(name)["pid"]), *user, "--net"]
    words += [PYTHON if net.prefix else sys.executable, "-c", KNOCK, address]
    run = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert run.stderr == ""
    return run.stdout.strip()


def switches(net, name="net"):
    """The PIDs of a network's switch, as its title and its environment say."""
    title = f"mydocker: switch of {name}".encode()
    return [
        pid
        for pid in net.processes()
        if Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == title
    ]


def test_two_on_one_bridge_reach_each_other_and_the_bridge(net):
    assert [start(net, "a"), start(net, "b")] == ["10.44.0.2", "10.44.0.3"]
    assert knock(net, "a", "10.44.0.3") == knock(net, "b", "10.44.0.2") == THERE
    assert knock(net, "a", "10.44.0.1") == THERE
    assert knock(net, "a", "10.44.0.77") == NOBODY_THERE


def test_without_a_network_nothing_is_reached(net):
    for options in ([], ["--network", "none"]):
        told = net.ok("run", "-d", *options, "small", "sleep", "1000").strip()
        assert knock(net, told, "10.44.0.1") == NO_WAY
        state = net.state(told)
        assert (state["network"], state["address"]) == ("none", "")
    assert switches(net) == []


def test_the_machines_own_network_may_be_shared(net):
    told = net.ok("run", "-d", "--network", "host", "small", "sleep", "1000").strip()
    state = net.state(told)
    assert (state["network"], state["address"]) == ("host", "")
    assert os.path.samefile(f"/proc/{state['pid']}/ns/net", "/proc/self/ns/net")
    links = re.findall(r"^ *(\S+):", Path("/proc/net/dev").read_text(), re.M)
    for run in (["exec", told], ["run", "--network", "host", "small"]):
        assert re.findall(r"^ *(\S+):", net.ok(*run, "cat", "/proc/net/dev"), re.M) == links


def test_inspect_tells_what_is_on_a_network(net):
    start(net, "a"), start(net, "b")
    net.ok("rm", "-f", "a")
    assert json.loads(net.ok("network", "inspect", "net")) == {
        **{"name": "net", "subnet": "10.44.0.0/24", "gateway": "10.44.0.1", "bits": 24},
        "containers": {"b": "10.44.0.3"},
    }
    assert net.refusal("network", "inspect", "nix").startswith("no network 'nix'")


def test_another_network_is_another_bridge(net):
    net.ok("network", "create", "more")
    assert [start(net, "a"), start(net, "b", "more")] == ["10.44.0.2", "10.44.1.2"]
    assert knock(net, "a", "10.44.1.2") != THERE


def test_ps_and_inspect_tell_the_address(net):
    start(net, "a")
    [row] = net.rows()
    assert (row["ADDRESS"], row["NAMES"]) == ("10.44.0.2", "a")
    state = net.state("a")
    assert (state["network"], state["address"]) == ("net", "10.44.0.2")


def test_on_a_network_the_host_name_is_the_own(net):
    def hostname(*options):
        words = ["--network", "net", *options, "small", "cat", "/proc/sys/kernel/hostname"]
        return net.ok("run", *words).strip()

    assert hostname("--name", "web") == "web"
    assert hostname("--hostname", "other", "--name", "a") == "other"
    assert re.fullmatch("[0-9a-f]{12}", hostname())


def test_exec_is_at_the_same_place(net):
    start(net, "a")
    assert "10.44.0.2" in net.ok("exec", "a", "cat", "/proc/net/fib_trie")


def test_an_address_is_free_again_with_the_end(net):
    start(net, "a")
    net.ok("rm", "-f", "a")
    assert start(net, "b") == "10.44.0.2"
    assert knock(net, "b", "10.44.0.1") == THERE


def start_at_once(net, names, workers):
    """Start containers, so many at once; return their addresses."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda name: start(net, name), names))


def test_fifty_on_one_bridge(net):
    addresses = start_at_once(net, names := [f"c{number}" for number in range(50)], 8)
    assert sorted(addresses) == sorted(f"10.44.0.{number}" for number in range(2, 52))
    assert len(switches(net)) == 1
    with ThreadPoolExecutor(8) as pool:
        assert {*pool.map(lambda address: knock(net, names[0], address), addresses)} == {THERE}


def test_a_full_network_refuses(net):
    net.ok("network", "create", "--subnet", "10.9.0.0/29", "tight")
    addresses = [start(net, f"c{number}", "tight") for number in range(5)]
    assert addresses == [f"10.9.0.{number}" for number in range(2, 7)]
    said = net.refusal("run", "--network", "tight", "small", "true")
    assert said == "all addresses of network tight are taken"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "net"], "there is a network net already"),
        (["create", "--subnet", "10.44.0.0/25", "x"], "subnet 10.44.0.0/25 overlaps that of "),
        (["create", "--subnet", "10.40.0.0/13", "x"], "option --subnet: 10.40.0.0/13 is not from"),
        (
            ["create", "--subnet", "10.9.0.0/30", "x"],
            "option --subnet: 10.9.0.0/30 is not from /16",
        ),
        (["create", "--subnet", "10.9.0.1/24", "x"], "option --subnet: 10.9.0.1/24 has host bits"),
        (["create", "--subnet", "much", "x"], "option --subnet: "),
        (["rm", "nix"], "no network 'nix'; there are: net. `network create` makes one"),
    ],
)
def test_what_a_network_cannot_be_is_a_sentence(net, words, said):
    assert net.refusal("network", *words).startswith(said)


@pytest.mark.parametrize("name", ["none", "host", "../x", "", "a b"])
def test_what_a_network_cannot_be_called(net, name):
    run = net("network", "create", name)
    assert run.returncode == 1
    assert "a network's name is" in run.stderr
    assert net.networks() == ["net"]


def test_an_unknown_network_is_named(net):
    said = net.refusal("run", "-d", "--network", "nix", "--name", "x", "small", "true")
    assert said.startswith("no network 'nix'; there are: net")
    assert net.rows("-a") == []


def test_a_network_in_use_stays(net):
    start(net, "b")
    start(net, "a")
    assert net.refusal("network", "rm", "net") == "network net is in use by a, b"
    assert knock(net, "a", "10.44.0.2") == THERE


def test_with_a_network_goes_its_switch(net):
    start(net, "a")
    [switch] = switches(net)
    net.ok("rm", "-f", "a")
    net.ok("network", "rm", "net")
    assert not Path(f"/proc/{switch}/exe").exists()
    assert net.networks() == []


def test_nothing_of_the_caller_is_held(net):
    hear, say = os.pipe()
    net.ok("run", "--network", "net", "small", "true", pass_fds=[say])
    os.close(say)
    assert os.read(hear, 1) == b""
    os.close(hear)
    [switch] = switches(net)
    assert os.readlink(f"/proc/{switch}/cwd") == "/"
    stat = Path(f"/proc/{switch}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) == switch  # a session of its own


def test_a_killed_switch_is_started_anew(net):
    start(net, "a")
    kill(*switches(net))
    assert net.ok("exec", "a", "echo", "on") == "on\n"
    assert start(net, "b") == "10.44.0.3"  # the other one still has its own
    assert knock(net, "b", "10.44.0.1") == THERE
    assert knock(net, "b", "10.44.0.2") == NOBODY_THERE
    net.ok("rm", "-f", "a", "b")
    assert [start(net, "a"), start(net, "b")] == ["10.44.0.2", "10.44.0.3"]
    assert knock(net, "b", "10.44.0.2") == THERE


def test_a_killed_monitor_leaks_no_address(net):
    for name in ("a", "b", "c"):
        start(net, name)
        net.kill_monitor(name)
    assert start(net, "d") == "10.44.0.2"
    assert knock(net, "d", "10.44.0.1") == THERE


def test_a_killed_container_leaks_no_address(net):
    start(net, "a")
    net.ok("kill", "a")
    assert net.ok("wait", "a") == "137\n"
    assert start(net, "b") == "10.44.0.2"
    assert knock(net, "b", "10.44.0.1") == THERE


def test_one_that_starts_it_at_once_with_others(net):
    addresses = start_at_once(net, [f"c{number}" for number in range(6)], 6)
    assert len({*addresses}) == 6
    assert len(switches(net)) == 1


def test_the_switch_of_another_lab_is_named(net):
    """From a PID namespace, a switch outside of it has no PID."""
    start(net, "a")
    lab = [*MOUNTING[:-2], "--pid", "--fork", "--mount-proc"]
    words = [*net.prefix, "unshare", "--map-root-user", *lab[1:], *net.words()[len(net.prefix) :]]
    if not net.prefix:
        words.remove("--map-root-user")
    run = subprocess.run(
        [*words, "run", "--network", "net", "small", "true"],
        env=net.environment(),
        cwd=net.folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 125
    assert json.loads(run.stderr)["msg"] == "network net is in use by another lab"


def test_a_thousand_starts_lose_no_address(net):
    """No two of those that live have the same address, and all are free in the end."""
    held, guard = set(), threading.Lock()
    tell = ["sh", "-c", "cat /proc/net/fib_trie; echo; read end"]

    def live(_):
        words = ["run", "-i", "--network", "net", "small", *tell]
        with net.background(*words, stdin=subprocess.PIPE) as run:
            told = "".join(takewhile(str.strip, run.stdout))  # to the empty line, or its end
            found = re.search(r"10[.]44[.]0[.](\d+)\n +/32 host LOCAL", told)
            assert found, told + run.stderr.read()
            number = int(found[1])
            with guard:
                assert number not in held
                held.add(number)
            with guard:  # before its end: then another one may have it at once
                held.remove(number)
            run.stdin.close()
            assert run.wait(60) == 1  # `read` has read nothing
        return number

    with ThreadPoolExecutor(8) as pool:
        starts = STARTS if net.kind == "root" else STARTS // 5
        numbers = list(pool.map(live, range(starts)))
    assert {*numbers} <= {*range(2, 2 + 16)}  # the lowest free one; some were about to end
    assert start(net, "last") == "10.44.0.2"


def test_nothing_is_left_of_a_start_that_fails(net):
    assert net("run", "--network", "net", "small", "nosuch").returncode == 127
    deadline = time.monotonic() + 60
    while start(net, "a") != "10.44.0.2":
        assert time.monotonic() < deadline
        net.ok("rm", "-f", "a")
