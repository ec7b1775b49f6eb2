"""Session affinity over time: the model remembers a backend for each client, the rules remember rows; they agree."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sim_worlds import NODES, SOURCES, packet_to, worlds

from fairlead.model import Backend
from fairlead.net import Address, Family, parse_address
from fairlead.nft.evaluate import Entry, Surroundings, evaluate_every_draw
from fairlead.sim.frontends import judge_connection
from fairlead.sim.nodes import NodeRules
from fairlead.sim.services import compile_node
from fairlead.sim.trace import read_passages
from fairlead.sim.world import World

HERE = NODES[0]


def sticky(world: World) -> World:
    """The same world with affinity everywhere."""
    changed = {
        name: replace(service, spec=replace(service.spec, session_affinity="ClientIP"))
        for name, service in world.services.items()
    }
    return replace(world, services=changed)


@settings(max_examples=60, deadline=None)
@given(world=worlds().map(sticky), data=st.data())
def test_model_and_rules_remember_the_same_backend_for_as_long(world: World, data: st.DataObject) -> None:
    rules = NodeRules(world, HERE)
    compiled = compile_node(world, HERE, Family.IPV4)
    frontends = [(key, each) for key, each in sorted(compiled.items()) if each.affinity is not None]
    held: dict[tuple[Address, str], tuple[Backend, int]] = {}
    around = Surroundings(local=frozenset(rules.addresses))
    for _ in range(data.draw(st.integers(1, 12)) if frontends else 0):
        key, frontend = data.draw(st.sampled_from(frontends))
        source = parse_address(data.draw(st.sampled_from(SOURCES)))
        entry = Entry.SENT if source in rules.addresses else Entry.ARRIVES
        assert frontend.affinity is not None
        name = source, frontend.affinity.port
        backend, until = held.get(name, (None, 0))
        packet = packet_to(key, source)
        passages = tuple(evaluate_every_draw(rules.services.contents, packet, entry, around))
        found = read_passages(packet, passages)
        alive = backend if around.now < until else None
        assert found == judge_connection(rules.services.model, source, key, alive), (str(source), key, alive)
        taken = data.draw(st.sampled_from(passages))
        if found.backends:
            chosen = Backend(taken.packet.destination, taken.packet.destination_port)
            held[name] = chosen, around.now + 1000 * frontend.affinity.timeout
        pause = data.draw(st.sampled_from([0, 1, 1000 * frontend.affinity.timeout]))
        around = replace(around, state=taken.state, now=around.now + pause)
