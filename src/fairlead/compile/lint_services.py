"""What is doubtful in Services: selectors that match no pod, ports that no pod has, pods nobody asks for readiness.

Comes in: Services and pods. Goes out: findings. An error never works, whatever pods come; a warning depends on those
that are known. Source: core/v1 types.go, Service.spec.
"""

from collections.abc import Iterable, Iterator, Sequence

from fairlead.kube.core import Pod, Service, ServicePort
from fairlead.model import Finding, Origin, Severity


def lint_services(services: Iterable[Service], pods: Sequence[Pod]) -> Iterator[Finding]:
    """Yield what is wrong or doubtful, Service by Service."""
    for service in services:
        meta, spec = service.metadata, service.spec
        if not spec.selector or spec.type == "ExternalName":
            continue
        origin = Origin("Service", meta.namespace, meta.name)
        chosen = [pod for pod in pods if pod.metadata.namespace == meta.namespace and _selected(pod, spec.selector)]
        if not chosen:
            remedy = f"compare it with the labels of the pods: kubectl get pods -n {meta.namespace} --show-labels"
            yield _finding(origin, "spec.selector", "matches no pod: the Service has no endpoints", remedy)
            continue
        for number, port in enumerate(spec.ports):
            yield from _lint_port(origin, number, port, chosen)
        unasked = next((pod for pod in chosen if not _asked(pod)), None)
        if unasked is not None:
            message = (
                f"pods such as {unasked.metadata.name} have no readinessProbe: they get traffic as soon as they run"
            )
            yield _finding(origin, "spec.selector", message, "give the container that serves a readinessProbe")


def _selected(pod: Pod, selector: dict[str, str]) -> bool:
    return selector.items() <= pod.metadata.labels.items()


def _asked(pod: Pod) -> bool:
    return any(container.readiness_probe is not None for container in pod.spec.containers)


def _lint_port(origin: Origin, number: int, port: ServicePort, pods: Sequence[Pod]) -> Iterator[Finding]:
    name = port.target_port
    if not isinstance(name, str):
        return
    lacking = [pod for pod in pods if not _declares(pod, name, port.protocol)]
    if not lacking:
        return
    field = f"spec.ports[{number}].targetPort"
    remedy = "name the container's port so, or give its number"
    if len(lacking) == len(pods):
        message = f"no pod of the Service has a container port {name!r} of {port.protocol}"
        yield _finding(origin, field, message, remedy, Severity.ERROR)
    else:
        message = f"pod {lacking[0].metadata.name} has no container port {name!r} of {port.protocol}: it is no endpoint"
        yield _finding(origin, field, message, remedy)


def _declares(pod: Pod, name: str, protocol: str) -> bool:
    staying = [each for each in pod.spec.init_containers if each.restart_policy == "Always"]
    return any(
        each.name == name and (each.protocol or "TCP") == protocol
        for container in (*pod.spec.containers, *staying)
        for each in container.ports
    )


def _finding(at: Origin, field: str, message: str, remedy: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(severity, Origin(at.kind, at.namespace, at.name, field), message, remedy)
