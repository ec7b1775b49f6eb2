"""kubectl, oldest and newest: the commands people type, against a cluster with controllers and pods.

Every version from 1.29 to 1.33 under FAIRLEAD_LONG=1; test_e2e_tour.py has more commands.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Kubectl, kubectls, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]


def tour_manifest(namespace: str) -> str:
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: hello, namespace: {namespace}, labels: {{app: hello}}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: hello}}}}
  template:
    metadata: {{labels: {{app: hello}}}}
    spec:
      containers:
      - name: hello
        image: example/hello:1
        ports: [{{name: http, containerPort: 8080}}]
---
apiVersion: v1
kind: Service
metadata: {{name: hello, namespace: {namespace}}}
spec:
  selector: {{app: hello}}
  ports: [{{name: http, port: 80, targetPort: http}}]
"""


def often() -> list[Path]:
    found = kubectls()
    return found if os.environ.get("FAIRLEAD_LONG") else list(dict.fromkeys([*found[:1], *found[-1:]]))


@pytest.fixture(params=often() or [None], ids=lambda path: path.name if path else "none")
def each(request: pytest.FixtureRequest, shop: Command, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Each kubectl in turn, with `namespace` set to one of its own."""
    if request.param is None:
        pytest.skip("no kubectl on this machine")
    binary: Path = request.param
    kubectl = Kubectl(binary, Path(shop("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("home"))
    yield kubectl
    kubectl.run("delete", "namespace", space(kubectl), "--ignore-not-found", "--wait=false", check=False)


def space(kubectl: Kubectl) -> str:
    return "tour-" + kubectl.binary.suffix.strip(".") if kubectl.binary.suffix else "tour"


def test_the_tour(each: Kubectl, tmp_path: Path) -> None:
    namespace = space(each)
    n = ("-n", namespace)
    applied = each("apply", "-f", "-", stdin=tour_manifest(namespace))
    assert "deployment.apps/hello created" in applied
    assert "successfully rolled out" in each("rollout", "status", "deployment/hello", *n, "--timeout=30s")
    again = each("apply", "-f", "-", stdin=tour_manifest(namespace))
    assert again.count("unchanged") == 3

    wide = each("get", "pods", "-o", "wide", *n)
    assert "NODE" in wide.splitlines()[0]
    assert wide.count("Running") == 2
    assert "10.244." in wide
    assert "2/2" in each("get", "deployment", "hello", *n)
    described = each("describe", "deployment", "hello", *n)
    assert "RollingUpdateStrategy" in described
    assert "ScalingReplicaSet" in described
    pod = each.json("get", "pods", *n)["items"][0]["metadata"]["name"]
    assert "Scheduled" in each("describe", "pod", pod, *n)
    assert "Endpoints:" in each("describe", "service", "hello", *n)

    assert "scaled" in each("scale", "deployment/hello", "--replicas=3", *n)
    each("rollout", "status", "deployment/hello", *n, "--timeout=30s")
    assert len(each.json("get", "pods", *n)["items"]) == 3

    assert "image updated" in each("set", "image", "deployment/hello", "hello=example/hello:2", *n)
    each("rollout", "status", "deployment/hello", *n, "--timeout=30s")
    each("rollout", "restart", "deployment/hello", *n)
    each("rollout", "status", "deployment/hello", *n, "--timeout=30s")
    assert "3" in each("rollout", "history", "deployment/hello", *n)

    assert "labeled" in each("label", "service", "hello", "tier=front", *n)
    assert each("get", "service", "-l", "tier=front", "-o", "name", *n).strip() == "service/hello"
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s/replicas: 3/replicas: 1/" "$1"\n')
    editor.chmod(0o755)
    edited = each.run("edit", "deployment", "hello", *n, extra={"KUBE_EDITOR": str(editor)})
    assert "edited" in edited.stdout
    wait_until(lambda: len(each.json("get", "pods", *n)["items"]) == 1, "one pod is left")

    assert "deployments" in each("api-resources")
    assert "containers" in each("explain", "deployment.spec.template.spec")
    wrong = tour_manifest(namespace).replace("replicas: 2", "replicsa: 2")
    refused = each.run("apply", "-f", "-", stdin=wrong, check=False)
    assert refused.returncode == 1
    assert 'unknown field "spec.replicsa"' in refused.stderr

    assert "deleted" in each("delete", "deployment", "hello", *n)
    wait_until(lambda: not each.json("get", "pods", *n)["items"], "the pods are gone")
    assert "deleted" in each("delete", "namespace", namespace)


def test_a_watch_shows_what_happens(each: Kubectl) -> None:
    namespace = space(each)
    each("apply", "-f", "-", stdin=tour_manifest(namespace))
    each("rollout", "status", "deployment/hello", "-n", namespace, "--timeout=30s")
    argv = [str(each.binary), "get", "deployment", "hello", "-n", namespace, "-w"]
    with subprocess.Popen(argv, env=each.environment, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        assert "READY" in watch.stdout.readline()
        assert "2/2" in watch.stdout.readline()
        each("scale", "deployment/hello", "--replicas=3", "-n", namespace)
        deadline = time.monotonic() + 20
        while "3/3" not in watch.stdout.readline():
            assert time.monotonic() < deadline
        watch.terminate()


def test_kubectl_proxy_reaches_a_service(each: Kubectl) -> None:
    with subprocess.Popen(
        [str(each.binary), "proxy", "--port=0"], env=each.environment, stdout=subprocess.PIPE, text=True
    ) as proxy:
        assert proxy.stdout is not None
        address = proxy.stdout.readline().rsplit(" ", 1)[1].strip()
        url = f"http://{address}/api/v1/namespaces/shop/services/web:http/proxy/through?the=api"
        done = subprocess.run(["curl", "-sS", "--max-time", "5", url], capture_output=True, text=True, check=False)
        proxy.terminate()
    assert '"/through?the=api"' in done.stdout
