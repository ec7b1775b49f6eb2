"""Network policies as users meet them: kubectl's answers, Events of denied packets, and a running cluster asked."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Kubectl, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]
SPACE = "policed"
WORLD = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {SPACE}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, namespace: {SPACE}, labels: {{app: web}}}}
spec: {{nodeName: node-1, containers: [{{name: c, image: example/web, ports: [{{name: http, containerPort: 8080}}]}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: db, namespace: {SPACE}, labels: {{app: db}}}}
spec: {{nodeName: node-2, containers: [{{name: c, image: example/db, ports: [{{name: sql, containerPort: 5432}}]}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: db, namespace: {SPACE}}}
spec: {{selector: {{app: db}}, ports: [{{port: 5432, targetPort: sql}}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: from-api, namespace: {SPACE}}}
spec:
  podSelector: {{matchLabels: {{app: db}}}}
  ingress:
  - from: [{{podSelector: {{matchLabels: {{app: api}}}}}}]
    ports: [{{port: sql}}]
"""
MISTAKE = f"""
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{name: wrong, namespace: {SPACE}}}
spec:
  podSelector: {{}}
  policyTypes: [Ingress, Outgress]
  ingress: [{{from: [{{podSelector: {{}}, ipBlock: {{cidr: 10.0.0.0/8}}}}], ports: [{{port: 90, endPort: 80}}]}}]
"""


@pytest.fixture(scope="module")
def policed(shop: Command, kubectl: Kubectl) -> Command:
    kubectl("apply", "-f", "-", stdin=WORLD)
    kubectl("wait", "--for=condition=Ready", "pod", "--all", "-n", SPACE, "--timeout=30s")
    return shop


def test_who_owns_a_pod_hears_of_packets_it_was_denied(policed: Command, kubectl: Kubectl) -> None:
    traced = policed("trace", f"pod/{SPACE}/web", f"svc/{SPACE}/db:5432", "--packet", check=False)
    assert traced.returncode == 1, traced.stderr
    assert "sent for real: silence, as traced" in traced.stdout

    def messages() -> list[str]:
        found = kubectl.json("get", "events", "-n", SPACE, "--field-selector", "reason=DeniedByPolicy")["items"]
        return [f"{each['involvedObject']['name']}: {each['message']}" for each in found]

    wait_until(lambda: bool(messages()), "no Event of the denied packets")
    (told,) = messages()
    assert told.startswith("db: ingress denied: TCP from ")
    assert f"({SPACE}/web) to port 5432, by NetworkPolicy {SPACE}/from-api" in told
    assert "DeniedByPolicy" in kubectl("describe", "pod", "db", "-n", SPACE)
    page = policed("exec", "--from", "node/node-2", "--", "curl", "-s", "http://127.0.0.1:10249/metrics").stdout
    counter = 'fairlead_policy_denied_packets_total{direction="ingress",policy="NetworkPolicy policed/from-api"}'
    assert counter in page


def test_kubectl_says_what_is_wrong_with_a_policy(policed: Command, kubectl: Kubectl) -> None:
    refused = kubectl.run("apply", "-f", "-", stdin=MISTAKE, check=False)
    assert refused.returncode == 1
    assert [line.removeprefix("* ") for line in refused.stderr.strip().splitlines()] == [
        'The NetworkPolicy "wrong" is invalid: ',
        "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
        "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        'spec.policyTypes[1]: Unsupported value: "Outgress": supported values: "Ingress", "Egress"',
    ]


def test_a_running_cluster_is_asked_and_judged(policed: Command) -> None:
    found = json.loads(policed("reach", "--to", f"svc/{SPACE}/db", "-o", "json").stdout)
    assert found == [], "nobody is labelled app=api"
    why = policed("reach", "--from", f"{SPACE}/web", "--to", f"{SPACE}/db", "--explain").stdout
    assert f"isolated by {SPACE}/from-api, and no rule allows it" in why
    judged = policed("lint", "-o", "json")
    fields = {f"{each['origin']['name']} {each['origin']['field']}" for each in json.loads(judged.stdout)}
    assert "from-api spec.ingress[0].from[0]" in fields


NEWCOMERS = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: default}
spec: {podSelector: {matchLabels: {app: closed}}, policyTypes: [Egress]}
"""
NEWCOMER = """
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: default}
spec:
  replicas: 5
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      initContainers:
      - name: first
        image: tools
        command: [bash, -c, "timeout 1 bash -c '</dev/tcp/10.96.0.10/53' && echo out || echo in"]
      containers: [{name: c, image: example/c}]
"""


@pytest.fixture(scope="module")
def newcomers(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Command, Kubectl]]:
    """A cluster whose pods run bash, with five pods that a policy isolates and five that none does."""
    command = Command(tmp_path_factory.mktemp("newcomers"))
    command("up", "--nodes", "2", "--detach", "--image", "tools*=/bin/bash", "--timeout", "60")
    mine = Kubectl(kubectl.binary, Path(command("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("home"))
    mine("apply", "-f", "-", stdin=NEWCOMERS + "".join(NEWCOMER.replace("NAME", each) for each in ("closed", "open")))
    for name in ("closed", "open"):
        mine("rollout", "status", f"deployment/{name}", "--timeout=60s")
    yield command, mine
    command("down", "--all", check=False)


def test_a_new_pod_is_isolated_before_its_first_process_runs(newcomers: tuple[Command, Kubectl]) -> None:
    """Init containers that open a connection as the first thing they do; those without a policy reach the DNS."""
    _, kubectl = newcomers
    for name, wanted in (("closed", "in"), ("open", "out")):
        said = kubectl("logs", "-l", f"app={name}", "-c", "first", "--tail=1").split()
        assert said == [wanted] * 5, name


def test_policies_stay_enforced_while_the_agent_is_dead_and_when_it_starts(newcomers: tuple[Command, Kubectl]) -> None:
    command, kubectl = newcomers
    found = [pod for pod in kubectl.json("get", "pods")["items"] if pod["spec"]["nodeName"] == "node-1"]
    asking = {
        name: subprocess.Popen(
            command.argv(
                "exec",
                "--from",
                f"pod/default/{pod['metadata']['name']}",
                "--",
                "bash",
                "-c",
                KEEP_ASKING.replace("SECONDS", patience),
            ),
            env=command.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, patience in (("closed", "0.1"), ("open", "5"))
        for pod in [next(pod for pod in found if pod["metadata"]["labels"]["app"] == name)]
    }
    said: dict[str, list[str]] = {name: [_line(process) for _ in range(5)] for name, process in asking.items()}
    killed = _agent(command)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: _agent(command) not in (0, killed), "the agent is started again")
    for name, process in asking.items():
        said[name] += [_line(process) for _ in range(20)]
        process.terminate()
        process.communicate(timeout=20)
    assert {name: set(words) for name, words in said.items()} == {"closed": {"in"}, "open": {"out"}}


KEEP_ASKING = """
while true; do timeout SECONDS bash -c '</dev/tcp/10.96.0.10/53' 2>&- && echo out || echo in; sleep 0.02; done
"""


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _agent(command: Command) -> int:
    """The process of node-1's agent, 0 while there is none."""
    keeper = json.loads((command.home / "fairlead" / "cluster.json").read_text())["keeper"]
    return next((pid for pid in _descendants(keeper) if _named(pid) == "agent-node-1"), 0)


def _named(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _descendants(pid: int) -> list[int]:
    try:
        children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return children + [each for child in children for each in _descendants(child)]
