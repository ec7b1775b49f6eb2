"""Write src/fairlead/kube/schema/types.json.gz: every field of every type that the served kinds reach.

The facts (names, types, which fields are required) are read from the models of the PyPI package `kubernetes`; the
sentences are our own (tools/schema_texts.py), and so is the table of merge keys below, which follows the tags
patchStrategy, patchMergeKey, listType, listMapKey and mapType of k8s.io/api and k8s.io/apimachinery.

Usage: python tools/generate_schema.py
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Any

import kubernetes
import kubernetes.client as models

sys.path.insert(0, str(Path(__file__).parent))
from schema_texts import FIELDS, TYPES

TARGET = Path(__file__).parent.parent / "src" / "fairlead" / "kube" / "schema" / "types.json.gz"

ROOTS = {
    "V1Namespace": ("", "v1", "Namespace"),
    "V1Node": ("", "v1", "Node"),
    "V1Pod": ("", "v1", "Pod"),
    "V1Service": ("", "v1", "Service"),
    "V1Endpoints": ("", "v1", "Endpoints"),
    "V1ConfigMap": ("", "v1", "ConfigMap"),
    "V1Secret": ("", "v1", "Secret"),
    "V1ServiceAccount": ("", "v1", "ServiceAccount"),
    "V1Binding": ("", "v1", "Binding"),
    "CoreV1Event": ("", "v1", "Event"),
    "EventsV1Event": ("events.k8s.io", "v1", "Event"),
    "V1Deployment": ("apps", "v1", "Deployment"),
    "V1ReplicaSet": ("apps", "v1", "ReplicaSet"),
    "V1DaemonSet": ("apps", "v1", "DaemonSet"),
    "V1StatefulSet": ("apps", "v1", "StatefulSet"),
    "V1ControllerRevision": ("apps", "v1", "ControllerRevision"),
    "V1Job": ("batch", "v1", "Job"),
    "V1CronJob": ("batch", "v1", "CronJob"),
    "V1PodDisruptionBudget": ("policy", "v1", "PodDisruptionBudget"),
    "V1PriorityClass": ("scheduling.k8s.io", "v1", "PriorityClass"),
    "V1PersistentVolumeClaim": ("", "v1", "PersistentVolumeClaim"),
    "V1PersistentVolume": ("", "v1", "PersistentVolume"),
    "V1StorageClass": ("storage.k8s.io", "v1", "StorageClass"),
    "V1HorizontalPodAutoscaler": ("autoscaling", "v1", "HorizontalPodAutoscaler"),
    "V2HorizontalPodAutoscaler": ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    "V1EndpointSlice": ("discovery.k8s.io", "v1", "EndpointSlice"),
    "V1Lease": ("coordination.k8s.io", "v1", "Lease"),
    "V1Ingress": ("networking.k8s.io", "v1", "Ingress"),
    "V1IngressClass": ("networking.k8s.io", "v1", "IngressClass"),
    "V1ServiceCIDR": ("networking.k8s.io", "v1", "ServiceCIDR"),
    "V1IPAddress": ("networking.k8s.io", "v1", "IPAddress"),
    "V1ReplicationController": ("", "v1", "ReplicationController"),
    "V1NetworkPolicy": ("networking.k8s.io", "v1", "NetworkPolicy"),
    "V1Eviction": ("policy", "v1", "Eviction"),
    "V1Scale": ("autoscaling", "v1", "Scale"),
    "V1Role": ("rbac.authorization.k8s.io", "v1", "Role"),
    "V1RoleBinding": ("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    "V1ClusterRole": ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    "V1ClusterRoleBinding": ("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    "V1CustomResourceDefinition": ("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    "V1SelfSubjectAccessReview": ("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
    "V1SelfSubjectRulesReview": ("authorization.k8s.io", "v1", "SelfSubjectRulesReview"),
    "V1SubjectAccessReview": ("authorization.k8s.io", "v1", "SubjectAccessReview"),
    "V1LocalSubjectAccessReview": ("authorization.k8s.io", "v1", "LocalSubjectAccessReview"),
    "V1SelfSubjectReview": ("authentication.k8s.io", "v1", "SelfSubjectReview"),
    "V1TokenReview": ("authentication.k8s.io", "v1", "TokenReview"),
    "AuthenticationV1TokenRequest": ("authentication.k8s.io", "v1", "TokenRequest"),
    "V1DeleteOptions": ("", "v1", "DeleteOptions"),
    "V1Status": ("", "v1", "Status"),
    "V1WatchEvent": ("", "v1", "WatchEvent"),
}

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
PACKAGES = (
    (
        META,
        r"ObjectMeta|ListMeta|OwnerReference|ManagedFieldsEntry|LabelSelector(Requirement)?|Condition|DeleteOptions"
        r"|Preconditions|Status(Cause|Details)?|WatchEvent|FieldSelectorRequirement|ShardInfo",
    ),
    ("io.k8s.api.apps.v1", r"(RollingUpdate)?(Deployment|ReplicaSet|DaemonSet|StatefulSet).*|ControllerRevision"),
    ("io.k8s.api.batch.v1", r"(Cron)?Job.*|PodFailurePolicy.*|SuccessPolicy.*|UncountedTerminatedPods"),
    (
        "io.k8s.api.networking.v1",
        r"Ingress.*|HTTPIngress.*|NetworkPolicy.*|IPBlock|ServiceBackendPort|ServiceCIDR.*|IPAddress.*|ParentReference",
    ),
    (
        "io.k8s.api.discovery.v1",
        r"Endpoint|EndpointSlice|EndpointConditions|EndpointHints|ForNode|ForZone|DiscoveryV1EndpointPort",
    ),
    ("io.k8s.api.coordination.v1", r"Lease(Spec)?"),
    ("io.k8s.api.policy.v1", r"Eviction|PodDisruptionBudget.*"),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1",
        r"CustomResource.*|JSONSchemaProps|ExternalDocumentation|ValidationRule|WebhookConversion|SelectableField"
        r"|ApiextensionsV1(ServiceReference|WebhookClientConfig)",
    ),
    ("io.k8s.api.rbac.v1", r"(Cluster)?Role(Binding|Ref)?|PolicyRule|AggregationRule|RbacV1Subject"),
    (
        "io.k8s.api.autoscaling.v2",
        r"V2(HorizontalPodAutoscaler.*|CrossVersionObjectReference|Metric.*|.*Metric(Source|Status)|HPAScaling.*)",
    ),
    ("io.k8s.api.autoscaling.v1", r"Scale(Spec|Status)?|HorizontalPodAutoscaler.*|CrossVersionObjectReference"),
    ("io.k8s.api.scheduling.v1", r"PriorityClass"),
    ("io.k8s.api.storage.v1", r"StorageClass"),
    (
        "io.k8s.api.authorization.v1",
        r".*(AccessReview|RulesReview).*|(Non)?Resource(Attributes|Rule)|SubjectRules.*|(Label|Field)SelectorAttributes",
    ),
    (
        "io.k8s.api.authentication.v1",
        r"SelfSubjectReview(Status)?|Token(Review|Request).*|AuthenticationV1TokenRequest|UserInfo|BoundObjectReference",
    ),
    ("io.k8s.api.events.v1", r"EventsV1Event(Series)?"),
    ("io.k8s.api.core.v1", r".*"),
)

CLUSTER_POLICY = "io.k8s.networking.policy.v1alpha2"
_OPEN_SELECTOR = f"{META}.LabelSelector"
OWN_TYPES: dict[str, dict[str, tuple[str, str, bool]]] = {
    "ClusterNetworkPolicy": {
        "apiVersion": ("string", "", False),
        "kind": ("string", "", False),
        "metadata": (f"{META}.ObjectMeta", "", False),
        "spec": (f"{CLUSTER_POLICY}.ClusterNetworkPolicySpec", "", True),
        "status": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyStatus", "", False),
    },
    "ClusterNetworkPolicySpec": {
        "tier": ("string", "", True),
        "priority": ("int32", "", True),
        "subject": (f"{CLUSTER_POLICY}.ClusterNetworkPolicySubject", "", True),
        "ingress": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyIngressRule", "list", False),
        "egress": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyEgressRule", "list", False),
    },
    "ClusterNetworkPolicyStatus": {"conditions": (f"{META}.Condition", "list", False)},
    "ClusterNetworkPolicySubject": {
        "namespaces": (_OPEN_SELECTOR, "", False),
        "pods": (f"{CLUSTER_POLICY}.NamespacedPod", "", False),
    },
    "NamespacedPod": {
        "namespaceSelector": (_OPEN_SELECTOR, "", True),
        "podSelector": (_OPEN_SELECTOR, "", True),
    },
    "ClusterNetworkPolicyIngressRule": {
        "name": ("string", "", False),
        "action": ("string", "", True),
        "from": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyPeer", "list", True),
        "protocols": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyProtocol", "list", False),
    },
    "ClusterNetworkPolicyEgressRule": {
        "name": ("string", "", False),
        "action": ("string", "", True),
        "to": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyPeer", "list", True),
        "protocols": (f"{CLUSTER_POLICY}.ClusterNetworkPolicyProtocol", "list", False),
    },
    "ClusterNetworkPolicyPeer": {
        "namespaces": (_OPEN_SELECTOR, "", False),
        "pods": (f"{CLUSTER_POLICY}.NamespacedPod", "", False),
        "networks": ("string", "list", False),
        "nodes": (_OPEN_SELECTOR, "", False),
        "domainNames": ("string", "list", False),
    },
    "ClusterNetworkPolicyProtocol": {
        "tcp": (f"{CLUSTER_POLICY}.PortedProtocol", "", False),
        "udp": (f"{CLUSTER_POLICY}.PortedProtocol", "", False),
        "sctp": (f"{CLUSTER_POLICY}.PortedProtocol", "", False),
        "destinationNamedPort": ("string", "", False),
    },
    "PortedProtocol": {"destinationPort": (f"{CLUSTER_POLICY}.DestinationPort", "", False)},
    "DestinationPort": {
        "number": ("int32", "", False),
        "range": (f"{CLUSTER_POLICY}.DestinationPortRange", "", False),
    },
    "DestinationPortRange": {"start": ("int32", "", True), "end": ("int32", "", True)},
}
"""Types that package has not: ClusterNetworkPolicy of network-policy-api v0.2.0, fields as (type, shape, required)."""

INT64 = {
    "generation",
    "observedGeneration",
    "deletionGracePeriodSeconds",
    "gracePeriodSeconds",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "startingDeadlineSeconds",
    "revision",
    "tolerationSeconds",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "supplementalGroups",
    "expirationSeconds",
    "seconds",
    "remainingItemCount",
    "sizeBytes",
    "uid",
    "gid",
}
MICRO_TIMES = {"eventTime", "lastObservedTime", "acquireTime", "renewTime"}
QUANTITIES = {
    ("ResourceRequirements", "limits"),
    ("ResourceRequirements", "requests"),
    ("VolumeResourceRequirements", "limits"),
    ("VolumeResourceRequirements", "requests"),
    ("NodeStatus", "allocatable"),
    ("NodeStatus", "capacity"),
    ("PodSpec", "overhead"),
    ("PodStatus", "allocatedResources"),
    ("ContainerStatus", "allocatedResources"),
    ("EmptyDirVolumeSource", "sizeLimit"),
    ("ResourceFieldSelector", "divisor"),
    ("PersistentVolumeSpec", "capacity"),
    ("PersistentVolumeClaimStatus", "capacity"),
    ("PersistentVolumeClaimStatus", "allocatedResources"),
    ("MetricTarget", "averageValue"),
    ("MetricTarget", "value"),
    ("MetricValueStatus", "averageValue"),
    ("MetricValueStatus", "value"),
}
INT_OR_STRING = {"port", "targetPort", "maxSurge", "maxUnavailable", "minAvailable"}

# (type, field): (strategy, merge key, list type, list map keys). Where the strategy is "", a patch replaces the list.
LISTS: dict[tuple[str, str], tuple[str, str, str, str]] = {
    ("ObjectMeta", "ownerReferences"): ("merge", "uid", "map", "uid"),
    ("ObjectMeta", "finalizers"): ("merge", "", "set", ""),
    ("PodSpec", "volumes"): ("merge,retainKeys", "name", "map", "name"),
    ("PodSpec", "initContainers"): ("merge", "name", "map", "name"),
    ("PodSpec", "containers"): ("merge", "name", "map", "name"),
    ("PodSpec", "ephemeralContainers"): ("merge", "name", "map", "name"),
    ("PodSpec", "imagePullSecrets"): ("merge", "name", "map", "name"),
    ("PodSpec", "hostAliases"): ("merge", "ip", "map", "ip"),
    ("PodSpec", "topologySpreadConstraints"): ("merge", "topologyKey", "map", "topologyKey,whenUnsatisfiable"),
    ("PodSpec", "schedulingGates"): ("merge", "name", "map", "name"),
    ("PodSpec", "resourceClaims"): ("merge,retainKeys", "name", "map", "name"),
    ("Container", "ports"): ("merge", "containerPort", "map", "containerPort,protocol"),
    ("Container", "env"): ("merge", "name", "map", "name"),
    ("Container", "volumeMounts"): ("merge", "mountPath", "map", "mountPath"),
    ("Container", "volumeDevices"): ("merge", "devicePath", "map", "devicePath"),
    ("EphemeralContainer", "ports"): ("merge", "containerPort", "map", "containerPort,protocol"),
    ("EphemeralContainer", "env"): ("merge", "name", "map", "name"),
    ("EphemeralContainer", "volumeMounts"): ("merge", "mountPath", "map", "mountPath"),
    ("EphemeralContainer", "volumeDevices"): ("merge", "devicePath", "map", "devicePath"),
    ("ResourceRequirements", "claims"): ("", "", "map", "name"),
    ("ContainerRestartRuleOnExitCodes", "values"): ("", "", "set", ""),
    ("PodStatus", "conditions"): ("merge", "type", "map", "type"),
    ("PodStatus", "podIPs"): ("merge", "ip", "map", "ip"),
    ("PodStatus", "hostIPs"): ("merge", "ip", "atomic", ""),
    ("PodStatus", "resourceClaimStatuses"): ("merge,retainKeys", "name", "map", "name"),
    ("ContainerStatus", "volumeMounts"): ("merge", "mountPath", "map", "mountPath"),
    ("ContainerStatus", "allocatedResourcesStatus"): ("merge", "name", "map", "name"),
    ("ServiceSpec", "ports"): ("merge", "port", "map", "port,protocol"),
    ("ServiceStatus", "conditions"): ("merge", "type", "map", "type"),
    ("ServiceAccount", "secrets"): ("merge", "name", "map", "name"),
    ("NodeSpec", "podCIDRs"): ("merge", "", "set", ""),
    ("NodeStatus", "conditions"): ("merge", "type", "map", "type"),
    ("NodeStatus", "addresses"): ("merge", "type", "map", "type"),
    ("NamespaceStatus", "conditions"): ("merge", "type", "map", "type"),
    ("Endpoint", "addresses"): ("", "", "set", ""),
    ("DeploymentStatus", "conditions"): ("merge", "type", "map", "type"),
    ("ReplicaSetStatus", "conditions"): ("merge", "type", "map", "type"),
    ("ReplicationControllerStatus", "conditions"): ("merge", "type", "map", "type"),
    ("ServiceCIDRStatus", "conditions"): ("merge", "type", "map", "type"),
    ("DaemonSetStatus", "conditions"): ("merge", "type", "map", "type"),
    ("PodDisruptionBudgetStatus", "conditions"): ("merge", "type", "map", "type"),
    ("PersistentVolumeClaimStatus", "conditions"): ("merge", "type", "map", "type"),
    ("HorizontalPodAutoscalerStatus", "conditions"): ("merge", "type", "map", "type"),
    ("StatefulSetStatus", "conditions"): ("merge", "type", "map", "type"),
    ("JobStatus", "conditions"): ("merge", "type", "atomic", ""),
    ("PodFailurePolicyOnExitCodesRequirement", "values"): ("", "", "set", ""),
}
RETAIN_KEYS = {("DeploymentSpec", "strategy")}
ATOMIC_MAPS = {
    ("PodSpec", "nodeSelector"),
    ("ServiceSpec", "selector"),
}
ATOMIC_TYPES = {
    "LocalObjectReference",
    "ObjectReference",
    "TypedLocalObjectReference",
    "OwnerReference",
    "LabelSelector",
    "SecretKeySelector",
    "ConfigMapKeySelector",
    "FileKeySelector",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "EndpointAddress",
    "EndpointPort",
}


def short_name(model: str) -> str:
    """Return the Go name of a model class: V1Pod and CoreV1Event become Pod and Event."""
    return re.sub(r"^(Core|Events|Discovery|Authentication|Rbac|Storage)?V[12]", "", model)


def full_name(model: str) -> str:
    """Return the name of a model class as upstream's OpenAPI documents call it."""
    plain = re.sub(r"^V1", "", model)
    for package, pattern in PACKAGES:
        if re.fullmatch(pattern, plain):
            return f"{package}.{short_name(model)}"
    raise AssertionError(model)


def reachable() -> dict[str, Any]:
    """Return the model classes the roots reach, by class name."""
    found: dict[str, Any] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found or not hasattr(models, name):
            continue
        found[name] = getattr(models, name)
        for type_text in found[name].openapi_types.values():
            waiting.extend(re.findall(r"[A-Za-z0-9]+", type_text))
    return found


def value_type(owner: str, wire: str, type_text: str) -> str:
    """Return the type of one value (not of the list or map around it) in the words of types.py."""
    if (owner, wire) in QUANTITIES:
        return "quantity"
    if type_text == "object":
        return "int-or-string" if wire in INT_OR_STRING else "any"
    if type_text == "datetime":
        return "microtime" if wire in MICRO_TIMES else "time"
    if type_text == "int":
        return "int64" if wire in INT64 else "int32"
    plain = {"str": "string", "bool": "boolean", "bytes": "bytes", "float": "number", "List[str]": "strings"}
    return plain.get(type_text) or full_name(type_text)


def field_row(owner: str, wire: str, type_text: str, required: bool) -> list[Any]:
    """Return one field in the order of `types.Field`, cut after the last entry that is not a default."""
    shape = ""
    if match := re.fullmatch(r"List\[(.*)\]", type_text):
        shape, type_text = "list", match[1]
    elif match := re.fullmatch(r"Dict\[str, (.*)\]", type_text):
        shape, type_text = "map", match[1]
    strategy, merge_key, list_type, list_keys = LISTS.get((owner, wire), ("", "", "", ""))
    if shape == "list" and not list_type:
        list_type = "atomic"
    if (owner, wire) in RETAIN_KEYS:
        strategy = "retainKeys"
    if (owner, wire) in ATOMIC_MAPS:
        list_type = "atomic"
    text = FIELDS.get(f"{owner}.{wire}") or FIELDS.get(wire, "")
    row = [value_type(owner, wire, type_text), shape, required, text, strategy, merge_key, list_type, list_keys]
    defaults = ["", "", False, "", "", "", "", ""]
    while row and row[-1] == defaults[len(row) - 1]:
        row.pop()
    return row


def type_row(model: str, cls: Any) -> dict[str, Any]:
    """Return one type as `types.Type` reads it."""
    owner = short_name(model)
    row: dict[str, Any] = {"fields": {}}
    needed = {field.serialization_alias or name for name, field in cls.model_fields.items() if field.is_required()}
    for attribute, wire in sorted(cls.attribute_map.items(), key=lambda pair: pair[1]):
        required = wire in needed
        row["fields"][wire] = field_row(owner, wire, cls.openapi_types[attribute], required)
    if text := TYPES.get(full_name(model).removeprefix("io.k8s.api.")) or TYPES.get(owner):
        row["text"] = text
    if model in ROOTS:
        row["kind"] = ROOTS[model]
    if owner in ATOMIC_TYPES:
        row["atomic"] = True
    return row


def own_rows() -> dict[str, Any]:
    """Return the types of our own table as `types.Type` reads them."""
    rows: dict[str, Any] = {}
    for name, fields in OWN_TYPES.items():
        row: dict[str, Any] = {"fields": {}}
        for wire, (value, shape, required) in sorted(fields.items()):
            text = FIELDS.get(f"{name}.{wire}") or FIELDS.get(wire, "")
            entry = [value, shape, required, text, "", "", "atomic" if shape == "list" else "", ""]
            while entry and entry[-1] in ("", False):
                entry.pop()
            row["fields"][wire] = entry
        if text := TYPES.get(name):
            row["text"] = text
        rows[f"{CLUSTER_POLICY}.{name}"] = row
    rows[f"{CLUSTER_POLICY}.ClusterNetworkPolicy"]["kind"] = (
        "policy.networking.k8s.io",
        "v1alpha2",
        "ClusterNetworkPolicy",
    )
    return rows


def main() -> None:
    """Write the file and say how much it holds."""
    found = reachable()
    missing = set(ROOTS) - set(found)
    assert not missing, f"kubernetes {kubernetes.__version__} lacks {missing}"
    types = {full_name(model): type_row(model, cls) for model, cls in sorted(found.items())} | own_rows()
    known = {(name.rpartition(".")[2], field) for name, row in types.items() for field in row["fields"]}
    assert not (stale := (set(LISTS) | RETAIN_KEYS | ATOMIC_MAPS | QUANTITIES) - known), stale
    body = json.dumps(types, separators=(",", ":"), sort_keys=True).encode()
    TARGET.write_bytes(gzip.compress(body, 9, mtime=0))
    fields = sum(len(row["fields"]) for row in types.values())
    told = sum(1 for row in types.values() for field in row["fields"].values() if len(field) > 3 and field[3])
    print(f"kubernetes {kubernetes.__version__}: {len(types)} types, {fields} fields, {told} described,", end=" ")
    print(f"{TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
