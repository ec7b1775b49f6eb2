"""Walks over random states: changes add up to what a fresh start makes, flow by flow, on values and on Linux."""

import os
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sim_worlds import NODES, SOURCES, keys, packet_to, worlds

from fairlead.drivers.netlink.nftables import NftSocket
from fairlead.drivers.netns import entered, new_namespace
from fairlead.model import Frontend, FrontendKey
from fairlead.net import Family, parse_address
from fairlead.nft.apply import apply_transaction
from fairlead.nft.evaluate import Entry, Surroundings, evaluate_every_draw
from fairlead.nft.tables import TableContents
from fairlead.nft.transactions import Transaction
from fairlead.render.services import ServiceRows
from fairlead.sim.nodes import NodeRules
from fairlead.sim.services import compile_node
from fairlead.sim.trace import read_passages
from fairlead.sim.world import World

HERE = NODES[0]
walks = st.lists(worlds(), min_size=2, max_size=5)


def transactions(states: Sequence[World]) -> Iterator[tuple[Transaction, ServiceRows]]:
    """The changes from one state to the next, as an agent sends them."""
    model = NodeRules(states[0], HERE).services.model
    rows = ServiceRows(Family.IPV4, model.pod_prefixes, model.service_prefix)
    yield rows.base(), rows
    before: dict[FrontendKey, Frontend] = {}
    for world in states:
        after = compile_node(world, HERE, Family.IPV4)
        changes: dict[FrontendKey, Frontend | None] = {
            key: each for key, each in after.items() if before.get(key) != each
        }
        changes |= {key: None for key in before if key not in after}
        yield rows.replace(changes), rows
        before = after


def judged(table: TableContents, world: World) -> dict[tuple[str, FrontendKey], object]:
    """What every flow comes to in a table."""
    local = frozenset(map(parse_address, (each.address for each in HERE.status.addresses)))
    found: dict[tuple[str, FrontendKey], object] = {}
    for text in SOURCES:
        source = parse_address(text)
        entry = Entry.SENT if source in local else Entry.ARRIVES
        for key in keys(world, HERE):
            packet = packet_to(key, source)
            passages = tuple(evaluate_every_draw(table, packet, entry, Surroundings(local=local)))
            found[text, key] = read_passages(packet, passages)
    return found


@settings(max_examples=25, deadline=None)
@given(states=walks)
def test_after_any_walk_every_flow_comes_to_what_a_fresh_start_makes_of_it(states: list[World]) -> None:
    table: TableContents | None = None
    for transaction, rows in transactions(states):
        table = apply_transaction(table, transaction)
        assert table == rows.desired()
    assert table is not None
    fresh = NodeRules(states[-1], HERE).services.contents
    assert judged(table, states[-1]) == judged(fresh, states[-1])
    assert {name: len(held.rows or ()) for name, held in table.sets.items()} == {
        name: len(held.rows or ()) for name, held in fresh.sets.items()
    }


@pytest.fixture(scope="module")
def nft_socket() -> Iterator[NftSocket]:
    fd = new_namespace()
    with entered(fd):
        opened = NftSocket()
    with opened:
        yield opened
    os.close(fd)


@pytest.mark.kernel
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=walks)
def test_the_kernel_takes_every_step_of_a_walk_and_holds_what_the_value_says(
    nft_socket: NftSocket, states: list[World]
) -> None:
    for transaction, rows in transactions(states):
        nft_socket.apply(transaction)
        assert nft_socket.list_table(transaction.family, transaction.table) == rows.desired()
        assert rows.adopt(nft_socket.list_table(transaction.family, transaction.table)).commands == ()
