"""The templates of `examples/policies`: each matrix against the oracle, and against real packets on two nodes.

The matrices were written by `fairlead reach` once, and read by people; here two who know nothing of it judge them.
"""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from matrix_nodes import FAMILIES, NODES
from matrix_rig import Matrix, Way
from nine_pods import PROTOCOLS, second_address
from oracle import Document, Oracle

from fairlead.kube.yamlcodec import parse_documents
from fairlead.sim.reach_forms import covers, read_csv
from fairlead.sim.reach_manifests import objects_of
from fairlead.sim.reach_objects import workload_of

EXAMPLES = Path(__file__).parents[2] / "examples" / "policies"
TEMPLATES = sorted(path.stem for path in EXAMPLES.glob("*.csv"))
ASKED = (1, 53, 80, 5432, 8080, 9090, 9091)
SERVED = (5432, 8080, 9090)
OUTSIDE = {
    "everywhere[External]": "203.0.113.9",
    "elsewhere[External]": "203.0.113.9",
    "192.0.2.0/25[External]": "192.0.2.7",
}
"""An address of each range that a matrix names; the office's upper half is elsewhere."""


def documents_of(name: str) -> list[Document]:
    files = (EXAMPLES / "application.yaml", EXAMPLES / f"{name}.yaml")
    return [msgspec.to_builtins(each) for file in files for each in parse_documents(file.read_text(), source=file.name)]


def pods_of(documents: list[Document]) -> dict[str, list[Document]]:
    """The pods of each workload, on two nodes in turn, with an address of each family."""
    found: dict[str, list[Document]] = {}
    for number, pod in enumerate(objects_of(documents).pods):
        document: Document = msgspec.json.decode(msgspec.json.encode(pod))
        document["kind"] = "Pod"
        document["spec"]["nodeName"] = list(NODES)[number % 2]
        first = f"10.244.{number % 2}.{10 + number}"
        document["status"] = {
            "phase": "Running",
            "podIP": first,
            "podIPs": [{"ip": first}, {"ip": second_address(first)}],
        }
        found.setdefault(workload_of(pod), []).append(document)
    return found


def of_kinds(documents: list[Document], *kinds: str) -> list[Document]:
    """The documents of some kinds; a policy without a namespace would be a mistake of the template."""
    found = [each for each in documents if each["kind"] in kinds]
    assert all("namespace" in each["metadata"] for each in found if each["kind"] == "NetworkPolicy")
    return found


def matrix_of(name: str) -> dict[tuple[str, str], str]:
    return read_csv((EXAMPLES / f"{name}.csv").read_text())


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_oracle_agrees_with_the_matrix(name: str) -> None:
    documents, matrix = documents_of(name), matrix_of(name)
    workloads = pods_of(documents)
    judged = of_kinds(documents, "Namespace", "NetworkPolicy", "ClusterNetworkPolicy")
    oracle = Oracle([*(pod for pods in workloads.values() for pod in pods), *judged])
    named = {end for pair in matrix for end in pair} - workloads.keys()
    assert named <= OUTSIDE.keys()
    ends: dict[str, list[Any]] = {**workloads, **{end: [OUTSIDE[end]] for end in named or {"everywhere[External]"}}}
    for source, senders in ends.items():
        for target, receivers in ends.items():
            pairs = [(a, b) for a in senders for b in receivers if a is not b]
            if source in OUTSIDE and target in OUTSIDE:
                continue
            for protocol, port in ((protocol, port) for protocol in (*PROTOCOLS, "SCTP") for port in ASKED):
                told = covers(matrix.get((source, target), ""), protocol, port)
                wanted = {oracle.allows(a, b, protocol, port) for a, b in pairs}
                assert wanted <= {told}, f"{source} => {target} {protocol} {port}"


def test_the_other_half_of_the_office_is_elsewhere() -> None:
    documents = documents_of("only-from-an-office")
    (web, *_) = pods_of(documents)["shop/web[Deployment]"]
    oracle = Oracle([web, *of_kinds(documents, "Namespace", "NetworkPolicy")])
    assert oracle.allows("192.0.2.127", web, "TCP", 8080)
    assert not oracle.allows("192.0.2.128", web, "TCP", 8080)


@pytest.mark.kernel
@pytest.mark.parametrize("name", TEMPLATES)
def test_packets_arrive_where_the_matrix_says(name: str) -> None:
    documents, kept = documents_of(name), matrix_of(name)
    workloads = pods_of(documents)
    names = [workload for workload, pods in workloads.items() for _ in pods]
    rig = Matrix([pod for pods in workloads.values() for pod in pods], of_kinds(documents, "Namespace"), SERVED)
    try:
        rig.enforce(of_kinds(documents, "NetworkPolicy", "ClusterNetworkPolicy"))
        wanted = {
            (source, target, protocol, port)
            for source, target, protocol, port in rig.probes
            if source == target or covers(kept.get((names[source], names[target]), ""), protocol, port)
        }
        judged = {probe for probe in rig.probes if probe[0] != probe[1]}
        for family in FAMILIES:
            for way in (Way.POD, Way.CLUSTER):
                assert rig.arrived(way, family, wanted & judged) & judged == wanted & judged, f"{family} {way}"
    finally:
        rig.close()
