"""Which services and endpoints count, each rule on real packets. Source: reference, section 1.1."""

import pytest
from rule_hosts import HOSTS, Answer
from rule_rig import Document, Rig, a_node, a_port, a_service, a_slice, an_endpoint

from fairlead.net import Family

pytestmark = pytest.mark.kernel

IP, IP6 = "10.96.0.10", "fd00:96::10"
REFUSED = Answer("refused")
PROXY_NAME = {"service.kubernetes.io/service-proxy-name": "other"}


def test_a_pod_reaches_the_endpoints_of_a_service_at_its_cluster_ip(rig: Rig) -> None:
    """1.1: the ready endpoints of a Service's slices serve its cluster IP, in each family those of that family."""
    rig.begin(a_service(), a_slice("web-1", "far-1"), a_slice(an_endpoint("far-2", 1)))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
    assert rig.ask_many("web-2", IP6, 80) == {"far-2"}


def test_a_service_that_names_another_proxy_is_removed_and_without_the_name_added_again(rig: Rig) -> None:
    """1.1: `service.kubernetes.io/service-proxy-name` keeps a Service from us, for as long as it has the label."""
    rig.begin(a_service(), a_slice("web-1"))
    assert rig.ask("web-2", IP, 80).by == "web-1"
    rig.delete(a_service())  # what a watch with the selector `!service-proxy-name` tells when the label comes
    assert rig.is_silent("web-2", IP, 80)
    rig.apply(a_service(labels=PROXY_NAME))
    assert rig.is_silent("web-2", IP, 80)
    rig.apply(a_service())
    assert rig.ask("web-2", IP, 80).by == "web-1"


def test_a_service_that_becomes_headless_or_an_external_name_is_removed(rig: Rig) -> None:
    """1.1: clusterIP None or empty, and type ExternalName, are never programmed."""
    changes: tuple[Document, ...] = (
        {"clusterIP": "None", "clusterIPs": ["None"]},
        {"clusterIP": "", "clusterIPs": []},
        {"type": "ExternalName", "clusterIP": "", "clusterIPs": [], "externalName": "example.com"},
    )
    for changed in changes:
        rig.begin(a_service(), a_slice("web-1"))
        assert rig.ask("web-2", IP, 80).by == "web-1"
        rig.apply(a_service(**changed))
        assert rig.is_silent("web-2", IP, 80)
        assert rig.table().sets["frontends"].rows == {}


def test_a_slice_belongs_to_the_service_its_label_names(rig: Rig) -> None:
    """1.1: `kubernetes.io/service-name` decides, and not the slice's name."""
    other = a_service("other", clusterIP="10.96.0.11", clusterIPs=["10.96.0.11"])
    rig.begin(a_service(), other, a_slice("web-1", name="other-slice"), a_slice("far-1", service="other", name="web-x"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1"}
    assert rig.ask_many("web-2", "10.96.0.11", 80) == {"far-1"}


def test_only_the_first_address_of_an_endpoint_is_used(rig: Rig) -> None:
    """1.1: `endpoints[].addresses[0]`."""
    both = an_endpoint("web-1", addresses=[HOSTS["far-1"][0], HOSTS["web-1"][0]])
    rig.begin(a_service(), a_slice(both))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}


def test_slice_ports_without_a_number_are_ignored(rig: Rig) -> None:
    """1.1: a nil or zero port is nothing one can connect to."""
    rig.begin(a_service(), a_slice("web-1", port=None), a_slice("far-1", name="zero", port=0))
    assert rig.ask("web-2", IP, 80) == REFUSED
    rig.apply(a_slice("far-2", name="good"))
    assert rig.ask_many("web-2", IP, 80) == {"far-2"}


def test_a_service_port_finds_slice_ports_by_name_whatever_their_numbers(rig: Rig) -> None:
    """1.1: several slices with different numbers for one name are normal."""
    ports = [a_port(80, "http"), a_port(443, "admin")]
    here = [{"name": "http", "protocol": "TCP", "port": 8080}, {"name": "admin", "protocol": "TCP", "port": 1}]
    there = [{"name": "http", "protocol": "TCP", "port": 9090}, {"name": "other", "protocol": "TCP", "port": 8080}]
    rig.begin(a_service(ports=ports), a_slice("web-1", ports=here), a_slice("far-1", name="second", ports=there))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}
    assert rig.ask("web-2", IP, 443) == REFUSED  # from web-1 itself, which does not listen on port 1
    rig.apply(a_slice("web-1", ports=[{"name": "admin", "protocol": "TCP", "port": 9090}]))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}
    assert rig.ask_many("web-2", IP, 443) == {"web-1"}


def test_the_same_port_number_may_be_tcp_and_udp(rig: Rig) -> None:
    """1.1: a service port is matched by its name and protocol."""
    ports = [a_port(53, "dns-tcp", "TCP"), a_port(53, "dns", "UDP")]
    tcp = [{"name": "dns-tcp", "protocol": "TCP", "port": 8080}]
    udp = [{"name": "dns", "protocol": "UDP", "port": 8080}]
    rig.begin(a_service(ports=ports), a_slice("web-1", ports=tcp), a_slice("far-1", name="second", ports=udp))
    assert rig.ask_many("web-2", IP, 53) == {"web-1"}
    assert rig.ask_many("web-2", IP, 53, "UDP") == {"far-1"}


@pytest.mark.parametrize(
    ("conditions", "used"),
    [
        ({}, True),
        ({"ready": True, "serving": True, "terminating": False}, True),
        ({"ready": False}, False),
        ({"ready": False, "terminating": True}, True),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False, "terminating": True}, False),
        ({"ready": False, "serving": True, "terminating": False}, False),
    ],
    ids=lambda each: ",".join(f"{key}={value}" for key, value in each.items()) if isinstance(each, dict) else "",
)
def test_absent_conditions_mean_ready_serving_and_not_terminating(
    rig: Rig, conditions: dict[str, bool], used: bool
) -> None:
    """1.1: ready nil is true, serving nil is true, terminating nil is false."""
    rig.begin(a_service(), a_slice(an_endpoint("web-1", **conditions)))
    assert rig.ask("web-2", IP, 80) == (Answer("answered", "web-1", HOSTS["web-2"][0]) if used else REFUSED)


def test_of_two_slices_with_one_address_the_endpoint_that_is_not_terminating_counts(rig: Rig) -> None:
    """1.1: the same ip and port in several slices: prefer the non-terminating one."""
    going = an_endpoint("web-1", ready=False, serving=True, terminating=True)
    for first, second in ((going, "web-1"), ("web-1", going)):
        rig.begin(a_service(), a_slice(first, "far-1"), a_slice(second, name="second"))
        assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}


def test_an_endpoint_is_local_where_its_node_name_is_the_own_one(rig: Rig) -> None:
    """1.1: isLocal iff endpoint.nodeName == own node name, and nothing else, such as the address."""
    elsewhere, nowhere = an_endpoint("web-1", nodeName="node-2"), an_endpoint("web-1", nodeName=None)
    rig.begin(a_service(internalTrafficPolicy="Local"), a_slice(elsewhere, "far-1"))
    assert rig.is_silent("web-2", IP, 80)
    rig.apply(a_slice(nowhere))
    assert rig.is_silent("web-2", IP, 80)
    rig.apply(a_slice(an_endpoint("far-1", nodeName="node-1"), "far-2"))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}


def test_an_endpoint_published_although_it_is_not_ready_is_used(rig: Rig) -> None:
    """1.1: publishNotReadyAddresses is the slice controller's ready=true, also while terminating; the proxy obeys."""
    published = an_endpoint("web-1", ready=True, serving=False, terminating=True)
    rig.begin(a_service(publishNotReadyAddresses=True), a_slice(published, "far-1"))
    assert rig.ask_many("web-2", IP, 80) == {"web-1", "far-1"}


def test_addresses_of_every_kind_are_filtered_by_family(rig: Rig) -> None:
    """1.1: clusterIPs, externalIPs and load-balancer addresses are each filtered by family."""
    ingress = [{"ip": "203.0.113.7"}, {"ip": "2001:db8:1::7"}]
    service = a_service(type="LoadBalancer", externalIPs=["192.0.2.7", "2001:db8::7"], ingress=ingress)
    rig.begin(service, a_slice("web-1"), a_slice(an_endpoint("far-1", 1)))
    for address in ("192.0.2.7", "203.0.113.7", IP):
        assert rig.ask_many("web-2", address, 80, times=4) == {"web-1"}
    for address in ("2001:db8::7", "2001:db8:1::7", IP6):
        assert rig.ask_many("web-2", address, 80, times=4) == {"far-1"}


def test_a_changed_port_is_a_new_service_port(rig: Rig) -> None:
    """1.1: a change of ports or protocol makes new frontends and removes the old ones."""
    rig.begin(a_service(), a_slice("web-1"))
    rig.apply(a_service(ports=[a_port(81)]))
    assert rig.ask("web-2", IP, 80) == REFUSED
    assert rig.ask("web-2", IP, 81).by == "web-1"
    rig.apply(a_service(ports=[a_port(81, protocol="UDP")]), a_slice("web-1", protocol="UDP"))
    assert rig.ask("web-2", IP, 81) == REFUSED
    assert rig.ask("web-2", IP, 81, "UDP").by == "web-1"


def test_nothing_is_programmed_before_services_and_slices_were_both_listed(rig: Rig) -> None:
    """1.1: a partial world at the start would refuse connections that work."""
    rig.begin(a_service(), a_slice("web-1"))
    rig.start_over()
    rig.list_kind("Service", a_service())
    rig.list_kind("Node", a_node())
    rig.list_kind("Pod")
    assert rig.ask("web-2", IP, 80).by == "web-1"  # by the rows of the life before
    rig.list_kind("EndpointSlice", a_slice("far-1"))
    assert rig.ask_many("web-2", IP, 80) == {"far-1"}


def test_the_two_families_have_a_table_each(rig: Rig) -> None:
    """1.1: dual stack is two independent proxies; endpoints of one family never serve the other."""
    rig.begin(a_service(), a_slice(an_endpoint("web-1", 1)))
    assert rig.ask("web-2", IP, 80) == REFUSED
    assert rig.ask("web-2", IP6, 80).by == "web-1"
    assert len(rig.table(Family.IPV4).sets["backends"].rows or {}) == 0
    assert len(rig.table(Family.IPV6).sets["backends"].rows or {}) == 1
