"""The fields that a fieldSelector may name, by kind, beside metadata.name and metadata.namespace.

In: a stored document. Out: texts by field label, empty where the field is not set. Source: the ToSelectableFields
functions of k8s.io/kubernetes/pkg/registry and AddFieldLabelConversionFunc of pkg/apis/core/v1/conversion.go.
"""

from collections.abc import Callable, Mapping

from fairlead.kube.documents import Document, flag_at, items_at, number_at, text_at

POD_TEXTS = ("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName")
POD_STATUS_TEXTS = ("status.phase", "status.podIP", "status.nominatedNodeName")
POD = (*POD_TEXTS, "spec.hostNetwork", *POD_STATUS_TEXTS, "status.podIPs")
NODE = ("spec.unschedulable",)
SERVICE = ("spec.clusterIP", "spec.type")
NAMESPACE = ("status.phase",)
SECRET = ("type",)
REPLICA_SET = ("status.replicas",)
JOB = ("status.successful",)
EVENT_TEXTS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "type",
)
EVENT = (*EVENT_TEXTS, "source")


def texts_of(names: tuple[str, ...]) -> Callable[[Document], Mapping[str, str]]:
    """Return a function that reads each of these labels, whose names are their paths, as text."""
    paths = tuple((name, tuple(name.split("."))) for name in names)

    def read(document: Document) -> Mapping[str, str]:
        return {name: text_at(document, *path) for name, path in paths}

    return read


def _flag(value: bool) -> str:
    return "true" if value else "false"


_POD_TEXTS = texts_of((*POD_TEXTS, *POD_STATUS_TEXTS))
_EVENT_TEXTS = texts_of(EVENT_TEXTS)


def pod_labels(pod: Document) -> Mapping[str, str]:
    """Return the labels of a pod."""
    addresses = [text_at(each, "ip") for each in items_at(pod, "status", "podIPs")]
    return {
        **_POD_TEXTS(pod),
        "spec.hostNetwork": _flag(flag_at(pod, "spec", "hostNetwork")),
        "status.podIPs": ",".join(addresses),
    }


def node_labels(node: Document) -> Mapping[str, str]:
    """Return the labels of a node."""
    return {"spec.unschedulable": _flag(flag_at(node, "spec", "unschedulable"))}


def replica_set_labels(replica_set: Document) -> Mapping[str, str]:
    """Return the labels of a replica set."""
    return {"status.replicas": str(number_at(replica_set, "status", "replicas") or 0)}


def job_labels(job: Document) -> Mapping[str, str]:
    """Return the labels of a Job."""
    return {"status.successful": str(number_at(job, "status", "succeeded") or 0)}


def event_labels(event: Document) -> Mapping[str, str]:
    """Return the labels of an event; its source is who reported it, by the old field or the new."""
    source = text_at(event, "source", "component") or text_at(event, "reportingComponent")
    return {**_EVENT_TEXTS(event), "source": source}
