"""What is wrong with a pod, or with the pod template of a workload.

In: a pod or pod spec with defaults, and for an update its predecessor. Out: FieldErrors. Source: ValidatePodSpec and
ValidatePodUpdate of k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
"""

import copy

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import forbidden, invalid, required
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.affinity import affinity, topology_spread
from fairlead.cluster.apiserver.kinds.validation.containers import containers
from fairlead.cluster.apiserver.kinds.validation.fields import Found, judged, labels, one_of
from fairlead.cluster.apiserver.kinds.validation.volumes import volume_names, volumes
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
MAX_INT32 = 2**31 - 1
UPDATABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_rules(pod: Document) -> Found:
    """Judge the spec of a pod."""
    yield from pod_spec(mapping_at(pod, "spec"), "spec")


def pod_create_rules(pod: Document) -> Found:
    """Refuse what only a running pod may be given."""
    if items_at(pod, "spec", "ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")


def pod_spec(spec: Document, path: str) -> Found:
    """Judge a pod spec, of a pod or of a template."""
    yield from volumes(spec, path)
    yield from containers(spec, path, volume_names(spec))
    yield from one_of(f"{path}.restartPolicy", text_at(spec, "restartPolicy"), RESTART_POLICIES)
    yield from one_of(f"{path}.dnsPolicy", text_at(spec, "dnsPolicy"), DNS_POLICIES)
    if text_at(spec, "dnsPolicy") == "None" and not items_at(spec, "dnsConfig", "nameservers"):
        detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield required(f"{path}.dnsConfig.nameservers", detail)
    yield from labels(f"{path}.nodeSelector", spec.get("nodeSelector"))
    for field, rule in (
        ("serviceAccountName", texts.dns_subdomain),
        ("nodeName", texts.dns_subdomain),
        ("hostname", texts.dns_label),
        ("subdomain", texts.dns_label),
    ):
        if value := text_at(spec, field):
            yield from judged(f"{path}.{field}", value, rule)
    deadline = number_at(spec, "activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        detail = f"must be between 1 and {MAX_INT32}, inclusive"
        yield invalid(f"{path}.activeDeadlineSeconds", deadline, detail)
    yield from affinity(spec, path)
    yield from topology_spread(spec, path)
    for index, toleration in enumerate(children(spec, "tolerations")):
        yield from _toleration(f"{path}.tolerations[{index}]", toleration)
    for index, alias in enumerate(children(spec, "hostAliases")):
        yield from judged(f"{path}.hostAliases[{index}].ip", text_at(alias, "ip"), texts.ip_address)


def _toleration(path: str, toleration: Document) -> Found:
    key, operator = text_at(toleration, "key"), text_at(toleration, "operator")
    if key:
        yield from judged(f"{path}.key", key, texts.qualified_name)
    elif operator != "Exists":
        detail = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        yield invalid(f"{path}.operator", operator, detail)
    effect = text_at(toleration, "effect")
    if number_at(toleration, "tolerationSeconds") is not None and effect != "NoExecute":
        yield invalid(f"{path}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
    if operator == "Exists":
        if value := text_at(toleration, "value"):
            yield invalid(f"{path}.operator", value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("", "Equal"):
        yield from judged(f"{path}.operator", text_at(toleration, "value"), texts.label_value)
    else:
        yield from one_of(f"{path}.operator", operator, ("Equal", "Exists"))
    if effect:
        yield from one_of(f"{path}.effect", effect, EFFECTS)


def pod_update_rules(new: Document, old: Document) -> Found:
    """Refuse changes of a spec but to images, deadline and further tolerations."""
    spec, before = mapping_at(new, "spec"), mapping_at(old, "spec")
    for field, noun in (("containers", "containers"), ("initContainers", "init containers")):
        if len(items_at(spec, field)) != len(items_at(before, field)):
            yield forbidden(f"spec.{field}", f"pod updates may not add or remove {noun}")
            return
    yield from _deadline(number_at(spec, "activeDeadlineSeconds"), number_at(before, "activeDeadlineSeconds"))
    tolerations = items_at(spec, "tolerations")
    if any(each not in tolerations for each in items_at(before, "tolerations")):
        yield forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
    if _fixed_part(spec, before) != _fixed_part(before, before):
        yield forbidden("spec", UPDATABLE)


def _deadline(new: int | None, old: int | None) -> Found:
    if old is None or new == old:
        return
    if new is None:
        yield invalid("spec.activeDeadlineSeconds", None, "must not update from a positive integer to nil value")
    elif new > old:
        yield invalid("spec.activeDeadlineSeconds", new, "must be less than or equal to previous value")


def _fixed_part(spec: Document, before: Document) -> Document:
    """Return a spec without what may change, so that two may be compared."""
    fixed = copy.deepcopy(spec)
    for field in ("tolerations", "activeDeadlineSeconds"):
        fixed.pop(field, None)
    grace = number_at(before, "terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and fixed.get("terminationGracePeriodSeconds") == 1:
        fixed["terminationGracePeriodSeconds"] = grace
    for field in ("containers", "initContainers"):
        for container in children(fixed, field):
            container.pop("image", None)
    return fixed
