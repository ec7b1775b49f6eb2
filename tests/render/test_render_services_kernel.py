"""The service table at work: real connections through real rows, between namespaces the test makes.

A node routes between two pods of its own, two with addresses of another node, and a client outside. Nothing but the
node's table decides where a service address leads.
"""

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from msgspec import structs
from services_world import (
    CLIENT,
    EXTERNAL,
    LOCAL_1,
    LOCAL_2,
    NODE,
    PODS,
    REMOTE_1,
    REMOTE_2,
    SECONDS,
    SERVICES,
    VIP,
    Servers,
    World,
    make_world,
    refused_with,
    run_ip,
)

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.model import AddressRange, Affinity, Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Family, Port, Protocol, parse_address, parse_prefix
from fairlead.nft.expressions import Dynset, Foreign, Meta, MetaKey
from fairlead.nft.objects import Rule, TableFamily
from fairlead.nft.text import write_transaction
from fairlead.render.services import ServiceRows

pytestmark = pytest.mark.kernel

P_999 = {1: 10.83, 2: 13.82, 3: 16.27}
"""The chi-square value that chance exceeds once in a thousand, by degrees of freedom."""


@pytest.fixture
def world() -> Iterator[World]:
    made = make_world()
    yield made
    made.close()


def frontend(
    *backends: str,
    address: str = VIP,
    port: int = 80,
    protocol: Protocol = Protocol.TCP,
    masquerade: Masquerade = Masquerade.UNLESS_LOCAL_POD,
    refusal: Refusal = Refusal.REJECT,
    inside: tuple[str, ...] = (),
    affinity: Affinity | None = None,
    sources: tuple[AddressRange, ...] | None = None,
) -> Frontend:
    return Frontend(
        key=FrontendKey(parse_address(address), protocol, Port(port)),
        backends=tuple(Backend(parse_address(each), Port(8080)) for each in backends),
        when_empty=refusal,
        masquerade=masquerade,
        inside=tuple(Backend(parse_address(each), Port(8080)) for each in inside),
        affinity=affinity,
        sources=sources,
        origin=Origin("Service", "shop", "web"),
    )


def chi_square(counts: Counter[str], expected: list[str]) -> float:
    share = counts.total() / len(expected)
    return sum((counts[each] - share) ** 2 / share for each in expected)


def test_connections_spread_evenly_over_all_backends(world: World) -> None:
    pods = [LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2]
    world.serve(frontend(*pods))
    with ExitStack() as stack:
        servers = Servers(world, stack, *pods)
        counts = Counter(servers.connect(CLIENT)[0] for _ in range(400))
    assert set(counts) == set(pods)
    assert chi_square(counts, pods) < P_999[3]


def test_after_a_backend_went_the_rest_share_evenly(world: World) -> None:
    world.serve(frontend(LOCAL_1, LOCAL_2, REMOTE_1, REMOTE_2))
    world.serve(frontend(LOCAL_2, REMOTE_1, REMOTE_2))
    rest = [LOCAL_2, REMOTE_1, REMOTE_2]
    with ExitStack() as stack:
        servers = Servers(world, stack, LOCAL_1, *rest)
        counts = Counter(servers.connect(CLIENT)[0] for _ in range(300))
    assert set(counts) == set(rest)
    assert chi_square(counts, rest) < P_999[2]


def test_the_node_itself_reaches_a_service(world: World) -> None:
    world.serve(frontend(REMOTE_1))
    with ExitStack() as stack:
        assert Servers(world, stack, REMOTE_1).connect(NODE)[0] == REMOTE_1


MASQUERADED = "the node's address"


@pytest.mark.parametrize(
    ("masquerade", "source", "seen"),
    [
        (Masquerade.NEVER, CLIENT, CLIENT),
        (Masquerade.NEVER, LOCAL_1, LOCAL_1),
        (Masquerade.UNLESS_LOCAL_POD, LOCAL_1, LOCAL_1),
        (Masquerade.UNLESS_LOCAL_POD, REMOTE_2, MASQUERADED),
        (Masquerade.UNLESS_LOCAL_POD, CLIENT, MASQUERADED),
        (Masquerade.ALWAYS, LOCAL_1, MASQUERADED),
        (Masquerade.ALWAYS, CLIENT, MASQUERADED),
    ],
)
def test_the_source_a_backend_sees(world: World, masquerade: Masquerade, source: str, seen: str) -> None:
    world.serve(frontend(REMOTE_1, masquerade=masquerade))
    with ExitStack() as stack:
        _, peer = Servers(world, stack, REMOTE_1).connect(source)
    assert (MASQUERADED if peer == "169.254.1.1" else peer) == seen


@pytest.mark.parametrize("address", [NODE, EXTERNAL])
@pytest.mark.parametrize("here", [(LOCAL_2,), ()], ids=["a local backend", "no local backend"])
def test_external_traffic_policy_local_lets_inside_clients_go_anywhere_and_others_only_here(
    world: World, address: str, here: tuple[str, ...]
) -> None:
    """1.4: local pods short-circuit without masquerade, the node with it; others keep their address, or are dropped."""
    everywhere = (LOCAL_2, REMOTE_1)
    world.serve(
        frontend(
            *here,
            address=address,
            masquerade=Masquerade.NEVER,
            refusal=Refusal.DROP,
            inside=everywhere,
        )
    )
    with ExitStack() as stack:
        servers = Servers(world, stack, LOCAL_2, REMOTE_1)
        from_pod = {servers.connect(LOCAL_1, address) for _ in range(40)}
        assert from_pod == {(LOCAL_2, LOCAL_1), (REMOTE_1, LOCAL_1)}
        from_node = {servers.connect(NODE, address) for _ in range(40)}
        assert {pod for pod, _ in from_node} == set(everywhere)
        assert not {peer for _, peer in from_node} & {address, LOCAL_1}
        for outside in (CLIENT, REMOTE_2):
            if here:
                assert {servers.connect(outside, address) for _ in range(20)} == {(LOCAL_2, outside)}
            else:
                assert refused_with(world, outside, address, seconds=0.3) == "timeout"


def test_under_external_traffic_policy_local_a_pod_that_draws_itself_is_answered(world: World) -> None:
    world.serve(frontend(LOCAL_1, address=EXTERNAL, masquerade=Masquerade.NEVER, inside=(LOCAL_1,)))
    with ExitStack() as stack:
        pod, peer = Servers(world, stack, LOCAL_1).connect(LOCAL_1, EXTERNAL)
    assert pod == LOCAL_1
    assert peer != LOCAL_1


def test_a_pod_that_draws_itself_is_answered(world: World) -> None:
    world.serve(frontend(LOCAL_1, masquerade=Masquerade.NEVER))
    with ExitStack() as stack:
        pod, peer = Servers(world, stack, LOCAL_1).connect(LOCAL_1)
    assert pod == LOCAL_1
    assert peer != LOCAL_1


def test_a_tcp_frontend_without_backends_answers_with_a_reset(world: World) -> None:
    world.serve(frontend(), frontend(address=NODE, port=30080))
    for source in (CLIENT, LOCAL_1, NODE):
        assert refused_with(world, source) == "ECONNREFUSED"
    assert refused_with(world, CLIENT, NODE, 30080) == "ECONNREFUSED"


def test_a_udp_frontend_without_backends_answers_port_unreachable(world: World) -> None:
    world.serve(frontend(protocol=Protocol.UDP, port=53))
    with entered(world.hosts[CLIENT]):
        caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with caller:
        caller.settimeout(SECONDS)
        caller.connect((VIP, 53))
        caller.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            caller.recv(10)


def test_a_frontend_that_drops_says_nothing(world: World) -> None:
    world.serve(frontend(refusal=Refusal.DROP))
    assert refused_with(world, CLIENT, seconds=0.3) == "timeout"


def test_another_port_of_a_service_is_refused_and_a_free_service_address_is_dropped(world: World) -> None:
    world.serve(frontend(LOCAL_1))
    for source in (CLIENT, NODE):
        assert refused_with(world, source, port=81) == "ECONNREFUSED"
        assert refused_with(world, source, "10.96.0.10", seconds=0.3) == "timeout"


def test_every_service_range_is_closed_where_no_service_has_an_address(world: World) -> None:
    """1.3, with several ServiceCIDRs: drop inside each of them, and refuse other ports of addresses in use."""
    run_ip(world.node, "route add 10.100.0.0/24 dev lo")
    world.rows = ServiceRows(Family.IPV4, PODS, SERVICES, parse_prefix("10.100.0.0/24"))
    world.nft.apply(world.rows.base())
    world.serve(frontend(REMOTE_1, address="10.100.0.9"), frontend(REMOTE_1))
    with ExitStack() as stack:
        servers = Servers(world, stack, REMOTE_1)
        for used, free in ((VIP, "10.96.0.10"), ("10.100.0.9", "10.100.0.10")):
            assert servers.connect(CLIENT, used)[0] == REMOTE_1
            assert refused_with(world, CLIENT, used, 81) == "ECONNREFUSED"
            assert refused_with(world, CLIENT, free, seconds=0.3) == "timeout"


def test_an_open_connection_survives_changes_of_its_service(world: World) -> None:
    world.serve(frontend(LOCAL_1, REMOTE_1))
    with ExitStack() as stack:
        with entered(world.hosts[REMOTE_1]):
            listener = stack.enter_context(socket.create_server((REMOTE_1, 8080)))
        world.serve(frontend(REMOTE_1))
        with entered(world.hosts[CLIENT]):
            caller = stack.enter_context(socket.create_connection((VIP, 80), timeout=SECONDS))
        accepted = stack.enter_context(listener.accept()[0])
        accepted.settimeout(SECONDS)
        for change in (
            frontend(LOCAL_1, LOCAL_2, REMOTE_2),
            frontend(REMOTE_2),
            frontend(masquerade=Masquerade.ALWAYS),
        ):
            world.serve(change)
            caller.sendall(b"still here")
            assert accepted.recv(100) == b"still here"
        world.nft.apply(world.rows.adopt(None))
        accepted.sendall(b"so am I")
        assert caller.recv(100) == b"so am I"


def test_udp_reaches_a_backend_and_its_answer_comes_from_the_service(world: World) -> None:
    world.serve(frontend(REMOTE_1, protocol=Protocol.UDP, port=53))
    with ExitStack() as stack:
        with entered(world.hosts[REMOTE_1]):
            server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind((REMOTE_1, 8080))
        server.settimeout(SECONDS)
        with entered(world.hosts[LOCAL_1]):
            caller = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        caller.settimeout(SECONDS)
        caller.sendto(b"who?", (VIP, 53))
        question, peer = server.recvfrom(100)
        server.sendto(b"me", peer)
        assert (question, peer[0]) == (b"who?", LOCAL_1)
        assert caller.recvfrom(100) == (b"me", (VIP, 53))


FRONTENDS = {
    Family.IPV4: ("10.96.0.9", ["10.244.1.2", "10.244.2.2"], (*PODS, parse_prefix("10.244.64.0/19")), SERVICES),
    Family.IPV6: (
        "fd00:10:96::9",
        ["fd00:10:244:1::2", "fd00:10:244:2::2"],
        (parse_prefix("fd00:10:244:1::/64"),),
        parse_prefix("fd00:10:96::/108"),
    ),
}


STICKY = Affinity(10800, "shop/web/tcp/http")


def corrected(rule: Rule, family: Family) -> Rule:
    """What nft 1.0.6 makes of a rule, without its two oddities.

    It turns the one byte of a protocol around before it looks for it in ranges, which needs no doing; and it loads the
    value of a dynamic row over the end of a key of more than 16 bytes.
    """
    kept = [each for each in rule.expressions if not (isinstance(each, Foreign) and each.name == "byteorder")]
    match kept:
        case [*start, Meta(4, MetaKey.PRIORITY), Dynset(data=4) as row] if family is Family.IPV6:
            return Rule((*start, Meta(8, MetaKey.PRIORITY), structs.replace(row, data=8)))
        case _:
            return Rule(tuple(kept))


@pytest.mark.parametrize("family", Family)
def test_netlink_and_nft_make_the_same_table_to_the_byte(family: Family) -> None:
    vip, pods, prefixes, services = FRONTENDS[family]
    rows = ServiceRows(family, prefixes, services)
    base = rows.base()
    changes = [
        frontend(*pods, address=vip, port=80),
        frontend(*pods, address=vip, port=81, masquerade=Masquerade.ALWAYS),
        frontend(*pods[:1], address=vip, port=82, masquerade=Masquerade.NEVER),
        frontend(address=vip, port=83),
        frontend(*pods[:1], address=vip, port=85, masquerade=Masquerade.NEVER, inside=tuple(pods)),
        frontend(address=vip, port=86, refusal=Refusal.DROP, inside=tuple(pods)),
        frontend(address=vip, port=84, refusal=Refusal.DROP, protocol=Protocol.UDP),
        frontend(*pods, address=vip, port=87, affinity=STICKY, inside=tuple(pods[:1]), masquerade=Masquerade.NEVER),
        frontend(*pods, address=vip, port=88, sources=(AddressRange(*map(parse_address, pods)),)),
    ]
    filling = rows.replace({each.key: each for each in changes})
    script = write_transaction(base, rows.sets) + write_transaction(filling, rows.sets)
    by_netlink, by_nft = new_namespace(), new_namespace()
    with entered(by_netlink), NftSocket() as nft:
        nft.apply(base)
        nft.apply(filling)
        listed = nft.list_table(TableFamily.of(family), "fairlead")
    with entered(by_nft), NftSocket() as nft:
        subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)
        by_text = nft.list_table(TableFamily.of(family), "fairlead")
        assert by_text is not None
        for contents in by_text.chains.values():
            contents.rules = [corrected(rule, family) for rule in contents.rules]
        assert by_text.chains == rows.desired().chains
        assert by_text == listed == rows.desired()
        shown = subprocess.run(["nft", "list", "ruleset"], text=True, check=True, capture_output=True).stdout
    os.close(by_netlink)
    os.close(by_nft)
    assert "numgen random mod 2 map @backends" in shown
    assert f"{vip} . tcp . 80 : goto cluster-2" in shown
