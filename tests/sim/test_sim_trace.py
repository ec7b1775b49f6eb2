"""Traces in worlds made of manifests: who is asked, what becomes of it, and which field decided."""

from collections.abc import Sequence

import pytest

from fairlead.kube.core import Node
from fairlead.kube.yamlcodec import parse_documents
from fairlead.model import Origin
from fairlead.net import Family, Protocol
from fairlead.nft.evaluate import Packet, Step
from fairlead.nft.expressions import Cmp, Comparison, Decide, Header, Payload
from fairlead.nft.objects import AnySet, Base, Chain, ChainType, Hook, Priority, Rule, TableFamily
from fairlead.nft.tables import ChainContents, TableContents
from fairlead.nft.verdicts import DROP
from fairlead.sim import nodes
from fairlead.sim.answers import Disposition, End, Trace
from fairlead.sim.compare import agrees
from fairlead.sim.manifests import derive_world
from fairlead.sim.places import AbsentError, UnreadableError
from fairlead.sim.tables import NodeTable, Reason
from fairlead.sim.telling import tell_trace
from fairlead.sim.trace import trace_connection
from fairlead.sim.world import World

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: nginx, image: nginx, ports: [{name: http, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec: {selector: {app: nobody}, clusterIP: 10.96.0.50, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {selector: {app: web}, clusterIP: None, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobodys-pods, namespace: shop}
spec: {selector: {app: nobody}, clusterIP: None, ports: [{port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: away, namespace: shop}
spec: {type: ExternalName, externalName: example.com}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: web.shop.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: round, namespace: shop}
spec: {type: ExternalName, externalName: round.shop.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: lost, namespace: shop}
spec: {type: ExternalName, externalName: gone.shop.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: near, namespace: shop}
spec: {selector: {only: one}, internalTrafficPolicy: Local, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: one, namespace: shop, labels: {only: one}}
spec: {nodeName: node-2, containers: [{name: it, image: it}]}
"""
WORLD = derive_world(parse_documents(SHOP, source="shop"))


def trace(source: str, target: str) -> Trace:
    return trace_connection(WORLD, source, target, Protocol.TCP)


def only(source: str, target: str) -> End:
    answer = trace(source, target)
    assert len(answer.ends) == 1
    assert answer.disposition is answer.ends[0].disposition
    return answer.ends[0]


def test_a_node_port_leads_to_every_pod_and_hides_the_client() -> None:
    answer = trace("client", "http://172.18.0.3:30080/cart")
    assert answer.disposition is Disposition.DELIVERED
    assert {end.place for end in answer.ends} == {f"pod/shop/web-{number}" for number in range(3)}
    assert {end.seen_as for end in answer.ends} == {"172.18.0.3"}
    assert {end.address.rpartition(":")[2] for end in answer.ends} == {"8080"}
    assert [hop.place for hop in answer.ends[0].hops][:2] == ["client", "node/node-2"]


@pytest.mark.parametrize("target", ["svc/shop/web:80", "svc/shop/web:http", "http://web/", "http://web.shop.svc/"])
def test_a_pod_reaches_a_service_by_each_of_its_names_and_keeps_its_address(target: str) -> None:
    answer = trace("pod/shop/one", target)
    assert answer.disposition is Disposition.DELIVERED
    assert len({end.seen_as for end in answer.ends}) == 1
    assert answer.ends[0].seen_as.startswith("10.244.2.")


def test_a_pod_that_comes_to_itself_sees_its_node() -> None:
    seen = {end.place: end.seen_as for end in trace("pod/shop/web-0", "svc/shop/web:80").ends}
    assert seen["pod/shop/web-0"] == "172.18.0.2"
    assert seen["pod/shop/web-1"] == seen["pod/shop/web-2"] != "172.18.0.2"


@pytest.mark.parametrize(
    ("source", "target", "disposition", "reason", "field"),
    [
        ("client", "svc/shop/web:80", Disposition.NO_ROUTE, "no route outside the nodes", "spec.clusterIP"),
        ("lb", "8.8.8.8:53", Disposition.NO_ROUTE, "no place has that address", None),
        ("client", "10.244.1.99:80", Disposition.NO_ROUTE, "no pod has that address", None),
        ("pod/shop/one", "svc/shop/empty:80", Disposition.REJECTED, "no pod matches", "spec.ports[0].port"),
        ("node/node-1", "svc/shop/web:81", Disposition.REJECTED, "no port TCP 81, but TCP 80", "spec.ports"),
        ("node/node-1", "10.96.9.9:80", Disposition.DROPPED, "no Service has", None),
        ("pod/shop/web-0", "svc/shop/near:80", Disposition.DROPPED, "policy is Local", "spec.internalTrafficPolicy"),
        ("client", "172.18.0.2:31999", Disposition.NO_LISTENER, "no Service has this", None),
        ("client", "172.18.0.1:80", Disposition.NO_LISTENER, "6443", None),
        ("pod/shop/one", "svc/shop/away:80", Disposition.UNRESOLVED, "example.com", "spec.externalName"),
        ("pod/shop/one", "svc/shop/round:80", Disposition.UNRESOLVED, "leads back", "spec.externalName"),
        ("pod/shop/one", "http://lost/", Disposition.UNRESOLVED, "DNS does not know", "spec.externalName"),
        ("pod/shop/one", "http://nowhere/", Disposition.UNRESOLVED, "DNS knows no nowhere", None),
        ("client", "http://web.shop/", Disposition.UNRESOLVED, "does not ask", None),
        ("pod/shop/one", "svc/shop/nobodys-pods:8080", Disposition.NO_ENDPOINT, "headless", "spec.selector"),
    ],
)
def test_each_way_to_fail_has_its_own_name_reason_and_field(
    source: str, target: str, disposition: Disposition, reason: str, field: str | None
) -> None:
    end = only(source, target)
    assert end.disposition is disposition
    assert reason in end.reason
    assert (end.origin.field if end.origin else None) == field


@pytest.mark.parametrize(
    ("source", "target", "place"),
    [
        ("node/node-2", "svc/shop/near:80", "pod/shop/one"),
        ("client", "pod/shop/one:80", "pod/shop/one"),
        ("pod/shop/one", "svc/shop/pods:8080", "pod/shop/web-0"),
        ("node/node-1", "172.18.0.1:6443", "fabric"),
    ],
)
def test_what_needs_no_choice_is_delivered_to_one_place(source: str, target: str, place: str) -> None:
    end = only(source, target)
    assert (end.disposition, end.place) == (Disposition.DELIVERED, place)


@pytest.mark.parametrize("source", ["nowhere", "pod/shop", "node/"])
def test_a_source_that_is_no_place_is_the_askers_mistake(source: str) -> None:
    with pytest.raises(UnreadableError, match="pod/NAMESPACE/NAME"):
        trace(source, "172.18.0.2:80")


@pytest.mark.parametrize("target", ["172.18.0.2", "svc/web:80", "svc/shop/web:ninety", "ftp://web/", "10.0.0.1:99999"])
def test_a_target_without_a_port_or_a_form_is_the_askers_mistake(target: str) -> None:
    with pytest.raises(UnreadableError):
        trace("client", target)


@pytest.mark.parametrize(
    ("source", "target", "known"),
    [
        ("client", "svc/shop/absent:80", "svc/shop/web"),
        ("pod/shop/absent", "svc/shop/web:80", "pod/shop/one"),
        ("node/absent", "svc/shop/web:80", "node-1"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(source: str, target: str, known: str) -> None:
    with pytest.raises(AbsentError, match=known):
        trace(source, target)


@pytest.mark.parametrize("target", ["svc/shop/alias:80", "http://alias/", "http://alias.shop.svc/"])
def test_an_external_name_of_the_cluster_itself_leads_to_that_service(target: str) -> None:
    text = tell_trace(trace("pod/shop/one", target))
    assert "Service shop/alias, an alias: web.shop.svc.cluster.local is Service shop/web, " in text
    assert "delivered, to one of 3 at random" in text


def test_the_text_shows_the_way_and_every_end() -> None:
    text = tell_trace(trace("client", "172.18.0.2:30080"))
    assert "row frontends: 172.18.0.2 . tcp . 30080 : goto external-3" in text
    assert "from Service shop/web spec.ports[0].nodePort" in text
    assert "delivered, to one of 3 at random" in text
    assert text.count("sees 172.18.0.2") == 3


def test_a_real_packet_agrees_only_with_what_its_disposition_looks_like() -> None:
    answer = trace("client", "svc/shop/web:80")
    assert agrees(answer, "unreachable")
    assert not agrees(answer, "answered")


def test_a_field_of_the_wrong_type_names_its_object() -> None:
    wrong = parse_documents("{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: 80}}", source="x")
    with pytest.raises(ValueError, match="Service default/web"):
        derive_world(wrong)


class Closed:
    """A table of another concern: it drops what is forwarded to one port."""

    def __init__(self, port: int) -> None:
        chain = Chain("judge", Base(ChainType.FILTER, Hook.FORWARD, Priority.FILTER + 1))
        look = Payload(0, Header.TRANSPORT, 2, 2)
        rule = Rule((look, Cmp(0, Comparison.EQ, port.to_bytes(2, "big")), Decide(DROP)))
        self.contents = TableContents(TableFamily.IP, "policies", {"judge": ChainContents(chain, [rule])})
        self.sets: Sequence[AnySet] = ()

    def origin(self, packet: Packet, step: Step) -> Origin | None:
        return Origin("NetworkPolicy", "shop", "closed", f"spec.ingress[{step.number}]")

    def refusal(self, packet: Packet, step: Step, onward: Packet) -> Reason:
        return Reason(f"no policy lets {packet.source} in", self.origin(packet, step))


def test_further_tables_are_walked_after_services_have_chosen_and_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(world: World, node: Node, family: Family) -> NodeTable | None:
        assert world is WORLD
        return Closed(8080) if node.metadata.name == "node-1" and family is Family.IPV4 else None

    monkeypatch.setattr(nodes, "FURTHER", (build,))
    answer = trace("pod/shop/web-0", "svc/shop/web:80")
    assert answer.disposition is Disposition.DROPPED
    end = answer.ends[0]
    assert (end.place, end.reason) == ("node/node-1", "no policy lets 10.244.1.2 in")
    assert str(end.origin) == "NetworkPolicy shop/closed spec.ingress[0]"
    assert [step.table for step in end.hops[-1].steps if step.chain == "judge"] == ["policies"]
    assert "policies judge: th dport 8080 drop" in tell_trace(answer)
    assert trace("pod/shop/one", "svc/shop/near:80").disposition is Disposition.DELIVERED
