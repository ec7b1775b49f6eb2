"""The first story: boot, deploy, reach a service, on real packets."""

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import Command, Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

# chi-square quantiles at p = 0.001 for 1 to 10 degrees of freedom
CHI_SQUARE = (10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32, 26.12, 27.88, 29.59)
NODE_PORT = "http://172.18.0.2:30080/"


def test_a_node_port_answers_from_a_pod(shop: Command) -> None:
    answer = shop.curl(NODE_PORT + "cart?item=7")
    assert answer["namespace"] == "shop"
    assert answer["pod"].startswith("web-")
    assert answer["path"] == "/cart?item=7"
    assert answer["method"] == "GET"
    assert answer["host"] == "172.18.0.2:30080"
    assert answer["headers"]["Host"] == "172.18.0.2:30080"
    assert answer["node"].startswith("node-")
    assert answer["pod_ip"].startswith("10.244.")
    assert answer["client_port"] > 0


@pytest.mark.parametrize("node", [2, 3, 4])
def test_the_node_port_is_open_on_every_node(shop: Command, node: int) -> None:
    assert shop.curl(f"http://172.18.0.{node}:30080/")["pod"].startswith("web-")


def test_three_hundred_requests_spread_evenly_over_every_ready_pod(shop: Command) -> None:
    script = f"for i in $(seq 300); do curl -sS --max-time 5 {NODE_PORT} || echo FAILED; echo; done"
    lines = shop("exec", "--from", "client", "--", "sh", "-c", script).stdout.splitlines()
    counts = Counter(json.loads(line)["pod"] for line in lines if line.strip())
    assert counts.total() == 300
    ready = 3
    assert len(counts) == ready
    expected = 300 / ready
    assert sum((n - expected) ** 2 / expected for n in counts.values()) < CHI_SQUARE[ready - 2]


def test_a_cluster_ip_is_not_reachable_from_outside(shop: Command, kubectl: Kubectl) -> None:
    address = kubectl.json("get", "service", "web", "-n", "shop")["spec"]["clusterIP"]
    done = shop("exec", "--from", "client", "--", "curl", "-sS", "--max-time", "3", f"http://{address}/", check=False)
    assert done.returncode != 0
    port = kubectl.json("get", "service", "web", "-n", "shop")["spec"]["ports"][0]["port"]
    inside = shop.curl(f"http://{address}:{port}/", place="node/node-1")
    assert inside["pod"].startswith("web-")


def test_a_pod_reaches_a_service_by_its_name_and_keeps_its_address(shop: Command, kubectl: Kubectl) -> None:
    pods = kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"]
    pod = pods[0]
    port = kubectl.json("get", "service", "api", "-n", "shop")["spec"]["ports"][0]["port"]
    answer = shop.curl(f"http://api:{port}/", place=f"pod/shop/{pod['metadata']['name']}")
    assert answer["pod"].startswith("api-")
    assert answer["client_address"] == pod["status"]["podIP"]


def test_a_pod_reaches_itself_through_its_service(shop: Command, kubectl: Kubectl) -> None:
    pod = kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"][0]
    name = pod["metadata"]["name"]
    service = kubectl.json("get", "service", "web", "-n", "shop")["spec"]
    url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/"
    script = f"for i in $(seq 40); do curl -sS --max-time 5 {url}; echo; done"
    answers = shop("exec", "--from", f"pod/shop/{name}", "--", "sh", "-c", script).stdout.split("\n")
    served = {json.loads(line)["pod"] for line in answers if line.strip()}
    assert name in served


def test_the_api_is_reachable_from_a_pod_through_its_service(shop: Command, kubectl: Kubectl) -> None:
    pod = kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"][0]
    place = f"pod/shop/{pod['metadata']['name']}"
    done = shop("exec", "--from", place, "--", "curl", "-sSk", "https://kubernetes.default.svc/version")
    assert json.loads(done.stdout)["major"] == "1"


def test_a_headless_service_answers_with_pod_addresses(shop: Command, kubectl: Kubectl) -> None:
    headless = [s for s in kubectl.json("get", "services", "-A")["items"] if s["spec"].get("clusterIP") == "None"]
    assert headless
    meta = headless[0]["metadata"]
    pods = kubectl.json("get", "pods", "-n", meta["namespace"], "-l", _selector(headless[0]["spec"]["selector"]))
    expected = {pod["status"]["podIP"] for pod in pods["items"]}
    web = kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"][0]
    name = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
    place = f"pod/shop/{web['metadata']['name']}"
    done = shop("exec", "--from", place, "--", "dig", "+short", name)
    assert set(done.stdout.split()) == expected


def _selector(labels: dict[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())


def test_the_ruleset_of_a_node_reads_well(shop: Command) -> None:
    listed = shop("exec", "--from", "node/node-1", "--", "nft", "list", "ruleset").stdout
    assert "table ip fairlead" in listed
    assert "172.18.0.2 . tcp . 30080 : goto" in listed
    assert "numgen random mod 3" in listed


def test_status_and_kubeconfig_tell_how_to_reach_it(shop: Command) -> None:
    told = json.loads(shop("status", "-o", "json").stdout)
    assert [node["address"] for node in told["nodes"]] == ["172.18.0.2", "172.18.0.3", "172.18.0.4"]
    assert any(s["name"] == "web" and "30080" in " ".join(s["reach"]) for s in told["services"])
    assert Path(shop("kubeconfig").stdout.strip()).is_file()


def test_the_api_server_hands_requests_to_pods(shop: Command, kubectl: Kubectl) -> None:
    raw = json.loads(kubectl("get", "--raw", "/api/v1/namespaces/shop/services/web:http/proxy/x?y=1"))
    assert raw["pod"].startswith("web-")
    assert raw["path"] == "/x?y=1"
    pod = kubectl.json("get", "pods", "-n", "shop", "-l", "app.kubernetes.io/name=web")["items"][0]["metadata"]["name"]
    assert json.loads(kubectl("get", "--raw", f"/api/v1/namespaces/shop/pods/{pod}/proxy/"))["pod"] == pod


def test_logs_of_a_stand_in_show_its_requests(shop: Command, kubectl: Kubectl) -> None:
    answer = shop.curl(NODE_PORT + "remember-me")
    wait_until(
        lambda: "/remember-me" in kubectl("logs", "-n", "shop", answer["pod"]), "the request stands in the pod's log"
    )
