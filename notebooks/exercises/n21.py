"""Notebook 21: cables and bridges."""

from labkit import procfs
from labkit.exercise import PYTHON, Answer, exercise
from labkit.exercise.observe import expect
from labkit.netlink import Link, links

# Has the MTU of two bridges changed, one on and one off; prints what both have then.
MTU = """
import fcntl, socket, struct
from mydocker import linux, netlink
linux.unshare(linux.CLONE_NEWNET)
with socket.socket() as any_socket:

    def ask(what, name, number=0):
        answer = fcntl.ioctl(any_socket, what, struct.pack("16si20x", name, number))
        return struct.unpack("16si20x", answer)[1]

    for name in ("br0", "br1"):
        netlink.add_bridge(name)
    ask(0x8914, b"br1")  # SIOCSIFFLAGS: off
    for name, size in (("br0", 1300), ("br1", 1400)):
        try:
            netlink.set_mtu(name, size)
        except (AttributeError, OSError) as error:
            print(error)
    both = b"br0", b"br1"
    print(*(ask(0x8921, name) for name in both), sep=" and ")  # SIOCGIFMTU
    print(*("on" if ask(0x8913, name) & 1 else "off" for name in both), sep=" and ")  # …FLAGS
"""


@exercise(
    "21.1",
    PYTHON,
    "`linux.unshare(linux.CLONE_NEWNET)`, then `ip link add br0 type bridge`, and so on.",
    "`from mydocker import netlink` has `add_bridge(name)` and `add_address(name, address, bits)`.",
)
def a_bridge_of_its_own(answer: Answer) -> str:
    """The program, or what it has become, has a bridge that is up, with an address."""
    ours = procfs.namespaces("self")["net"]
    with answer.start() as run:

        def bridges() -> list[Link]:
            try:
                if procfs.namespaces(run.program.pid)["net"] == ours:
                    return []
                return [link for link in links(run.program.pid, []) if link.kind == "bridge"]
            except OSError:  # it has ended
                return []

        def is_done() -> bool:
            return any(link.up and link.addresses for link in bridges())

        run.until(is_done)
        found = bridges() if run.is_blocked() else []
        hint = (
            "`add_bridge` makes one. A program that ends takes its network along: it has to stay."
        )
        expect(found, "a bridge in a network of your program's own", run.summary(), hint)
        hint = "`ip link set NAME up`."
        expect(found[0].up, "a bridge that is switched on", "one that is off", hint)
        addresses = ", ".join(found[0].addresses) or "none"
        hint = "`/16` belongs to the address: it says which others are there."
        expect(addresses == "10.9.0.1/16", "the address 10.9.0.1/16", f"`{addresses}`", hint)
    return "a bridge, up, with 10.9.0.1/16"


@exercise(
    "21.2",
    "mydocker/netlink.py",
    "It is asked as `add_bridge` asks, of a link that is there: without CREATE and EXCLUSIVE.",
    'Behind the name: `attribute(4, pack("I", size))`, and `up=False`, which turns nothing on.',
)
def a_shorter_envelope(answer: Answer) -> str:
    """`set_mtu` changes the MTU of the bridge that it names, and nothing else of it."""
    with answer.command("python3", "-c", MTU) as run:
        run.wait()
    *_, sizes, states = ["", "", *run.output.strip().splitlines()]
    hint = "The name says which link: `link(name, …)`. For one that is there, no flags."
    expect(sizes == "1300 and 1400", "MTUs of 1300 and 1400", f"`{sizes}`", hint)
    hint = "`link` switches it on, unless you say `up=False`."
    expect(states == "on and off", "a link on and one off, as before", f"`{states}`", hint)
    return "an MTU of 1300 and one of 1400; what was off is still off"
