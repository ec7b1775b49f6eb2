"""What is wrong with what a pod says about where it may run: affinity and spread constraints.

In: a pod spec. Out: FieldErrors. Source: validateAffinity and validateTopologySpreadConstraints of
k8s.io/kubernetes/pkg/apis/core/validation/validation.go. So whoever places pods never meets an operator it does not
know.
"""

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import duplicate, forbidden, invalid, required
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import Found, judged, one_of, selector
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
POSITIVE = "must be greater than zero"


def affinity(spec: Document, path: str) -> Found:
    """Judge the affinity of a pod spec."""
    whole = mapping_at(spec, "affinity")
    yield from _node_affinity(mapping_at(whole, "nodeAffinity"), f"{path}.affinity.nodeAffinity")
    for name in ("podAffinity", "podAntiAffinity"):
        yield from _pod_affinity(mapping_at(whole, name), f"{path}.affinity.{name}")


def _node_affinity(document: Document, path: str) -> Found:
    if isinstance(needed := document.get(REQUIRED), dict):
        terms = children(needed, "nodeSelectorTerms")
        spot = f"{path}.{REQUIRED}.nodeSelectorTerms"
        if not terms:
            yield required(spot, "must have at least one node selector term")
        for index, term in enumerate(terms):
            yield from _node_term(term, f"{spot}[{index}]")
    for index, wish in enumerate(children(document, PREFERRED)):
        spot = f"{path}.{PREFERRED}[{index}]"
        yield from _weight(wish, spot)
        yield from _node_term(mapping_at(wish, "preference"), f"{spot}.preference")


def _node_term(term: Document, path: str) -> Found:
    for index, expression in enumerate(children(term, "matchExpressions")):
        spot = f"{path}.matchExpressions[{index}]"
        yield from _node_requirement(expression, spot)
        yield from judged(f"{spot}.key", text_at(expression, "key"), texts.qualified_name)
    for index, field in enumerate(children(term, "matchFields")):
        spot = f"{path}.matchFields[{index}]"
        if text_at(field, "operator") not in ("In", "NotIn"):
            yield invalid(f"{spot}.operator", text_at(field, "operator"), "not a valid selector operator")
        elif len(items_at(field, "values")) != 1:
            detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield required(f"{spot}.values", detail)
        if text_at(field, "key") != "metadata.name":
            yield invalid(f"{spot}.key", text_at(field, "key"), "not a valid field selector key")


def _node_requirement(expression: Document, path: str) -> Found:
    operator, values = text_at(expression, "operator"), items_at(expression, "values")
    if operator in ("In", "NotIn"):
        if not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")


def _pod_affinity(document: Document, path: str) -> Found:
    for index, term in enumerate(children(document, REQUIRED)):
        yield from _pod_term(term, f"{path}.{REQUIRED}[{index}]")
    for index, wish in enumerate(children(document, PREFERRED)):
        spot = f"{path}.{PREFERRED}[{index}]"
        yield from _weight(wish, spot)
        yield from _pod_term(mapping_at(wish, "podAffinityTerm"), f"{spot}.podAffinityTerm")


def _pod_term(term: Document, path: str) -> Found:
    for name in ("labelSelector", "namespaceSelector"):
        yield from selector(f"{path}.{name}", mapping_at(term, name))
    for index, namespace in enumerate(items_at(term, "namespaces")):
        yield from judged(f"{path}.namespaces[{index}]", str(namespace), texts.dns_label)
    yield from _topology_key(term, path)


def _topology_key(parent: Document, path: str) -> Found:
    key = text_at(parent, "topologyKey")
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from judged(f"{path}.topologyKey", key, texts.qualified_name)


def _weight(wish: Document, path: str) -> Found:
    weight = number_at(wish, "weight") or 0
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def topology_spread(spec: Document, path: str) -> Found:
    """Judge the spread constraints of a pod spec."""
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(children(spec, "topologySpreadConstraints")):
        spot = f"{path}.topologySpreadConstraints[{index}]"
        unless, key = text_at(constraint, "whenUnsatisfiable"), text_at(constraint, "topologyKey")
        if (number_at(constraint, "maxSkew") or 0) <= 0:
            yield invalid(f"{spot}.maxSkew", number_at(constraint, "maxSkew") or 0, POSITIVE)
        yield from _topology_key(constraint, spot)
        yield from one_of(f"{spot}.whenUnsatisfiable", unless, ("DoNotSchedule", "ScheduleAnyway"))
        if (key, unless) in seen:
            yield duplicate(f"{spot}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {unless}}}")
        seen.add((key, unless))
        yield from _least_domains(constraint, spot)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if policy := text_at(constraint, name):
                yield from one_of(f"{spot}.{name}", policy, ("Honor", "Ignore"))
        yield from selector(f"{spot}.labelSelector", mapping_at(constraint, "labelSelector"))


def _least_domains(constraint: Document, path: str) -> Found:
    least, unless = number_at(constraint, "minDomains"), text_at(constraint, "whenUnsatisfiable")
    if least is None:
        return
    if least <= 0:
        yield invalid(f"{path}.minDomains", least, POSITIVE)
    if unless != "DoNotSchedule":
        detail = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {unless}"
        yield invalid(f"{path}.minDomains", least, detail)
