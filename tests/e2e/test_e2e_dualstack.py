"""A cluster of both families, by real requests: who answers whom over IPv6, and what a Service gains and gives back."""

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Kubectl, kubectls, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]


def service(name: str, spec: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}], {spec}}}
---"""


MANIFEST = f"""
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers: [{{name: web, image: web, ports: [{{containerPort: 80}}]}}]
---{service("both", "type: NodePort, ipFamilyPolicy: RequireDualStack")}
{service("only6", "ipFamilies: [IPv6]")}
{service("single", "ipFamilyPolicy: SingleStack")}
{service("headless", "clusterIP: None, ipFamilyPolicy: RequireDualStack")}
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    command = Command(tmp_path_factory.mktemp("dual"))
    command("up", "-", "--nodes", "2", "--detach", "--timeout", "60", stdin=MANIFEST)
    yield command
    command("down", "--all", check=False)


@pytest.fixture(scope="module")
def kubectl_dual(cluster: Command, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    binaries = kubectls()
    if not binaries:
        pytest.skip("no kubectl on this machine")
    return Kubectl(binaries[-1], Path(cluster("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("kubectl"))


def pods(kubectl: Kubectl) -> dict[str, list[str]]:
    listed = kubectl.json("get", "pods", "-l", "app=web")["items"]
    return {each["metadata"]["name"]: [entry["ip"] for entry in each["status"]["podIPs"]] for each in listed}


def families(addresses: list[str]) -> list[int]:
    return [ipaddress.ip_address(each).version for each in addresses]


def test_pods_and_nodes_have_an_address_of_each_family_and_reach_each_other_by_both(
    cluster: Command, kubectl_dual: Kubectl
) -> None:
    for node in kubectl_dual.json("get", "nodes")["items"]:
        internal = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
        assert (families(internal), len(node["spec"]["podCIDRs"])) == ([4, 6], 2)
    (one, ours), (_, theirs) = pods(kubectl_dual).items()
    assert families(ours) == families(theirs) == [4, 6]
    for mine, address in zip(ours, theirs, strict=True):
        host = f"[{address}]" if ":" in address else address
        answer = cluster.curl(f"http://{host}/", "-g", place=f"pod/default/{one}")
        assert answer["client_address"] == mine


def test_every_service_is_reached_over_the_families_it_has(cluster: Command, kubectl_dual: Kubectl) -> None:
    both = kubectl_dual.json("get", "service", "both")["spec"]
    assert (both["ipFamilies"], families(both["clusterIPs"])) == (["IPv4", "IPv6"], [4, 6])
    only = kubectl_dual.json("get", "service", "only6")["spec"]
    assert (only["ipFamilyPolicy"], families(only["clusterIPs"])) == ("SingleStack", [6])
    node_port = both["ports"][0]["nodePort"]
    for host in ("172.18.0.2", "[fd00:172:18::2]"):
        assert cluster.curl(f"http://{host}:{node_port}/", "-g")["pod"] in pods(kubectl_dual)
    for name, addresses in pods(kubectl_dual).items():
        answered: set[str] = set()
        for _ in range(40):
            answer = cluster.curl(f"http://[{only['clusterIP']}]/", "-g", place=f"pod/default/{name}")
            answered.add(answer["pod"])
            if answer["pod"] != name:  # through the Service to itself, a pod is masqueraded as its node
                assert answer["client_address"] == addresses[1]
            if len(answered) == 2:
                break
        assert answered == set(pods(kubectl_dual))


def test_a_headless_service_has_the_addresses_of_both_families(cluster: Command, kubectl_dual: Kubectl) -> None:
    wanted = pods(kubectl_dual)
    for kind, at in (("A", 0), ("AAAA", 1)):
        query = ("dig", "+short", "@10.96.0.10", kind, "headless.default.svc.cluster.local")
        found = cluster("exec", "--from", "node/node-1", "--", *query).stdout.split()
        assert sorted(found) == sorted(addresses[at] for addresses in wanted.values())


def test_a_service_gains_a_second_family_and_gives_it_back(kubectl_dual: Kubectl) -> None:
    def spec() -> dict[str, list[str]]:
        return kubectl_dual.json("get", "service", "single")["spec"]

    def slices() -> list[str]:
        selector = "kubernetes.io/service-name=single"
        return sorted(
            each["addressType"] for each in kubectl_dual.json("get", "endpointslices", "-l", selector)["items"]
        )

    def patch(policy: str) -> None:
        change = json.dumps({"spec": {"ipFamilyPolicy": policy}})
        kubectl_dual("patch", "service", "single", "--type", "merge", "-p", change)

    before = spec()["clusterIPs"]
    patch("RequireDualStack")
    assert (spec()["clusterIPs"][:1], families(spec()["clusterIPs"])) == (before, [4, 6])
    wait_until(lambda: slices() == ["IPv4", "IPv6"], "a slice for each family")
    patch("SingleStack")
    assert (spec()["clusterIPs"], spec()["ipFamilies"]) == (before, ["IPv4"])
    wait_until(lambda: slices() == ["IPv4"], "the second family's slice going")


def test_a_cluster_can_have_ipv4_alone(own: Command) -> None:
    own("up", "--nodes", "1", "--detach", "--ip-family", "ipv4")
    found = own("exec", "--from", "node/node-1", "--", "ip", "-6", "-o", "addr", "show", "dev", "eth0").stdout
    assert found == ""
