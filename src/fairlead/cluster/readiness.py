"""When is a cluster ready? Comes in: nodes, workloads and pods as the API has them. Goes out: what is missing."""

from collections.abc import Iterable

from fairlead.cluster.addons.ingress import wants_ours
from fairlead.kube.apps import DaemonSet, Deployment
from fairlead.kube.core import Node, Pod
from fairlead.kube.networking import Ingress


def missing_nodes(nodes: Iterable[Node], expected: int) -> list[str]:
    """A line per node that has not reported Ready, or one line while some have not registered."""
    found = list(nodes)
    lines = [
        f"node {node.metadata.name} is not ready" for node in found if not _is_true(node.status.conditions, "Ready")
    ]
    if len(found) < expected:
        lines.append(f"{expected - len(found)} of {expected} nodes have not registered")
    return lines


def missing_workloads(deployments: Iterable[Deployment], daemon_sets: Iterable[DaemonSet]) -> list[str]:
    """A line per Deployment or DaemonSet whose pods of the present generation are not all available."""
    lines: list[str] = []
    for deployment in deployments:
        status, meta = deployment.status, deployment.metadata
        wanted = 1 if deployment.spec.replicas is None else deployment.spec.replicas
        behind = (status.observed_generation or 0) < (meta.generation or 0)
        updated, available = status.updated_replicas or 0, status.available_replicas or 0
        if behind or updated < wanted or available < wanted:
            lines.append(f"deployment {meta.namespace}/{meta.name} has {available} of {wanted} pods available")
    for daemon_set in daemon_sets:
        status, meta = daemon_set.status, daemon_set.metadata
        wanted, ready = status.desired_number_scheduled or 0, status.number_available or 0
        if (status.observed_generation or 0) < (meta.generation or 0) or ready < wanted:
            lines.append(f"daemonset {meta.namespace}/{meta.name} has {ready} of {wanted} pods available")
    return lines


def missing_pods(pods: Iterable[Pod]) -> list[str]:
    """A line per pod that is neither Ready nor finished, with the reason its status gives."""
    return [
        f"pod {pod.metadata.namespace}/{pod.metadata.name}: {_reason(pod)}"
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and pod.status.phase != "Succeeded"
        and not _is_true(pod.status.conditions, "Ready")
    ]


def missing_addresses(ingresses: Iterable[Ingress]) -> list[str]:
    """A line per Ingress for the built-in controller that it does not serve yet."""
    return [
        f"ingress {each.metadata.namespace}/{each.metadata.name} has no address yet"
        for each in ingresses
        if wants_ours(each) and not each.status.load_balancer.ingress
    ]


def _is_true(conditions: Iterable[object], kind: str) -> bool:
    return any(getattr(c, "type", "") == kind and getattr(c, "status", "") == "True" for c in conditions)


def _reason(pod: Pod) -> str:
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = status.state.waiting if status.state else None
        ended = status.last_state.terminated if status.last_state else None
        if ended is not None and not status.ready:
            where = f"kubectl logs -n {pod.metadata.namespace} {pod.metadata.name} -c {status.name}"
            return f"container {status.name} has ended with {ended.exit_code}, and again: {where}"
        if waiting is not None and waiting.reason:
            return f"container {status.name} is waiting: {waiting.reason} {waiting.message or ''}".rstrip()
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status != "True":
            return f"not scheduled: {condition.message or condition.reason or 'no node yet'}"
    return f"phase {pod.status.phase or 'Pending'}, not ready"
