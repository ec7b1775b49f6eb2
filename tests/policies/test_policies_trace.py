"""What `trace` says of connections that policies judge: ten cases that people ask about, as they would ask."""

from pathlib import Path

import pytest

from fairlead.kube.yamlcodec import parse_documents
from fairlead.net import Protocol
from fairlead.sim.answers import Disposition
from fairlead.sim.manifests import derive_world
from fairlead.sim.trace import trace_connection

WORLD = Path(__file__).with_name("traced.yaml").read_text()
ALLOWED = ""
TO_B = "ingress of pod t/b is isolated by NetworkPolicy t/b-in; nearest rule: NetworkPolicy t/b-in spec.ingress"
FROM_C = "egress of pod u/c is isolated by NetworkPolicy u/c-out; nearest rule: NetworkPolicy u/c-out spec.egress"
CASES: dict[str, tuple[str, str, Protocol, str]] = {
    "a port by name": ("pod/t/a", "svc/t/b:80", Protocol.TCP, ALLOWED),
    "another port than the one of that name": (
        "pod/t/a", "svc/t/b:81", Protocol.TCP,
        f"{TO_B}[0].ports asks for TCP http (9090 at pod t/b); this is TCP 8080"),
    "a port by name at a pod that has none": (
        "pod/u/c", "10.244.3.9:7000", Protocol.TCP,
        f"{FROM_C}[0].ports asks for TCP http (not at pod t/d); this is TCP 7000"),
    "a label that must not be there": (
        "pod/u/c", "svc/t/b:80", Protocol.TCP,
        f"{FROM_C}[0].to[0].podSelector asks for !tier; this is pod t/b with tier=back"),
    "an address in an except": (
        "pod/u/h", "svc/t/b:82", Protocol.TCP,
        f"{TO_B}[1].from[0].ipBlock.except[0] asks for an address outside 172.18.0.4/32; this is 172.18.0.4"),
    "a port past the end of a range": (
        "node/node-1", "svc/t/b:81", Protocol.TCP,
        f"{TO_B}[1].ports asks for TCP 8000-8079; this is TCP 8080"),
    "a client through a node port, who comes as the node": (
        "client", "172.18.0.2:30090", Protocol.TCP,
        f"{TO_B}[1].ports asks for TCP 8000-8079; this is TCP 9090"),
    "a pod in the hosts' network, which is no pod": (
        "pod/u/h", "svc/t/b:80", Protocol.TCP,
        f"{TO_B}[0].from[0] asks for a pod; this is 172.18.0.4, which is no pod's"),
    "an administrator's rule that accepts": ("pod/t/b", "svc/t/a:53", Protocol.UDP, ALLOWED),
    "an administrator's rule that denies": (
        "pod/t/b", "svc/t/a:54", Protocol.UDP,
        "ingress of pod t/a is denied by ClusterNetworkPolicy no-udp spec.ingress[1]"),
    "a baseline rule, where no NetworkPolicy isolates": (
        "pod/u/c", "svc/t/a:80", Protocol.TCP,
        "ingress of pod t/a is denied by ClusterNetworkPolicy base spec.ingress[0]"),
    "a baseline rule, where a NetworkPolicy isolates": (
        "pod/u/e", "svc/t/b:80", Protocol.TCP,
        f"{TO_B}[0].from[0] asks for a pod of namespace t; this is namespace u"),
    "the pod's own node": ("node/node-2", "svc/t/b:80", Protocol.TCP, ALLOWED),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_drop_is_told_with_side_policies_and_the_field_that_did_not_match(
    case: tuple[str, str, Protocol, str],
) -> None:
    source, target, protocol, wanted = case
    world = derive_world(list(parse_documents(WORLD, source="traced.yaml")))
    answer = trace_connection(world, source, target, protocol)
    assert answer.disposition is (Disposition.DROPPED if wanted else Disposition.DELIVERED)
    (end,) = answer.ends
    if wanted:
        assert end.reason == wanted
