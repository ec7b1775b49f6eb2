"""What becomes of a Service on a node: each test is a rule of kube-proxy's, as the reference numbers them."""

from fairlead.compile.endpoints import compile_slice
from fairlead.compile.services import NodeFacts, compile_service
from fairlead.kube.core import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from fairlead.kube.discovery import Endpoint, EndpointConditions, EndpointSlice, SlicePort
from fairlead.kube.meta import ObjectMeta
from fairlead.model import Frontend, Masquerade, Refusal
from fairlead.net import Family, Protocol, parse_address

HERE = NodeFacts("node-1", (parse_address("172.18.0.2"),))


def service(labels: dict[str, str] | None = None, **spec: object) -> Service:
    given: dict[str, object] = {
        "cluster_ip": "10.96.0.10",
        "cluster_ips": ("10.96.0.10",),
        "ports": (ServicePort(name="http", port=80, target_port="http"),),
        **spec,
    }
    return Service(
        metadata=ObjectMeta(name="web", namespace="shop", labels=labels or {}),
        spec=ServiceSpec(**given),  # type: ignore[arg-type]  # the tests' own key words
    )


def endpoint(address: str, node: str = "node-2", **conditions: bool) -> Endpoint:
    return Endpoint(addresses=(address,), node_name=node, conditions=EndpointConditions(**conditions))


def piece(*endpoints: Endpoint, port: int = 8080, name: str = "http", protocol: str = "TCP") -> EndpointSlice:
    return EndpointSlice(
        metadata=ObjectMeta(name=f"web-{port}", labels={"kubernetes.io/service-name": "web"}),
        address_type="IPv4",
        endpoints=endpoints,
        ports=(SlicePort(name=name, port=port, protocol=protocol),),
    )


def frontends(of: Service, *slices: EndpointSlice, family: Family = Family.IPV4) -> dict[str, Frontend]:
    compiled = [compile_slice(each, "node-1") for each in slices]
    found, _ = compile_service(of, compiled, HERE, family)
    return {f"{f.key.address}:{f.key.port}/{f.key.protocol.name}": f for f in found}


def backends(frontend: Frontend) -> list[str]:
    return [f"{b.address}:{b.port}" for b in frontend.backends]


def test_a_cluster_ip_leads_to_ready_endpoints_by_port_name() -> None:
    found = frontends(service(), piece(endpoint("10.244.2.2"), endpoint("10.244.1.2", "node-1")))
    assert list(found) == ["10.96.0.10:80/TCP"]
    web = found["10.96.0.10:80/TCP"]
    assert backends(web) == ["10.244.1.2:8080", "10.244.2.2:8080"]
    assert web.masquerade is Masquerade.UNLESS_LOCAL_POD
    assert str(web.origin) == "Service shop/web spec.ports[0].port"


def test_a_slice_port_of_another_name_or_protocol_is_not_meant() -> None:
    other = frontends(service(), piece(endpoint("10.244.2.2"), name="admin"))
    assert backends(other["10.96.0.10:80/TCP"]) == []
    udp = frontends(service(), piece(endpoint("10.244.2.2"), protocol="UDP"))
    assert backends(udp["10.96.0.10:80/TCP"]) == []


def test_a_named_target_port_may_be_another_number_in_each_slice() -> None:
    found = frontends(service(), piece(endpoint("10.244.2.2"), port=8080), piece(endpoint("10.244.2.3"), port=9090))
    assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080", "10.244.2.3:9090"]


def test_endpoints_that_are_not_ready_are_left_out() -> None:
    found = frontends(service(), piece(endpoint("10.244.2.2"), endpoint("10.244.2.3", ready=False, serving=False)))
    assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080"]


def test_draining_endpoints_serve_only_when_none_is_ready() -> None:
    draining = endpoint("10.244.2.9", ready=False, serving=True, terminating=True)
    both = frontends(service(), piece(endpoint("10.244.2.2"), draining))
    assert backends(both["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080"]
    alone = frontends(service(), piece(draining))
    assert backends(alone["10.96.0.10:80/TCP"]) == ["10.244.2.9:8080"]


def test_terminating_endpoints_that_do_not_serve_are_never_used() -> None:
    gone = endpoint("10.244.2.9", ready=False, serving=False, terminating=True)
    assert backends(frontends(service(), piece(gone))["10.96.0.10:80/TCP"]) == []


def test_absent_conditions_mean_ready() -> None:
    assert backends(frontends(service(), piece(endpoint("10.244.2.2")))["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080"]


def test_of_the_same_endpoint_in_two_slices_the_one_not_terminating_counts() -> None:
    draining = piece(endpoint("10.244.2.2", ready=False, serving=True, terminating=True), endpoint("10.244.2.3"))
    living = EndpointSlice(
        metadata=ObjectMeta(name="other"),
        address_type="IPv4",
        endpoints=(endpoint("10.244.2.2"),),
        ports=(SlicePort(name="http", port=8080, protocol="TCP"),),
    )
    for slices in ((draining, living), (living, draining)):
        found = frontends(service(), *slices)
        assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080", "10.244.2.3:8080"]


def test_a_node_port_opens_on_the_nodes_own_address_and_masquerades() -> None:
    ports = (ServicePort(name="http", port=80, node_port=30080),)
    found = frontends(service(type="NodePort", ports=ports), piece(endpoint("10.244.2.2")))
    assert set(found) == {"10.96.0.10:80/TCP", "172.18.0.2:30080/TCP"}
    assert found["172.18.0.2:30080/TCP"].masquerade is Masquerade.ALWAYS
    assert found["172.18.0.2:30080/TCP"].origin.field == "spec.ports[0].nodePort"


def test_nothing_anywhere_is_rejected() -> None:
    assert frontends(service())["10.96.0.10:80/TCP"].when_empty is Refusal.REJECT


def test_internal_policy_local_uses_local_endpoints_and_drops_without_one() -> None:
    local = service(internal_traffic_policy="Local")
    found = frontends(local, piece(endpoint("10.244.2.2"), endpoint("10.244.1.2", "node-1")))
    assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.1.2:8080"]
    elsewhere = frontends(local, piece(endpoint("10.244.2.2")))["10.96.0.10:80/TCP"]
    assert elsewhere.backends == ()
    assert elsewhere.when_empty is Refusal.DROP
    assert frontends(local)["10.96.0.10:80/TCP"].when_empty is Refusal.REJECT


def test_external_policy_local_keeps_the_client_address_and_leaves_the_cluster_ip_alone() -> None:
    ports = (ServicePort(name="http", port=80, node_port=30080),)
    local = service(type="NodePort", ports=ports, external_traffic_policy="Local")
    found = frontends(local, piece(endpoint("10.244.2.2")))
    assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080"]
    outside = found["172.18.0.2:30080/TCP"]
    assert (outside.backends, outside.when_empty, outside.masquerade) == ((), Refusal.DROP, Masquerade.NEVER)


def test_the_local_and_the_cluster_set_fall_back_to_draining_endpoints_independently() -> None:
    local = service(internal_traffic_policy="Local")
    draining_here = endpoint("10.244.1.9", "node-1", ready=False, serving=True, terminating=True)
    found = frontends(local, piece(endpoint("10.244.2.2"), draining_here))
    assert backends(found["10.96.0.10:80/TCP"]) == ["10.244.1.9:8080"]


def test_the_same_port_with_tcp_and_udp_is_two_frontends() -> None:
    ports = (ServicePort(name="t", port=53), ServicePort(name="u", port=53, protocol="UDP"))
    found = frontends(
        service(ports=ports),
        piece(endpoint("10.244.2.2"), name="t", port=1053),
        piece(endpoint("10.244.2.3"), name="u", port=2053, protocol="UDP"),
    )
    assert backends(found["10.96.0.10:53/TCP"]) == ["10.244.2.2:1053"]
    assert backends(found["10.96.0.10:53/UDP"]) == ["10.244.2.3:2053"]
    assert found["10.96.0.10:53/UDP"].key.protocol is Protocol.UDP


def test_headless_external_name_and_foreign_proxies_services_have_no_frontend() -> None:
    full = piece(endpoint("10.244.2.2"))
    assert frontends(service(cluster_ip="None", cluster_ips=("None",)), full) == {}
    assert frontends(service(type="ExternalName", cluster_ip="", cluster_ips=()), full) == {}
    assert frontends(service({"service.kubernetes.io/service-proxy-name": "other"}), full) == {}


def test_external_ips_and_load_balancer_addresses_are_frontends_unless_the_balancer_is_a_proxy() -> None:
    given = service(type="LoadBalancer", external_ips=("192.0.2.7",))
    status = ServiceStatus(
        load_balancer=LoadBalancerStatus(
            ingress=(
                LoadBalancerIngress(ip="203.0.113.5", ip_mode="VIP"),
                LoadBalancerIngress(ip="203.0.113.6", ip_mode="Proxy"),
                LoadBalancerIngress(hostname="lb.example"),
            )
        )
    )
    full = Service(metadata=given.metadata, spec=given.spec, status=status)
    assert set(frontends(full, piece(endpoint("10.244.2.2")))) == {
        "10.96.0.10:80/TCP",
        "192.0.2.7:80/TCP",
        "203.0.113.5:80/TCP",
    }


def test_addresses_of_the_other_family_are_left_to_the_other_table() -> None:
    both = service(cluster_ips=("10.96.0.10", "fd00:10:96::a"))
    six = EndpointSlice(
        metadata=ObjectMeta(name="six"),
        address_type="IPv6",
        endpoints=(endpoint("fd00:10:244:2::2"),),
        ports=(SlicePort(name="http", port=8080, protocol="TCP"),),
    )
    four = frontends(both, piece(endpoint("10.244.2.2")), six)
    assert backends(four["10.96.0.10:80/TCP"]) == ["10.244.2.2:8080"]
    other = frontends(both, piece(endpoint("10.244.2.2")), six, family=Family.IPV6)
    assert backends(other["fd00:10:96::a:80/TCP"]) == ["fd00:10:244:2::2:8080"]


def test_what_the_rows_cannot_carry_yet_is_told() -> None:
    sticky = service(session_affinity="ClientIP")
    _, findings = compile_service(sticky, (), HERE)
    assert [str(f.origin) for f in findings] == ["Service shop/web spec.sessionAffinity"]
    ranged = service(type="LoadBalancer", load_balancer_source_ranges=("192.0.2.0/24",))
    _, findings = compile_service(ranged, (), HERE)
    assert [f.origin.field for f in findings] == ["spec.loadBalancerSourceRanges"]
