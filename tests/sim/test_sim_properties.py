"""Two independent truths on generated clusters: what the model says of a flow, and what rendered rows do with it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from sim_families import six_address, six_key, six_object, six_world
from sim_worlds import NODES, SOURCES, keys, packet_to, worlds

from fairlead.net import Family, parse_address
from fairlead.nft.evaluate import Entry
from fairlead.sim.frontends import judge_connection
from fairlead.sim.nodes import NodeRules
from fairlead.sim.trace import read_passages
from fairlead.sim.world import World


@settings(max_examples=60, deadline=None)
@given(world=worlds(), data=st.data())
def test_the_model_and_the_rows_give_every_flow_the_same_verdict(world: World, data: st.DataObject) -> None:
    node = data.draw(st.sampled_from(NODES))
    rules = NodeRules(world, node)
    own = set(rules.addresses)
    for source in map(parse_address, SOURCES):
        entry = Entry.SENT if source in own else Entry.ARRIVES
        for key in keys(world, node):
            packet = packet_to(key, source)
            passages = tuple(rules.walk_services(packet, entry))
            assert read_passages(packet, passages) == judge_connection(rules.services.model, source, key), (
                str(source),
                key,
            )


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_the_other_family_has_the_same_verdicts(world: World) -> None:
    four, six = NodeRules(world, NODES[0]), NodeRules(six_world(world), six_object(NODES[0]), Family.IPV6)
    own = set(four.addresses)
    for source in map(parse_address, SOURCES):
        entry = Entry.SENT if source in own else Entry.ARRIVES
        for key in keys(world, NODES[0]):
            turned, caller = six_key(key), six_address(source)
            packet = packet_to(turned, caller)
            found = read_passages(packet, tuple(six.walk_services(packet, entry)))
            assert found == judge_connection(six.services.model, caller, turned), (str(caller), turned)
            before = judge_connection(four.services.model, source, key)
            backends = {(six_address(each.address), each.port, masked) for each, masked in before.backends}
            assert {(each.address, each.port, masked) for each, masked in found.backends} == backends
            assert found.refusal is before.refusal


@settings(max_examples=30, deadline=None)
@given(world=worlds())
def test_every_backend_is_drawn_by_exactly_one_number(world: World) -> None:
    rules = NodeRules(world, NODES[0])
    source = parse_address("10.244.2.2")
    for key, frontend in rules.services.model.frontends.items():
        passages = tuple(rules.walk_services(packet_to(key, source), Entry.ARRIVES))
        admitted = frontend.sources is None or any(source in each for each in frontend.sources)
        assert len(passages) == max(len(frontend.backends) if admitted else 0, 1)
