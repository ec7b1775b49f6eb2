"""What is wrong with a Deployment, a ReplicaSet, a DaemonSet or a StatefulSet.

In: a document with defaults, and for an update its predecessor. Out: FieldErrors. Source:
k8s.io/kubernetes/pkg/apis/apps/validation/validation.go.
"""

import re

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import forbidden, invalid, required, unsupported
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import (
    Found,
    annotations,
    immutable,
    labels,
    not_negative,
    one_of,
    selector,
)
from fairlead.cluster.apiserver.kinds.validation.pods import pod_spec
from fairlead.cluster.apiserver.kinds.validation.storage import claim_spec_rules
from fairlead.kube.documents import Document, Json, mapping_at, number_at, strings_at, text_at
from fairlead.kube.meta import LabelSelector, LabelSelectorRequirement
from fairlead.kube.selectors import selector_matcher

TEMPLATE = "spec.template"


def deployment_rules(deployment: Document) -> Found:
    """Judge the spec of a deployment."""
    spec = mapping_at(deployment, "spec")
    yield from not_negative(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from _selector_and_template(spec, "deployment")
    yield from _deployment_strategy(mapping_at(spec, "strategy"))
    deadline, least = number_at(spec, "progressDeadlineSeconds"), number_at(spec, "minReadySeconds") or 0
    if deadline is not None:
        yield from not_negative(spec, "spec", "progressDeadlineSeconds")
        if deadline <= least:
            yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def replica_set_rules(replica_set: Document) -> Found:
    """Judge the spec of a replica set."""
    spec = mapping_at(replica_set, "spec")
    yield from not_negative(spec, "spec", "replicas", "minReadySeconds")
    yield from _selector_and_template(spec, "deployment")


def daemon_set_rules(daemon_set: Document) -> Found:
    """Judge the spec of a daemon set."""
    spec = mapping_at(daemon_set, "spec")
    yield from _selector_and_template(spec, "daemonset")
    yield from not_negative(spec, "spec", "minReadySeconds", "revisionHistoryLimit")
    strategy = mapping_at(spec, "updateStrategy")
    kind = text_at(strategy, "type")
    if kind == "RollingUpdate":
        rolling = mapping_at(strategy, "rollingUpdate")
        yield from _rolling("spec.updateStrategy.rollingUpdate", rolling)
        if _nonzero(rolling.get("maxSurge")) and _nonzero(rolling.get("maxUnavailable")):
            path = "spec.updateStrategy.rollingUpdate.maxSurge"
            yield invalid(path, rolling.get("maxSurge"), "may not be set when maxUnavailable is non-zero")
    else:
        yield from one_of("spec.updateStrategy.type", kind, ("RollingUpdate", "OnDelete"))


def stateful_set_rules(stateful_set: Document) -> Found:
    """Judge the spec of a stateful set."""
    spec = mapping_at(stateful_set, "spec")
    yield from not_negative(spec, "spec", "replicas", "minReadySeconds", "revisionHistoryLimit")
    yield from one_of("spec.podManagementPolicy", text_at(spec, "podManagementPolicy"), ("OrderedReady", "Parallel"))
    strategy = mapping_at(spec, "updateStrategy")
    kind = text_at(strategy, "type")
    if kind == "RollingUpdate":
        rolling = mapping_at(strategy, "rollingUpdate")
        yield from not_negative(rolling, "spec.updateStrategy.rollingUpdate", "partition")
        yield from _rolling("spec.updateStrategy.rollingUpdate", rolling)
    else:
        yield from one_of("spec.updateStrategy.type", kind, ("OnDelete", "RollingUpdate"))
        if strategy.get("rollingUpdate") is not None:
            yield invalid(
                "spec.updateStrategy.rollingUpdate",
                strategy.get("rollingUpdate"),
                f"only allowed for updateStrategy 'RollingUpdate', not '{kind}'",
            )
    for field in ("whenDeleted", "whenScaled"):
        path = f"spec.persistentVolumeClaimRetentionPolicy.{field}"
        retention = mapping_at(spec, "persistentVolumeClaimRetentionPolicy")
        yield from one_of(path, text_at(retention, field), ("Retain", "Delete"))
    yield from not_negative(mapping_at(spec, "ordinals"), "spec.ordinals", "start")
    for index, claim in enumerate(children(spec, "volumeClaimTemplates")):
        yield from claim_spec_rules(mapping_at(claim, "spec"), f"spec.volumeClaimTemplates[{index}].spec")
    yield from _selector_and_template({**spec, "template": _with_claims(spec)}, "statefulset")


def _with_claims(spec: Document) -> Document:
    """The template with the volumes that claims will fill, which its containers may mount."""
    template, pod = mapping_at(spec, "template"), mapping_at(spec, "template", "spec")
    names = [text_at(each, "metadata", "name") for each in children(spec, "volumeClaimTemplates")]
    filled: list[Json] = [{"name": name, "emptyDir": {}} for name in names]
    own = [each for each in children(pod, "volumes") if text_at(each, "name") not in names]
    return {**template, "spec": {**pod, "volumes": [*own, *filled]}}


_CHANGEABLE = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds"),
    "persistentVolumeClaimRetentionPolicy",
)


def stateful_set_update_rules(new: Document, old: Document) -> Found:
    """Refuse to change what pods that exist were made by."""
    kept = [
        {key: value for key, value in mapping_at(each, "spec").items() if key not in _CHANGEABLE} for each in (new, old)
    ]
    if kept[0] != kept[1]:
        yield forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )


def controller_revision_rules(revision: Document) -> Found:
    """Judge a controller revision."""
    if "data" not in revision:
        yield required("data", "data is mandatory")
    if (number_at(revision, "revision") or 0) < 0:
        yield invalid("revision", revision.get("revision"), texts.NOT_NEGATIVE)


def controller_revision_update_rules(new: Document, old: Document) -> Found:
    """Refuse other data: only the number may change."""
    yield from immutable("data", new.get("data"), old.get("data"))


def selector_update_rules(new: Document, old: Document) -> Found:
    """Refuse another selector."""
    yield from immutable("spec.selector", new_selector(new), new_selector(old))


def new_selector(document: Document) -> Document:
    """Return the selector of a workload."""
    return mapping_at(document, "spec", "selector")


def _selector_and_template(spec: Document, kind: str) -> Found:
    own = mapping_at(spec, "selector")
    if "selector" not in spec:
        yield required("spec.selector")
    else:
        wrong = list(selector("spec.selector", own))
        yield from wrong
        if not own.get("matchLabels") and not own.get("matchExpressions"):
            yield invalid("spec.selector", own, f"empty selector is invalid for {kind}")
        elif not wrong and not _matches(own, strings_at(spec, "template", "metadata", "labels")):
            shown: dict[str, Json] = dict(strings_at(spec, "template", "metadata", "labels"))
            detail = "`selector` does not match template `labels`"
            yield invalid(f"{TEMPLATE}.metadata.labels", shown or None, detail)
    template = mapping_at(spec, "template")
    yield from labels(f"{TEMPLATE}.labels", mapping_at(template, "metadata").get("labels"))
    yield from annotations(f"{TEMPLATE}.annotations", mapping_at(template, "metadata").get("annotations"))
    yield from pod_spec(mapping_at(template, "spec"), f"{TEMPLATE}.spec")
    policy = text_at(template, "spec", "restartPolicy")
    if policy and policy != "Always":
        yield unsupported(f"{TEMPLATE}.spec.restartPolicy", policy, ("Always",))
    if number_at(template, "spec", "activeDeadlineSeconds") is not None:
        yield forbidden(
            f"{TEMPLATE}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported"
        )


def _matches(own: Document, given: dict[str, str]) -> bool:
    expressions = own.get("matchExpressions")
    terms = [each for each in expressions if isinstance(each, dict)] if isinstance(expressions, list) else []
    requirements = tuple(
        LabelSelectorRequirement(
            key=text_at(each, "key"),
            operator=text_at(each, "operator"),
            values=tuple(str(value) for value in _values(each)),
        )
        for each in terms
    )
    typed = LabelSelector(match_labels=strings_at(own, "matchLabels"), match_expressions=requirements)
    return selector_matcher(typed)(given)


def _values(expression: Document) -> list[Json]:
    values = expression.get("values")
    return values if isinstance(values, list) else []


def _deployment_strategy(strategy: Document) -> Found:
    kind, path = text_at(strategy, "type"), "spec.strategy.rollingUpdate"
    if kind == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            yield forbidden(path, "may not be specified when strategy `type` is 'Recreate'")
    elif kind == "RollingUpdate":
        rolling = mapping_at(strategy, "rollingUpdate")
        yield from _rolling(path, rolling)
        if not _nonzero(rolling.get("maxUnavailable")) and not _nonzero(rolling.get("maxSurge")):
            value = rolling.get("maxUnavailable")
            yield invalid(f"{path}.maxUnavailable", value, "may not be 0 when `maxSurge` is 0")
    else:
        yield from one_of("spec.strategy.type", kind, ("Recreate", "RollingUpdate"))


def _nonzero(value: Json) -> bool:
    return value not in (None, 0, "0%")


def _rolling(path: str, rolling: Document) -> Found:
    for field in ("maxUnavailable", "maxSurge"):
        value = rolling.get(field)
        spot = f"{path}.{field}"
        if isinstance(value, str):
            if not re.fullmatch(texts.PERCENT, value):
                yield invalid(spot, value, texts.BAD_PERCENT)
            elif field == "maxUnavailable" and int(value[:-1]) > 100:
                yield invalid(spot, value, "must not be greater than 100%")
        elif isinstance(value, int) and value < 0:
            yield invalid(spot, value, texts.NOT_NEGATIVE)
