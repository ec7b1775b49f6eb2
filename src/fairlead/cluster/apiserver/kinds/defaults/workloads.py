"""Defaults of Deployments, ReplicaSets, DaemonSets and StatefulSets.

Source: SetDefaults_* of k8s.io/kubernetes/pkg/apis/apps/v1/defaults.go.
"""

from fairlead.cluster.apiserver.kinds.defaults.pods import default_template
from fairlead.cluster.apiserver.kinds.editing import child, children, fill
from fairlead.kube.documents import Document

QUARTER = "25%"


def _fill_number(document: Document, key: str, value: int) -> None:
    if document.get(key) is None:
        document[key] = value


def default_deployment(deployment: Document) -> None:
    """Fill in a Deployment: one replica, replaced a quarter at a time."""
    spec = child(deployment, "spec")
    _fill_number(spec, "replicas", 1)
    strategy = child(spec, "strategy")
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = child(strategy, "rollingUpdate")
        fill(rolling, "maxUnavailable", QUARTER)
        fill(rolling, "maxSurge", QUARTER)
    _fill_number(spec, "revisionHistoryLimit", 10)
    _fill_number(spec, "progressDeadlineSeconds", 600)
    default_template(child(spec, "template"))


def default_replica_set(replica_set: Document) -> None:
    """Fill in a ReplicaSet."""
    spec = child(replica_set, "spec")
    _fill_number(spec, "replicas", 1)
    default_template(child(spec, "template"))


def default_daemon_set(daemon_set: Document) -> None:
    """Fill in a DaemonSet: replaced one node at a time."""
    spec = child(daemon_set, "spec")
    strategy = child(spec, "updateStrategy")
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = child(strategy, "rollingUpdate")
        fill(rolling, "maxUnavailable", 1)
        fill(rolling, "maxSurge", 0)
    _fill_number(spec, "revisionHistoryLimit", 10)
    default_template(child(spec, "template"))


def default_stateful_set(stateful_set: Document) -> None:
    """Fill in a StatefulSet: one pod, started in order, replaced from the last on."""
    spec = child(stateful_set, "spec")
    _fill_number(spec, "replicas", 1)
    fill(spec, "podManagementPolicy", "OrderedReady")
    strategy = child(spec, "updateStrategy")
    fill(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        _fill_number(child(strategy, "rollingUpdate"), "partition", 0)
    retention = child(spec, "persistentVolumeClaimRetentionPolicy")
    fill(retention, "whenDeleted", "Retain")
    fill(retention, "whenScaled", "Retain")
    _fill_number(spec, "revisionHistoryLimit", 10)
    default_template(child(spec, "template"))
    for claim in children(spec, "volumeClaimTemplates"):
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        fill(child(claim, "spec"), "volumeMode", "Filesystem")
        child(claim, "status").setdefault("phase", "Pending")
