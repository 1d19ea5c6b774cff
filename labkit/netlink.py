"""What rtnetlink(7) says of the links in a network namespace: bridges, and where cables end."""

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from struct import calcsize, pack, unpack_from

from labkit import procfs
from labkit.linux import IFF_UP

NLM_F_REQUEST, NLM_F_DUMP = 1, 0x300  # linux/netlink.h
NLMSG_ERROR, NLMSG_DONE = 2, 3
RTM_GETLINK, RTM_GETADDR, RTM_GETNSID = 18, 22, 90  # linux/rtnetlink.h
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_LINK_NETNSID = 3, 5, 10, 18, 37
IFLA_INFO_KIND = 1  # linux/if_link.h
IFA_LOCAL = 2  # linux/if_addr.h
NETNSA_NSID, NETNSA_PID = 1, 2  # linux/net_namespace.h

Attributes = dict[int, bytes]


@dataclass(frozen=True)
class Link:
    """A network link; numbers are unique in its network namespace."""

    number: int
    name: str
    kind: str  # "bridge", "veth" (an end of a cable), …; "" for lo
    up: bool
    bridge: int  # number of the one that it is plugged into, or 0
    other_end: tuple[int, int]  # of a cable: PID of a process that has it, or 0, and its number
    addresses: tuple[str, ...]  # of IPv4, such as "10.44.0.2/24"


def links(pid: int | str, others: Iterable[int] = ()) -> list[Link]:
    """Return the links that a process sees, in the kernel's order.

    Args:
        pid: the process.
        others: processes in other network namespaces, where other ends of its cables may be.

    Raises:
        OSError: no such process, or no right to enter its namespace.
    """
    return procfs.inside(pid, "net", lambda: list(_links(others)))


def _links(others: Iterable[int]) -> Iterator[Link]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        addresses: dict[int, list[str]] = {}
        for (_, prefix, number), found in _ask(kernel, RTM_GETADDR, "BBxxI", socket.AF_INET):
            word = f"{socket.inet_ntoa(found[IFA_LOCAL])}/{prefix}"
            addresses.setdefault(number, []).append(word)
        answers = list(_ask(kernel, RTM_GETLINK, "BxHiII"))
        wanted = {found.get(IFLA_LINK_NETNSID) for _, found in answers} - {None}
        known: dict[bytes | None, int] = {}
        for pid in others:
            if wanted <= known.keys():
                break
            with_pid = pack("HHI", 8, NETNSA_PID, pid)
            try:
                [(_, found)] = _ask(kernel, RTM_GETNSID, "B3x", attributes=with_pid)
            except ProcessLookupError:  # it has ended meanwhile
                continue
            known.setdefault(found[NETNSA_NSID], pid)
    for (_, _, number, flags, _), found in answers:
        yield Link(
            number,
            os.fsdecode(found[IFLA_IFNAME][:-1]),
            os.fsdecode(_attributes(found.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b"")[:-1]),
            bool(flags & IFF_UP),
            _number(found.get(IFLA_MASTER)),
            (known.get(found.get(IFLA_LINK_NETNSID), 0), _number(found.get(IFLA_LINK))),
            tuple(addresses.get(number, ())),
        )


def _ask(
    kernel: socket.socket, kind: int, form: str, family: int = 0, attributes: bytes = b""
) -> Iterator[tuple[tuple[int, ...], Attributes]]:
    """Ask for all of a kind or, with attributes, for one; yield header and attributes of each."""
    size = calcsize(form)
    body = bytes([family]).ljust(size, b"\0") + attributes
    flags = NLM_F_REQUEST | (0 if attributes else NLM_F_DUMP)
    kernel.send(pack("IHHII", 16 + len(body), kind, flags, 0, 0) + body)
    while True:
        answer = kernel.recv(1 << 17)
        while answer:
            length, said = unpack_from("IH", answer)
            if said == NLMSG_DONE:
                return
            if said == NLMSG_ERROR:
                number = -unpack_from("i", answer, 16)[0]
                raise OSError(number, f"rtnetlink: {os.strerror(number)}")
            yield unpack_from(form, answer, 16), _attributes(answer[16 + size : length])
            answer = answer[_padded(length) :]
        if attributes:
            return


def _attributes(data: bytes) -> Attributes:
    found = {}
    while data:
        length, kind = unpack_from("HH", data)
        found[kind] = data[4:length]
        data = data[_padded(length) :]
    return found


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)


def _padded(length: int) -> int:
    return length + -length % 4
