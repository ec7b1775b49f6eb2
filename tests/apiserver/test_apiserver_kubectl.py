"""Real kubectl binaries against a server on 127.0.0.1.

Of the releases the project promises, the oldest with OpenAPI v3 and the newest, which sends protobuf; all of them under
FAIRLEAD_LONG=1.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from apiservers import served

from fairlead.cluster.apiserver.log import SqliteLog

RELEASES = ("1.29", "1.30", "1.31", "1.32", "1.33") if os.environ.get("FAIRLEAD_LONG") else ("1.29", "1.33")

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: web}}
spec: {containers: [{name: a, image: nginx}]}
"""


def find_kubectl(release: str) -> str | None:
    """Return the path of a kubectl of that release: `kubectl.1.NN` on the path, or beside the one on it."""
    found = shutil.which(f"kubectl.{release}")
    plain = shutil.which("kubectl")
    if found or not plain:
        return found
    beside = Path(plain).resolve().with_name(f"kubectl.{release}")
    return str(beside) if beside.exists() else None


class Kubectl:
    """One kubectl with a home of its own."""

    def __init__(self, program: str, home: Path) -> None:
        self.program = program
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(home / "kubeconfig"),
        }

    async def __call__(self, text: str, *, stdin: str = "", code: int = 0, **environment: str) -> str:
        process = await asyncio.create_subprocess_exec(
            self.program,
            *text.split(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self.environment, **environment},
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate(stdin.encode())
        assert process.returncode == code, f"kubectl {text}: {out.decode()}"
        return out.decode()


@pytest.fixture(params=RELEASES)
async def kubectl(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """A kubectl of each release, with a server to talk to."""
    program = find_kubectl(request.param)
    if program is None:
        pytest.skip(f"no kubectl {request.param} on this machine")
    async with served(tmp_path, SqliteLog(tmp_path / "data.sqlite")) as (_, url, pki):
        (tmp_path / "kubeconfig").write_text(pki.kubeconfig(url, "kubernetes-admin", ("system:masters",)))
        yield Kubectl(program, tmp_path)


@pytest.mark.kubectl
async def test_apply_edit_patch_scale_and_delete(kubectl: Kubectl) -> None:
    applied = await kubectl("apply -f -", stdin=MANIFEST)
    assert applied.split("\n")[:3] == ["deployment.apps/web created", "service/web created", "pod/p created"]
    assert "changed" not in (await kubectl("apply -f -", stdin=MANIFEST)).replace("unchanged", "")
    assert "configured" in await kubectl("apply -f -", stdin=MANIFEST.replace("image: nginx,", "image: nginx:2,"))
    assert "nginx:2" in await kubectl("get deploy web -o wide")
    await kubectl("diff -f -", stdin=MANIFEST, code=1)
    await kubectl("scale deploy web --replicas 5")
    assert await kubectl("get deploy web -o jsonpath={.spec.replicas}") == "5"
    await kubectl("set image deploy/web web=nginx:3")
    await kubectl("label pod p tier=front")
    await kubectl("annotate pod p note=x")
    await kubectl("edit pod p", KUBE_EDITOR="sed -i s/front/back/")
    assert await kubectl("get pod p -o jsonpath={.metadata.labels.tier}") == "back"
    await kubectl('patch svc web -p {"spec":{"type":"NodePort"}}')
    assert "80:3" in await kubectl("get svc web")
    await kubectl('patch pod p --type json -p [{"op":"add","path":"/metadata/labels/z","value":"1"}]')
    await kubectl("wait --for=jsonpath={.metadata.labels.z}=1 pod/p --timeout 5s")
    await kubectl("rollout restart deploy web")
    await kubectl("run r --image=nginx")
    await kubectl("expose pod r --port 80")
    assert "Name:" in await kubectl("describe pod p")
    assert "web" in await kubectl("describe deploy web")
    assert 'pod "p" deleted' in await kubectl("delete pod p")
    assert "NotFound" in await kubectl("get pod p", code=1)
    assert 'pods "p" not found' in await kubectl("delete -f -", stdin=MANIFEST, code=1)
    await kubectl("delete deploy,svc --all")
    assert "No resources found" in await kubectl("get deploy")


@pytest.mark.kubectl
async def test_resources_are_listed_and_explained(kubectl: Kubectl) -> None:
    resources = await kubectl("api-resources")
    for expected in ("po           v1", "deploy       apps/v1", "networking.k8s.io/v1"):
        assert expected in resources
    assert "containers" in await kubectl("explain pod.spec")
    assert "replicas" in await kubectl("explain deployment.spec.replicas")
    assert "Server Version: v1.33" in await kubectl("version")


@pytest.mark.kubectl
async def test_mistakes_are_told_as_real_clusters_tell_them(kubectl: Kubectl) -> None:
    unknown = MANIFEST.replace("image: nginx}]}", "image: nginx, imagee: x}]}")
    told = await kubectl("apply -f -", stdin=unknown, code=1)
    assert 'strict decoding error: unknown field "spec.containers[0].imagee"' in told
    assert "deployment.apps/web created" in told
    service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 99999, targetPort: 80}]}\n"
    told = await kubectl("apply -f -", stdin=service, code=1)
    assert 'The Service "s" is invalid: spec.ports[0].port: Invalid value: 99999: must be between 1 and 65535' in told
    gizmo = "apiVersion: v1\nkind: Gizmo\nmetadata: {name: s}\n"
    assert "no matches for kind" in await kubectl("apply -f -", stdin=gizmo, code=1)


@pytest.mark.kubectl
async def test_generators_make_what_they_say(kubectl: Kubectl) -> None:
    """kubectl sends these as JSON up to 1.31, as protobuf from then on."""
    assert await kubectl("create ns n") == "namespace/n created\n"
    await kubectl("create deployment web --image=nginx --replicas=0 --port=80")
    assert await kubectl("get deploy web -o jsonpath={.spec.replicas}") == "0"
    await kubectl("create service nodeport s --tcp=80:8080")
    assert await kubectl("get svc s -o jsonpath={.spec.ports[0].targetPort}") == "8080"
    await kubectl("create configmap c --from-literal=a=b")
    await kubectl("create secret generic x --from-literal=p=q")
    assert await kubectl("get secret x -o jsonpath={.data.p}") == "cQ=="
    await kubectl("create ingress i --rule=shop.example/cart=c:80")
    await kubectl("create serviceaccount robot")
    assert await kubectl("auth can-i get pods") == "yes\n"
    await kubectl("run r --image=nginx")
    await kubectl("expose pod r --port 80")
    await kubectl("scale deploy web --replicas 3")
    assert 'pod "r" deleted' in await kubectl("delete pod r --grace-period 1")
    await kubectl("delete ns n --wait=false")


@pytest.mark.kubectl
async def test_get_follows_changes(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=MANIFEST)
    process = await asyncio.create_subprocess_exec(
        kubectl.program, "get", "pod", "-w", stdout=asyncio.subprocess.PIPE, env=kubectl.environment
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert (await process.stdout.readline()).startswith(b"NAME")
        assert (await process.stdout.readline()).startswith(b"p ")
        await kubectl("run later --image=nginx")
        assert (await process.stdout.readline()).startswith(b"later ")
    process.kill()
    await process.wait()


@pytest.mark.kubectl
async def test_server_side_apply_and_its_conflicts(kubectl: Kubectl) -> None:
    assert "deployment.apps/web serverside-applied" in await kubectl("apply --server-side -f -", stdin=MANIFEST)
    other = MANIFEST.replace("replicas: 2", "replicas: 3")
    told = await kubectl("apply --server-side --field-manager=other -f -", stdin=other, code=1)
    assert 'conflict with "kubectl": .spec.replicas' in told
    await kubectl("apply --server-side --field-manager=other --force-conflicts -f -", stdin=other)
    assert await kubectl("get deploy web -o jsonpath={.spec.replicas}") == "3"
    assert "+  replicas: 2" in await kubectl("diff --server-side --force-conflicts -f -", stdin=MANIFEST, code=1)


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tabs.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: tabs, kind: Tab, shortNames: [tb]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    additionalPrinterColumns: [{name: Replicas, type: integer, jsonPath: .spec.replicas}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {replicas: {type: integer, description: How many., default: 1}}}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@pytest.mark.kubectl
async def test_kinds_that_users_define(kubectl: Kubectl) -> None:
    await kubectl("apply -f -", stdin=DEFINITION)
    await kubectl("wait --for=condition=Established crd/tabs.example.com --timeout 5s")
    tab = "apiVersion: example.com/v1\nkind: Tab\nmetadata: {name: x}\nspec: {replicas: 2}\n"
    assert "tab.example.com/x created" in await kubectl("apply -f -", stdin=tab)
    assert "tab.example.com/x configured" in await kubectl("apply -f -", stdin=tab.replace("2", "3"))
    assert (await kubectl("get tb")).split() == ["NAME", "REPLICAS", "x", "3"]
    await kubectl("scale tab x --replicas 5")
    assert await kubectl("get tab x -o jsonpath={.spec.replicas}") == "5"
    assert "How many." in await kubectl("explain tab.spec.replicas")
    unknown = tab.replace("replicas", "replica")
    assert 'unknown field "spec.replica"' in await kubectl("apply -f -", stdin=unknown, code=1)
    await kubectl("delete crd tabs.example.com")
