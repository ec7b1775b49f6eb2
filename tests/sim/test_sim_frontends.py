"""Does the model's own verdict know who may come, and who stays with a backend?"""

import pytest

from fairlead.model import AddressRange, Affinity, Backend, Frontend, FrontendKey, Masquerade, Origin, Refusal
from fairlead.net import Port, Protocol, parse_address
from fairlead.sim.frontends import Judgement, NodeModel, judge_connection

KEY = FrontendKey(parse_address("203.0.113.5"), Protocol.TCP, Port(80))
ONE, TWO, GONE = (Backend(parse_address(f"10.244.1.{host}"), Port(8080)) for host in (2, 3, 9))
CLIENT = parse_address("198.51.100.2")


def judge(
    held: Backend | None = None, affinity: Affinity | None = None, sources: tuple[AddressRange, ...] | None = None
) -> Judgement:
    frontend = Frontend(
        key=KEY,
        backends=(ONE, TWO),
        when_empty=Refusal.REJECT,
        masquerade=Masquerade.ALWAYS,
        affinity=affinity,
        sources=sources,
        origin=Origin("Service", "shop", "web"),
    )
    return judge_connection(NodeModel({KEY: frontend}, frozenset(), (), None), CLIENT, KEY, held)


STICKY = Affinity(60, "shop/web/tcp/http")


@pytest.mark.parametrize(
    ("held", "affinity", "reached"),
    [
        (None, STICKY, {ONE, TWO}),
        (TWO, STICKY, {TWO}),
        (GONE, STICKY, {ONE, TWO}),
        (TWO, None, {ONE, TWO}),
    ],
    ids=["a new client", "one that stays", "one whose backend is gone", "no affinity"],
)
def test_a_client_with_a_backend_keeps_it(
    held: Backend | None, affinity: Affinity | None, reached: set[Backend]
) -> None:
    assert {backend for backend, _ in judge(held, affinity).backends} == reached


@pytest.mark.parametrize(
    ("last", "admitted"), [("198.51.100.2", True), ("198.51.100.1", False)], ids=["inside", "outside"]
)
def test_who_comes_from_outside_the_ranges_is_dropped(last: str, admitted: bool) -> None:
    found = judge(sources=(AddressRange(parse_address("198.51.100.0"), parse_address(last)),))
    assert found.refusal is (None if admitted else Refusal.DROP)
    assert bool(found.backends) is admitted
