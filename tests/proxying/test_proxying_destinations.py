"""Whom a proxied request is for, and how it is refused."""

import pytest

from fairlead.cluster.apiserver.destinations import find_destination
from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.kube.documents import Document, Json


def address(ip: str, pod: str, namespace: str = "shop", kind: str = "Pod") -> Json:
    return {"ip": ip, "targetRef": {"kind": kind, "namespace": namespace, "name": pod}}


def pod(ip: str, *ports: Document) -> Document:
    containers: list[Json] = [{"name": "side"}, {"name": "app", "ports": list(ports)}]
    return {"spec": {"containers": containers}, "status": {"podIP": ip}}


OBJECTS: dict[tuple[str, str, str], Document] = {
    ("services", "shop", "web"): {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}},
    ("services", "shop", "plain"): {"spec": {"ports": [{"port": 80}]}},
    ("services", "shop", "idle"): {"spec": {"ports": [{"name": "http", "port": 80}]}},
    ("services", "shop", "new"): {"spec": {"ports": [{"port": 80}]}},
    ("endpoints", "shop", "web"): {
        "subsets": [
            {
                "addresses": [address("10.244.1.2", "a"), address("10.244.1.3", "b")],
                "notReadyAddresses": [address("10.244.1.4", "c")],
                "ports": [{"name": "http", "port": 8080}],
            },
            {"notReadyAddresses": [address("10.244.1.2", "a")], "ports": [{"name": "admin", "port": 9090}]},
        ]
    },
    ("endpoints", "shop", "plain"): {
        "subsets": [
            {
                "addresses": [
                    {"ip": "10.0.0.1"},
                    address("10.0.0.2", "a"),
                    address("10.244.1.2", "a", namespace="other"),
                    address("10.244.1.2", "a", kind="Node"),
                    address("10.244.1.9", "gone"),
                    address("10.244.1.3", "b"),
                ],
                "ports": [{"port": 8080}],
            }
        ]
    },
    ("endpoints", "shop", "idle"): {"subsets": []},
    ("pods", "shop", "a"): pod("10.244.1.2", {"name": "web", "containerPort": 8080}, {"name": "x", "containerPort": 9}),
    ("pods", "shop", "b"): pod("10.244.1.3"),
    ("pods", "shop", "local"): pod("127.0.0.1"),
    ("pods", "shop", "waiting"): pod(""),
    ("pods", "shop", "six"): pod("fd00::5"),
    ("nodes", "", "node-1"): {
        "status": {"addresses": [{"type": "Hostname", "address": "x"}, {"type": "InternalIP", "address": "172.18.0.2"}]}
    },
}


def read(resource: str, namespace: str, name: str) -> Document | None:
    return OBJECTS.get((resource, namespace, name))


def find(resource: str, text: str, first: int = 0) -> str:
    namespace = "" if resource == "nodes" else "shop"
    found = find_destination(resource, namespace, text, read, lambda among: first % among)
    return f"{found.scheme}://{found.authority}"


@pytest.mark.parametrize(
    ("resource", "text", "expected"),
    [
        ("services", "web:http", "http://10.244.1.2:8080"),
        ("services", "web:80", "http://10.244.1.2:8080"),
        ("services", "http:web:80", "http://10.244.1.2:8080"),
        ("services", "https:web:http", "https://10.244.1.2:8080"),
        ("services", "plain", "http://10.244.1.3:8080"),
        ("services", "https:plain:", "https://10.244.1.3:8080"),
        ("pods", "a", "http://10.244.1.2:8080"),
        ("pods", "a:9", "http://10.244.1.2:9"),
        ("pods", "a:x", "http://10.244.1.2:9"),
        ("pods", "https:a:", "https://10.244.1.2:8080"),
        ("pods", "b", "http://10.244.1.3:80"),
        ("pods", "six:81", "http://[fd00::5]:81"),
        ("nodes", "node-1", "https://172.18.0.2:10250"),
        ("nodes", "node-1:9100", "http://172.18.0.2:9100"),
    ],
)
def test_destination(resource: str, text: str, expected: str):
    assert find(resource, text) == expected


def test_every_ready_pod_gets_its_turn():
    assert {find("services", "web:http", first) for first in range(4)} == {
        "http://10.244.1.2:8080",
        "http://10.244.1.3:8080",
    }


@pytest.mark.parametrize(
    ("resource", "text", "code", "message"),
    [
        ("services", "web:99", 503, 'no service port 99 found for service "web"'),
        ("services", "web", 503, 'no endpoints available for service "web"'),
        ("services", "web:none", 503, 'no endpoints available for service "web:none"'),
        ("services", "web:81", 503, 'no endpoints available for service "web:81"'),
        ("services", "idle:http", 503, 'no endpoints available for service "idle"'),
        ("services", "new", 404, 'endpoints "new" not found'),
        ("services", "nobody:80", 404, 'services "nobody" not found'),
        ("services", "ftp:web:80", 400, 'invalid service request "ftp:web:80"'),
        ("services", "a:b:c:d", 400, 'invalid service request "a:b:c:d"'),
        ("services", ":80", 400, 'invalid service request ":80"'),
        ("pods", "ftp:a:80", 400, 'invalid pod request "ftp:a:80"'),
        ("pods", "gone", 404, 'pods "gone" not found'),
        ("pods", "local", 400, "address not allowed"),
        ("pods", "waiting", 400, "address not allowed"),
        ("pods", "a:none", 400, 'pod "a" has no port named "none"'),
        ("nodes", "node-9", 404, 'nodes "node-9" not found'),
    ],
)
def test_refusal(resource: str, text: str, code: int, message: str):
    with pytest.raises(StatusError) as refusal:
        find(resource, text)
    assert (refusal.value.code, refusal.value.message) == (code, message)
