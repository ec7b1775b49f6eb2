"""A tour of kubectl commands: the exit code and the shape of the answer that upstream gives, by several versions."""

import os
from pathlib import Path

import pytest
from conftest import Command, Kubectl, kubectls

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]

OFTEN = ("kubectl.1.33",)
"""What is toured by default: the newest; all of them under FAIRLEAD_LONG=1."""


def toured() -> list[Path]:
    found = kubectls(oldest=27)
    return [path for path in found if os.environ.get("FAIRLEAD_LONG") or path.name in OFTEN] or found[-1:]


TOUR: tuple[tuple[str, int, str], ...] = (
    ("create deployment web --image=example/hello:1 --replicas=2 --port=8080", 0, "deployment.apps/web created"),
    ("rollout status deploy/web --timeout=30s", 0, "successfully rolled out"),
    ("expose deploy web --port=80 --target-port=8080", 0, "service/web exposed"),
    ("create service clusterip c1 --tcp=80:80", 0, "service/c1 created"),
    ("create service nodeport n1 --tcp=80:80", 0, "service/n1 created"),
    ("create service externalname e1 --external-name example.com", 0, "service/e1 created"),
    ("create configmap cm --from-literal=a=b", 0, "configmap/cm created"),
    ("create secret generic s1 --from-literal=a=b", 0, "secret/s1 created"),
    ("create sa robot", 0, "serviceaccount/robot created"),
    ("create role r1 --verb=get --resource=pods", 0, "role.rbac.authorization.k8s.io/r1 created"),
    ("create rolebinding rb1 --role=r1 --user=ann", 0, "rolebinding.rbac.authorization.k8s.io/rb1 created"),
    ("create job j1 --image=example/hello:1 -- true", 0, "job.batch/j1 created"),
    ("create cronjob cj1 --image=example/hello:1 --schedule=@daily -- true", 0, "cronjob.batch/cj1 created"),
    ("create job j2 --from=cronjob/cj1", 0, "job.batch/j2 created"),
    ("create pdb p1 --selector=app=web --min-available=1", 0, "poddisruptionbudget.policy/p1 created"),
    ("create token robot", 0, "eyJ"),
    ("create quota q1 --hard=pods=3", 1, "the server could not find the requested resource"),
    ("diff -f {file}", 1, "+  colour: green"),
    ("apply -f {file}", 0, "configmap/settings created"),
    ("diff -f {file}", 0, ""),
    ("apply -f {file} --prune -l tour=yes", 0, "configmap/settings unchanged"),
    ("apply -f {file} --server-side", 0, "configmap/settings serverside-applied"),
    ("replace -f {file}", 0, "configmap/settings replaced"),
    ("create -f {file}", 1, "Error from server (AlreadyExists): error when creating"),
    ("delete -f {file}", 0, 'configmap "settings" deleted'),
    ("get all", 0, "deployment.apps/web"),
    ("get pods -o wide", 0, "NOMINATED NODE"),
    ("get pods -o name", 0, "pod/web-"),
    ("get deploy web -o jsonpath={.spec.replicas}", 0, "2"),
    ("get deploy web -o go-template={{.metadata.name}}", 0, "web"),
    ("get pods -o custom-columns=N:.metadata.name", 0, "N\n"),
    ("get deploy web -o yaml", 0, "kind: Deployment"),
    ("get pods --show-labels --sort-by=.metadata.name", 0, "LABELS"),
    ("get pods -l app=web --field-selector=status.phase=Running --no-headers", 0, "1/1"),
    ("get nosuch", 1, 'the server doesn\'t have a resource type "nosuch"'),
    ("get pod nosuch", 1, 'Error from server (NotFound): pods "nosuch" not found'),
    ("describe deploy web", 0, "2 desired | 2 updated | 2 total | 2 available | 0 unavailable"),
    ("describe pod -l app=web", 0, "QoS Class:"),
    ("describe svc web", 0, "Session Affinity:"),
    ("scale deploy web --replicas=3", 0, "deployment.apps/web scaled"),
    ("scale deploy web --current-replicas=9 --replicas=1", 1, "Expected replicas to be 9, was 3"),
    ("label deploy web x=y", 0, "deployment.apps/web labeled"),
    ("label deploy web x=z", 1, "already has a value (y), and --overwrite is false"),
    ("label deploy web x-", 0, "deployment.apps/web unlabeled"),
    ("annotate deploy web a=b", 0, "deployment.apps/web annotate"),
    ('patch deploy web -p {"spec":{"revisionHistoryLimit":5}}', 0, "deployment.apps/web patched"),
    ('patch deploy web --type=merge -p {"spec":{"replicas":2}}', 0, "deployment.apps/web patched"),
    (
        'patch deploy web --type=json -p [{"op":"test","path":"/spec/replicas","value":9}]',
        1,
        "The request is invalid: the server rejected our request due to an error in our request",
    ),
    ("autoscale deploy web --min=1 --max=3 --cpu-percent=50", 0, "horizontalpodautoscaler.autoscaling/web autoscaled"),
    ("get hpa web", 0, "NAME   REFERENCE        TARGETS"),
    ("describe hpa web", 0, "Min replicas:"),
    ("delete hpa web", 0, 'horizontalpodautoscaler.autoscaling "web" deleted'),
    ("top nodes", 0, "CPU(cores)"),
    ("top pods", 0, "CPU(cores)"),
    ("set image deploy/web hello=example/hello:2", 0, "deployment.apps/web image updated"),
    ("rollout status deploy/web --timeout=30s", 0, "successfully rolled out"),
    ("set env deploy/web A=B", 0, "deployment.apps/web env updated"),
    ("set resources deploy/web --requests=cpu=10m", 0, "deployment.apps/web resource requirements updated"),
    ("rollout history deploy/web", 0, "REVISION  CHANGE-CAUSE"),
    ("rollout undo deploy/web", 0, "deployment.apps/web rolled back"),
    ("rollout pause deploy/web", 0, "deployment.apps/web paused"),
    ("rollout resume deploy/web", 0, "deployment.apps/web resumed"),
    ("rollout restart deploy/web", 0, "deployment.apps/web restarted"),
    ("rollout status deploy/web --timeout=30s", 0, "successfully rolled out"),
    ("wait deploy/web --for=condition=Available --timeout=20s", 0, "deployment.apps/web condition met"),
    ("wait deploy/web --for=condition=Nope --timeout=1s", 1, "timed out waiting for the condition on deployments/web"),
    ("exec deploy/web -- echo hi", 0, "hi"),
    ("exec deploy/web -- sh -c exit${IFS}3", 3, "command terminated with exit code 3"),
    ("run one --image=example/hello:1 --restart=Never", 0, "pod/one created"),
    ("run two --image=example/hello:1 --dry-run=client -o name", 0, "pod/two"),
    ("debug one --image=busybox -- sh", 1, "ephemeral containers are disabled for this cluster"),
    ("logs deploy/web --tail=1", 0, ""),
    ("cp {file} {pod}:/tmp/settings", 0, ""),
    ("exec {pod} -- cat /tmp/settings", 0, "colour: green"),
    ("cordon node-3", 0, "node/node-3 cordoned"),
    ("drain node-3 --dry-run=server --pod-selector=app=web", 0, "node/node-3 drained (server dry run)"),
    ("uncordon node-3", 0, "node/node-3 uncordoned"),
    ("taint nodes node-3 tour=yes:PreferNoSchedule", 0, "node/node-3 tainted"),
    ("taint nodes node-3 tour-", 0, "node/node-3 untainted"),
    ("events", 0, "LAST SEEN"),
    ("api-resources --api-group=apps", 0, "replicasets"),
    ("api-versions", 0, "apps/v1"),
    ("explain deploy.spec.strategy", 0, "DeploymentStrategy"),
    ("auth can-i --list", 0, "Non-Resource URLs"),
    ("auth can-i create pods", 0, "yes"),
    ("auth can-i create pods --as=ann", 1, "no"),
    ("auth whoami", 0, "kubernetes-admin"),
    ("cluster-info", 0, "is running at"),
    ("version", 0, "Server Version"),
    ("get --raw /readyz", 0, "ok"),
    ("delete pod one --wait=false", 0, 'pod "one" deleted'),
    ("delete pod nosuch", 1, 'Error from server (NotFound): pods "nosuch" not found'),
    ("delete pod nosuch --ignore-not-found", 0, ""),
    ("delete all --all --wait=false", 0, 'deployment.apps "web" deleted'),
)


FILE = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {tour: "yes"}}
data: {colour: green}
"""
SINCE = {"auth whoami": 28}
"""The version from which on a command asks for an API that servers of today have."""


@pytest.mark.parametrize("binary", toured() or [None], ids=lambda path: path.name if path else "none")
def test_a_tour_of_commands(binary: Path | None, shop: Command, tmp_path: Path) -> None:
    if binary is None:
        pytest.skip("no kubectl on this machine")
    kubectl = Kubectl(binary, Path(shop("kubeconfig").stdout.strip()), tmp_path)
    namespace = "commands-" + (binary.suffix.strip(".") or "one")
    kubectl("create", "namespace", namespace)
    (tmp_path / "settings.yaml").write_text(FILE)
    wrong: list[str] = []
    try:
        for line, code, told in TOUR:
            if int(binary.suffix.strip(".") or SINCE.get(line, 0)) < SINCE.get(line, 0):
                continue
            words = line.split()
            if "{pod}" in line:
                ready = ("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
                words = [each.replace("{pod}", kubectl("-n", namespace, *ready)) for each in words]
            words = [each.replace("{file}", str(tmp_path / "settings.yaml")) for each in words]
            done = kubectl.run("-n", namespace, *words, check=False)
            said = done.stdout + done.stderr
            if done.returncode != code or told not in said:
                wrong.append(f"kubectl {line}: {done.returncode}, not {code} with {told!r}: {said[:300]}")
    finally:
        kubectl.run("delete", "namespace", namespace, "--wait=false", check=False)
    assert not wrong, "\n".join(wrong)
