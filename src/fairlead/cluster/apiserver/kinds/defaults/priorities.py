"""The priority of a pod, from its class.

In: a new pod and the priority classes there are. Out: the pod with its priority, or AdmissionError. Source: admission
plugin Priority (plugin/pkg/admission/priority).
"""

from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import child
from fairlead.cluster.apiserver.kinds.errors import AdmissionError
from fairlead.kube.documents import Document, flag_at, number_at, text_at

SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
"""The classes every cluster has, and their priorities."""


def prioritize(pod: Document, classes: Sequence[Document]) -> None:
    """Give a pod the priority and the preemption policy of its class, of the default class, or 0.

    Raises AdmissionError for a class that is not there, and for a priority that is not the class's.
    """
    spec = child(pod, "spec")
    name = text_at(spec, "priorityClassName")
    named = next((each for each in classes if text_at(each, "metadata", "name") == name), None)
    if name and named is None:
        raise AdmissionError(f"no PriorityClass with name {name} was found")
    chosen = named or min(
        (each for each in classes if flag_at(each, "globalDefault")),
        key=lambda each: number_at(each, "value") or 0,
        default=None,
    )
    priority = (number_at(chosen, "value") or 0) if chosen is not None else 0
    if chosen is not None and not name:
        spec["priorityClassName"] = text_at(chosen, "metadata", "name")
    given = number_at(spec, "priority")
    if given is not None and given != priority:
        detail = f"the integer value of priority ({given}) must not be provided in pod spec"
        raise AdmissionError(
            f"{detail}; priority admission controller computed {priority} from the given PriorityClass name"
        )
    spec["priority"] = priority
    policy = text_at(chosen, "preemptionPolicy") if chosen is not None else ""
    spec.setdefault("preemptionPolicy", policy or "PreemptLowerPriority")
