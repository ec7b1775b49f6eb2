"""Who may talk to whom under NetworkPolicies, each rule on real packets. Source: reference, section 3.1."""

from collections.abc import Iterator
from typing import Any

import pytest
from policy_rig import PolicyRig, a_namespace, a_pod, a_policy, labelled
from rule_hosts import HOSTS, NODE, wait_until
from rule_rig import Document, a_service, a_slice

from fairlead.agents.events import Notice
from fairlead.agents.node.denials import DenialNotices
from fairlead.agents.node.policy_denials import PolicyDenials
from fairlead.drivers.netlink.nflog import LogSocket
from fairlead.drivers.netns import entered
from fairlead.render.policy_chains import PolicySettings

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def shared_policies() -> Iterator[PolicyRig]:
    rig = PolicyRig()
    yield rig
    rig.close()


@pytest.fixture
def policies(shared_policies: PolicyRig) -> Iterator[PolicyRig]:
    yield shared_policies
    shared_policies.end_conversations()


FAR_1, WEB_2, FAR_2 = ({"podSelector": labelled(pod=each)} for each in ("far-1", "web-2", "far-2"))
ANYWHERE = {"namespaceSelector": {}}


def test_without_a_policy_everybody_talks_to_everybody(policies: PolicyRig) -> None:
    policies.enforce()
    assert policies.reaches("far-1", "web-1")
    assert policies.reaches("web-1", "far-1")
    assert "fairlead-policy" not in policies.run("nft", "list", "tables")


@pytest.mark.parametrize("family", [0, 1])
def test_a_policy_isolates_the_pods_of_its_namespace_only(policies: PolicyRig, family: int) -> None:
    """3.1.1: an empty podSelector is all pods of the namespace, and never pods elsewhere."""
    policies.enforce(a_policy())
    assert not policies.reaches("far-1", "web-1", family=family)
    assert policies.reaches("far-1", "web-2", family=family)


@pytest.mark.parametrize(
    ("spec", "ingress", "egress"),
    [
        ({}, False, True),
        ({"egress": [{}]}, False, True),
        ({"policyTypes": ["Egress"]}, True, False),
        ({"policyTypes": ["Egress"], "ingress": [{"from": [FAR_2]}]}, True, False),
        ({"policyTypes": ["Ingress", "Egress"]}, False, False),
    ],
)
def test_policy_types_default_to_ingress_and_to_egress_where_it_has_rules(
    policies: PolicyRig, spec: dict[str, Any], ingress: bool, egress: bool
) -> None:
    """3.1.2"""
    policies.enforce(a_policy(**spec))
    assert policies.reaches("far-1", "web-1") is ingress
    assert policies.reaches("web-1", "far-1") is egress


def test_policies_add_up(policies: PolicyRig) -> None:
    """3.1.3: allowed is what any of the isolating policies allows."""
    policies.enforce(
        a_policy("one", ingress=[{"from": [FAR_1]}]),
        a_policy("two", pods={"pod": "web-1"}, ingress=[{"from": [{**ANYWHERE, **WEB_2}]}]),
        a_policy("none"),
    )
    assert policies.reaches("far-1", "web-1")
    assert policies.reaches("web-2", "web-1")
    assert not policies.reaches("far-2", "web-1")


def test_both_sides_must_allow(policies: PolicyRig) -> None:
    """3.1.3: the sender's egress and the receiver's ingress."""
    policies.enforce(
        a_policy("in", ingress=[{"from": [ANYWHERE]}]),
        a_policy("out", namespace="other", policyTypes=["Egress"]),
    )
    assert policies.reaches("far-1", "web-1")
    assert not policies.reaches("web-2", "web-1")


def test_an_empty_rule_allows_everything(policies: PolicyRig) -> None:
    """3.1.4"""
    policies.enforce(a_policy(ingress=[{}]))
    assert policies.reaches("client", "web-1")
    assert policies.reaches("far-2", "web-1", protocol="UDP")


@pytest.mark.parametrize(
    ("peers", "shop", "other", "client"),
    [
        ([{"podSelector": {}}], True, False, False),
        ([{"namespaceSelector": {}}], True, True, False),
        ([{"namespaceSelector": labelled(team="red")}], False, True, False),
        ([{"namespaceSelector": labelled(team="red"), "podSelector": labelled(pod="far-1")}], False, False, False),
        ([{"namespaceSelector": labelled(team="red")}, {"podSelector": labelled(pod="far-1")}], True, True, False),
        ([{"ipBlock": {"cidr": "0.0.0.0/0"}}], True, True, True),
        ([{"ipBlock": {"cidr": "10.244.0.0/16", "except": [f"{HOSTS['far-2'][0]}/32"]}}], True, False, False),
        ([{"ipBlock": {"cidr": "10.244.2.0/24", "except": [f"{HOSTS['far-2'][0]}/32"]}}, ANYWHERE], True, True, False),
        ([{"ipBlock": {"cidr": "198.51.100.0/24"}}], False, False, True),
    ],
)
def test_a_peer_is_pods_or_namespaces_or_both_or_a_block(
    policies: PolicyRig, peers: list[object], shop: bool, other: bool, client: bool
) -> None:
    """3.1.5 and 3.1.6: both selectors in one item are AND, two items are OR; an exception concerns its own block."""
    policies.enforce(a_namespace("other", team="red"), a_policy(ingress=[{"from": peers}]))
    assert policies.reaches("far-1", "web-1") is shop
    assert policies.reaches("far-2", "web-1") is other
    assert policies.reaches("client", "web-1") is client


@pytest.mark.parametrize(
    ("port", "allowed"),
    [
        ({"port": 8080}, {("TCP", 8080)}),
        ({"protocol": "UDP", "port": 8080}, {("UDP", 8080)}),
        ({"protocol": "UDP"}, {("UDP", 8080), ("UDP", 9090)}),
        ({"port": 8000, "endPort": 9000}, {("TCP", 8080)}),
        ({"port": "web"}, {("TCP", 9090)}),
        ({"protocol": "UDP", "port": "web"}, set[tuple[str, int]]()),
        ({"protocol": "SCTP", "port": 8080}, set[tuple[str, int]]()),
    ],
)
def test_ports_are_numbers_names_and_ranges_of_one_protocol(
    policies: PolicyRig, port: dict[str, object], allowed: set[tuple[str, int]]
) -> None:
    """3.1.7 and 3.1.16: a name is the selected pod's own; SCTP and UDP allow no TCP, and isolate for it."""
    named = a_pod("web-1", ports=[{"name": "web", "containerPort": 9090}])
    policies.enforce(named, a_policy(ingress=[{"ports": [port]}]))
    asked = [(protocol, number) for protocol in ("TCP", "UDP") for number in (8080, 9090)]
    assert {each for each in asked if policies.reaches("far-1", "web-1", each[1], each[0])} == allowed


def test_a_port_name_means_what_each_destination_calls_so(policies: PolicyRig) -> None:
    """3.1.7: for egress, and what is no pod has no names."""
    policies.enforce(
        a_pod("far-1", ports=[{"name": "web", "containerPort": 8080}]),
        a_pod("far-2", ports=[{"name": "web", "containerPort": 9090}]),
        a_policy(egress=[{"ports": [{"port": "web"}]}], policyTypes=["Egress"]),
    )
    reached = {
        (to, port)
        for to in ("far-1", "far-2", "client")
        for port in (8080, 9090)
        if policies.reaches("web-1", to, port)
    }
    assert reached == {("far-1", 8080), ("far-2", 9090)}


def test_the_translated_destination_is_judged(policies: PolicyRig) -> None:
    """3.1.8: the pod's address and port, not the Service's."""
    service, endpoints = a_service(), a_slice("far-1")
    allow = {"to": [FAR_1], "ports": [{"port": 8080}]}
    policies.enforce(service, endpoints, a_policy(egress=[allow], policyTypes=["Egress"]))
    assert policies.reaches("web-1", "10.96.0.10", 80)
    policies.enforce(service, endpoints, a_policy(egress=[{"ports": [{"port": 80}]}], policyTypes=["Egress"]))
    assert not policies.reaches("web-1", "10.96.0.10", 80)


def test_a_node_reaches_its_pods_and_another_node_is_an_address(policies: PolicyRig) -> None:
    """3.1.10"""
    policies.enforce(
        a_policy("a"), a_policy("b", namespace="other", ingress=[{"from": [{"ipBlock": {"cidr": "172.18.0.3/32"}}]}])
    )
    assert policies.reaches("node", "web-1")
    assert not policies.reaches("node-2", "web-1")
    assert policies.reaches("node-2", "web-2")


def test_egress_to_the_own_node_is_judged(policies: PolicyRig) -> None:
    """3.1.10: only the way in from the own node is free."""
    policies.enforce(a_policy(policyTypes=["Egress"]))
    before = policies.answer("web-1", "node-2", 9)
    assert before.outcome == "silence"
    with policies.hosts.socket("web-1", NODE[0], "UDP") as sender:
        sender.settimeout(0.06)
        sender.connect((NODE[0], 9))
        sender.send(b"?")
        with pytest.raises(TimeoutError):
            sender.recv(1)  # a closed port would refuse
    with policies.hosts.socket("web-2", NODE[0], "UDP") as sender:
        sender.settimeout(20)
        sender.connect((NODE[0], 9))
        sender.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            sender.recv(1)


def test_a_pod_in_the_hosts_network_is_neither_subject_nor_peer(policies: PolicyRig) -> None:
    """3.1.11"""
    policies.enforce(a_pod("far-1", host_network=True), a_policy(ingress=[{"from": [FAR_1]}]))
    assert not policies.reaches("far-1", "web-1")


@pytest.mark.parametrize("family", [0, 1])
def test_a_pod_reaches_itself_through_its_service(policies: PolicyRig, family: int) -> None:
    """3.1.12"""
    address = ("10.96.0.10", "fd00:96::10")[family]
    endpoint = {"addresses": [HOSTS["web-1"][family]], "nodeName": "node-1"}
    policies.enforce(a_service(), a_slice(endpoint), a_policy(policyTypes=["Ingress", "Egress"]))
    assert policies.reaches("web-1", address, 80)
    assert not policies.reaches("far-1", "web-1", family=family)


def test_errors_about_allowed_packets_pass(policies: PolicyRig) -> None:
    """3.1.15: both ways, although the pods may not speak themselves."""
    out_only = a_policy("out", namespace="other", policyTypes=["Ingress", "Egress"], egress=[{}])
    in_only = a_policy("in", policyTypes=["Ingress", "Egress"], ingress=[{}])
    policies.enforce(out_only, in_only)
    assert policies.answer("far-1", "web-1", 7).outcome == "refused"
    assert policies.answer("web-2", "far-1", 7).outcome == "refused"


def test_protocols_without_ports_pass_where_no_ports_are_asked_for(policies: PolicyRig) -> None:
    """3.1.15: undefined by the API; here a rule without ports is about every protocol, and one with ports is not."""
    to_far_1 = {"to": [FAR_1]}
    policies.enforce(a_policy(policyTypes=["Egress"], egress=[to_far_1, {"ports": [{"port": 8080}]}]))
    assert policies.ping("web-1", HOSTS["far-1"][0])
    assert not policies.ping("web-1", HOSTS["far-2"][0])
    assert policies.reaches("web-1", "far-2")


def test_a_pod_that_has_ended_is_no_peer(policies: PolicyRig) -> None:
    """3.1.17: its address may be another's by now."""
    allow = a_policy(ingress=[{"from": [FAR_1]}])
    policies.enforce(allow)
    assert policies.reaches("far-1", "web-1")
    policies.hear(a_pod("far-1", phase="Succeeded"))
    assert not policies.reaches("far-1", "web-1")


def test_labels_take_effect_on_pods_that_run(policies: PolicyRig) -> None:
    """3.1.18: of pods and of namespaces."""
    rules = [{"from": [{"namespaceSelector": labelled(team="red"), "podSelector": labelled(role="client")}]}]
    policies.enforce(a_policy(ingress=rules))
    assert not policies.reaches("far-2", "web-1")
    policies.hear(a_namespace("other", team="red"), a_pod("far-2", {"role": "client"}))
    assert policies.reaches("far-2", "web-1")
    policies.hear(a_pod("far-2"))
    assert not policies.reaches("far-2", "web-1")
    policies.hear(a_pod("web-1", namespace="shop"), a_policy("policy", pods={"role": "server"}))
    assert policies.reaches("far-2", "web-1")


def tiered(name: str, tier: str, action: str, priority: int = 0, **peer: Any) -> Document:
    """A ClusterNetworkPolicy for what far-1, or somebody else, sends to namespace shop."""
    far_1 = {"pods": {"namespaceSelector": {}, "podSelector": labelled(pod="far-1")}}
    return {
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": tier,
            "priority": priority,
            "subject": {"namespaces": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}},
            "ingress": [{"action": action, "from": [peer or far_1]}],
        },
    }


def test_admin_policies_come_first_and_baseline_ones_last(policies: PolicyRig) -> None:
    """3.2: Admin, then NetworkPolicy, then Baseline; Pass leaves the tier, and the lower priority goes first."""
    policies.enforce(tiered("base", "Baseline", "Deny"))
    assert not policies.reaches("far-1", "web-1")
    assert policies.reaches("far-2", "web-1")
    policies.hear(a_policy(ingress=[{}]))
    assert policies.reaches("far-1", "web-1")
    policies.hear(tiered("deny", "Admin", "Deny", 5))
    assert not policies.reaches("far-1", "web-1")
    policies.hear(tiered("other", "Admin", "Pass", 1))
    assert policies.reaches("far-1", "web-1")
    policies.hear(tiered("other", "Admin", "Accept", 1), a_policy())
    assert policies.reaches("far-1", "web-1")
    assert not policies.reaches("far-2", "web-1")


@pytest.mark.parametrize(
    ("action", "base", "reached"), [("Accept", "none", False), ("Deny", "all", False), ("Pass", "all", False)]
)
def test_a_peer_that_nobody_here_understands_fails_closed(
    policies: PolicyRig, action: str, base: str, reached: bool
) -> None:
    """3.2: it accepts nobody, and denies everybody where the rule denies or passes on."""
    rules = [{}] if base == "all" else []
    policies.enforce(a_policy(ingress=rules), tiered("unknown", "Admin", action, domainNames=["example.com"]))
    assert policies.reaches("far-1", "web-1") is reached
    assert policies.reaches("far-1", "web-2")


def test_an_api_server_without_cluster_policies_is_no_hindrance(policies: PolicyRig) -> None:
    policies.enforce(a_policy(), without=("ClusterNetworkPolicy",))
    assert not policies.reaches("far-1", "web-1")


def test_denied_packets_are_counted_and_told_by_policy_and_direction(
    policies: PolicyRig, capfd: pytest.CaptureFixture[str]
) -> None:
    policies.enforce(a_policy("closed"), settings=PolicySettings(log_group=77))
    counts: dict[tuple[str, str], int] = {}
    told: list[Notice] = []
    part = policies.part
    notices = DenialNotices(part.pods_at, told.append, lambda: 0.0)
    denials = PolicyDenials(part.policies_of, part.judged, notices, lambda: 0.0, counts)
    with entered(policies.hosts.node):
        packets = LogSocket(77)
    assert not policies.reaches("far-1", "web-1", protocol="UDP")
    assert not policies.reaches("far-1", "web-1", protocol="UDP")
    assert policies.reaches("far-1", "web-2")

    def heard() -> bool:
        denials.take(packets.read())
        return counts.get(("NetworkPolicy shop/closed", "ingress")) == 2

    wait_until(heard, "the kernel told of no denied packet")
    packets.close()
    (line,) = [each for each in capfd.readouterr().err.splitlines() if "event=denied" in each]
    assert f"udp {HOSTS['far-1'][0]} -> {HOSTS['web-1'][0]}:8080" in line
    assert "NetworkPolicy shop/closed" in line
    (notice,) = told
    assert str(notice.about) == "Pod shop/web-1"
    source = f"{HOSTS['far-1'][0]} (shop/far-1)"
    assert notice.message.startswith(f"ingress denied: UDP from {source} to port 8080, by NetworkPolicy shop/closed;")
