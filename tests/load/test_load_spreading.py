"""Are new connections spread evenly, and does a client with affinity keep its endpoint just as long as it should?

20,000 connections for each number of endpoints. A fair die fails a test at p = 0.001 once in a thousand times, so a
sample that fails is drawn once more; a table that is unfair fails both.
"""

import time
from collections import Counter
from collections.abc import Iterable

import pytest
from load_network import CLIENTS, Network, a_service, a_slice, pod

pytestmark = pytest.mark.kernel
IP = "10.96.0.10"
CONNECTIONS = 20_000
CRITICAL = {2: 10.828, 10: 27.877, 100: 148.230}
"""What chi-square exceeds with a chance of 0.001, at one degree of freedom fewer than there are endpoints."""
TIMEOUT = 2


def chi_square(reached: Iterable[str], endpoints: int) -> float:
    """How far the counts are from even. Raises AssertionError where somebody else was reached."""
    found = Counter(reached)
    assert found.keys() <= {pod(number) for number in range(endpoints)}
    expected = found.total() / endpoints
    return sum((found[pod(number)] - expected) ** 2 / expected for number in range(endpoints))


def least_chi_square(network: Network, endpoints: int) -> float:
    """Draw a sample, and another where the first looks unfair."""
    found = chi_square((to for _, to in network.connect(IP, CONNECTIONS)), endpoints)
    if found < CRITICAL[endpoints]:
        return found
    return chi_square((to for _, to in network.connect(IP, CONNECTIONS)), endpoints)


@pytest.mark.parametrize("endpoints", CRITICAL)
def test_connections_are_spread_evenly(network: Network, endpoints: int) -> None:
    network.begin([a_service("web", IP)], [a_slice("web", range(endpoints))])
    assert least_chi_square(network, endpoints) < CRITICAL[endpoints]


def test_endpoints_that_come_one_by_one_and_go_again_leave_no_bias(network: Network) -> None:
    network.begin([a_service("web", IP)], [a_slice("web", range(1))])
    for number in range(2, 60):
        network.hear(a_slice("web", range(number)))
    for number in range(20, 50):
        network.hear(a_slice("web", [*range(10), *range(number, 60)]))
    network.hear(a_slice("web", range(10)))
    assert least_chi_square(network, 10) < CRITICAL[10]


def endpoints_of_clients(network: Network, count: int) -> dict[str, set[str]]:
    """Which pods each client reaches."""
    reached: dict[str, set[str]] = {client: set() for client in CLIENTS}
    for client, to in network.connect(IP, count, CLIENTS):
        reached[client].add(to)
    return reached


def test_affinity_keeps_every_client_at_its_endpoint_and_expires_on_time(network: Network) -> None:
    spec = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": TIMEOUT}}}
    network.begin([a_service("web", IP, **spec)], [a_slice("web", range(100))])
    first = endpoints_of_clients(network, len(CLIENTS))
    began = time.monotonic()
    rounds = 0
    while time.monotonic() < began + 1.5 * TIMEOUT or rounds < 10:  # every connection begins the time anew
        assert endpoints_of_clients(network, 10 * len(CLIENTS)) == first
        rounds += 1
    assert len(set.union(*first.values())) > 30, "the clients themselves are not spread"
    last = time.monotonic()
    time.sleep(0.6 * TIMEOUT)  # what is tested is time itself
    still = endpoints_of_clients(network, len(CLIENTS))
    if time.monotonic() < last + TIMEOUT:
        assert still == first
    time.sleep(1.1 * TIMEOUT)
    after = endpoints_of_clients(network, len(CLIENTS))
    kept = sum(after[client] == still[client] for client in CLIENTS)
    assert kept < 20, f"{kept} of {len(CLIENTS)} clients keep an endpoint of which a hundredth would be expected"
