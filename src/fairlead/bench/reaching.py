"""`reach` over ten thousand pods under a thousand policies: from objects to who can talk to whom, and all pairs told.

The world of `bench.policies`, its pods owned by workloads of ten. Baseline is reading and compiling the objects alone.
"""

import time

from msgspec import convert
from msgspec.structs import replace

from fairlead.bench.measurement import Measurement, at_most
from fairlead.bench.policies import world_objects
from fairlead.kube.core import Namespace, Pod
from fairlead.kube.meta import OwnerReference
from fairlead.kube.networking import NetworkPolicy
from fairlead.sim.reach_objects import PolicyObjects, read_objects

_SECONDS = 5.0


def reach(pods: int = 10_000, policies: int = 1_000) -> list[Measurement]:
    """Measure compiling, asking and telling."""
    lists = world_objects(pods, policies)
    objects = PolicyObjects(
        namespaces=tuple(convert(each, Namespace) for each in lists["namespaces"]),
        pods=tuple(_owned(convert(each, Pod)) for each in lists["pods"]),
        policies=tuple(convert(each, NetworkPolicy) for each in lists["networkpolicies"]),
    )
    started = time.perf_counter()
    question = read_objects(objects)
    compiled = time.perf_counter() - started
    answer = question.reach()
    asked = time.perf_counter() - started
    pairs = sum(1 for _ in answer.lines())
    told = time.perf_counter() - started
    title = f"reach: {pods:,} pods in {len(question.workloads):,} workloads, {policies:,} policies"
    return [
        at_most(f"{title}: who can talk to whom", asked, "s", _SECONDS, compiled),
        Measurement(f"{title}: {pairs:,} pairs told as well", told, "s", compiled, told / compiled),
    ]


def _owned(pod: Pod) -> Pod:
    """The pod as one of a workload: those of a namespace with the same app."""
    owner = OwnerReference(kind="StatefulSet", name=pod.metadata.labels["app"], controller=True)
    return replace(pod, metadata=replace(pod.metadata, owner_references=(owner,)))
