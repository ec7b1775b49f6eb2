"""What `kubectl get -o wide` shows of each kind."""

from typing import Any

import pytest
from admitting import BY_KIND, made

from fairlead.cluster.apiserver.kinds.columns.ages import age_text, duration_text, seconds_of
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.kube.documents import Document

NOW = 1_800_000_000.0
BORN = "2027-01-15T07:58:00Z"
MINUTE, HOUR, DAY, YEAR = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (2 * MINUTE, "2m"),
        (9 * MINUTE + 59, "9m59s"),
        (10 * MINUTE + 30, "10m"),
        (179 * MINUTE, "179m"),
        (3 * HOUR, "3h"),
        (7 * HOUR + 59 * MINUTE, "7h59m"),
        (8 * HOUR + 30 * MINUTE, "8h"),
        (47 * HOUR, "47h"),
        (48 * HOUR, "2d"),
        (7 * DAY + 23 * HOUR, "7d23h"),
        (8 * DAY + HOUR, "8d"),
        (2 * YEAR - DAY, "729d"),
        (2 * YEAR, "2y"),
        (7 * YEAR + 100 * DAY, "7y100d"),
        (9 * YEAR + DAY, "9y"),
    ],
)
def test_a_duration_is_told_in_at_most_two_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_an_age_is_unknown_without_a_time() -> None:
    assert age_text("", NOW) == age_text("yesterday", NOW) == "<unknown>"
    assert age_text(BORN, (seconds_of(BORN) or 0) + 5) == "5s"


def running(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "ready": True, "restartCount": 0, "state": {"running": {}}, **fields}


def waiting(reason: str, **fields: Any) -> dict[str, Any]:
    return running(ready=False, state={"waiting": {"reason": reason}}, **fields)


def ended(code: int, **fields: Any) -> dict[str, Any]:
    return running(ready=False, state={"terminated": {"exitCode": code, **fields}})


CRASHED = {"terminated": {"exitCode": 1, "finishedAt": "2027-01-15T07:59:10Z"}}
GONE = {"deletionTimestamp": BORN}
STATES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "a new pod waits": ({}, {"phase": "Pending"}, {}, ["0/1", "Pending", "0"]),
    "a pod that runs": (
        {},
        {"phase": "Running", "containerStatuses": [running()]},
        {},
        ["1/1", "Running", "0"],
    ),
    "an image is not there": (
        {},
        {"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]},
        {},
        ["0/1", "ContainerCreating", "0"],
    ),
    "a crash loop tells when it last crashed": (
        {},
        {
            "phase": "Running",
            "containerStatuses": [waiting("CrashLoopBackOff", lastState=CRASHED) | {"restartCount": 3}],
        },
        {},
        ["0/1", "CrashLoopBackOff", "3 (50s ago)"],
    ),
    "a pod that is done": (
        {},
        {"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]},
        {},
        ["0/1", "Completed", "0"],
    ),
    "a pod that failed without a word": (
        {},
        {"phase": "Failed", "containerStatuses": [ended(3)]},
        {},
        ["0/1", "ExitCode:3", "0"],
    ),
    "one of two is done": (
        {"containers": [{"name": "a"}, {"name": "b"}]},
        {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [ended(0, reason="Completed"), running()],
        },
        {},
        ["1/2", "Running", "0"],
    ),
    "the second init container is at work": (
        {"initContainers": [{"name": "i"}, {"name": "j"}]},
        {
            "phase": "Pending",
            "initContainerStatuses": [ended(0) | {"name": "i"}, waiting("PodInitializing") | {"name": "j"}],
        },
        {},
        ["0/1", "Init:1/2", "0"],
    ),
    "an init container crashes": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Pending", "initContainerStatuses": [waiting("CrashLoopBackOff") | {"restartCount": 2}]},
        {},
        ["0/1", "Init:CrashLoopBackOff", "2"],
    ),
    "an init container failed": (
        {"initContainers": [{"name": "i"}]},
        {"phase": "Failed", "initContainerStatuses": [ended(1, reason="Error")]},
        {},
        ["0/1", "Init:Error", "0"],
    ),
    "a sidecar counts": (
        {"initContainers": [{"name": "s", "restartPolicy": "Always"}]},
        {
            "phase": "Running",
            "initContainerStatuses": [running(name="s", started=True)],
            "containerStatuses": [running()],
        },
        {},
        ["2/2", "Running", "0"],
    ),
    "a pod that goes": (
        {},
        {"phase": "Running", "containerStatuses": [running()]},
        GONE,
        ["1/1", "Terminating", "0"],
    ),
    "an evicted pod says why": ({}, {"phase": "Failed", "reason": "Evicted"}, {}, ["0/1", "Evicted", "0"]),
}


@pytest.mark.parametrize(("spec", "status", "metadata", "cells"), STATES.values(), ids=STATES.keys())
def test_the_state_of_a_pod_is_told_in_a_word(
    spec: dict[str, Any], status: dict[str, Any], metadata: dict[str, Any], cells: list[str]
) -> None:
    pod: Document = {
        "metadata": {"name": "p", **metadata},
        "spec": {"containers": [{"name": "c"}], **spec},
        "status": status,
    }
    assert BY_KIND["Pod"].row(pod, NOW)[1:4] == cells


def test_a_wide_pod_tells_where_it_is() -> None:
    pod = made(
        "Pod",
        {"nodeName": "node-1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        status={"podIP": "10.244.1.2", "conditions": [{"type": "a", "status": "True"}]},
    )
    assert BY_KIND["Pod"].row(pod, NOW)[5:] == ["10.244.1.2", "node-1", "<none>", "1/2"]


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}
SELECTOR = {
    "matchLabels": {"x": "y", "a": "b"},
    "matchExpressions": [{"key": "k", "operator": "In", "values": ["2", "1"]}],
}
SHOWN = ["a,b", "i,j", "a=b,k in (1,2),x=y"]
AGED = {"name": "x", "creationTimestamp": BORN}
ROWS: dict[str, tuple[str, dict[str, Any], list[Any]]] = {
    "Deployment": (
        "Deployment",
        {
            "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
            "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1},
        },
        ["x", "1/3", "2", "1", "2m", *SHOWN],
    ),
    "ReplicaSet": (
        "ReplicaSet",
        {"spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE}, "status": {"replicas": 2}},
        ["x", 3, 2, 0, "2m", *SHOWN],
    ),
    "DaemonSet": (
        "DaemonSet",
        {
            "spec": {"selector": SELECTOR, "template": TEMPLATE},
            "status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1},
        },
        ["x", 3, 2, 1, 0, 0, "<none>", "2m", *SHOWN],
    ),
    "a NodePort service": (
        "Service",
        {
            "spec": {
                "type": "NodePort",
                "clusterIP": "10.96.0.9",
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "selector": {"b": "2", "a": "1"},
            }
        },
        ["x", "NodePort", "10.96.0.9", "<none>", "80:30080/TCP,53/UDP", "2m", "a=1,b=2"],
    ),
    "a load balancer without an address": (
        "Service",
        {"spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.9"}},
        ["x", "LoadBalancer", "10.96.0.9", "<pending>", "<none>", "2m", "<none>"],
    ),
    "an external name": (
        "Service",
        {"spec": {"type": "ExternalName", "externalName": "example.com"}},
        ["x", "ExternalName", "<none>", "example.com", "<none>", "2m", "<none>"],
    ),
    "Endpoints": (
        "Endpoints",
        {
            "subsets": [
                {"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]},
                {"notReadyAddresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]},
            ]
        },
        ["x", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "2m"],
    ),
    "EndpointSlice": (
        "EndpointSlice",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}, {}]},
        ["x", "IPv4", "80,*", "10.0.0.1", "2m"],
    ),
    "an empty EndpointSlice": ("EndpointSlice", {"addressType": "IPv4"}, ["x", "IPv4", "<unset>", "<unset>", "2m"]),
    "Ingress": (
        "Ingress",
        {
            "spec": {"rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}], "tls": [{}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
        },
        ["x", "<none>", "a,b,c + 1 more...", "203.0.113.1", "80, 443", "2m"],
    ),
    "IngressClass": (
        "IngressClass",
        {"spec": {"controller": "a.b/c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}},
        ["x", "a.b/c", "K.g/n", "2m"],
    ),
    "NetworkPolicy": ("NetworkPolicy", {"spec": {"podSelector": {}}}, ["x", "<none>", "2m"]),
    "Node": (
        "Node",
        {
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
                "nodeInfo": {"kubeletVersion": "v1.33.0"},
            },
        },
        [
            "x",
            "Ready,SchedulingDisabled",
            "<none>",
            "2m",
            "v1.33.0",
            "172.18.0.2",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>",
        ],
    ),
    "Namespace": ("Namespace", {"status": {"phase": "Active"}}, ["x", "Active", "2m"]),
    "ConfigMap": ("ConfigMap", {"data": {"a": ""}, "binaryData": {"b": ""}}, ["x", "2", "2m"]),
    "Secret": ("Secret", {"type": "Opaque", "data": {"a": ""}}, ["x", "Opaque", "1", "2m"]),
    "ServiceAccount": ("ServiceAccount", {}, ["x", "0", "2m"]),
    "Lease": ("Lease", {"spec": {"holderIdentity": "me"}}, ["x", "me", "2m"]),
    "Event": (
        "Event",
        {
            "involvedObject": {"kind": "Pod", "name": "p"},
            "type": "Normal",
            "reason": "Started",
            "message": "it did\n",
            "firstTimestamp": BORN,
            "lastTimestamp": "2027-01-15T07:59:30Z",
            "count": 4,
            "source": {"component": "kubelet", "host": "n"},
        },
        ["30s", "Normal", "Started", "pod/p", "", "kubelet, n", "it did", "2m", "4", "x"],
    ),
}


@pytest.mark.parametrize(("kind", "fields", "cells"), ROWS.values(), ids=ROWS.keys())
def test_a_row_shows(kind: str, fields: dict[str, Any], cells: list[Any]) -> None:
    document: dict[str, Any] = {"metadata": AGED, **fields}
    assert BY_KIND[kind].row(document, NOW) == cells


@pytest.mark.parametrize("spec", [kind for kind in KINDS if kind.columns], ids=lambda spec: spec.resource.plural)
def test_a_row_of_an_empty_object_has_a_cell_for_every_column(spec: Any) -> None:
    assert len(spec.row({}, NOW)) == len(spec.columns)


def test_a_role_is_read_off_the_labels() -> None:
    node: Document = {"metadata": {"labels": {"node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"}}}
    assert BY_KIND["Node"].row(node, NOW)[1:3] == ["Unknown", "edge,worker"]


def test_fields_that_selectors_may_name_are_read() -> None:
    for spec in KINDS:
        assert set(spec.field_labels({})) == set(spec.field_label_names)
    pod = made("Pod", {"nodeName": "n", "hostNetwork": True}, status={"podIPs": [{"ip": "a"}, {"ip": "b"}]})
    labels = BY_KIND["Pod"].field_labels(pod)
    assert (labels["spec.nodeName"], labels["spec.hostNetwork"], labels["status.podIPs"]) == ("n", "true", "a,b")
    job = made("Job", {}, status={"succeeded": 2})
    assert BY_KIND["Job"].field_labels(job) == {"status.successful": "2"}
    event = made("Event", involvedObject={"name": "p"}, reportingComponent="kubelet")
    assert BY_KIND["Event"].field_labels(event)["involvedObject.name"] == "p"
    assert BY_KIND["Event"].field_labels(event)["source"] == "kubelet"
