"""The lab's networks: where cables end and who can reach whom, by the kernel's tables alone."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface as Interface
from itertools import product

from labkit import netlink, procfs
from labkit.netlink import Link
from labkit.procfs import asked
from labkit.view.network import End, Wire

# What the runtime calls a process that keeps a network's bridge, and one that publishes a port.
SWITCH, PORT = "mydocker: switch of ", "mydocker: port "


@dataclass(frozen=True)
class Net:
    """A network namespace other than the lab's."""

    pid: int  # of its first process or, where there is one, of its switch
    name: str
    links: Mapping[int, Link]  # by their numbers
    is_switch: bool  # others are plugged in here
    ports: tuple[str, ...]  # what is published out of it


def find(processes: Sequence[procfs.Process]) -> list[Net]:
    """Return the network namespaces of processes, in their order; the lab's own is left out."""
    ours = procfs.namespaces()["net"]
    first, ports = dict[int, procfs.Process](), dict[int, list[str]]()
    for process in processes:
        net = (asked(procfs.namespaces, process.pid) or {}).get("net")
        if net is None or net == ours:
            continue
        if _title(process).startswith(PORT):
            ports.setdefault(net, []).append(_title(process).removeprefix(PORT))
        if net not in first or _title(process).startswith(SWITCH):
            first[net] = process
    found, names = list[Net](), Counter[str]()
    # With the switches at the beginning, the other ends of most cables are soon found.
    everyone = sorted(first.values(), key=lambda one: not _title(one).startswith(SWITCH))
    for net, process in first.items():
        others = (one.pid for one in everyone if one is not process)
        links = asked(netlink.links, process.pid, others)
        if links is None:
            continue
        is_switch = _title(process).startswith(SWITCH)
        name = _title(process).removeprefix("mydocker: ") if is_switch else name_of(process)
        names[name] += 1
        name += f" {names[name]}" * (names[name] > 1)
        is_switch = is_switch or any(link.kind == "bridge" for link in links)
        by_number = {link.number: link for link in links}
        published = tuple(sorted(ports.get(net, ())))
        found.append(Net(process.pid, name, by_number, is_switch, published))
    return found


def name_of(process: procfs.Process) -> str:
    """Return a container's host name or, where that is the lab's, its first process's name."""
    found = asked(procfs.hostname, process.pid)
    return process.name if found in (None, procfs.hostname()) else found


def wires(nets: Sequence[Net]) -> Iterator[Wire]:
    """Yield the bridges with what is plugged into them, and the cables that end in no switch.

    Two ends of a wire reach each other where the address of each lies in the other's subnet, and
    nothing is down on the way: the ends of the cables, the bridge.
    """
    by_pid = {net.pid: net for net in nets}
    cables = [
        (net, link, by_pid[pid], by_pid[pid].links[number])
        for net in nets
        for link in net.links.values()
        for pid, number in [link.other_end]
        if not net.is_switch and pid in by_pid and number in by_pid[pid].links
    ]
    for switch in (net for net in nets if net.is_switch):
        plugged = [(net, link, port) for net, link, other, port in cables if other is switch]
        bridges = {
            one.number: _bridge(one) for one in switch.links.values() if one.kind == "bridge"
        }
        ports = switch.ports
        for number in dict.fromkeys([*bridges, *(port.bridge for *_, port in plugged)]) or [0]:
            ends = [_end(net, link, port) for net, link, port in plugged if port.bridge == number]
            yield _reach(Wire(switch.name, bridges.get(number), tuple(ends), ports))
            ports = ()
    for net, link, other, port in cables:
        if not other.is_switch and nets.index(net) < nets.index(other):
            yield _reach(Wire("", None, (_end(net, link, port), _end(other, port, link))))


def _bridge(link: Link) -> End:
    return End(link.name, link.addresses, "" if link.up else "the bridge is down")


def _end(net: Net, link: Link, other: Link) -> End:
    wrong = "" if other.up else "the other end of its cable is down"
    return End(net.name, link.addresses, wrong if link.up else "its end of the cable is down")


def _reach(wire: Wire) -> Wire:
    """Say of each end whom it can reach, and put them into the order of their addresses."""
    places = [(list(map(Interface, end.addresses)), end) for end in wire.ends]
    places.sort(key=lambda pair: (pair[0], pair[1].name))
    bridge = [replace(wire.bridge, name="the bridge")] if wire.bridge else []
    everyone = places + [(list(map(Interface, one.addresses)), one) for one in bridge]
    working = [pair for pair in everyone if not (pair[1].wrong or wire.wrong)]
    ends = []
    for here, end in places:
        others = working if (here, end) in working else []
        found = [one.name for there, one in others if one is not end and _share(here, there)]
        ends.append(replace(end, reaches=tuple(found)))
    return replace(wire, ends=tuple(ends))


def _share(here: Sequence[Interface], there: Sequence[Interface]) -> bool:
    """Whether an address of each lies in the other's subnet."""
    return any(a.ip in b.network and b.ip in a.network for a, b in product(here, there))


def _title(process: procfs.Process) -> str:
    return process.command[0] if process.command else ""
