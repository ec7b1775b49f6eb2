"""Small clusters with policies, drawn at random: three namespaces, nine pods, selectors that often meet them."""

from random import Random

from msgspec import Struct, field
from msgspec.structs import replace

from fairlead.compile.policies import compile_network_policy
from fairlead.compile.policy_node import NodePolicies
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement, ObjectMeta
from fairlead.kube.networking import (
    IPBlock,
    NetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    NetworkPolicySpec,
)
from fairlead.model import Origin
from fairlead.model.policies import (
    Action,
    AddressBlock,
    Anyone,
    LabelTest,
    NamedPort,
    Operator,
    Peer,
    PodGroup,
    PodPort,
    Policy,
    PolicyPod,
    PolicyRule,
    PortMatch,
    PortRange,
    Tier,
)
from fairlead.net import Address, Port, Protocol, parse_address, parse_prefix

NAMESPACES = ("x", "y", "z")
NODES = ("node-1", "node-2")
OUTSIDE = parse_address("198.51.100.2")
OUTSIDE_IPV6 = parse_address("fd00:99::2")
NODE_ADDRESSES = {parse_address(f"172.18.0.{number}"): f"node-{number - 1}" for number in (2, 3)} | {
    parse_address(f"fd00:18::{number}"): f"node-{number - 1}" for number in (2, 3)
}
PORTS = (80, 81)
_TEAMS = ("red", "blue")
_BLOCKS = (
    ("0.0.0.0/0", ()),
    ("0.0.0.0/0", ("10.244.1.0/24",)),
    ("10.244.0.0/16", ("10.244.1.0/30", "10.244.2.2/32")),
    ("10.244.1.1/32", ()),
    ("198.51.100.0/24", ("198.51.100.2/32",)),
    ("198.51.100.0/24", ()),
    ("172.18.0.0/16", ()),
    ("fd00:10:244::/48", ("fd00:10:244:1::/64",)),
    ("::/0", ()),
    ("fd00:10:244:2::1/128", ()),
)


class Cluster(Struct):
    """What there is, by key."""

    namespaces: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    pods: dict[tuple[str, str], PolicyPod] = field(default_factory=dict[tuple[str, str], PolicyPod])
    policies: dict[Origin, Policy] = field(default_factory=dict[Origin, Policy])

    def enforced_by(self, node: str) -> NodePolicies:
        """A node's policies, from nothing and in one go."""
        machine = NodePolicies(node)
        for policy in self.policies.values():
            machine.put_policy(policy)
        for name, labels in self.namespaces.items():
            machine.put_namespace(name, labels)
        for pod in self.pods.values():
            machine.put_pod(pod)
        return machine


def draw_pod(random: Random, namespace: str, name: str) -> PolicyPod:
    """A pod whose address goes with its name, and whose labels and ports are drawn."""
    number = NAMESPACES.index(namespace) * 3 + "abc".index(name)
    node = number % 2 + 1
    labels = {"pod": name, "team": random.choice(_TEAMS)}
    if random.random() < 0.3:
        labels["extra"] = "yes"
    ports = [PodPort("web", Protocol.TCP, Port(random.choice(PORTS)))] if random.random() < 0.7 else []
    if random.random() < 0.4:
        ports.append(PodPort("dns", Protocol.UDP, Port(random.choice(PORTS))))
    addresses = (parse_address(f"10.244.{node}.{number + 1}"), parse_address(f"fd00:10:244:{node}::{number + 1}"))
    return PolicyPod(namespace, name, f"node-{node}", tuple(sorted(labels.items())), addresses, tuple(ports))


def draw_cluster(random: Random, policies: int = 4) -> Cluster:
    """Nine pods in three namespaces, under some policies."""
    cluster = Cluster()
    for namespace in NAMESPACES:
        cluster.namespaces[namespace] = draw_namespace(random, namespace)
        for name in "abc":
            pod = draw_pod(random, namespace, name)
            cluster.pods[pod.key] = pod
    for number in range(policies):
        policy = draw_policy(random, f"policy-{number}")
        cluster.policies[policy.origin] = policy
    return cluster


def draw_namespace(random: Random, name: str) -> dict[str, str]:
    """The labels of a namespace."""
    return {"ns": name, "stage": random.choice(("test", "live"))}


def draw_policy(random: Random, name: str) -> Policy:
    """A NetworkPolicy mostly, else a rule of one of the other tiers."""
    if random.random() < 0.3:
        return _tiered(random, name)
    policy, findings = compile_network_policy(draw_network_policy(random, name))
    assert not findings
    return policy


def draw_network_policy(random: Random, name: str) -> NetworkPolicy:
    """A NetworkPolicy of one of the namespaces."""
    ingress = tuple(
        NetworkPolicyIngressRule(ports=_ports(random), from_=_peers(random)) for _ in range(random.randrange(3))
    )
    egress = tuple(NetworkPolicyEgressRule(ports=_ports(random), to=_peers(random)) for _ in range(random.randrange(3)))
    types = random.choice(((), ("Ingress",), ("Egress",), ("Ingress", "Egress")))
    spec = NetworkPolicySpec(pod_selector=_selector(random), ingress=ingress, egress=egress, policy_types=types)
    return NetworkPolicy(metadata=ObjectMeta(name=name, namespace=random.choice(NAMESPACES)), spec=spec)


def _selector(random: Random, keys: tuple[str, ...] = ("pod", "team", "extra")) -> LabelSelector:
    match random.randrange(5):
        case 0:
            return LabelSelector()
        case 1:
            return LabelSelector(match_labels={"pod": random.choice("abc")})
        case 2:
            return LabelSelector(match_labels={"team": random.choice(_TEAMS)})
        case 3:
            operator = random.choice(("In", "NotIn"))
            values = tuple(random.sample("abc", random.randint(1, 2)))
            return LabelSelector(
                match_expressions=(LabelSelectorRequirement(key="pod", operator=operator, values=values),)
            )
        case _:
            operator = random.choice(("Exists", "DoesNotExist"))
            return LabelSelector(match_expressions=(LabelSelectorRequirement(key="extra", operator=operator),))


def _namespaces(random: Random) -> LabelSelector:
    match random.randrange(4):
        case 0:
            return LabelSelector()
        case 1:
            return LabelSelector(match_labels={"stage": random.choice(("test", "live"))})
        case 2:
            return LabelSelector(match_labels={"kubernetes.io/metadata.name": random.choice(NAMESPACES)})
        case _:
            expression = LabelSelectorRequirement(key="ns", operator="NotIn", values=(random.choice(NAMESPACES),))
            return LabelSelector(match_expressions=(expression,))


def _peers(random: Random) -> tuple[NetworkPolicyPeer, ...]:
    return tuple(_peer(random) for _ in range(random.choice((0, 1, 1, 2, 3))))


def _peer(random: Random) -> NetworkPolicyPeer:
    match random.randrange(4):
        case 0:
            return NetworkPolicyPeer(pod_selector=_selector(random))
        case 1:
            return NetworkPolicyPeer(namespace_selector=_namespaces(random))
        case 2:
            return NetworkPolicyPeer(pod_selector=_selector(random), namespace_selector=_namespaces(random))
        case _:
            cidr, exceptions = random.choice(_BLOCKS)
            return NetworkPolicyPeer(ip_block=IPBlock(cidr=cidr, except_=exceptions))


def _ports(random: Random) -> tuple[NetworkPolicyPort, ...]:
    return tuple(_port(random) for _ in range(random.choice((0, 0, 1, 1, 2))))


def _port(random: Random) -> NetworkPolicyPort:
    protocol = random.choice((None, "TCP", "UDP", "SCTP"))
    match random.randrange(5):
        case 0:
            return NetworkPolicyPort(protocol=protocol)
        case 1:
            return NetworkPolicyPort(protocol=protocol, port=random.choice(("web", "dns", "none")))
        case 2:
            return NetworkPolicyPort(protocol=protocol, port=random.choice((79, 80)), end_port=random.choice((80, 81)))
        case _:
            return NetworkPolicyPort(protocol=protocol, port=random.choice(PORTS))


def _tiered(random: Random, name: str) -> Policy:
    origin = Origin("ClusterNetworkPolicy", "", name)
    tier = random.choice((Tier.ADMIN, Tier.BASELINE))

    def rules(which: str) -> tuple[PolicyRule, ...] | None:
        if random.random() < 0.3:
            return None
        return tuple(
            PolicyRule(
                tuple(_tier_peer(random) for _ in range(random.randint(1, 2))),
                tuple(_tier_port(random) for _ in range(random.randint(1, 2))) if random.random() < 0.6 else None,
                random.choice(tuple(Action)),
                Origin(origin.kind, "", name, f"spec.{which}[{index}]"),
            )
            for index in range(random.randint(1, 2))
        )

    return Policy(
        origin=origin,
        tier=tier,
        priority=random.randrange(3),
        subject=_tier_group(random),
        ingress=rules("ingress"),
        egress=rules("egress"),
    )


def _tier_group(random: Random) -> PodGroup:
    namespaces = random.choice(((), (LabelTest("stage", Operator.IN, ("live",)),)))
    pods = random.choice(
        ((), (LabelTest("team", Operator.IN, ("red",)),), (LabelTest("pod", Operator.IN, ("a", "b")),))
    )
    return PodGroup(None, namespaces, pods)


def _tier_peer(random: Random) -> Peer:
    match random.randrange(4):
        case 0:
            cidr, exceptions = random.choice(_BLOCKS)
            return AddressBlock(parse_prefix(cidr), tuple(map(parse_prefix, exceptions)))
        case 1:
            return random.choice(tuple(Anyone))
        case _:
            return _tier_group(random)


def _tier_port(random: Random) -> PortMatch:
    protocol = random.choice(tuple(Protocol))
    match random.randrange(3):
        case 0:
            return NamedPort(random.choice((None, protocol)), random.choice(("web", "dns")))
        case 1:
            return PortRange(protocol, Port(80), Port(81))
        case _:
            port = Port(random.choice(PORTS))
            return PortRange(protocol, port, port)


def change_something(random: Random, cluster: Cluster, machine: NodePolicies) -> None:
    """Change one thing in the cluster, and tell the machine."""
    match random.randrange(6):
        case 0:
            name = random.choice(NAMESPACES)
            cluster.namespaces[name] = draw_namespace(random, name)
            machine.put_namespace(name, cluster.namespaces[name])
        case 1:
            key = random.choice(NAMESPACES), random.choice("abc")
            cluster.pods.pop(key, None)
            machine.drop_pod(key)
        case 2 | 3:
            pod = draw_pod(random, random.choice(NAMESPACES), random.choice("abc"))
            if random.random() < 0.1:  # an address that another pod still has
                pod = replace(pod, addresses=draw_pod(random, pod.namespace, "abc".replace(pod.name, "")[0]).addresses)
            cluster.pods[pod.key] = pod
            machine.put_pod(pod)
        case 4:
            policy = draw_policy(random, f"policy-{random.randrange(5)}")
            cluster.policies[policy.origin] = policy
            machine.put_policy(policy)
        case _:
            if cluster.policies:
                origin = random.choice(list(cluster.policies))
                del cluster.policies[origin]
                machine.drop_policy(origin)


def addresses(cluster: Cluster) -> list[Address]:
    """Every address there is, inside and outside."""
    return [*(each for pod in cluster.pods.values() for each in pod.addresses), OUTSIDE, OUTSIDE_IPV6, *NODE_ADDRESSES]
