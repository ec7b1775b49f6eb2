"""What does the load-balancer host let clients dial as objects come, change and go?"""

from typing import Any

import msgspec

from fairlead.agents.loadbalancer.following import World, keep_node, keep_service
from fairlead.agents.loadbalancer.frontends import ExternalFrontends, Round
from fairlead.compile.external import Outside
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Node, Service
from fairlead.kube.metallb import IPAddressPool, L2Advertisement
from fairlead.model.loadbalancers import Provider, ServiceKey


class Host:
    """A host that hears of objects; `down` are nodes that do not answer."""

    def __init__(self, default: Provider | None = Provider.EXTERNAL) -> None:
        self.world = World("metallb-system")
        self.down: set[str] = set()
        outside = Outside(addresses=(), answers_return=True)
        self.frontends = ExternalFrontends(self.world, outside, lambda name, port: name not in self.down, default)
        self.world.services.listen(self.frontends.touch)
        for number in (1, 2):
            self.node(f"node-{number}", f"172.18.0.{number + 1}")

    def node(self, name: str, address: str, **spec: Any) -> None:
        status = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": address}],
        }
        document = {"metadata": {"name": name}, "spec": spec, "status": status}
        self.world.nodes.take(Applied(keep_node(msgspec.convert(document, Node))))
        self.frontends.touch_all()

    def service(self, name: str, *addresses: str, protocol: str = "TCP", **spec: Any) -> None:
        self.world.services.take(Applied(keep_service(a_service(name, *addresses, protocol=protocol, **spec))))

    def round(self) -> dict[str, list[str] | None]:
        return spelled(self.frontends.round())


def a_service(name: str, *addresses: str, protocol: str = "TCP", **spec: Any) -> Service:
    ports = [{"port": 80, "nodePort": 30080, "protocol": protocol}]
    status = {"loadBalancer": {"ingress": [{"ip": each} for each in addresses]}}
    document = {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": ports, **spec},
        "status": status,
    }
    return msgspec.convert(document, Service)


def spelled(found: Round) -> dict[str, list[str] | None]:
    return {
        str(key.address): [str(each.address) for each in frontend.backends] if frontend else None
        for key, frontend in found.changes.items()
    }


def test_a_service_with_an_address_gets_frontends_and_one_without_none() -> None:
    host = Host()
    host.service("pending")
    host.service("web", "203.0.113.1")
    assert host.round() == {"203.0.113.1": ["172.18.0.2", "172.18.0.3"]}
    assert host.round() == {}


def test_a_service_that_goes_takes_its_frontends_along() -> None:
    host = Host()
    host.service("web", "203.0.113.1")
    host.round()
    host.world.services.take(Deleted(keep_service(a_service("web", "203.0.113.1"))))
    assert host.round() == {"203.0.113.1": None}
    assert host.frontends.addresses() == frozenset()
    assert host.frontends.served() == set()


def test_a_change_of_address_is_one_round() -> None:
    host = Host()
    host.service("web", "203.0.113.1")
    host.round()
    host.service("web", "203.0.113.2")
    assert host.round() == {"203.0.113.1": None, "203.0.113.2": ["172.18.0.2", "172.18.0.3"]}


def test_a_node_that_is_cordoned_or_dead_leaves_every_frontend() -> None:
    host = Host()
    host.service("web", "203.0.113.1")
    host.service("api", "203.0.113.2")
    host.round()
    host.node("node-1", "172.18.0.2", unschedulable=True)
    assert host.round() == {"203.0.113.1": ["172.18.0.3"], "203.0.113.2": ["172.18.0.3"]}
    host.node("node-1", "172.18.0.2")
    host.round()
    host.down.add("node-2")
    host.frontends.touch_all()
    assert host.round() == {"203.0.113.1": ["172.18.0.2"], "203.0.113.2": ["172.18.0.2"]}


def test_old_udp_flows_go_on_through_a_node_that_drains_and_end_with_a_dead_one() -> None:
    host = Host()
    host.service("dns", "203.0.113.1", protocol="UDP")
    host.frontends.round()
    host.node("node-1", "172.18.0.2", unschedulable=True)
    (nodes,) = host.frontends.round().answering.values()
    assert sorted(map(str, nodes)) == ["172.18.0.2", "172.18.0.3"]
    host.down.add("node-2")
    host.frontends.touch_all()
    (nodes,) = host.frontends.round().answering.values()
    assert list(map(str, nodes)) == ["172.18.0.2"]


def test_services_of_other_providers_are_left_to_them() -> None:
    host = Host()
    host.world.pools.take(
        Replaced((msgspec.convert(_named("web") | {"spec": {"addresses": ["203.0.113.0/24"]}}, IPAddressPool),))
    )
    host.world.l2.take(Replaced((msgspec.convert(_named("l2"), L2Advertisement),)))
    host.service("announced", "203.0.113.1")
    host.service("ours", "203.0.113.2", loadBalancerClass="fairlead.dev/external")
    host.service("elsewhere", "192.0.2.1")
    assert set(host.round()) == {"203.0.113.2", "192.0.2.1"}


def test_without_a_default_only_services_of_the_class_are_served() -> None:
    host = Host(default=None)
    host.service("plain", "203.0.113.1")
    host.service("ours", "203.0.113.2", loadBalancerClass="fairlead.dev/external")
    assert set(host.round()) == {"203.0.113.2"}


def test_of_two_statuses_with_one_address_the_first_counts_until_it_goes() -> None:
    host = Host()
    host.service("a", "203.0.113.1")
    host.round()
    host.service("b", "203.0.113.1")
    assert host.round() == {}
    assert host.frontends.served() == {ServiceKey("default", "a")}
    host.world.services.take(Deleted(keep_service(a_service("a", "203.0.113.1"))))
    assert host.round() == {"203.0.113.1": ["172.18.0.2", "172.18.0.3"]}
    assert host.frontends.served() == {ServiceKey("default", "b")}


def _named(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "metallb-system"}}
