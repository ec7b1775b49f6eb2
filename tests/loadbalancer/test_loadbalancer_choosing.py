"""Is what docs/choosing.md says true? Each cell of its table is a test here, or one that the page names elsewhere.

Also that every test the page names exists.
"""

import ast
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from balancer_cluster import Cluster, Document, eventually

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "choosing.md"
kernel = [pytest.mark.kernel, pytest.mark.cluster]
NODES = ("172.18.0.2", "172.18.0.3", "172.18.0.4")
ECHO = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[3] == "udp" else socket.SOCK_STREAM
with socket.socket(socket.AF_INET, kind) as dialled:
    dialled.settimeout(3)
    dialled.connect((sys.argv[1], int(sys.argv[2])))
    dialled.send(b"\\x00\\x01 no protocol anybody knows")
    print(len(dialled.recv(4096)))
"""

NO_HTTP = """
import socket, sys
with socket.create_connection((sys.argv[1], 80), 3) as dialled:
    dialled.settimeout(3)
    dialled.send(b"no http\\r\\n\\r\\n")
    print(dialled.recv(99))
"""


def test_every_test_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/\S+\.py)::(test_\w+)`", PAGE.read_text())
    assert len(named) > 20
    for file, function in named:
        tree = ast.parse((REPOSITORY / file).read_text())
        there = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert function in there, f"{file} has no {function}"


def test_no_cell_of_the_table_is_without_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "---" not in line]
    head, *cells = rows
    assert [each.strip() for each in head.strip("|").split("|")][1:] == [
        "ClusterIP",
        "NodePort",
        "LoadBalancer",
        "Ingress",
    ]
    notes = set(re.findall(r"^- \*\*(\w+)\*\*", PAGE.read_text(), re.MULTILINE))
    for row in cells:
        for cell in row.strip("|").split("|")[1:]:
            marks = re.findall(r"\(([a-z]\d+)\)", cell)
            assert marks, f"{cell.strip()!r} names no test"
            assert set(marks) <= notes, f"{cell.strip()!r} names a note that is not there"


@pytest.fixture(scope="module")
def cluster(balanced: Cluster) -> Iterator[Cluster]:
    balanced.apply(made("inner", "ClusterIP"), made("ported", "NodePort"), made("balanced", "LoadBalancer"))
    eventually(lambda: balanced.backends(balanced.address("balanced"), 80), "rows")
    yield balanced
    for name in ("inner", "ported", "balanced"):
        balanced.kubectl("delete", "service", name)


def made(name: str, kind: str, **spec: Any) -> Document:
    ports = [
        {"name": "tcp", "port": 80, "targetPort": 8080},
        {"name": "udp", "port": 81, "targetPort": 8081, "protocol": "UDP"},
    ]
    whole = {"type": kind, "selector": {"app": "web"}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": whole}


def echoes(cluster: Cluster, place: str, address: str, port: int, kind: str = "tcp") -> bool:
    """Whether bytes of no known protocol are answered."""
    return cluster.near(place, sys.executable, "-c", ECHO, address, str(port), kind, check=False).strip().isdigit()


def node_ports(cluster: Cluster) -> tuple[int, int]:
    tcp, udp = cluster.get("service", "ported")["spec"]["ports"]
    return tcp["nodePort"], udp["nodePort"]


def cluster_ip(cluster: Cluster, name: str) -> str:
    return cluster.get("service", name)["spec"]["clusterIP"]


@pytest.mark.kernel
@pytest.mark.cluster
class TestClusterIP:
    """The column ClusterIP."""

    def test_clusterip_works_with_nothing_but_the_cluster(self, cluster: Cluster) -> None:
        assert echoes(cluster, "node/node-2", cluster_ip(cluster, "inner"), 80)

    def test_clusterip_carries_any_bytes_over_tcp_and_udp(self, cluster: Cluster) -> None:
        address = cluster_ip(cluster, "inner")
        assert echoes(cluster, "node/node-1", address, 80)
        assert echoes(cluster, "node/node-1", address, 81, "udp")

    def test_clusterip_is_not_reachable_from_outside(self, cluster: Cluster) -> None:
        assert not echoes(cluster, "client", cluster_ip(cluster, "inner"), 80)

    def test_clusterip_addresses_belong_to_one_service(self, cluster: Cluster) -> None:
        twin = json.dumps(made("twin", "ClusterIP", clusterIP=cluster_ip(cluster, "inner")))
        assert "provided IP is already allocated" in cluster.kubectl("create", "-f", "-", stdin=twin, check=False)

    def test_clusterip_costs_an_address_of_the_cluster_alone(self, cluster: Cluster) -> None:
        found = cluster.get("service", "inner")
        assert found["spec"]["clusterIP"].startswith("10.96.")
        assert found["status"]["loadBalancer"] == {}
        assert not any("nodePort" in port for port in found["spec"]["ports"])

    def test_clusterip_shows_pods_who_asks_inside(self, cluster: Cluster) -> None:
        (pod, *_) = cluster.read("/api/v1/namespaces/default/pods?labelSelector=app%3Dweb")["items"]
        place = f"pod/default/{pod['metadata']['name']}"
        url = f"http://{cluster_ip(cluster, 'inner')}/"
        for _ in range(10):
            told = json.loads(cluster.near(place, "curl", "-sS", "--max-time", "3", url))
            if (
                told["pod"] != pod["metadata"]["name"]
            ):  # a pod that reaches itself is masqueraded, or it could not answer
                assert told["client_address"] == pod["status"]["podIP"]

    def test_clusterip_stays_when_its_pods_are_replaced(self, cluster: Cluster) -> None:
        address = cluster_ip(cluster, "inner")
        cluster.kubectl("delete", "pods", "-l", "app=web", "--wait=false", "--grace-period=1")
        cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        assert cluster_ip(cluster, "inner") == address
        eventually(lambda: echoes(cluster, "node/node-3", address, 80), "an answer of new pods")


@pytest.mark.kernel
@pytest.mark.cluster
class TestNodePort:
    """The column NodePort."""

    def test_nodeport_is_reachable_from_outside_at_every_node(self, cluster: Cluster) -> None:
        tcp, udp = node_ports(cluster)
        for node in NODES:
            assert echoes(cluster, "client", node, tcp)
            assert echoes(cluster, "client", node, udp, "udp")

    def test_nodeport_has_no_address_of_its_own_and_a_port_of_the_range(self, cluster: Cluster) -> None:
        assert all(30000 <= port <= 32767 for port in node_ports(cluster))
        assert cluster.get("service", "ported")["status"]["loadBalancer"] == {}
        low = made("low", "NodePort", ports=[{"port": 80, "nodePort": 80}])
        told = cluster.kubectl("create", "-f", "-", stdin=json.dumps(low), check=False)
        assert "The range of valid ports is 30000-32767" in told

    def test_nodeport_cannot_be_shared(self, cluster: Cluster) -> None:
        tcp, _ = node_ports(cluster)
        twin = made("twin", "NodePort", ports=[{"port": 80, "nodePort": tcp}])
        told = cluster.kubectl("create", "-f", "-", stdin=json.dumps(twin), check=False)
        assert "provided port is already allocated" in told

    def test_nodeport_hides_the_client_unless_the_policy_is_local(self, cluster: Cluster) -> None:
        tcp, _ = node_ports(cluster)
        assert set(cluster.dial(NODES[0], tcp, 20)["seen"]) <= set(NODES)
        cluster.kubectl("patch", "service", "ported", "-p", '{"spec":{"externalTrafficPolicy":"Local"}}')
        eventually(lambda: set(cluster.dial(NODES[0], tcp, 5)["seen"]) == {"198.51.100.2"}, "the client to be seen")


@pytest.mark.kernel
@pytest.mark.cluster
class TestLoadBalancer:
    """The column LoadBalancer."""

    def test_loadbalancer_without_a_provider_stays_pending(self, cluster: Cluster) -> None:
        cluster.apply(made("orphan", "LoadBalancer", loadBalancerClass="example.com/nobody"))
        cluster.apply(made("served", "LoadBalancer"))
        cluster.address("served")
        assert cluster.addresses("orphan") == []
        assert "<pending>" in cluster.kubectl("get", "service", "orphan")
        cluster.kubectl("delete", "service", "orphan", "served")

    def test_loadbalancer_carries_any_bytes_over_tcp_and_udp(self, cluster: Cluster) -> None:
        address = cluster.address("balanced")
        assert echoes(cluster, "client", address, 80)
        assert echoes(cluster, "client", address, 81, "udp")

    def test_loadbalancer_carries_websockets(self, cluster: Cluster) -> None:
        headers = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
        words = [
            word for header in (*headers, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==") for word in ("-H", header)
        ]
        url = f"http://{cluster.address('balanced')}/"
        told = cluster.near("client", "curl", "-siN", "--max-time", "0.5", *words, url, check=False)
        assert told.startswith("HTTP/1.1 101")

    def test_loadbalancer_costs_an_outside_address_each(self, cluster: Cluster) -> None:
        cluster.apply(made("second", "LoadBalancer"))
        assert cluster.address("second") != cluster.address("balanced")
        assert cluster.address("second").startswith("203.0.113.")
        cluster.kubectl("delete", "service", "second")

    def test_loadbalancer_serves_well_known_ports_at_its_own_address(self, cluster: Cluster) -> None:
        address = cluster.address("balanced")
        assert address not in NODES
        assert cluster.dial(address, 80, 5)["failed"] == 0


def ingress(name: str, *rules: tuple[str, str, str]) -> Document:
    """An Ingress of (host, path, Service) rules."""
    paths = [
        {
            "host": host,
            "http": {
                "paths": [
                    {
                        "path": path,
                        "pathType": "Prefix",
                        "backend": {"service": {"name": to, "port": {"number": 80}}},
                    }
                ]
            },
        }
        for host, path, to in rules
    ]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"rules": paths},
    }


@pytest.fixture(scope="module")
def published(cluster: Cluster) -> Iterator[str]:
    """Two Services behind one Ingress; the address it is reached at."""
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    cluster.apply(ingress("site", ("a.example", "/", "inner"), ("b.example", "/", "ported")))
    address = eventually(lambda: ingress_address(cluster, "site"), "an address of the Ingress", 60)
    eventually(lambda: ask(cluster, address, "a.example").get("pod"), "an answer through the Ingress", 30)
    yield address
    cluster.kubectl("delete", "ingress", "site")


def ingress_address(cluster: Cluster, name: str) -> str:
    found = cluster.get("ingress", name).get("status", {}).get("loadBalancer", {}).get("ingress", [])
    return found[0]["ip"] if found else ""


def ask(cluster: Cluster, address: str, host: str, *options: str, path: str = "/") -> Document:
    told = cluster.near(
        "client",
        "curl",
        "-sS",
        "--max-time",
        "3",
        "-H",
        f"Host: {host}",
        *options,
        f"http://{address}{path}",
        check=False,
    )
    return json.loads(told) if told.startswith("{") else {"text": told}


@pytest.mark.kernel
@pytest.mark.cluster
class TestIngress:
    """The column Ingress, behind one LoadBalancer."""

    def test_ingress_without_a_controller_does_nothing(self, cluster: Cluster, published: str) -> None:
        orphan = ingress("orphan", ("c.example", "/", "inner"))
        orphan["spec"]["ingressClassName"] = "nobody"
        cluster.apply(orphan)
        assert "404" in str(ask(cluster, published, "c.example"))
        assert ingress_address(cluster, "orphan") == ""
        cluster.kubectl("delete", "ingress", "orphan")

    def test_ingress_serves_many_services_at_one_address_by_host(self, cluster: Cluster, published: str) -> None:
        assert ask(cluster, published, "a.example")["host"] == "a.example"
        assert ask(cluster, published, "b.example")["host"] == "b.example"
        assert "404" in str(ask(cluster, published, "elsewhere.example"))
        assert (
            cluster.get("service", "nginx-ingress", "nginx-ingress")["status"]["loadBalancer"]["ingress"][0]["ip"]
            == published
        )

    def test_ingress_understands_http_and_no_other_bytes(self, cluster: Cluster, published: str) -> None:
        assert "400" in cluster.near("client", sys.executable, "-c", NO_HTTP, published)

    def test_ingress_carries_no_raw_udp(self, cluster: Cluster, published: str) -> None:
        assert not echoes(cluster, "client", published, 80, "udp")
        assert not echoes(cluster, "client", published, 81, "udp")

    def test_ingress_shows_pods_the_client_in_a_header(self, cluster: Cluster, published: str) -> None:
        headers = {name.lower(): value for name, value in ask(cluster, published, "a.example")["headers"].items()}
        assert headers["x-real-ip"] == "198.51.100.2"

    def test_ingress_has_the_whole_shop_behind_one_load_balancer(self, cluster: Cluster, published: str) -> None:
        """`examples/shop` with `examples/shop-ingress`, as its README shows it."""
        folders = [word for name in ("shop", "shop-ingress") for word in ("-f", str(REPOSITORY / "examples" / name))]
        cluster.kubectl("apply", *folders)
        try:
            cluster.kubectl("rollout", "status", "deployment/web", "-n", "shop", "--timeout=60s")
            cluster.kubectl("rollout", "status", "deployment/api", "-n", "shop", "--timeout=60s")
            for host, path, name in (
                ("shop.example", "/", "web"),
                ("shop.example", "/api/items", "api"),
                ("api.shop.example", "/", "api"),
            ):
                found = ask(cluster, published, host, path=path)
                deadline = time.monotonic() + 20
                while "headers" not in found and time.monotonic() < deadline:
                    found = ask(cluster, published, host, path=path)
                assert found["pod"].startswith(f"{name}-")
                assert found["path"] == path
                headers = {key.lower(): value for key, value in found["headers"].items()}
                assert headers["x-real-ip"] == headers["x-forwarded-for"] == "198.51.100.2"
            assert cluster.get("ingress", "shop", "shop")["status"]["loadBalancer"]["ingress"][0]["ip"] == published
        finally:
            cluster.kubectl("delete", "--wait=false", *folders)
