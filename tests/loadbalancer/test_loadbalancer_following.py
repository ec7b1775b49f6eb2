"""Does the agent hear of what changed and of nothing else, whatever it is sent?"""

import msgspec

from fairlead.agents.loadbalancer.following import Followed, World, keep_node, keep_service
from fairlead.drivers.kubeapi import Applied, Deleted, Replaced
from fairlead.kube.core import Node, Service
from fairlead.kube.metallb import IPAddressPool


def listening(followed: Followed[str, str]) -> list[set[str]]:
    told: list[set[str]] = []
    followed.listen(lambda keys: told.append(set(keys)))
    return told


def test_only_what_differs_is_told() -> None:
    followed: Followed[str, str] = Followed(lambda each: each[0])
    told = listening(followed)
    followed.take(Replaced(("a1", "b1")))
    followed.take(Replaced(("a1", "b2", "c1")))
    followed.take(Applied("a1"))
    followed.take(Applied("a2"))
    followed.take(Deleted("a2"))
    followed.take(Deleted("z1"))
    assert told == [{"a", "b"}, {"b", "c"}, {"a"}, {"a"}]
    assert followed.objects == {"b": "b2", "c": "c1"}


def test_what_is_not_held_any_more_is_gone() -> None:
    followed: Followed[str, str] = Followed(lambda each: each[0], lambda each: each[1] != "0")
    told = listening(followed)
    followed.take(Replaced(("a0", "b1")))
    followed.take(Applied("b0"))
    followed.take(Applied("a0"))
    assert (told, followed.objects) == ([{"b"}, {"b"}], {})


def a_service(kind: str, annotations: dict[str, str] | None = None) -> Service:
    metadata = {"name": "web", "namespace": "default", "annotations": annotations or {}}
    return msgspec.convert({"metadata": metadata, "spec": {"type": kind}}, Service)


def test_of_other_services_nothing_is_kept_unless_they_had_an_address() -> None:
    assert keep_service(a_service("ClusterIP")).service is None
    assert keep_service(a_service("LoadBalancer")).service is not None
    assert keep_service(a_service("NodePort", {"metallb.io/ip-allocated-from-pool": "web"})).service is not None


def test_pools_of_other_namespaces_are_not_looked_at() -> None:
    world = World("metallb-system")
    for namespace in ("default", "metallb-system"):
        metadata = {"name": namespace, "namespace": namespace}
        world.pools.take(Applied(msgspec.convert({"metadata": metadata, "spec": {"addresses": []}}, IPAddressPool)))
    assert list(world.pools.objects) == ["metallb-system"]


def test_a_kind_that_is_not_there_is_one_without_objects() -> None:
    world = World("metallb-system")
    world.pools.without()
    assert world.pools.synced.is_set()


def test_a_heartbeat_of_a_node_is_no_news() -> None:
    def node(version: str, beat: str) -> Node:
        conditions = [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": beat},
            {"type": "MemoryPressure", "status": "False", "lastHeartbeatTime": beat},
        ]
        metadata = {"name": "node-1", "resourceVersion": version}
        return msgspec.convert({"metadata": metadata, "status": {"conditions": conditions}}, Node)

    assert keep_node(node("1", "2026-01-01T00:00:00Z")) == keep_node(node("2", "2026-01-01T00:00:10Z"))
