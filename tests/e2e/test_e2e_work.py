"""StatefulSets, Jobs and CronJobs as a user of kubectl sees them, on a real cluster with programs and stand-ins."""

from pathlib import Path

import pytest
from conftest import Command, Kubectl, kubectls, wait_until

pytestmark = [pytest.mark.kernel, pytest.mark.cluster, pytest.mark.kubectl]

WORK = """
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 2
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "example/db:1", ports: [{containerPort: 80}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: three}
spec:
  completions: 3
  parallelism: 2
  completionMode: Indexed
  template:
    spec:
      restartPolicy: Never
      containers: [{name: c, image: busybox, command: [sh, -c, "echo index $JOB_COMPLETION_INDEX on $(hostname)"]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 0
  template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh, -c, exit 3]}]}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: ["true"]}]}}}
"""


@pytest.fixture(scope="module")
def kubectl(pair: Command, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    binaries = kubectls()
    if not binaries:
        pytest.skip("no kubectl on this machine")
    return Kubectl(binaries[-1], Path(pair("kubeconfig").stdout.strip()), tmp_path_factory.mktemp("home"))


def test_work_of_every_kind_runs_and_kubectl_follows_it(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=WORK)
    kubectl("wait", "--for=condition=Complete", "job/three", "--timeout=20s")
    kubectl("wait", "--for=condition=Failed", "job/bad", "--timeout=20s")
    said = sorted(kubectl("logs", "-l", "batch.kubernetes.io/job-name=three").splitlines())
    assert said == [f"index {number} on three-{number}" for number in range(3)]
    rows = {line.split()[0]: line.split()[1:3] for line in kubectl("get", "jobs", "--no-headers").splitlines()}
    assert rows == {"three": ["Complete", "3/3"], "bad": ["Failed", "0/1"]}

    kubectl("rollout", "status", "statefulset/db", "--timeout=20s")
    answer = kubectl("exec", "db-0", "--", "curl", "-s", "http://db-1.db/")
    assert '"pod":"db-1"' in answer
    kubectl("set", "image", "statefulset/db", "web=example/db:2")
    kubectl("rollout", "status", "statefulset/db", "--timeout=30s")
    kubectl("rollout", "undo", "statefulset/db")
    kubectl("rollout", "status", "statefulset/db", "--timeout=30s")
    image = kubectl("get", "pod", "db-0", "-o", "jsonpath={.spec.containers[0].image}")
    assert image == "example/db:1"
    assert kubectl("rollout", "history", "statefulset/db").split()[-4:] == ["2", "<none>", "3", "<none>"]
    kubectl("scale", "statefulset/db", "--replicas=1")
    wait_until(lambda: kubectl("get", "pods", "-l", "app=db", "-o", "name").split() == ["pod/db-0"], "one pod")

    kubectl("create", "job", "now", "--from=cronjob/nightly")
    kubectl("wait", "--for=condition=Complete", "job/now", "--timeout=20s")
    assert kubectl("get", "cronjob", "nightly", "--no-headers").split()[1:6] == ["0", "3", "*", "*", "*"]

    kubectl("delete", "job", "three", "bad", "now", "--timeout=20s")
    wait_until(lambda: "three" not in kubectl("get", "pods", "-o", "name"), "no pods of the jobs")
    kubectl("delete", "statefulset", "db", "--timeout=20s")
    wait_until(lambda: kubectl("get", "pods,controllerrevisions", "-o", "name") == "", "nothing left")


KEPT = """
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: keeper}
spec:
  serviceName: keeper
  replicas: 2
  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete, whenDeleted: Retain}
  selector: {matchLabels: {app: keeper}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: busybox
        command: [sh, -c, "echo started >> /data/starts; while sleep 1; do :; done"]
        volumeMounts: [{name: data, mountPath: /data}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: keeper}
spec: {minAvailable: 2, selector: {matchLabels: {app: keeper}}}
"""


def test_claims_keep_what_pods_wrote_and_budgets_hold_back_evictions(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", stdin=KEPT)
    kubectl("rollout", "status", "statefulset/keeper", "--timeout=20s")
    kubectl("delete", "pod", "keeper-0", "--timeout=20s")
    kubectl("rollout", "status", "statefulset/keeper", "--timeout=20s")
    kubectl("wait", "--for=condition=Ready", "pod/keeper-0", "--timeout=20s")
    assert kubectl("exec", "keeper-0", "--", "cat", "/data/starts").split() == ["started", "started"]
    assert kubectl("exec", "keeper-1", "--", "cat", "/data/starts").split() == ["started"]
    row = kubectl("get", "pvc", "data-keeper-0", "--no-headers").split()
    assert (row[1], row[3:6]) == ("Bound", ["1Gi", "RWO", "standard"])

    node = kubectl("get", "pod", "keeper-0", "-o", "jsonpath={.spec.nodeName}")
    wait_until(lambda: kubectl("get", "pdb", "keeper", "-o", "jsonpath={.status.currentHealthy}") == "2", "the budget")
    drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--pod-selector=app=keeper")
    held = kubectl.run(*drain, "--timeout=3s", check=False)
    assert held.returncode == 1
    assert "violate the pod's disruption budget" in held.stdout + held.stderr
    kubectl("patch", "pdb", "keeper", "--type=merge", "-p", '{"spec":{"minAvailable":1}}')
    kubectl(*drain, "--timeout=20s")
    kubectl("uncordon", node)

    kubectl("scale", "statefulset/keeper", "--replicas=1")
    wait_until(lambda: "data-keeper-1" not in kubectl("get", "pvc", "-o", "name"), "the claim of the second goes")
    kubectl("delete", "statefulset/keeper", "pdb/keeper", "--timeout=20s")
    assert "data-keeper-0" in kubectl("get", "pvc", "-o", "name")
    kubectl("delete", "pvc", "data-keeper-0", "--timeout=20s")
    wait_until(lambda: kubectl("get", "pv", "-o", "name") == "", "the volume goes with its claim")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('schedule: "0 3 * * *"|schedule: "0 3 * *"', "expected exactly 5 fields, found 4"),
        ('schedule: "0 3 * * *"|schedule: "0 3 * * *"\n  timeZone: Moon/Crater', "unknown time zone Moon/Crater"),
        ("template: {spec: {restartPolicy: Never, containers: [{name: c, image: busybox, command: [sh|"
         "template: {spec: {containers: [{name: c, image: busybox, command: [sh",
         'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
        ("backoffLimit: 0|backoffLimit: 0\n  scheduling: {}", "does not carry it out"),
    ("backoffLimit: 0|backoffLimit: 0\n  podFailurePolicy: {rules: [{action: FailJob}]}",
     "specifying one of OnExitCodes and OnPodConditions is required"),
        ("replicas: 2|replicas: -2", "must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_in_upstreams_words(kubectl: Kubectl, change: str, told: str) -> None:
    old, new = change.split("|")
    assert old in WORK
    done = kubectl.run("apply", "--dry-run=server", "-f", "-", stdin=WORK.replace(old, new), check=False)
    assert done.returncode == 1
    assert told in done.stderr
