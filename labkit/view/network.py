"""The lab's networks: bridges, the cables in them, and who can reach whom."""

from dataclasses import dataclass
from itertools import groupby

from labkit.view.picture import Picture, figure, frame
from labkit.view.text import markup, more, phrase, table, visible

MAX_ENDS = 12  # of a wire, and of containers beside; the rest is counted
MAX_NAMES = 4  # of others that can be reached
NOTHING = "No network but the lab's own."


@dataclass(frozen=True)
class End:
    """A container at the end of a cable, or a bridge.

    Attributes:
        name: the container's host name, or the bridge's name.
        addresses: such as "10.44.0.2/24".
        wrong: what is down at it or at its cable; "" where nothing is.
        reaches: names of the others that it can reach.
    """

    name: str
    addresses: tuple[str, ...]
    wrong: str = ""
    reaches: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """Say where it is."""
        return ", ".join(self.addresses) or "no address"


@dataclass(frozen=True)
class Wire:
    """What frames travel on: a bridge with the cables in it, or one cable between two containers.

    Attributes:
        switch: such as "switch of blue"; "" for a cable.
        bridge: None for a cable, and for what is plugged into no bridge.
        ends: the containers.
        ports: what is published, in the words of the processes that do.
    """

    switch: str
    bridge: End | None
    ends: tuple[End, ...]
    ports: tuple[str, ...] = ()

    @property
    def wrong(self) -> str:
        """Say why it carries nothing; "" where it does."""
        return self.bridge.wrong if self.bridge else "no bridge" * bool(self.switch)

    def reach(self, end: End) -> str:
        """Say whom an end can reach, and why nobody."""
        shown, hidden = end.reaches[:MAX_NAMES], len(end.reaches) - MAX_NAMES
        names = ", ".join(shown) + f" and {hidden} more" * (hidden > 0)
        return ": ".join(filter(None, (f"reaches {names or 'nobody'}", end.wrong or self.wrong)))


@dataclass(frozen=True, repr=False)
class NetworkPicture(Picture):
    """The networks of a lab at one moment.

    Attributes:
        wires: bridges and cables, those of a switch one after another.
        without: names of the containers on none of them.
        host: names of the containers that have the lab's own.
    """

    wires: tuple[Wire, ...]
    without: tuple[str, ...] = ()
    host: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """The picture in words."""
        lines = []
        for wire in self.wires:
            bridge = wire.bridge
            middle = f"bridge {bridge.name}, {bridge.address}" if bridge else ""
            title = wire.switch or "a cable"
            lines.append(": ".join(filter(None, (title, phrase(middle, wire.wrong)))))
            rows = [(f"  {one.name}", one.address, wire.reach(one)) for one in wire.ends[:MAX_ENDS]]
            lines += table([tuple(map(visible, row)) for row in rows]).split("\n")
            lines += [f"  {rest}" for rest in more(len(wire.ends), MAX_ENDS)]
            lines += [f"  port {port}" for port in wire.ports]
        for label, names in self._beside:
            lines.append(f"{label}: " + ", ".join([*names[:MAX_ENDS], *more(len(names), MAX_ENDS)]))
        return "\n".join(map(visible, filter(None, lines))) or NOTHING

    def html(self) -> str:
        """A frame for each switch, with its bridges and what is plugged in; others below."""
        content = f"<p>{NOTHING}</p>" * (not self.wires)
        for title, wires in groupby(self.wires, lambda wire: wire.switch or "a cable"):
            content += frame("parent", title, *map(_wire, wires))
        for label, names in self._beside:
            boxes = (
                f'<span class="lk-container">{markup(name)}</span>' for name in names[:MAX_ENDS]
            )
            content += f"<p>{label} {' '.join([*boxes, *more(len(names), MAX_ENDS)])}</p>"
        return figure("lk-network", content, "The lab's networks")

    @property
    def _beside(self) -> list[tuple[str, tuple[str, ...]]]:
        both = (("without a network", self.without), ("with the lab's own network", self.host))
        return [one for one in both if one[1]]


def _wire(wire: Wire) -> str:
    words = [wire.wrong]
    if wire.bridge:
        words = [f"bridge {wire.bridge.name}", wire.bridge.address, wire.wrong]
    middle = "<br>".join(markup(word) for word in words if word)
    ends = "".join(_end(end, wire.reach(end)) for end in wire.ends[:MAX_ENDS])
    ends += "".join(f"<li>{rest}</li>" for rest in more(len(wire.ends), MAX_ENDS))
    middle = f"<p>{middle}</p>" * bool(middle)
    down = " lk-mute" * bool(wire.wrong)
    ports = "".join(f'<p class="lk-shared">port {markup(port)}</p>' for port in wire.ports)
    return f'<div class="lk-wire{down}">{middle}<ul>{ends}</ul></div>{ports}'


def _end(end: End, reach: str) -> str:
    words = f"<strong>{markup(end.name)}</strong> <span>{markup(end.address)}</span>"
    cable = ' class="lk-mute"' * bool(end.wrong)
    return f'<li{cable}><div class="lk-container">{words} <small>{markup(reach)}</small></div></li>'
