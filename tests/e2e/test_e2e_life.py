"""The life of pods, where they run and who finds them, as a user of kubectl sees it: everything applied at once."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Command, Kubectl, kubectls, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]

OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: gated, labels: {app: gated}}
spec:
  readinessGates: [{conditionType: example.com/listed}]
  containers: [{name: web, image: "example/web:1", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: gated}
spec: {selector: {app: gated}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: slow}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command: [sh, -c, "sleep 2; touch /tmp/up; while sleep 1; do :; done"]
    startupProbe: {exec: {command: [test, -f, /tmp/up]}, periodSeconds: 1, failureThreshold: 30}
    livenessProbe: {exec: {command: [test, -f, /tmp/up]}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: helped}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  volumes: [{name: notes, emptyDir: {}}]
  initContainers:
  - name: first
    image: busybox
    command: [sh, -c, "echo first >> /n/log"]
    volumeMounts: [{name: notes, mountPath: /n}]
  - name: beside
    image: busybox
    restartPolicy: Always
    command: [sh, -c, "echo beside >> /n/log; touch /n/up; trap 'exit 0' TERM; while sleep 0.1; do :; done"]
    startupProbe: {exec: {command: [test, -f, /n/up]}, periodSeconds: 1}
    volumeMounts: [{name: notes, mountPath: /n}]
  containers:
  - {name: main, image: busybox, command: [sh, -c, "cat /n/log"], volumeMounts: [{name: notes, mountPath: /n}]}
---
apiVersion: v1
kind: Pod
metadata: {name: rpc}
spec:
  containers:
  - name: web
    image: "example/web:1"
    ports: [{name: grpc, containerPort: 9000}]
    readinessProbe: {grpc: {port: 9000}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: spread}
spec:
  replicas: 4
  selector: {matchLabels: {app: spread}}
  template:
    metadata: {labels: {app: spread}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: spread}}
      containers: [{name: web, image: "example/web:1"}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: apart}
spec:
  replicas: 3
  selector: {matchLabels: {app: apart}}
  template:
    metadata: {labels: {app: apart}}
    spec:
      terminationGracePeriodSeconds: 0
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
          - {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: apart}}}
      containers: [{name: web, image: "example/web:1"}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: web, image: "example/web:1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: hopeless}
spec:
  backoffLimit: 6
  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [42]}}]}
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh, -c, exit 42]}]}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {storageClassName: "", capacity: {storage: 1Mi}, accessModes: [ReadWriteOnce], local: {path: FOLDER}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: disk}
spec: {storageClassName: "", volumeName: disk, accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: stored}
spec:
  restartPolicy: Never
  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]
  containers:
  - {name: c, image: busybox, command: [sh, -c, "echo kept > /d/file"], volumeMounts: [{name: disk, mountPath: /d}]}
---
apiVersion: networking.k8s.io/v1
kind: ServiceCIDR
metadata: {name: more}
spec: {cidrs: [10.200.0.0/24]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {clusterIP: 10.200.0.9, ports: [{port: 80}]}
"""


class Inside(Kubectl):
    """kubectl in a namespace of these tests."""

    def run(
        self, *words: str, stdin: str | None = None, check: bool = True, extra: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return super().run("-n", "life", *words, stdin=stdin, check=check, extra=extra)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a local volume, where a pod may write."""
    folder = tmp_path_factory.mktemp("disk")
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="module")
def kubectl(pair: Command, disk: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    binaries = kubectls()
    if not binaries:
        pytest.skip("no kubectl on this machine")
    found = Inside(binaries[-1], Path(pair("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("home"))
    found("create", "namespace", "life")
    found("apply", "-f", "-", stdin=OBJECTS.replace("FOLDER", str(disk)))
    yield found
    found("delete", "namespace", "life", "--timeout=30s")
    found("delete", "servicecidr/more", "pv/disk", "--timeout=10s")


def condition(kubectl: Kubectl, pod: str, kind: str) -> dict[str, str]:
    found = kubectl.json("get", "pod", pod)["status"].get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def placed(kubectl: Kubectl, label: str) -> list[str]:
    pods = kubectl.json("get", "pods", "-l", f"app={label}")["items"]
    return sorted(each["spec"].get("nodeName", "") for each in pods)


def test_a_pod_with_a_readiness_gate_is_an_endpoint_once_somebody_says_so(kubectl: Kubectl) -> None:
    wait_until(lambda: condition(kubectl, "gated", "ContainersReady").get("status") == "True", "the container is ready")
    waiting = condition(kubectl, "gated", "Ready")
    assert (waiting["status"], waiting["reason"]) == ("False", "ReadinessGatesNotReady")
    ready = "jsonpath={.items[*].endpoints[*].conditions.ready}"
    slices = ("get", "endpointslices", "-l", "kubernetes.io/service-name=gated", "-o", ready)
    wait_until(lambda: kubectl(*slices) == "false", "an endpoint that is not ready")
    said = json.dumps({"status": {"conditions": [{"type": "example.com/listed", "status": "True"}]}})
    kubectl("patch", "pod", "gated", "--subresource=status", "--type=strategic", "-p", said)
    kubectl("wait", "--for=condition=Ready", "pod/gated", "--timeout=10s")
    wait_until(lambda: kubectl(*slices) == "true", "an endpoint")


def test_liveness_waits_for_the_startup_probe(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Ready", "pod/slow", "--timeout=20s")
    status = kubectl.json("get", "pod", "slow")["status"]["containerStatuses"][0]
    assert (status["started"], status["restartCount"]) == (True, 0)


def test_a_sidecar_starts_between_init_and_main_containers_and_ends_with_the_pod(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/helped", "--timeout=20s")
    assert kubectl("logs", "helped", "-c", "main").split() == ["first", "beside"]
    ended = kubectl.json("get", "pod", "helped")["status"]["initContainerStatuses"]
    assert [each["state"]["terminated"]["exitCode"] for each in ended] == [0, 0]


def test_a_grpc_probe_finds_a_stand_in_healthy(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Ready", "pod/rpc", "--timeout=10s")


def test_pods_are_spread_and_kept_apart(kubectl: Kubectl) -> None:
    wait_until(lambda: placed(kubectl, "spread") == ["node-1", "node-1", "node-2", "node-2"], "two on each node")
    wait_until(lambda: placed(kubectl, "apart") == ["", "node-1", "node-2"], "one on each node, one waits")
    told = "FailedScheduling 0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."
    shown = ("get", "events", "-o", "custom-columns=R:.reason,M:.message", "--field-selector=reason=FailedScheduling")
    wait_until(lambda: told in " ".join(kubectl(*shown).split()), "why it waits")
    kubectl("scale", "deploy/apart", "--replicas=2")
    wait_until(lambda: placed(kubectl, "apart") == ["node-1", "node-2"], "the one that waited goes")


def test_a_job_ends_at_a_failure_that_its_policy_calls_final(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Failed", "job/hopeless", "--timeout=20s")
    failed = kubectl.json("get", "job", "hopeless")["status"]["conditions"][-1]
    assert failed["reason"] == "PodFailurePolicy"
    assert failed["message"].endswith("failed with exit code 42 matching FailJob rule at index 0")
    assert len(kubectl.json("get", "pods", "-l", "job-name=hopeless")["items"]) == 1


def test_a_daemon_set_is_rolled_out_and_back(kubectl: Kubectl) -> None:
    kubectl("rollout", "status", "ds/everywhere", "--timeout=20s")
    kubectl("set", "image", "ds/everywhere", "web=example/web:2")
    kubectl("rollout", "status", "ds/everywhere", "--timeout=20s")
    assert kubectl("rollout", "history", "ds/everywhere").split()[-4:] == ["1", "<none>", "2", "<none>"]
    kubectl("rollout", "undo", "ds/everywhere")
    kubectl("rollout", "status", "ds/everywhere", "--timeout=20s")
    shown = kubectl.json("get", "pods", "-l", "app=everywhere")["items"]
    assert [each["spec"]["containers"][0]["image"] for each in shown] == ["example/web:1"] * 2
    assert len(kubectl.json("get", "controllerrevisions")["items"]) == 2


def test_a_local_volume_is_a_folder_of_this_machine(kubectl: Kubectl, disk: Path) -> None:
    kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/stored", "--timeout=20s")
    assert (disk / "file").read_text() == "kept\n"


def test_endpoints_by_hand_lead_from_an_address_of_a_second_range_to_a_pod(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=ContainersReady", "pod/gated", "--timeout=10s")
    address = kubectl("get", "pod", "gated", "-o", "jsonpath={.status.podIP}")
    endpoints = {"kind": "Endpoints", "apiVersion": "v1", "metadata": {"name": "elsewhere"}}
    subsets = [{"addresses": [{"ip": address}], "ports": [{"port": 80}]}]
    kubectl("apply", "-f", "-", stdin=json.dumps({**endpoints, "subsets": subsets}))
    ask = ("exec", "rpc", "--", "curl", "-s", "--max-time", "2", "http://10.200.0.9/")
    wait_until(lambda: '"pod":"gated"' in kubectl.run(*ask, check=False).stdout, "an answer of the pod")
    assert kubectl("get", "ip", "10.200.0.9", "--no-headers").split()[1] == "services/life/elsewhere"


def test_a_taint_drives_out_who_does_not_tolerate_it(kubectl: Kubectl) -> None:
    kubectl("wait", "--for=condition=Available", "deploy/spread", "--timeout=20s")
    kubectl("taint", "nodes", "node-2", "broken=yes:NoExecute")
    wait_until(
        lambda: {*placed(kubectl, "spread")} == {"node-1", ""},
        "no pod is left on node-2, and the spread holds new ones",
    )
    events = ("get", "events", "--field-selector=reason=TaintManagerEviction", "-o", "name")
    wait_until(lambda: kubectl(*events) != "", "it is told")
    kubectl("taint", "nodes", "node-2", "broken-")
    wait_until(lambda: placed(kubectl, "spread") == ["node-1", "node-1", "node-2", "node-2"], "two on each node again")
