"""Disruption budgets: one with the pods it selects comes in; its status, which evictions are judged by, goes out.

Semantics of upstream's pkg/controller/disruption. An eviction the API server allowed is noted with the pod's name; the
note goes once the pod is being deleted, or after two minutes without.
"""

from collections.abc import Sequence

from msgspec import Struct

from fairlead.cluster.controllers.actions import Action, Again, Patch
from fairlead.cluster.controllers.pods import is_active, is_ready
from fairlead.cluster.controllers.rollouts import resolve_share
from fairlead.cluster.controllers.timestamps import format_time, parse_time
from fairlead.kube.core import Pod
from fairlead.kube.disruption import PodDisruptionBudget
from fairlead.kube.documents import Document, Json

_NOTE_SECONDS = 120.0


class BudgetView(Struct, frozen=True, kw_only=True):
    """A budget, the pods it selects, and how many their owners want together."""

    budget: PodDisruptionBudget
    pods: Sequence[Pod]
    expected: int
    now: float


def reconcile(view: BudgetView) -> tuple[Action, ...]:
    """The status to write if it differs, and when a note is over."""
    budget, old = view.budget, view.budget.status
    notes = _notes(view)
    healthy = sum(is_active(pod) and is_ready(pod) and pod.metadata.name not in notes for pod in view.pods)
    desired = _desired(view)
    allowed = max(healthy - desired, 0) if view.expected else 0
    status: Document = {
        "observedGeneration": budget.metadata.generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": view.expected,
    }
    known = (old.observed_generation, old.disruptions_allowed, old.current_healthy, old.desired_healthy)
    changed = (*known, old.expected_pods) != tuple(status.values()) or notes != old.disrupted_pods
    actions: list[Action] = []
    if changed or not old.conditions:
        status["disruptedPods"] = {**dict.fromkeys(old.disrupted_pods), **notes}
        status["conditions"] = [_condition(view, allowed)]
        meta, patch = (
            budget.metadata,
            Document(status=status, metadata={"resourceVersion": budget.metadata.resource_version}),
        )
        actions.append(
            Patch(kind=PodDisruptionBudget, namespace=meta.namespace, name=meta.name, patch=patch, subresource="status")
        )
    if notes:
        actions.append(Again(_NOTE_SECONDS))
    return tuple(actions)


def _notes(view: BudgetView) -> dict[str, str]:
    """The evictions that were allowed and of which nothing is seen yet."""
    here = {pod.metadata.name for pod in view.pods if pod.metadata.deletion_timestamp is None}
    return {
        name: moment
        for name, moment in view.budget.status.disrupted_pods.items()
        if name in here and (parse_time(moment) or 0.0) + _NOTE_SECONDS > view.now
    }


def _desired(view: BudgetView) -> int:
    """How many pods must stay healthy."""
    spec = view.budget.spec
    if spec.max_unavailable is not None:
        return max(view.expected - resolve_share(spec.max_unavailable, view.expected, round_up=True), 0)
    return resolve_share(spec.min_available, view.expected, round_up=True) if spec.min_available is not None else 1


def _condition(view: BudgetView, allowed: int) -> Json:
    status = "True" if allowed else "False"
    known = next((each for each in view.budget.status.conditions if each.type == "DisruptionAllowed"), None)
    since = known.last_transition_time if known is not None and known.status == status else None
    return {
        "type": "DisruptionAllowed",
        "status": status,
        "observedGeneration": view.budget.metadata.generation,
        "reason": "SufficientPods" if allowed else "InsufficientPods",
        "message": "",
        "lastTransitionTime": since or format_time(view.now),
    }
