"""Pools and wishes for tests of who gets which address."""

from fairlead.compile.pools import join_ranges, parse_range
from fairlead.model import Origin
from fairlead.model.loadbalancers import Audience, Pool, PortUse, ServiceKey, Wish
from fairlead.net import Address, Family, Port, Protocol, parse_address

V4, V6 = (Family.IPV4,), (Family.IPV6,)
BOTH = (Family.IPV4, Family.IPV6)


def pool(
    name: str,
    *texts: str,
    priority: int | None = None,
    audience: Audience | None = None,
    auto_assign: bool = True,
    avoid_buggy: bool = False,
) -> Pool:
    """A pool of these ranges."""
    return Pool(
        name=name,
        ranges=join_ranges(map(parse_range, texts)),
        priority=priority,
        dedicated=audience is not None or priority is not None,
        audience=audience or Audience(),
        origin=Origin("IPAddressPool", "metallb-system", name),
        auto_assign=auto_assign,
        avoid_buggy=avoid_buggy,
    )


def use(text: str) -> PortUse:
    """A port as `80/TCP`."""
    port, _, protocol = text.partition("/")
    return PortUse(Protocol[protocol or "TCP"], Port(int(port)))


def wish(
    name: str,
    *,
    ports: tuple[str, ...] = ("80/TCP",),
    families: tuple[Family, ...] = V4,
    namespace: str = "default",
    addresses: tuple[str, ...] = (),
    held: tuple[str, ...] = (),
    held_from: str = "",
    labels: dict[str, str] | None = None,
    **more: object,
) -> Wish:
    """What the Service `name` wants."""
    return Wish(
        service=ServiceKey(namespace, name),
        created=str(more.pop("created", "")),
        families=families,
        addresses=tuple(map(parse_address, addresses)),
        ports=frozenset(map(use, ports)),
        held=tuple(map(parse_address, held)),
        held_from=held_from,
        labels=frozenset((labels or {}).items()),
        **more,  # type: ignore[arg-type]  # the tests name fields of Wish
    )


def texts(addresses: tuple[Address, ...]) -> tuple[str, ...]:
    """Addresses as one writes them."""
    return tuple(map(str, addresses))
