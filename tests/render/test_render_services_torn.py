"""A packet that is under way while a service's backends change: it comes to one of those before or after the change.

It saw how many backends there are before the commit, and looks for the one it drew after it.
"""

from collections.abc import Iterator

import pytest
from torn_sets import TornSets

from fairlead.model import Affinity, Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Family, Port, Protocol, parse_address, parse_prefix
from fairlead.nft.apply import apply_transaction
from fairlead.nft.evaluate import Ending, Entry, Packet, Surroundings, evaluate_packet
from fairlead.nft.tables import TableContents
from fairlead.render.services import ServiceRows

VIP, PORT, CLIENT = parse_address("10.96.0.9"), Port(80), parse_address("10.244.1.77")
OF_ONE_NODE = parse_prefix("10.244.1.0/24")
MOST_LOOKS = 40


def _frontend(hosts: range, *, affinity: bool, local: bool) -> Frontend:
    backends = tuple(Backend(parse_address(f"10.244.1.{host}"), Port(8080)) for host in hosts)
    return Frontend(
        key=FrontendKey(VIP, Protocol.TCP, PORT),
        inside=backends if local else (),
        backends=backends,
        when_empty=Refusal.REJECT,
        masquerade=Masquerade.NEVER if local else Masquerade.UNLESS_LOCAL_POD,
        affinity=Affinity(3600, "shop/web:http") if affinity else None,
        sources=None,
        origin=Origin("Service", "shop", "web"),
    )


def _destinations(before: TableContents, after: TableContents) -> Iterator[tuple[str, str]]:
    """Where a packet comes to that the commit meets after each of its looks, for the largest number it can draw."""
    packet = Packet(
        source=CLIENT,
        destination=VIP,
        protocol=6,
        source_port=Port(40000),
        destination_port=PORT,
        icmp_type=None,
    )
    for looks in range(MOST_LOOKS):
        sets = TornSets(before, after, looks)
        torn = TableContents(before.family, before.name, after.chains | before.chains, sets)
        passage = evaluate_packet(torn, packet, Entry.ARRIVES, Surroundings(numbers=(4,) * 8))
        yield f"torn after look {looks}", f"{passage.ending.name} {passage.packet.destination}"
        if sets.left > 0:
            return


@pytest.mark.parametrize("local", [False, True], ids=["cluster", "local"])
@pytest.mark.parametrize("affinity", [False, True], ids=["any", "affinity"])
@pytest.mark.parametrize("new", [range(2, 6), range(2, 3), range(20, 22), range(20, 26)], ids=str)
def test_a_backend_of_before_or_after_takes_it(new: range, affinity: bool, local: bool) -> None:
    rows = ServiceRows(Family.IPV4, (OF_ONE_NODE,), parse_prefix("10.96.0.0/16"))
    first = _frontend(range(2, 7), affinity=affinity, local=local)
    rows.replace({first.key: first})
    before = rows.desired()
    second = _frontend(new, affinity=affinity, local=local)
    after = apply_transaction(before, rows.replace({second.key: second}))
    assert before is not None
    assert after is not None
    allowed = {f"{Ending.ACCEPT.name} 10.244.1.{host}" for host in (*range(2, 7), *new)}
    found = dict(_destinations(before, after))
    assert len(found) > 2
    assert not {where: came for where, came in found.items() if came not in allowed}
