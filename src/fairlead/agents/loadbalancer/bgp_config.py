"""Peers and routes to the configuration of ExaBGP: values in, text out.

Refuses to know who reads it. Source: ExaBGP's configuration syntax (doc.exabgp.net), RFC 4271 for the hold time.
"""

from collections.abc import Iterable

from fairlead.kube.metallb import BGPPeer
from fairlead.model import Finding, Origin, Severity
from fairlead.model.announcements import Peer, RouteAnnouncement
from fairlead.net import Address, Family, parse_address

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LEAST_HOLD = 3
_RESTART_SECONDS = 120
_FAR = 64


def compile_peer(peer: BGPPeer, password: str) -> tuple[Peer | None, tuple[Finding, ...]]:
    """Return a peer, None where something is wrong with it, and what that is or what it asks for in vain."""
    meta, spec = peer.metadata, peer.spec
    findings: list[Finding] = []

    def tell(severity: Severity, field: str, message: str, remedy: str) -> None:
        findings.append(
            Finding(severity, Origin("BGPPeer", meta.namespace, meta.name, f"spec.{field}"), message, remedy)
        )

    def address(field: str, text: str) -> Address | None:
        try:
            return parse_address(text) if text else None
        except ValueError:
            tell(Severity.ERROR, field, f"{text!r} is no address", "write it as 192.0.2.1")
            return None

    found, source = address("peerAddress", spec.peer_address), address("sourceAddress", spec.source_address)
    router = address("routerID", spec.router_id)
    if found is None and not findings:
        tell(Severity.ERROR, "peerAddress", "the peer has no address", "name one; unnumbered peers are not supported")
    if not spec.my_asn or not spec.peer_asn:
        tell(Severity.ERROR, "peerASN", "both AS numbers are needed", "give myASN and peerASN")
    hold: int | None = None
    try:
        hold = int(parse_duration(spec.hold_time)) if spec.hold_time is not None else None
    except ValueError:
        tell(Severity.ERROR, "holdTime", f"{spec.hold_time!r} is no duration", "write it as 90s")
    if hold is not None and 0 < hold < _LEAST_HOLD:
        tell(Severity.ERROR, "holdTime", f"{hold} s is too short (RFC 4271)", "give at least 3s, or 0s for none")
    if any(mark in password for mark in '"\\\n;{}'):
        tell(Severity.ERROR, "password", "ExaBGP cannot take a quote, backslash, brace or semicolon", "choose another")
    wrong = bool(findings)
    for field, given in (("bfdProfile", spec.bfd_profile), ("vrf", spec.vrf)):
        if given:
            tell(Severity.WARNING, field, "is not supported, and is ignored", "failures are found by the hold time")
    if wrong or found is None:
        return None, tuple(findings)
    return Peer(
        name=meta.name,
        address=found,
        port=spec.peer_port or 179,
        local_as=spec.local_asn or spec.my_asn,
        peer_as=spec.peer_asn,
        source=source,
        router_id=router,
        hold_seconds=hold,
        password=password,
        multi_hop=spec.ebgp_multi_hop,
        graceful_restart=spec.enable_graceful_restart,
        both_families=not spec.disable_mp,
    ), tuple(findings)


def parse_duration(text: str) -> float:
    """Seconds of a duration as Go writes it: `90s`, `1m30s`. Raises ValueError."""
    total, number, rest = 0.0, "", text
    while rest:
        unit = next((each for each in ("ms", "s", "m", "h") if rest.startswith(each)), "")
        if unit and number:
            total, number, rest = total + float(number) * _UNITS[unit], "", rest[len(unit) :]
        else:
            number, rest = number + rest[0], rest[1:]
    if number and float(number):
        raise ValueError(f"{text!r} has no unit")
    return total


def render_exabgp(
    peers: Iterable[Peer],
    routes: Iterable[RouteAnnouncement],
    addresses: tuple[Address, ...],
) -> str:
    """Return the configuration for one node with these addresses, one a family.

    A prefix of a family that the node has no address of is left out: nobody could reach it.
    """
    routes = sorted(routes)
    own = {address.family: address for address in addresses}
    parts: list[str] = []
    for peer in sorted(peers, key=lambda each: each.name):
        source = peer.source or own.get(peer.address.family)
        router = peer.router_id or own.get(Family.IPV4)
        if source is None or router is None:
            continue
        lines = [
            f"router-id {router};",
            f"local-address {source};",
            f"local-as {peer.local_as};",
            f"peer-as {peer.peer_as};",
        ]
        if peer.port != 179:
            lines.append(f"connect {peer.port};")
        if peer.hold_seconds is not None:
            lines.append(f"hold-time {peer.hold_seconds};")
        if peer.password:
            lines.append(f'md5-password "{peer.password}";')
        if peer.multi_hop:
            lines.append(f"outgoing-ttl {_FAR};")
        restart = f"graceful-restart {_RESTART_SECONDS};" if peer.graceful_restart else "graceful-restart disable;"
        lines.append(f"capability {{ {restart} }}")
        families = [each for each in Family if peer.both_families or each is peer.address.family]
        lines.append("family { " + " ".join(f"{each.value.lower()} unicast;" for each in families) + " }")
        static: list[str] = []
        for route in routes:
            hop = own.get(route.prefix.family)
            if hop is None or route.prefix.family not in families or (route.peers and peer.name not in route.peers):
                continue
            static.append(f"  route {route.prefix} next-hop {hop}{_attributes(route, peer)};")
        lines += ["static {", *static, "}"] if static else []  # ExaBGP takes no empty one
        parts.append(f"neighbor {peer.address} {{\n" + "".join(f"  {line}\n" for line in lines) + "}\n")
    return "".join(parts)


def _attributes(route: RouteAnnouncement, peer: Peer) -> str:
    text = ""
    if route.local_preference and peer.local_as == peer.peer_as:
        text += f" local-preference {route.local_preference}"
    plain = [each for each in route.communities if not each.startswith("large:")]
    large = [each.removeprefix("large:") for each in route.communities if each.startswith("large:")]
    if plain:
        text += f" community [ {' '.join(plain)} ]"
    return text + (f" large-community [ {' '.join(large)} ]" if large else "")
