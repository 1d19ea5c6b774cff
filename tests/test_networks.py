"""Networks: the picture says what the kernel's tables say, and what packets then do."""

import errno
import os
import signal
import socket
import subprocess
import time

import pytest

from labkit import Network, doctor, linux, network_picture, networks, procfs
from labkit.netlink import Link, links
from labkit.networks import Net
from tests.helpers.processes import in_sandbox

WHY = doctor.no_network()
real = pytest.mark.skipif(bool(WHY), reason=WHY)
TIMEOUT = 0.2  # seconds for a packet that does not come


def process(title, hostname="", flags=linux.CLONE_NEWNET):
    """Start a process of that title in a network namespace of its own; return its PID."""
    ready, done = os.pipe()  # which exec closes
    pid = linux.clone(flags | (linux.CLONE_NEWUTS | linux.CLONE_NEWPID) * bool(hostname))
    if pid == 0:
        if hostname:
            linux.sethostname(hostname)
        os.execvp("sleep", [title, "1000"])
    os.close(done)
    os.read(ready, 1)
    os.close(ready)
    return pid


def ip(pid, *commands):
    """Run `ip` in a process's network namespace."""
    for words in commands:
        subprocess.run(["nsenter", f"--target={pid}", "--net", "ip", *words.split()], check=True)


def switch(name, subnet):
    pid = process(f"mydocker: switch of {name}")
    ip(pid, "link add br0 type bridge", f"address add {subnet}.1/24 dev br0", "link set br0 up")
    return pid


def box(hostname, on, address):
    """A container with a cable to a switch, where its end is called by the container."""
    pid = process("sh", hostname)
    ip(on, f"link add {hostname} type veth peer name eth0 netns {pid}")
    ip(on, f"link set {hostname} master br0 up")
    ip(pid, f"address add {address}/24 dev eth0", "link set eth0 up")
    return pid


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def gone(pid, count):
    """Wait until a process has so many links: those to a namespace that ended go a moment later."""
    deadline = time.monotonic() + 60
    while len(links(pid)) > count and time.monotonic() < deadline:
        time.sleep(0.01)


@real
def test_networks_as_the_kernel_has_them():
    def body():
        blue, green = switch("blue", "10.44.0"), switch("green", "10.44.1")
        box("web", blue, "10.44.0.10"), box("db", blue, "10.44.0.2")
        box("other", green, "10.44.1.2")  # its cable has the same numbers as that of web
        process("sh", "loner")
        process("sh", "same", flags=0)
        print(network_picture())

    assert in_sandbox(body).split("\n") == [
        "switch of blue: bridge br0, 10.44.0.1/24",
        "  db   10.44.0.2/24   reaches web, the bridge",
        "  web  10.44.0.10/24  reaches db, the bridge",
        "switch of green: bridge br0, 10.44.1.1/24",
        "  other  10.44.1.2/24  reaches the bridge",
        "without a network: loner",
        "with the lab's own network: same",
    ]


@real
def test_a_published_port_is_at_the_switch_that_its_process_is_in():
    def body():
        blue = switch("blue", "10.44.0")
        if os.fork() == 0:
            linux.setns(os.open(f"/proc/{blue}/ns/net", os.O_RDONLY))
            os.execvp("sleep", ["mydocker: port 127.0.0.1:8080 to web", "1000"])
        while "port" not in (said := repr(network_picture())):
            pass
        print(said)

    assert in_sandbox(body).split("\n") == [
        "switch of blue: bridge br0, 10.44.0.1/24",
        "  port 127.0.0.1:8080 to web",
    ]


@real
def test_a_cable_between_two_processes_without_a_switch():
    def body():
        one, other = process("sh"), process("sh")
        ip(one, f"link add c type veth peer name c netns {other}", "address add 10.1.0.1/24 dev c")
        ip(other, "address add 10.1.0.2/24 dev c", "link set c up")
        print(network_picture())
        ip(one, "link set c up")
        print(network_picture())

    assert in_sandbox(body).split("\n") == [
        "a cable",
        "  sleep    10.1.0.1/24  reaches nobody: its end of the cable is down",
        "  sleep 2  10.1.0.2/24  reaches nobody: the other end of its cable is down",
        "a cable",
        "  sleep    10.1.0.1/24  reaches sleep 2",
        "  sleep 2  10.1.0.2/24  reaches sleep",
    ]


# What is done to the network: where, by which words; and what is then said of web, and of db.
FINE = ("db, the bridge", "web, the bridge")
CHANGES = {
    "nothing": ("switch", "link show", *FINE),
    "its end": ("web", "link set eth0 down", "nobody: its end of the cable is down", "the bridge"),
    "the other end": (
        *("switch", "link set web down"),
        *("nobody: the other end of its cable is down", "the bridge"),
    ),
    "out of the bridge": ("switch", "link set web nomaster", "nobody: no bridge", "the bridge"),
    "the bridge down": (
        *("switch", "link set br0 down"),
        *("nobody: the bridge is down", "nobody: the bridge is down"),
    ),
    "the bridge gone": ("switch", "link del br0", "nobody: no bridge", "nobody: no bridge"),
    "a bridge without an address": ("switch", "address flush dev br0", "db", "web"),
    "no address": ("web", "address flush dev eth0", "nobody", "the bridge"),
    "another subnet": (
        *("web", "address flush dev eth0; address add 10.44.0.130/25 dev eth0"),
        *("nobody", "the bridge"),
    ),
}


def answers(pid, address):
    """Whether something at an address answers a process: that nobody listens there is enough."""

    def ask():
        with socket.socket() as probe:
            probe.settimeout(TIMEOUT)
            return probe.connect_ex((address, 9)) == errno.ECONNREFUSED

    return procfs.inside(pid, "net", ask)


@real
@pytest.mark.parametrize("change", CHANGES)
def test_who_reaches_whom_is_what_packets_do(change):
    where, words, *says = CHANGES[change]

    def body():
        there = {"switch": switch("blue", "10.44.0")}
        for name, address in (("web", "10.44.0.2"), ("db", "10.44.0.3")):
            there[name] = box(name, there["switch"], address)
        ip(there[where], *words.split("; "))
        picture = network_picture()
        web = "10.44.0.130" if ".130" in words else "10.44.0.2"
        names = {"10.44.0.1": "the bridge", web: "web", "10.44.0.3": "db"}
        for one in (end for wire in picture.wires for end in wire.ends):
            for address, name in names.items():
                # The kernel may take a moment for a way that is there.
                tries = 60 if name in one.reaches else 1
                found = any(answers(there[one.name], address) for _ in range(tries))
                if name != one.name and found != (name in one.reaches):
                    print(f"{one.name} to {name}: {found}")
        print(picture)

    said = in_sandbox(body)
    for name, says_of_it in zip(("web", "db"), says, strict=True):
        [line] = [line for line in said.split("\n") if line.startswith(f"  {name} ")]
        assert line.endswith(f"  reaches {says_of_it}")
    assert " to " not in said


@real
def test_when_a_switch_ends_the_live_picture_has_its_containers_without_a_network():
    def body():
        live, blue = Network(), switch("blue", "10.44.0")
        web = box("web", blue, "10.44.0.2")
        print(len(live.look().wires))
        end(blue)
        gone(web, 1)
        print(live.look())
        end(web)
        print(live.look(steady=True))

    assert in_sandbox(body) == "1\nwithout a network: web\nNo network but the lab's own."


@real
def test_links_of_a_process_that_has_ended_are_an_error():
    def body():
        pid = process("sh")
        other = process("sh")
        end(pid)
        print([link.name for link in links(other, [pid])])
        try:
            links(pid, [])
        except FileNotFoundError:
            print("gone")

    assert in_sandbox(body) == "['lo']\ngone"


def test_the_order_is_that_of_the_addresses():
    def net(number):
        port = Link(number, f"p{number}", "veth", True, 1, (number, 2), ())
        near = Link(2, "eth0", "veth", True, 0, (1, number), (f"10.44.0.{number}/24",))
        return port, Net(number, f"c{number}", {2: near}, False, ())

    ports, boxes = zip(*map(net, (100, 20, 3)), strict=True)
    bridge = Link(1, "br0", "bridge", True, 0, (0, 0), ("10.44.0.1/24",))
    hub = Net(1, "switch of blue", {link.number: link for link in (bridge, *ports)}, True, ())
    [wire] = networks.wires([*boxes, hub])
    assert [end.name for end in wire.ends] == ["c3", "c20", "c100"]
    assert wire.ends[0].reaches == ("c20", "c100", "the bridge")
