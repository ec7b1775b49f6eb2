"""`fairlead trace` beside a running cluster: what it tells is what the kernel does."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import SHOP, Command, Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

EMPTY = """
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: shop}
spec:
  selector: {app.kubernetes.io/name: nobody}
  ports: [{port: 80}]
"""


def trace(shop: Command, *words: str, code: int) -> dict[str, Any]:
    done = shop("trace", *words, "-o", "json", check=False)
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def web_pod(kubectl: Kubectl) -> str:
    return kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"][0]["metadata"]["name"]


def test_a_node_port_is_delivered_from_the_client(shop: Command) -> None:
    answer = trace(shop, "client", "http://172.18.0.2:30080/", "--packet", code=0)
    assert answer["disposition"] == "delivered"
    assert answer["sent"] == {"outcome": "answered", "agrees": True}
    assert len(answer["ends"]) == 3
    assert {end["seen_as"] for end in answer["ends"]} == {"172.18.0.2"}
    steps = [step for hop in answer["ends"][0]["hops"] for step in hop["steps"]]
    fields = {step["origin"]["field"] for step in steps if step["origin"]}
    assert fields == {"spec.ports[0].nodePort"}
    assert answer["ends"][0]["origin"]["kind"] == "EndpointSlice"


def test_a_service_is_delivered_from_a_pod_that_keeps_its_address(shop: Command, kubectl: Kubectl) -> None:
    pod = web_pod(kubectl)
    port = kubectl.json("get", "service", "api", "-n", "shop")["spec"]["ports"][0]["port"]
    answer = trace(shop, f"pod/shop/{pod}", f"svc/shop/api:{port}", "--packet", code=0)
    assert answer["sent"] == {"outcome": "answered", "agrees": True}
    address = kubectl.json("get", "pod", pod, "-n", "shop")["status"]["podIP"]
    assert {end["seen_as"] for end in answer["ends"]} == {address}
    assert all(end["place"].startswith("pod/shop/api-") for end in answer["ends"])


def test_a_cluster_ip_has_no_route_from_the_client(shop: Command) -> None:
    answer = trace(shop, "client", "svc/shop/web:80", "--packet", code=1)
    assert answer["disposition"] == "no route"
    assert answer["sent"] == {"outcome": "unreachable", "agrees": True}


def test_a_port_nobody_opened_has_no_listener(shop: Command) -> None:
    answer = trace(shop, "client", "172.18.0.3:30999", "--packet", code=1)
    assert answer["disposition"] == "no listener"
    assert answer["sent"] == {"outcome": "refused", "agrees": True}


def test_a_datagram_sent_for_real_is_one_that_dns_answers(shop: Command) -> None:
    answer = trace(shop, "node/node-1", "svc/kube-system/kube-dns:53", "--proto", "udp", "--packet", code=0)
    assert (answer["disposition"], answer["sent"]) == ("delivered", {"outcome": "answered", "agrees": True})


@pytest.fixture
def nobody(kubectl: Kubectl) -> Iterator[None]:
    """A Service that no pod serves."""
    kubectl("apply", "-f", "-", stdin=EMPTY)
    yield
    kubectl("delete", "-f", "-", stdin=EMPTY)


@pytest.mark.usefixtures("nobody")
def test_a_service_without_endpoints_rejects(shop: Command) -> None:
    def refused() -> bool:
        return trace(shop, "node/node-1", "svc/shop/nobody:80", "--packet", code=1)["sent"]["outcome"] == "refused"

    wait_until(refused, "the Service is programmed")
    answer = trace(shop, "node/node-1", "svc/shop/nobody:80", "--packet", code=1)
    assert answer["disposition"] == "rejected"
    assert answer["sent"] == {"outcome": "refused", "agrees": True}
    assert "no pod matches the selector" in answer["ends"][0]["reason"]

    def silent() -> bool:
        unallocated = trace(shop, "node/node-1", "10.96.200.200:80", "--packet", code=1)
        return unallocated["disposition"] == "dropped" and unallocated["sent"]["agrees"]

    wait_until(silent, "an address no Service has is dropped")


def test_the_text_names_rule_row_and_field(shop: Command) -> None:
    done = shop("trace", "client", "172.18.0.2:30080")
    assert "vmap @frontends" in done.stdout
    assert "row frontends: 172.18.0.2 . tcp . 30080 : goto external-3" in done.stdout
    assert "from Service shop/web spec.ports[0].nodePort" in done.stdout


def test_the_exit_code_tells_a_wrong_word_from_a_missing_thing(shop: Command) -> None:
    def code(*words: str) -> subprocess.CompletedProcess[str]:
        return shop("trace", *words, check=False)

    assert code("nowhere", "172.18.0.2:30080").returncode == 2
    assert code("client", "svc/shop/web").returncode == 2
    assert code("client", "svc/shop/absent:80").returncode == 3
    assert "svc/shop/web" in code("client", "svc/shop/absent:80").stderr


def test_manifests_alone_are_enough(own: Command) -> None:
    answer = trace(own, "pod/shop/web-0", "svc/shop/api:8080", "-f", str(SHOP), code=0)
    assert [end["place"] for end in answer["ends"]] == ["pod/shop/api-0", "pod/shop/api-1"]
    assert trace(own, "client", "svc/shop/web:80", "-f", str(SHOP), code=1)["disposition"] == "no route"
    assert own("trace", "client", "172.18.0.2:30080", "-f", "absent.yaml", check=False).returncode == 3
    assert own("trace", "client", "172.18.0.2:30080", "-f", str(SHOP), "--packet", check=False).returncode == 2
    assert own("trace", "client", "172.18.0.2:30080", check=False).returncode == 3
