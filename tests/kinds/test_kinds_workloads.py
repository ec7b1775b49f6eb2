"""Pods and what makes them: defaults, messages, updates."""

import copy
from typing import Any

import pytest
from admitting import created, made, problems, spec_of, updated

from fairlead.cluster.apiserver.kinds.defaults.priorities import prioritize
from fairlead.cluster.apiserver.kinds.ending import pod_grace_seconds
from fairlead.cluster.apiserver.kinds.errors import AdmissionError
from fairlead.kube.documents import Document, items_at, mapping_at, text_at

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "i:1", **fields}


def pod(*containers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containers": list(containers or (container(),)), **fields}


SPOT = "spec.containers[0]"
POD: dict[str, tuple[dict[str, Any], str]] = {
    "a pod has a container": ({}, "spec.containers: Required value"),
    "a container has a name": (pod({"image": "i"}), f"{SPOT}.name: Required value"),
    "a container name is a label": (pod(container(name="A_b")), f'{SPOT}.name: Invalid value: "A_b": {LABEL}'),
    "container names differ": (pod(container(), container()), 'spec.containers[1].name: Duplicate value: "c"'),
    "init containers share the names": (
        pod(initContainers=[container()]),
        'spec.containers[0].name: Duplicate value: "c"',
    ),
    "a container has an image": (pod({"name": "c"}), f"{SPOT}.image: Required value"),
    "an image has no space around it": (
        pod(container(image=" i")),
        f'{SPOT}.image: Invalid value: " i": must not have leading or trailing whitespace',
    ),
    "pull policies are few": (
        pod(container(imagePullPolicy="X")),
        f'{SPOT}.imagePullPolicy: Unsupported value: "X": supported values: "Always", "IfNotPresent", "Never"',
    ),
    "a port is small": (
        pod(container(ports=[{"containerPort": 70000}])),
        f"{SPOT}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ),
    "a port has a number": (pod(container(ports=[{}])), f"{SPOT}.ports[0].containerPort: Required value"),
    "port names differ": (
        pod(container(ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}])),
        f'{SPOT}.ports[1].name: Duplicate value: "a"',
    ),
    "a variable has a name": (pod(container(env=[{"value": "1"}])), f"{SPOT}.env[0].name: Required value"),
    "a variable name has no equals sign": (
        pod(container(env=[{"name": "a=b"}])),
        f'{SPOT}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
        "ASCII characters other than '='",
    ),
    "a variable has one value": (
        pod(container(env=[{"name": "A", "value": "1", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}])),
        f'{SPOT}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ),
    "a field of the pod is one of a few": (
        pod(container(env=[{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.weather"}}}])),
        f'{SPOT}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "status.weather": error converting fieldPath: '
        "field label not supported: status.weather",
    ),
    "a mount has a volume": (
        pod(container(volumeMounts=[{"name": "v", "mountPath": "/v"}])),
        f'{SPOT}.volumeMounts[0].name: Not found: "v"',
    ),
    "mounts are at different places": (
        pod(
            container(volumeMounts=[{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]),
            volumes=[{"name": "v"}],
        ),
        f'{SPOT}.volumeMounts[1].mountPath: Invalid value: "/v": must be unique',
    ),
    "a volume is one thing": (
        pod(volumes=[{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]),
        "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
    ),
    "a volume names its config map": (
        pod(volumes=[{"name": "v", "configMap": {}}]),
        "spec.volumes[0].configMap.name: Required value",
    ),
    "volume names differ": (
        pod(volumes=[{"name": "v"}, {"name": "v"}]),
        'spec.volumes[1].name: Duplicate value: "v"',
    ),
    "a probe does something": (
        pod(container(readinessProbe={})),
        f"{SPOT}.readinessProbe: Required value: must specify a handler type",
    ),
    "a probe does one thing": (
        pod(container(livenessProbe={"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}})),
        f"{SPOT}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    ),
    "liveness takes one success": (
        pod(container(livenessProbe={"tcpSocket": {"port": 1}, "successThreshold": 2})),
        f"{SPOT}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    "requests stay below limits": (
        pod(container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1500m"}})),
        f'{SPOT}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1500m',
    ),
    "restart policies are few": (
        pod(restartPolicy="Sometimes"),
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ),
    "DNS of nobody needs name servers": (
        pod(dnsPolicy="None"),
        "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
    ),
    "a toleration of a key compares or exists": (
        pod(tolerations=[{"operator": "Equal"}]),
        'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, '
        'which means "match all values and all keys"',
    ),
    "a spread constraint has a skew": (
        pod(topologySpreadConstraints=[{"topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 0}]),
        "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
    ),
    "a spread constraint says what to do": (
        pod(topologySpreadConstraints=[{"topologyKey": "k", "whenUnsatisfiable": "No", "maxSkew": 1}]),
        'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "No": '
        'supported values: "DoNotSchedule", "ScheduleAnyway"',
    ),
    "the fewest domains are for hard constraints": (
        pod(
            topologySpreadConstraints=[
                {"topologyKey": "k", "whenUnsatisfiable": "ScheduleAnyway", "maxSkew": 1, "minDomains": 2}
            ]
        ),
        "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if "
        "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
    ),
    "an affinity term has a topology": (
        pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{}]}}),
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Required value: "
        "can not be empty",
    ),
    "an affinity term compares in ways that are known": (
        pod(
            affinity={
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "k",
                            "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]},
                        }
                    ]
                }
            }
        ),
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector."
        'matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
    ),
    "a wish weighs something": (
        pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"preference": {}}]}}),
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: "
        "must be in the range 1-100",
    ),
    "a required node affinity has terms": (
        pod(affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}),
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: "
        "must have at least one node selector term",
    ),
    "ephemeral containers are for running pods": (
        pod(ephemeralContainers=[{"name": "d", "image": "i"}]),
        "spec.ephemeralContainers: Forbidden: cannot be set on create",
    ),
    "an init container is not probed": (
        pod(initContainers=[container(name="d", livenessProbe={"tcpSocket": {"port": 1}})]),
        "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
        "restartPolicy=Always",
    ),
}


@pytest.mark.parametrize(("spec", "message"), POD.values(), ids=POD.keys())
def test_a_pod_is_refused(spec: dict[str, Any], message: str) -> None:
    assert message in problems(made("Pod", spec))


def test_a_pod_is_filled_in() -> None:
    probe = {"httpGet": {"port": 80}}
    stored, wrong = created(
        made("Pod", pod(container(image="nginx", ports=[{"containerPort": 80}], readinessProbe=probe)))
    )
    assert wrong == []
    assert stored["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert [each["name"] for each in stored["spec"].pop("volumes")] == ["kube-api-access-bbbbb"]
    assert [each["name"] for each in stored["spec"]["containers"][0].pop("volumeMounts")] == ["kube-api-access-bbbbb"]
    assert stored["spec"] == {
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "imagePullPolicy": "Always",
                "ports": [{"containerPort": 80, "protocol": "TCP"}],
                "readinessProbe": {
                    "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                    "timeoutSeconds": 1,
                    "periodSeconds": 10,
                    "successThreshold": 1,
                    "failureThreshold": 3,
                },
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }
        ],
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "preemptionPolicy": "PreemptLowerPriority",
        "priority": 0,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "terminationGracePeriodSeconds": 30,
        "tolerations": [
            {
                "key": f"node.kubernetes.io/{condition}",
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": 300,
            }
            for condition in ("not-ready", "unreachable")
        ],
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_an_image_is_pulled_again_if_its_tag_may_move(image: str, policy: str) -> None:
    (found,) = items_at(created(made("Pod", pod(container(image=image))))[0], "spec", "containers")
    assert text_at(found, "imagePullPolicy") == policy


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_the_quality_of_service_follows_from_requests_and_limits(resources: Any, quality: str) -> None:
    assert mapping_at(created(made("Pod", pod(container(resources=resources))))[0], "status")["qosClass"] == quality


def test_a_pod_may_get_another_image_and_nothing_else() -> None:
    old = created(made("Pod", pod(container())))[0]
    new = copy.deepcopy(old)
    mounts = old["spec"]["containers"][0]["volumeMounts"]
    new["spec"] = {**mapping_at(old, "spec"), "containers": [container(image="i:2", volumeMounts=mounts)]}
    assert updated(new, old)[1] == []
    new["spec"] = {**mapping_at(old, "spec"), "restartPolicy": "Never"}
    (message,) = updated(new, old)[1]
    assert message.startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )
    new["spec"] = {**mapping_at(old, "spec"), "containers": [container(), container(name="d")]}
    assert updated(new, old)[1] == ["spec.containers: Forbidden: pod updates may not add or remove containers"]


def test_grace_is_for_pods_that_run_somewhere() -> None:
    running: Document = {"spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7}, "status": {"phase": "Running"}}
    assert [pod_grace_seconds(running, requested) for requested in (None, 3, 0, -5)] == [7, 3, 0, 1]
    assert pod_grace_seconds({"spec": {"terminationGracePeriodSeconds": 7}}, 20) == 0
    assert pod_grace_seconds({**running, "status": {"phase": "Succeeded"}}, 20) == 0


def workload(**fields: Any) -> dict[str, Any]:
    return {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod()},
        **fields,
    }


WORKLOAD: dict[str, tuple[dict[str, Any], str]] = {
    "a deployment selects": (
        {"template": workload()["template"]},
        "spec.selector: Required value",
    ),
    "a deployment does not select everything": (
        workload(selector={}),
        "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
    ),
    "a deployment selects its own pods": (
        workload(selector={"matchLabels": {"app": "b"}}),
        'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`',
    ),
    "an operator without values needs values": (
        workload(selector={"matchExpressions": [{"key": "app", "operator": "In"}]}),
        "spec.selector.matchExpressions[0].values: Required value: must be specified when "
        "`operator` is 'In' or 'NotIn'",
    ),
    "there are not fewer than no pods": (
        workload(replicas=-1),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    "the pods run for ever": (
        workload(template={"metadata": {"labels": {"app": "a"}}, "spec": pod(restartPolicy="Never")}),
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    "Recreate has no rolling update": (
        workload(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    "a rolling update moves": (
        workload(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
    ),
    "a percentage is a percentage": (
        workload(strategy={"rollingUpdate": {"maxSurge": "half"}}),
        'spec.strategy.rollingUpdate.maxSurge: Invalid value: "half": a valid percent string must be a numeric string '
        "followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    ),
    "a rollout outlasts the wait for readiness": (
        workload(minReadySeconds=600),
        "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
    ),
    "the template is judged as a pod": (
        workload(template={"metadata": {"labels": {"app": "a"}}, "spec": {"containers": []}}),
        "spec.template.spec.containers: Required value",
    ),
}


@pytest.mark.parametrize(("spec", "message"), WORKLOAD.values(), ids=WORKLOAD.keys())
def test_a_deployment_is_refused(spec: dict[str, Any], message: str) -> None:
    assert message in problems(made("Deployment", spec))


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "DaemonSet"])
def test_a_workload_is_accepted_and_keeps_its_selector(kind: str) -> None:
    old, wrong = created(made(kind, workload()))
    assert wrong == []
    new = copy.deepcopy(old)
    new["spec"] = workload(
        selector={"matchLabels": {"app": "b"}}, template={"metadata": {"labels": {"app": "b"}}, "spec": pod()}
    )
    assert updated(new, old)[1] == ['spec.selector: Invalid value: {"matchLabels":{"app":"b"}}: field is immutable']


def test_a_deployment_is_filled_in() -> None:
    spec = mapping_at(created(made("Deployment", workload()))[0], "spec")
    assert {key: spec[key] for key in ("replicas", "revisionHistoryLimit", "progressDeadlineSeconds", "strategy")} == {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
    }


def test_a_daemon_set_is_replaced_one_node_at_a_time() -> None:
    spec = mapping_at(created(made("DaemonSet", workload()))[0], "spec")
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}


def test_scaling_to_zero_is_not_defaulted_away() -> None:
    assert mapping_at(created(made("Deployment", workload(replicas=0)))[0], "spec")["replicas"] == 0


UNSERVED: dict[str, tuple[dict[str, Any], str]] = {
    "process namespaces": (
        pod(shareProcessNamespace=True, hostPID=True),
        "spec.shareProcessNamespace, spec.hostPID: are without effect in this cluster",
    ),
    "users": (
        pod(container(securityContext={"runAsUser": 1})),
        "spec.containers[0].securityContext: is without effect: every container runs as the user of this cluster, "
        "in its namespaces",
    ),
    "volumes of other machines": (
        pod(volumes=[{"name": "v", "nfs": {"server": "s", "path": "/"}}]),
        "spec.volumes[0].nfs: is not served by this cluster; the pod finds an empty folder",
    ),
    "memory as a folder, and its size": (
        pod(volumes=[{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]),
        "spec.volumes[0].emptyDir.medium, spec.volumes[0].emptyDir.sizeLimit: are without effect in this cluster",
    ),
    "other schedulers": (
        pod(schedulerName="mine"),
        "spec.schedulerName: mine is not part of this cluster; the pod waits until it binds it",
    ),
    "preemption": (
        pod(priorityClassName="high"),
        "spec.priorityClassName: pods of higher priority are placed first, but displace no others "
        "(no preemption in this cluster)",
    ),
}


@pytest.mark.parametrize(("spec", "message"), UNSERVED.values(), ids=UNSERVED.keys())
def test_what_is_not_carried_out_is_warned_of(spec: dict[str, Any], message: str) -> None:
    document = made("Pod", spec)
    pod_kind = spec_of(document)
    pod_kind.default(document)
    assert pod_kind.warnings(document) == [message]
    job = made("CronJob", {"jobTemplate": {"spec": {"template": {"spec": document["spec"]}}}})
    inner = message.replace("spec.", "spec.jobTemplate.spec.template.spec.")
    assert spec_of(job).warnings(job) == [inner]


@pytest.mark.parametrize(
    ("kind", "spec", "told"),
    [
        ("PersistentVolumeClaim", {"volumeMode": "Block"}, "volumes of this cluster are folders, never block devices"),
        ("PersistentVolumeClaim", {"dataSource": {"kind": "VolumeSnapshot"}}, "spec.dataSource: is without effect"),
        ("PersistentVolume", {"nfs": {"server": "s"}}, "spec.nfs: is not served by this cluster"),
        ("PersistentVolume", {"csi": {"driver": "fairlead.dev/folder"}}, ""),
        ("PersistentVolumeClaim", {"volumeMode": "Filesystem"}, ""),
    ],
)
def test_storage_that_is_not_there_is_warned_of(kind: str, spec: dict[str, Any], told: str) -> None:
    document = made(kind, spec)
    warnings = spec_of(document).warnings(document)
    assert told in "".join(warnings)
    assert bool(warnings) == bool(told)


def test_a_pod_that_asks_for_nothing_special_is_not_warned_about() -> None:
    stored, _ = created(made("Pod", pod()))
    assert spec_of(stored).warnings(stored) == []


HIGH = made("PriorityClass", name="high", value=1000, preemptionPolicy="Never")
ANY = made("PriorityClass", name="any", value=7, globalDefault=True)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"priorityClassName": "high"}, ("high", 1000, "Never")),
        ({}, ("any", 7, "PreemptLowerPriority")),
        ({"priorityClassName": "high", "priority": 1000}, ("high", 1000, "Never")),
    ],
)
def test_a_pod_has_the_priority_of_its_class(spec: dict[str, Any], expected: tuple[str, int, str]) -> None:
    document = made("Pod", spec)
    prioritize(document, [HIGH, ANY])
    found = document["spec"]
    assert (found["priorityClassName"], found["priority"], found["preemptionPolicy"]) == expected


def test_a_class_that_is_not_there_and_a_priority_of_ones_own_are_refused() -> None:
    with pytest.raises(AdmissionError, match="no PriorityClass with name low was found"):
        prioritize(made("Pod", {"priorityClassName": "low"}), [HIGH])
    with pytest.raises(AdmissionError, match=r"the integer value of priority \(5\) must not be provided in pod spec"):
        prioritize(made("Pod", {"priority": 5}), [HIGH])
