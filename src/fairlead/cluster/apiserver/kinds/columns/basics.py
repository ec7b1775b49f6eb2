"""The columns of Namespaces, Nodes, ConfigMaps, Secrets, ServiceAccounts, Leases and Events.

Source: the printers of k8s.io/kubernetes/pkg/printers/internalversion/printers.go.
"""

from fairlead.cluster.apiserver.kinds.columns.ages import UNKNOWN, age_text
from fairlead.cluster.apiserver.kinds.columns.plain import AGE, NAME, age_of, name_of
from fairlead.cluster.apiserver.kinds.columns.texts import NONE
from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.spec import Column
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, strings_at, text_at

ROLE_PREFIX = "node-role.kubernetes.io/"
ROLE_LABEL = "kubernetes.io/role"

NAMESPACE = (NAME, Column("Status", "string", "", "Active, or Terminating while its contents go."), AGE)
CONFIG_MAP = (NAME, Column("Data", "string", "", "How many keys it has."), AGE)
SECRET = (
    NAME,
    Column("Type", "string", "", "What it is for."),
    Column("Data", "string", "", "How many keys it has."),
    AGE,
)
SERVICE_ACCOUNT = (NAME, Column("Secrets", "string", "", "How many secrets it may use."), AGE)
LEASE = (NAME, Column("Holder", "string", "", "Who holds it."), AGE)
NODE = (
    NAME,
    Column("Status", "string", "", "Whether it is ready and takes new pods."),
    Column("Roles", "string", "", "What it is for, by its labels."),
    AGE,
    Column("Version", "string", "", "The version of its kubelet."),
    Column("Internal-IP", "string", "", "Its address inside the cluster.", 1),
    Column("External-IP", "string", "", "Its address for the outside.", 1),
    Column("OS-Image", "string", "", "Its operating system.", 1),
    Column("Kernel-Version", "string", "", "Its kernel.", 1),
    Column("Container-Runtime", "string", "", "What runs its containers.", 1),
)
EVENT = (
    Column("Last Seen", "string", "", "When it last happened."),
    Column("Type", "string", "", "Normal or Warning."),
    Column("Reason", "string", "", "Why, in one word."),
    Column("Object", "string", "", "What it happened to."),
    Column("Subobject", "string", "", "The part of the object it happened to.", 1),
    Column("Source", "string", "", "Who reported it.", 1),
    Column("Message", "string", "", "What happened."),
    Column("First Seen", "string", "", "When it first happened.", 1),
    Column("Count", "string", "", "How often it happened.", 1),
    Column("Name", "string", "name", "The name of the event.", 1),
)


def namespace_row(namespace: Document, now: float) -> list[Json]:
    """Return the cells of `NAMESPACE`."""
    return [name_of(namespace), text_at(namespace, "status", "phase"), age_of(namespace, now)]


def config_map_row(config_map: Document, now: float) -> list[Json]:
    """Return the cells of `CONFIG_MAP`."""
    count = len(mapping_at(config_map, "data")) + len(mapping_at(config_map, "binaryData"))
    return [name_of(config_map), str(count), age_of(config_map, now)]


def secret_row(secret: Document, now: float) -> list[Json]:
    """Return the cells of `SECRET`."""
    return [name_of(secret), text_at(secret, "type"), str(len(mapping_at(secret, "data"))), age_of(secret, now)]


def service_account_row(account: Document, now: float) -> list[Json]:
    """Return the cells of `SERVICE_ACCOUNT`."""
    return [name_of(account), str(len(items_at(account, "secrets"))), age_of(account, now)]


def lease_row(lease: Document, now: float) -> list[Json]:
    """Return the cells of `LEASE`."""
    return [name_of(lease), text_at(lease, "spec", "holderIdentity"), age_of(lease, now)]


def _node_status(node: Document) -> str:
    conditions = children(mapping_at(node, "status"), "conditions")
    ready = next((text_at(each, "status") for each in conditions if text_at(each, "type") == "Ready"), None)
    words = ["Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"]
    if flag_at(node, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(node: Document) -> str:
    labels = strings_at(node, "metadata", "labels")
    roles = {key.removeprefix(ROLE_PREFIX) for key in labels if key.startswith(ROLE_PREFIX)}
    roles.add(labels.get(ROLE_LABEL, ""))
    return ",".join(sorted(filter(None, roles))) or NONE


def _address(node: Document, kind: str) -> str:
    addresses = children(mapping_at(node, "status"), "addresses")
    return next((text_at(each, "address") for each in addresses if text_at(each, "type") == kind), NONE)


def node_row(node: Document, now: float) -> list[Json]:
    """Return the cells of `NODE`."""
    facts = mapping_at(node, "status", "nodeInfo")
    return [
        name_of(node),
        _node_status(node),
        _roles(node),
        age_of(node, now),
        text_at(facts, "kubeletVersion"),
        _address(node, "InternalIP"),
        _address(node, "ExternalIP"),
        text_at(facts, "osImage") or UNKNOWN,
        text_at(facts, "kernelVersion") or UNKNOWN,
        text_at(facts, "containerRuntimeVersion") or UNKNOWN,
    ]


def _event_object(event: Document) -> str:
    kind, name = text_at(event, "involvedObject", "kind").lower(), text_at(event, "involvedObject", "name")
    return f"{kind}/{name}" if name else kind


def event_row(event: Document, now: float) -> list[Json]:
    """Return the cells of `EVENT`."""
    first = text_at(event, "firstTimestamp") or text_at(event, "eventTime")
    last = text_at(event, "series", "lastObservedTime") or text_at(event, "lastTimestamp") or first
    count = number_at(event, "series", "count") or number_at(event, "count") or 1
    component = text_at(event, "source", "component") or text_at(event, "reportingComponent")
    host = text_at(event, "source", "host") or text_at(event, "reportingInstance")
    return [
        age_text(last, now),
        text_at(event, "type"),
        text_at(event, "reason"),
        _event_object(event),
        text_at(event, "involvedObject", "fieldPath"),
        ", ".join(filter(None, (component, host))),
        text_at(event, "message").strip(),
        age_text(first, now),
        str(count),
        name_of(event),
    ]
