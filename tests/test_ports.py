"""Published ports, and names in /etc/hosts."""

import errno
import fcntl
import hashlib
import itertools
import os
import random
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labkit import linux
from labkit.doctor import no_network
from tests.helpers.images import PYTHON
from tests.helpers.processes import kill, until

WHY = no_network()
pytestmark = pytest.mark.skipif(bool(WHY), reason=WHY)
MIB = 1 << 20
MANY = int(os.environ.get("PORT_MIB", "1024"))  # through one port, there and back
TIMEOUT = 60  # seconds for what comes at once

# In a container, with our Python. The first line of a connection says what it is for. `send`
# closes its own direction at once, and prints what still comes by the other one.
SERVER = """
import hashlib, os, socket, sys, threading

def attend(connection):
    with connection, connection.makefile("rb") as lines:
        word, *rest = lines.readline().decode().split()
        if word == "name":
            connection.sendall(sys.argv[1].encode())
        elif word == "echo":
            while data := lines.read1(1 << 20):
                connection.sendall(data)
        elif word == "sum":
            digest = hashlib.sha256()
            while data := lines.read1(1 << 20):
                digest.update(data)
            connection.sendall(digest.hexdigest().encode())
        elif word == "send":
            connection.sendall(bytes(range(256)) * (int(rest[0]) << 12))
            connection.shutdown(socket.SHUT_WR)
            print("heard", lines.read().decode(), flush=True)
        elif word == "last":
            connection.sendall(bytes(range(256)) * (int(rest[0]) << 12))
            os._exit(0)
        elif word == "hold":
            os.read(os.pipe()[0], 1)

def listen(port):
    with socket.create_server(("", port), backlog=200) as server:
        print("ready", flush=True)
        while True:
            threading.Thread(target=attend, args=server.accept()[:1]).start()

for port in sys.argv[2:]:
    threading.Thread(target=listen, args=(int(port),)).start()
"""


def serve(net, name, *options, ports=("0:80",), inside=("80",), **settings):
    """Start a container that serves, with published ports; return where they are."""
    words = [word for port in ports for word in ("-p", port)]
    words += ["--network", "net", "--name", name, "-v", "/usr:/usr:ro", *options]
    command = [PYTHON, "-S", "-c", SERVER, name, *inside]
    net.ok("run", "-d", *words, "small", *command, **settings)
    until(lambda: net.ok("logs", name).count("ready\n") == len(inside))
    return published(net, name)


def published(net, name):
    told = net.state(name)["ports"]
    pairs = [re.fullmatch(r"([0-9.]+):(\d+)->\d+/tcp", port).groups() for port in told]
    return [(address, int(port)) for address, port in pairs]


def listens(place):
    with socket.socket() as probe:
        return probe.connect_ex(place) != errno.ECONNREFUSED


def connect(place, words=""):
    connection = socket.create_connection(place, timeout=TIMEOUT)
    connection.settimeout(TIMEOUT)
    if words:
        connection.sendall(f"{words}\n".encode())
    return connection


def rest_of(connection):
    """Return all that still comes."""
    return b"".join(iter(lambda: connection.recv(MIB), b""))


def ask(place, words, data=b""):
    """Send, close our direction, and return the answer."""
    with connect(place, words) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return rest_of(connection)


def echoes(place):
    return ask(place, "echo", b"there and back") == b"there and back"


def relay(net, name):
    """The PID of a container's relay: a child of its monitor."""
    monitor = net.monitor(name)
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    [pid] = [pid for pid in children if title(pid).startswith("mydocker: port ")]
    return int(pid)


def title(pid):
    return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0")


def test_a_port_leads_into_the_container(net):
    [place] = serve(net, "web")
    assert place[0] == "127.0.0.1"  # unless one asks for more
    assert ask(place, "name") == b"web"
    assert echoes(place)


def test_ps_and_inspect_tell_the_ports(net):
    (address, port), (_, other) = serve(net, "web", ports=["0:80", "0:81"], inside=["80", "81"])
    said = [f"{address}:{port}->80/tcp", f"{address}:{other}->81/tcp"]
    assert net.state("web")["ports"] == said
    assert net.rows()[0]["PORTS"] == ", ".join(said)
    net.ok("stop", "-t", "0", "web")
    assert net.rows("-a")[0]["PORTS"] == ""


def test_a_gibibyte_there_and_back_is_unharmed(net):
    """Each block is another one, and their lengths are odd."""
    [place] = serve(net, "web")
    blocks, sent, came = random.Random(1).randbytes(2 * MIB), hashlib.sha256(), hashlib.sha256()

    def send():
        left = MANY * MIB
        for number in itertools.count():
            start = number * 7919 % MIB
            block = memoryview(blocks)[start : start + min(left, MIB - number % 9)]
            sent.update(block)
            connection.sendall(block)
            left -= len(block)
            if not left:
                return connection.shutdown(socket.SHUT_WR)

    with connect(place, "echo") as connection, ThreadPoolExecutor(1) as pool:
        sending, count = pool.submit(send), 0
        while data := connection.recv(MIB):
            came.update(data)
            count += len(data)
        sending.result()
    assert count == MANY * MIB
    assert came.digest() == sent.digest()


def test_the_end_of_one_direction_is_not_that_of_the_other(net):
    [place] = serve(net, "web")
    data = random.Random(2).randbytes(3 * MIB)
    assert ask(place, "sum", data) == hashlib.sha256(data).hexdigest().encode()
    with connect(place, "send 1") as connection:
        assert rest_of(connection) == bytes(range(256)) * (1 << 12)
        connection.sendall(b"still here")
        connection.shutdown(socket.SHUT_WR)
    until(lambda: "heard still here" in net.ok("logs", "web"))


def test_many_at_once(net):
    [place] = serve(net, "web")
    with ThreadPoolExecutor(50) as pool:
        assert all(pool.map(lambda _: echoes(place), range(300)))


def test_who_does_not_read_keeps_nobody_else_waiting(net):
    """A client that does not read what comes, and a server that does not read what is sent."""
    [place] = serve(net, "web")
    with connect(place, "send 64") as lazy, connect(place, "hold") as held:
        held.setblocking(False)
        with pytest.raises(BlockingIOError):  # as soon as all between is full
            while True:
                linux.poll(writing={held}, seconds=1)
                held.send(bytes(MIB))
        assert echoes(place)
        assert len(rest_of(lazy)) == 64 * MIB


def test_who_leaves_disturbs_nobody_else(net):
    """Neither do descriptors stay open."""
    [place] = serve(net, "web")
    folder = Path(f"/proc/{relay(net, 'web')}/fd")
    before = len([*folder.iterdir()])
    with connect(place, "echo") as other:
        for number in range(20):
            with connect(place, "send 8") as leaving:
                if number % 2:  # a reset, not an end
                    option = (1).to_bytes(4, "little") + bytes(4)
                    leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                leaving.recv(1000)
        other.sendall(b"still here")
        assert other.recv(1000) == b"still here"
        other.shutdown(socket.SHUT_WR)
        assert rest_of(other) == b""
    until(lambda: len([*folder.iterdir()]) == before)


def test_where_nobody_listens_a_connection_ends(net):
    [place] = serve(net, "web", ports=["0:81"])
    for _ in range(3):
        with connect(place) as connection:
            assert connection.recv(1) == b""
    assert net.state("web")["status"] == "running"


def test_two_containers_have_ports_of_their_own(net):
    [web] = serve(net, "web")
    [blog] = serve(net, "blog")
    assert [ask(web, "name"), ask(blog, "name")] == [b"web", b"blog"]
    net.ok("rm", "-f", "web")
    assert not listens(web)
    assert ask(blog, "name") == b"blog"


def test_the_address_is_the_one_that_was_asked_for(net):
    [place] = serve(net, "web", ports=["127.0.0.2:0:80"])
    assert place[0] == "127.0.0.2"
    assert echoes(place)
    assert not listens(("127.0.0.1", place[1]))
    [(address, port)] = serve(net, "wide", ports=["0.0.0.0:0:80"])
    assert address == "0.0.0.0"
    assert ask(("127.0.0.3", port), "name") == b"wide"


def test_a_port_that_is_taken_is_a_sentence(net):
    [(address, port)] = serve(net, "web")
    said = f"port 127.0.0.1:{port}: address already in use"
    published = ["--network", "net", "-p", f"{port}:80"]
    for options in ([], ["-d"], ["--name", "x"]):
        assert net.refusal("run", *published, *options, "small", "true") == said
    assert net.refusal("run", "-p", "0.0.0.0:0:1", *published, "small", "true") == said
    assert [row["NAMES"] for row in net.rows("-a")] == ["web"]
    assert echoes((address, port))


def test_before_a_taken_port_is_told_nothing_starts(net):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
        words = ["--network", "net", "-p", f"{port}:80", "small", "true"]
        assert net.refusal("run", *words) == f"port 127.0.0.1:{port}: address already in use"
        assert net.processes() == []  # no switch
        assert net.rows("-a") == []


def test_one_that_is_asked_for_twice_is_taken(net):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
    words = ["--network", "net", "-p", f"{port}:80", "-p", f"{port}:81", "small", "true"]
    assert "address already in use" in net.refusal("run", *words)
    assert not listens(("127.0.0.1", port))


def test_an_address_that_is_not_ours_is_a_sentence(net):
    words = ["--network", "net", "-p", "192.0.2.1:8080:80", "small", "true"]  # RFC 5737
    said = net.refusal("run", *words)
    assert said == "port 192.0.2.1:8080: cannot assign requested address"


@pytest.mark.parametrize(
    "word",
    [
        *("80", ":80", "80:", ":", "", "x:80", "80:x", "-1:80", "80:-1", "+1:80", "1 :80"),
        *("80:0", "65536:80", "80:65536", "1:2:3:4", "localhost:1:2", "256.0.0.1:1:2", "127.1:1:2"),
        *("::1:80:80", "[::1]:80:80", "80:80/udp", "8000-8010:80", "\udcff:1:2"),
    ],
)
def test_what_a_port_cannot_be(net, word):
    said = net.refusal("run", "--network", "net", "-p", word, "small", "true", status=1)
    assert said == "option -p wants [ADDRESS:]PORT:PORT, for TCP by IPv4"


def test_a_port_wants_a_network(net):
    for options in ([], ["--network", "none"], ["--network", "host"]):
        said = net.refusal("run", *options, "-p", "0:80", "small", "true", status=1)
        assert said == "option -p wants a network of ours: --network NAME"


def test_a_killed_relay_closes_the_port_and_ends_no_container(net):
    [place] = serve(net, "web")
    with connect(place, "hold") as connection:
        kill(relay(net, "web"))
        assert connection.recv(1) == b""
    assert not listens(place)
    assert net.ok("exec", "web", "echo", "on") == "on\n"
    net.ok("rm", "-f", "web")
    assert serve(net, "web", ports=[f"{place[1]}:80"]) == [place]
    assert echoes(place)


def test_with_a_killed_monitor_goes_its_port(net):
    [place] = serve(net, "web")
    process = os.pidfd_open(relay(net, "web"))
    with connect(place, "hold"):
        net.kill_monitor("web")
        until(lambda: not listens(place))
        assert serve(net, "next", ports=[f"{place[1]}:80"]) == [place]
        assert ask(place, "name") == b"next"
    assert linux.poll(process, seconds=TIMEOUT)
    os.close(process)


def test_with_a_killed_container_goes_its_port(net):
    [place] = serve(net, "web")
    with connect(place, "hold") as connection:
        kill(net.state("web")["pid"])
        assert rest_of(connection) == b""
    assert net.ok("wait", "web") == "137\n"
    assert not listens(place)
    assert serve(net, "next", ports=[f"{place[1]}:80"]) == [place]
    assert echoes(place)


def test_a_killed_switch_leaves_the_port_open(net):
    """The relay is in its network, which lives as long as somebody is there."""
    [place] = serve(net, "web")
    [switch] = [pid for pid in net.processes() if title(pid) == "mydocker: switch of net"]
    with connect(place, "echo") as connection:
        kill(switch)
        connection.sendall(b"still here")
        assert connection.recv(1000) == b"still here"
    assert echoes(place)
    [other] = serve(net, "next")
    assert [ask(place, "name"), ask(other, "name")] == [b"web", b"next"]


def test_what_a_container_has_sent_comes_after_its_end(net):
    [place] = serve(net, "web")
    with connect(place, "last 1") as connection:
        assert connection.recv(1) == b"\0"
        until(lambda: net.state("web")["status"] == "stopped")
        assert len(rest_of(connection)) == MIB - 1
    net.ok("wait", "web")
    assert not listens(place)


def test_a_client_that_does_not_read_keeps_no_container(net):
    [place] = serve(net, "web")
    with connect(place, "send 64") as lazy:
        assert lazy.recv(1) == b"\0"
        net.ok("rm", "-f", "web")
        assert not listens(place)
        assert len(rest_of(lazy)) < 64 * MIB


def test_an_attached_one_publishes_as_well(net):
    command = ["-v", "/usr:/usr:ro", "small", PYTHON, "-S", "-c", SERVER, "web", "80"]
    words = ["--network", "net", "--name", "web", "-p", "0:80", *command]
    with net.background("run", *words, start_new_session=True) as run:
        assert run.stdout.readline() == "ready\n"
        [place] = published(net, "web")
        assert echoes(place)
        os.killpg(run.pid, signal.SIGTERM)  # which PID 1 ignores, and the relay does not get
        assert echoes(place)
        net.ok("kill", "web")
        assert run.wait(TIMEOUT) == 137
    assert not listens(place)


def test_a_command_that_is_not_there_leaves_no_port(net):
    with socket.create_server(("127.0.0.1", 0)) as ours:
        port = ours.getsockname()[1]
    for options in ([], ["-d"]):
        words = [*options, "--network", "net", "-p", f"{port}:80", "small", "nosuch"]
        assert net("run", *words).returncode == 127
        assert not listens(("127.0.0.1", port))


def test_nothing_of_the_caller_is_held_by_the_relay(net):
    hear, say = os.pipe()
    serve(net, "web", pass_fds=[say])
    os.close(say)
    assert os.read(hear, 1) == b""
    os.close(hear)
    pid = relay(net, "web")
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert {os.readlink(f"/proc/{pid}/fd/{stream}") for stream in (0, 1, 2)} == {"/dev/null"}
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(stat[3]) == pid  # a session of its own


def test_the_relay_says_what_it_is_for(net):
    [(address, port)] = serve(net, "web")
    said = title(relay(net, "web"))
    assert said.startswith(f"mydocker: port {address}:{port}")
    assert net.state("web")["address"] in said


def test_the_container_does_not_have_the_sockets(net):
    """Or they would be open as long as it lives, whatever becomes of the relay."""
    serve(net, "web", "--init")
    listening = {os.readlink(file) for file in Path(f"/proc/{relay(net, 'web')}/fd").iterdir()}
    pid = net.state("web")["pid"]
    for process in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        held = {os.readlink(file) for file in Path(f"/proc/{process}/fd").iterdir()}
        assert not {file for file in held & listening if file.startswith(("socket:", "pipe:"))}


def hosts(net, name):
    """What a container reads in /etc/hosts: names, and the address of each."""
    text = net.ok("exec", name, "cat", "/etc/hosts")
    lines = (line.partition("\0")[0].split() for line in text.splitlines())  # as C has them
    return {name: address for address, *names in filter(None, lines) for name in names}


def start(net, name, *options):
    net.ok("run", "-d", "--network", "net", "--name", name, *options, "small", "sleep", "1000")
    return net.state(name)["address"]


def test_two_find_each_other_by_name(net):
    web, blog = start(net, "web"), start(net, "blog")
    for name in ("web", "blog"):
        names = hosts(net, name)
        assert (names["web"], names["blog"]) == (web, blog)
        assert "localhost" in names


def test_a_name_leads_there(net):
    """As the C library reads the file."""
    serve(net, "web")
    code = "import socket; print(socket.create_connection(('web', 80)).getpeername()[0])"
    words = ["--network", "net", "-v", "/usr:/usr:ro", "small", PYTHON, "-S", "-c", code]
    assert net.ok("run", *words) == f"{net.state('web')['address']}\n"


def test_the_name_of_one_that_has_ended_is_gone(net):
    start(net, "web"), start(net, "blog")
    net.ok("stop", "-t", "0", "web")
    assert "web" not in hosts(net, "blog")
    again = start(net, "other")
    assert hosts(net, "blog")["other"] == again == "10.44.0.2"


def test_one_without_a_name_is_there_by_its_id(net):
    start(net, "web")
    told = net.ok("run", "-d", "--network", "net", "small", "sleep", "1000").strip()
    assert hosts(net, "web")[told] == net.state(told)["address"]


def test_a_host_name_is_a_second_name(net):
    address = start(net, "web", "--hostname", "www.example.org")
    names = hosts(net, "web")
    assert names["web"] == names["www.example.org"] == address


def test_another_network_has_other_names(net):
    net.ok("network", "create", "more")
    start(net, "web")
    net.ok("run", "-d", "--network", "more", "--name", "far", "small", "sleep", "1000")
    assert "far" not in hosts(net, "web")
    assert "web" not in hosts(net, "far")


@pytest.mark.parametrize("odd", ["a b", "a\nb", "a\tb", "#a", "ä", "a:b", "a/b", "x" * 64])
def test_a_host_name_that_is_none_is_a_sentence(net, odd):
    words = ["--network", "net", "--name", "web", "--hostname", odd, "small", "true"]
    for options in ([], ["-d"]):
        said = net.refusal("run", *options, *words, status=1)
        assert said.startswith("on a network, a name is of letters, digits, ")
    assert net.rows("-a") == []
    assert start(net, "web") == "10.44.0.2"
    assert {*hosts(net, "web")} == {"localhost", "web"}


def test_a_name_stays_in_its_line(net):
    names = [letter * 45 for letter in "abc"]
    addresses = [start(net, name) for name in names]
    told = hosts(net, names[0])
    assert [told[name] for name in names] == addresses
    assert "on a network, a name is" in net.refusal(
        "run", "--network", "net", "--name", "d" * 64, "small", "true", status=1
    )


def test_a_line_that_nobody_wrote_hides_no_name(net):
    """Whoever has its number may be late, or have been refused."""
    start(net, "web")
    with open(net.data / "networks/net/addresses", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX, 1, 3)
        assert start(net, "late") == "10.44.0.4"
        assert hosts(net, "web")["late"] == "10.44.0.4"


def test_nobody_in_there_can_change_the_names(net):
    start(net, "web")
    run = net("exec", "web", "sh", "-c", "echo 10.0.0.1 bad >> /etc/hosts")
    assert run.returncode != 0
    assert "Read-only" in run.stderr
    assert "bad" not in hosts(net, "web")


def test_every_user_may_read_the_names(net):
    if net.kind == "one ID":
        pytest.skip("there is no other user")
    start(net, "web", "-u", "1000")
    assert "web" in hosts(net, "web")


def test_a_root_that_is_only_read_has_names(net):
    start(net, "web", "--read-only")
    assert "web" in hosts(net, "web")


def test_a_file_of_ones_own_is_shown_instead(net):
    own = net.folder / "own"
    own.write_text("10.1.2.3 mine\n")
    start(net, "web", "-v", f"{own}:/etc/hosts")
    assert hosts(net, "web") == {"mine": "10.1.2.3"}


def test_without_a_network_etc_hosts_is_the_images(net):
    run = net("run", "small", "cat", "/etc/hosts")
    assert "No such file" in run.stderr


def test_fifty_that_start_at_once_have_their_names(net):
    names = [f"c{number}" for number in range(50)]
    with ThreadPoolExecutor(8) as pool:
        addresses = list(pool.map(lambda name: start(net, name), names))
    told = hosts(net, "c0")
    assert [told[name] for name in names] == addresses
