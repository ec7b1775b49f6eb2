"""Whether a pod may be evicted now: the pod and the stored disruption budgets come in; the budget's status, lowered by
one, goes out, or the refusal. Source: pkg/registry/core/pod/storage/eviction.go.
"""

import msgspec

from fairlead.cluster.apiserver.statuses import StatusError
from fairlead.cluster.apiserver.store import Stored
from fairlead.cluster.apiserver.writing import Writer
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, strings_at, text_at
from fairlead.kube.resources import resource_of
from fairlead.kube.selectors import selector_matcher

_BUDGETS = (resource_of(PodDisruptionBudget).group, resource_of(PodDisruptionBudget).plural)


def note_eviction(pod: Document, writer: Writer, *, dry_run: bool) -> None:
    """Take the eviction off the pod's budget. Raises StatusError: 429 while it allows none, 500 for two budgets.

    Pods that have ended, are going already or are not running yet are no loss, and always go.
    """
    if text_at(pod, "status", "phase") in ("Succeeded", "Failed", "Pending"):
        return
    if text_at(pod, "metadata", "deletionTimestamp"):
        return
    namespace = text_at(pod, "metadata", "namespace")
    found = [each for each in writer.store.items(_BUDGETS, namespace) if _selects(each, pod)]
    if len(found) > 1:
        told = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise StatusError(500, "InternalError", told, {})
    if not found:
        return
    budget = found[0].document()
    status = mapping_at(budget, "status")
    if not _is_ready(pod) and _lets_unready_go(budget):
        return
    name = text_at(budget, "metadata", "name")
    if (number_at(status, "observedGeneration") or 0) < (number_at(budget, "metadata", "generation") or 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", retry=10)
    allowed = number_at(status, "disruptionsAllowed") or 0
    if allowed <= 0:
        healthy, desired = number_at(status, "currentHealthy") or 0, number_at(status, "desiredHealthy") or 0
        raise _refusal(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    notes: Document = {**mapping_at(status, "disruptedPods"), text_at(pod, "metadata", "name"): writer.now()}
    budget["status"] = {**status, "disruptionsAllowed": allowed - 1, "disruptedPods": notes}
    if not dry_run:
        writer.store.put(_BUDGETS, found[0].key, budget)


def _selects(budget: Stored, pod: Document) -> bool:
    selector = msgspec.convert(budget.document(), PodDisruptionBudget).spec.selector
    return selector is not None and selector_matcher(selector)(strings_at(pod, "metadata", "labels"))


def _is_ready(pod: Document) -> bool:
    conditions = items_at(pod, "status", "conditions")
    return any(text_at(each, "type") == "Ready" and text_at(each, "status") == "True" for each in conditions)


def _lets_unready_go(budget: Document) -> bool:
    """A pod that is not ready goes if the budget says always, or if its application is healthy without it."""
    if text_at(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = mapping_at(budget, "status")
    healthy, desired = number_at(status, "currentHealthy") or 0, number_at(status, "desiredHealthy") or 0
    return healthy >= desired > 0


def _refusal(message: str, retry: int = 0) -> StatusError:
    details: Document = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    if retry:
        details["retryAfterSeconds"] = retry
    told = "Cannot evict pod as it would violate the pod's disruption budget."
    return StatusError(429, "TooManyRequests", told, details)
