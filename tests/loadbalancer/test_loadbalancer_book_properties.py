"""Do the promises of the address book hold whatever happens, in whatever order?"""

from collections.abc import Sequence

from book_cases import BOTH, V4, V6, pool, use
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.compile.loadbalancer_book import AddressBook, Grant
from fairlead.model.loadbalancers import Pool, ServiceKey, Wish
from fairlead.net import Address, parse_address

NAMES = ("a", "b", "c", "d", "e", "f")
POOLS = st.lists(
    st.sampled_from(
        [
            pool("one", "203.0.113.1"),
            pool("two", "203.0.113.10-203.0.113.11", "2001:db8::1-2001:db8::2"),
            pool("kept", "203.0.113.20-203.0.113.22", auto_assign=False),
            pool("soon", "203.0.113.31", priority=1),
        ]
    ),
    unique=True,
    max_size=4,
).map(tuple)
ASKED = st.sampled_from((None, *map(parse_address, ("203.0.113.1", "203.0.113.11", "203.0.113.20", "192.0.2.1"))))


class World:
    """The objects as an API server has them: what was granted is what statuses say."""

    def __init__(self) -> None:
        self.wishes: dict[ServiceKey, Wish] = {}
        self.pools: tuple[Pool, ...] = ()
        self.book = AddressBook()
        self.book.set_pools(())

    def settle(self) -> list[Grant]:
        """Let the book decide and write what it says, until it has nothing to say."""
        given_out: list[Grant] = []
        for _ in range(10):
            grants, _ = self.book.step()
            if not grants:
                return given_out
            given_out += grants
            write(self.wishes, grants)
            for grant in grants:
                self.book.put(self.wishes[grant.service])
        raise AssertionError("the book does not come to rest")

    def owners(self) -> dict[Address, list[Wish]]:
        found: dict[Address, list[Wish]] = {}
        for key, each in self.wishes.items():
            for address in self.book.addresses_of(key):
                found.setdefault(address, []).append(each)
        return found


def write(wishes: dict[ServiceKey, Wish], grants: Sequence[Grant]) -> None:
    for grant in grants:
        wishes[grant.service] = replace(wishes[grant.service], held=grant.addresses, held_from=grant.pool)


@st.composite
def wishes(draw: st.DrawFn) -> Wish:
    asked = draw(ASKED)
    families = draw(st.sampled_from((V4, V6, BOTH)))
    name = draw(st.sampled_from(NAMES))
    return Wish(
        service=ServiceKey("default", name),
        created=name,
        families=families,
        flexible=draw(st.booleans()),
        addresses=(asked,) if asked is not None and asked.family in families else (),
        pool=draw(st.sampled_from(("", "", "kept", "two", "nowhere"))),
        sharing=draw(st.sampled_from(("", "", "s", "t"))),
        behind=draw(st.sampled_from(("", "", "app=a"))),
        ports=frozenset(draw(st.sets(st.sampled_from([use("80/TCP"), use("80/UDP"), use("443/TCP")]), min_size=1))),
    )


STEPS = st.lists(
    st.one_of(wishes(), st.sampled_from([ServiceKey("default", name) for name in NAMES]), POOLS), max_size=14
)


def play(world: World, steps: Sequence[Wish | ServiceKey | tuple[Pool, ...]]) -> None:
    for step in steps:
        match step:
            case Wish():
                known = world.wishes.get(step.service, step)
                world.wishes[step.service] = replace(step, held=known.held, held_from=known.held_from)
                world.book.put(world.wishes[step.service])
            case ServiceKey():
                world.wishes.pop(step, None)
                world.book.remove(step)
            case _:
                world.pools = step
                world.book.set_pools(step)
        world.settle()
        judge(world)


def judge(world: World) -> None:
    for address, owners in world.owners().items():
        ports = [port for each in owners for port in each.ports]
        assert len(ports) == len(set(ports)), f"{address} has a port twice"
        assert len(owners) == 1 or len({(each.sharing, each.behind) for each in owners}) == 1
        assert len(owners) == 1 or owners[0].sharing
    for key, each in world.wishes.items():
        held = world.book.addresses_of(key)
        assert held == each.held, "what is written is what the book knows"
        assert len({address.family for address in held}) == len(held)
        assert {address.family for address in held} <= set(each.families)
    used = {usage.pool: usage for usage in world.book.usage()}
    for usage in used.values():
        assert all(usage.in_use[family] <= usage.sizes[family] for family in BOTH)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_address_and_port_ever_belongs_to_two_and_statuses_tell_the_truth(
    steps: list[Wish | ServiceKey | tuple[Pool, ...]],
) -> None:
    play(World(), steps)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_a_book_begun_anew_decides_nothing(steps: list[Wish | ServiceKey | tuple[Pool, ...]]) -> None:
    world = World()
    play(world, steps)
    again = AddressBook()
    again.set_pools(world.pools)
    for each in world.wishes.values():
        again.put(each)
    grants, _ = again.step()
    kept = {grant.service for grant in grants if grant.addresses != world.wishes[grant.service].held}
    waiting = set(world.book.waiting)
    assert kept <= waiting, "a service that had what it wants keeps it"
    for grant in grants:
        lost = set(world.wishes[grant.service].held) - set(grant.addresses)
        assert not lost or grant.service in waiting


@settings(max_examples=150, deadline=None)
@given(st.lists(wishes(), max_size=6, unique_by=lambda each: each.service), st.data())
def test_a_free_address_is_found_whenever_there_is_one(asked: list[Wish], data: st.DataObject) -> None:
    book = AddressBook()
    book.set_pools((pool("big", "203.0.113.0/29"),))
    plain = [replace(each, families=V4, addresses=(), pool="", sharing="") for each in asked]
    for each in data.draw(st.permutations(plain)):
        book.put(each)
    book.step()
    assert all(len(book.addresses_of(each.service)) == 1 for each in plain)
    assert not book.waiting


@settings(max_examples=150, deadline=None)
@given(STEPS, POOLS)
def test_other_pools_take_no_address_from_anybody(
    steps: list[Wish | ServiceKey | tuple[Pool, ...]], pools: tuple[Pool, ...]
) -> None:
    world = World()
    play(world, steps)
    before = {key: each.held for key, each in world.wishes.items() if not each.pool and not each.addresses}
    world.book.set_pools(pools)
    world.settle()
    for key, held in before.items():
        assert set(held) <= set(world.book.addresses_of(key))
