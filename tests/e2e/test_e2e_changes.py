"""What changes in the API is followed by the kernel, quickly, and nothing else is touched."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from conftest import Command, Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster]

ECHO = """
apiVersion: v1
kind: Namespace
metadata: {name: changes}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: changes}
spec:
  replicas: 2
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers:
      - name: echo
        image: example/echo:1
        ports: [{name: http, containerPort: 8080}, {name: admin, containerPort: 9090}]
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: changes}
spec:
  selector: {app: echo}
  ports: [{name: http, port: 80, targetPort: http}]
"""


@pytest.fixture
def echo(kubectl: Kubectl) -> str:
    """A service with two pods in a namespace of its own; its ClusterIP."""
    kubectl("apply", "-f", "-", stdin=ECHO)
    kubectl("rollout", "status", "deployment/echo", "-n", "changes", "--timeout=30s")
    return str(kubectl.json("get", "service", "echo", "-n", "changes")["spec"]["clusterIP"])


LONG_LIVED = """
import socket, sys, time
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3) as connection:
    print("connected", flush=True)
    for number in range(150):
        connection.sendall(b"~%d" % number)
        assert connection.recv(64) == b"~%d" % number
        time.sleep(0.02)
print("kept", flush=True)
"""


def fetch(shop: Command, url: str, place: str = "node/node-1") -> subprocess.CompletedProcess[str]:
    return shop("exec", "--from", place, "--", "curl", "-sS", "--max-time", "2", url, check=False)


def answers(shop: Command, url: str) -> Callable[[], bool]:
    return lambda: fetch(shop, url).returncode == 0


def test_scaling_to_zero_refuses_and_back_answers(shop: Command, kubectl: Kubectl, echo: str) -> None:
    url = f"http://{echo}/"
    wait_until(answers(shop, url), "the service answers")
    kubectl("scale", "deployment/echo", "-n", "changes", "--replicas=0")
    wait_until(lambda: "refused" in fetch(shop, url).stderr.lower() or fetch(shop, url).returncode == 7, "it refuses")
    kubectl("scale", "deployment/echo", "-n", "changes", "--replicas=2")
    wait_until(answers(shop, url), "it answers again")


def test_a_deleted_pod_is_replaced_without_a_failed_request(shop: Command, kubectl: Kubectl, echo: str) -> None:
    url = f"http://{echo}/"
    wait_until(answers(shop, url), "the service answers")
    script = f"for i in $(seq 200); do curl -sS --max-time 2 {url} >/dev/null || echo FAILED; done; echo done"
    with subprocess.Popen(
        shop.argv("exec", "--from", "node/node-2", "--", "sh", "-c", script),
        env=shop.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as load:
        pod = kubectl.json("get", "pods", "-n", "changes", "-l", "app=echo")["items"][0]["metadata"]["name"]
        kubectl("delete", "pod", pod, "-n", "changes", "--wait=false")
        out, err = load.communicate(timeout=90)
    assert out.splitlines()[-1] == "done"
    assert "FAILED" not in out, err


def test_a_port_that_moves_to_another_name_and_number_is_followed(shop: Command, kubectl: Kubectl, echo: str) -> None:
    ports = '[{"port":80,"$patch":"delete"},{"name":"admin","port":81,"targetPort":"admin"}]'
    patch = f'{{"spec":{{"ports":{ports}}}}}'
    kubectl("patch", "service", "echo", "-n", "changes", "-p", patch)
    wait_until(answers(shop, f"http://{echo}:81/"), "the new port answers")
    assert '"port":9090' in fetch(shop, f"http://{echo}:81/").stdout.replace(" ", "")
    wait_until(lambda: fetch(shop, f"http://{echo}:80/").returncode != 0, "the old port is gone")


def test_type_node_port_and_back(shop: Command, kubectl: Kubectl, echo: str) -> None:
    kubectl("patch", "service", "echo", "-n", "changes", "-p", '{"spec":{"type":"NodePort"}}')
    port = kubectl.json("get", "service", "echo", "-n", "changes")["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    url = f"http://172.18.0.3:{port}/"
    wait_until(lambda: fetch(shop, url, "client").returncode == 0, "the node port answers")
    kubectl("patch", "service", "echo", "-n", "changes", "-p", '{"spec":{"type":"ClusterIP"}}')
    wait_until(lambda: fetch(shop, url, "client").returncode != 0, "the node port is closed")
    assert kubectl.json("get", "service", "echo", "-n", "changes")["spec"]["ports"][0].get("nodePort") is None
    assert fetch(shop, f"http://{echo}:{80}/").returncode in (0, 7)


def test_connections_of_other_services_are_not_touched_by_changes(shop: Command, kubectl: Kubectl, echo: str) -> None:
    web = kubectl.json("get", "service", "web", "-n", "shop")["spec"]
    argv = ("exec", "--from", "node/node-1", "--", sys.executable, "-c", LONG_LIVED)
    with subprocess.Popen(
        shop.argv(*argv, web["clusterIP"], str(web["ports"][0]["port"])),
        env=shop.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as connection:
        assert connection.stdout is not None
        assert connection.stdout.readline() == "connected\n"
        kubectl("scale", "deployment/echo", "-n", "changes", "--replicas=0")
        kubectl("patch", "service", "echo", "-n", "changes", "-p", '{"spec":{"type":"NodePort"}}')
        kubectl("scale", "deployment/echo", "-n", "changes", "--replicas=3")
        kubectl("delete", "service", "echo", "-n", "changes")
        out, err = connection.communicate(timeout=30)
    assert out == "kept\n", err
