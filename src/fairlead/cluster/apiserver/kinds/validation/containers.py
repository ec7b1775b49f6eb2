"""What is wrong with the containers of a pod.

In: a pod spec with defaults. Out: FieldErrors. Source: validateContainers and what it calls, in
k8s.io/kubernetes/pkg/apis/core/validation/validation.go.
"""

import re
from collections.abc import Sequence

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.kinds.errors import FieldError, duplicate, forbidden, invalid, not_found, required
from fairlead.cluster.apiserver.kinds.validation import texts
from fairlead.cluster.apiserver.kinds.validation.fields import (
    Found,
    judged,
    not_negative,
    one_of,
    port_number,
    port_or_name,
    protocol,
)
from fairlead.kube.documents import Document, Json, flag_at, items_at, mapping_at, number_at, text_at
from fairlead.kube.quantities import parse_quantity

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
MESSAGE_POLICIES = ("FallbackToLogsOnError", "File")
SCHEMES = ("HTTP", "HTTPS")
ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc")
HOOK_ACTIONS = ("exec", "httpGet", "tcpSocket", "sleep")
VALUE_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
FIELD_PATHS = frozenset(
    (
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "metadata.labels",
        "metadata.annotations",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    )
)
SUBSCRIPTED = re.compile(r"metadata\.(labels|annotations)\['[^']+'\]")


def containers(spec: Document, path: str, volumes: frozenset[str]) -> Found:
    """Judge the containers of a pod spec; `volumes` are the names of its volumes."""
    seen: set[str] = set()
    for index, container in enumerate(children(spec, "initContainers")):
        spot = f"{path}.initContainers[{index}]"
        yield from _container(spot, container, volumes, seen, spec)
        yield from _init_only(spot, container)
    if not children(spec, "containers"):
        yield required(f"{path}.containers")
    for index, container in enumerate(children(spec, "containers")):
        spot = f"{path}.containers[{index}]"
        yield from _container(spot, container, volumes, seen, spec)
        if container.get("restartPolicy") is not None:
            yield forbidden(f"{spot}.restartPolicy", "may not be set for non-init containers")


def _container(path: str, container: Document, volumes: frozenset[str], seen: set[str], spec: Document) -> Found:
    name, image = text_at(container, "name"), text_at(container, "image")
    if not name:
        yield required(f"{path}.name")
    elif wrong := list(judged(f"{path}.name", name, texts.dns_label)):
        yield from wrong
    elif name in seen:
        yield duplicate(f"{path}.name", name)
    seen.add(name)
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    yield from one_of(f"{path}.imagePullPolicy", text_at(container, "imagePullPolicy"), PULL_POLICIES)
    policy = text_at(container, "terminationMessagePolicy")
    yield from one_of(f"{path}.terminationMessagePolicy", policy, MESSAGE_POLICIES)
    yield from _ports(f"{path}.ports", children(container, "ports"), host_network=flag_at(spec, "hostNetwork"))
    yield from environment(path, container)
    yield from _mounts(f"{path}.volumeMounts", children(container, "volumeMounts"), volumes)
    for probe in PROBES:
        if isinstance(value := container.get(probe), dict):
            yield from _probe(f"{path}.{probe}", value, only_once=probe != "readinessProbe")
    for hook, value in mapping_at(container, "lifecycle").items():
        if hook in ("postStart", "preStop") and isinstance(value, dict):
            yield from _action(f"{path}.lifecycle.{hook}", value, HOOK_ACTIONS)
    yield from _resources(f"{path}.resources", mapping_at(container, "resources"))


def _init_only(path: str, container: Document) -> Found:
    policy = text_at(container, "restartPolicy")
    if policy:
        yield from one_of(f"{path}.restartPolicy", policy, ("Always",))
        return
    for field in ("lifecycle", *PROBES):
        if container.get(field) is not None:
            yield forbidden(f"{path}.{field}", "may not be set for init containers without restartPolicy=Always")


def _ports(path: str, ports: Sequence[Document], *, host_network: bool) -> Found:
    names: set[str] = set()
    for index, port in enumerate(ports):
        spot = f"{path}[{index}]"
        if name := text_at(port, "name"):
            wrong = list(judged(f"{spot}.name", name, texts.port_name))
            yield from wrong
            if not wrong and name in names:
                yield duplicate(f"{spot}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            yield required(f"{spot}.containerPort")
        else:
            yield from port_number(f"{spot}.containerPort", port["containerPort"])
        if host := port.get("hostPort"):
            yield from port_number(f"{spot}.hostPort", host)
            if host_network and host != port.get("containerPort"):
                yield invalid(f"{spot}.hostPort", host, "must match `containerPort`")
        yield from protocol(f"{spot}.protocol", text_at(port, "protocol"))


def environment(path: str, container: Document) -> Found:
    """Judge the variables of a container."""
    for index, variable in enumerate(children(container, "env")):
        spot = f"{path}.env[{index}]"
        name = text_at(variable, "name")
        if not name:
            yield required(f"{spot}.name")
        else:
            yield from judged(f"{spot}.name", name, texts.environment_name)
        if isinstance(source := variable.get("valueFrom"), dict):
            yield from _value_source(f"{spot}.valueFrom", source, has_value=bool(text_at(variable, "value")))
    for index, source in enumerate(children(container, "envFrom")):
        spot = f"{path}.envFrom[{index}]"
        given = [field for field in ("configMapRef", "secretRef") if source.get(field) is not None]
        for field in given:
            if not text_at(source, field, "name"):
                yield required(f"{spot}.{field}.name")
        if not given:
            yield invalid(spot, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield invalid(spot, "", "may not have more than one field specified at a time")


def _value_source(path: str, source: Document, *, has_value: bool) -> Found:
    given = [field for field in VALUE_SOURCES if source.get(field) is not None]
    if "fieldRef" in given:
        yield from _field_reference(f"{path}.fieldRef", mapping_at(source, "fieldRef"))
    if "resourceFieldRef" in given and not text_at(source, "resourceFieldRef", "resource"):
        yield required(f"{path}.resourceFieldRef.resource")
    for field in ("configMapKeyRef", "secretKeyRef"):
        if field in given:
            yield from _key_reference(f"{path}.{field}", mapping_at(source, field))
    if not given:
        detail = "must specify one of: `configMapKeyRef`, `fieldRef`, `resourceFieldRef` or `secretKeyRef`"
        yield invalid(path, "", detail)
    elif has_value:
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")


def _field_reference(path: str, reference: Document) -> Found:
    field = text_at(reference, "fieldPath")
    if not field:
        yield required(f"{path}.fieldPath")
    elif field not in FIELD_PATHS and not SUBSCRIPTED.fullmatch(field):
        detail = f"error converting fieldPath: field label not supported: {field}"
        yield invalid(f"{path}.fieldPath", field, detail)


def _key_reference(path: str, reference: Document) -> Found:
    if not text_at(reference, "name"):
        yield required(f"{path}.name")
    if key := text_at(reference, "key"):
        yield from judged(f"{path}.key", key, texts.config_key)
    else:
        yield required(f"{path}.key")


def _mounts(path: str, mounts: Sequence[Document], volumes: frozenset[str]) -> Found:
    points: set[str] = set()
    for index, mount in enumerate(mounts):
        spot = f"{path}[{index}]"
        name, point = text_at(mount, "name"), text_at(mount, "mountPath")
        if not name:
            yield required(f"{spot}.name")
        elif name not in volumes:
            yield not_found(f"{spot}.name", name)
        if not point:
            yield required(f"{spot}.mountPath")
        elif point in points:
            yield invalid(f"{spot}.mountPath", point, "must be unique")
        points.add(point)
        yield from inner_path(f"{spot}.subPath", text_at(mount, "subPath"))


def inner_path(path: str, value: str) -> Found:
    """Judge a path that must stay within a folder."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def _probe(path: str, probe: Document, *, only_once: bool) -> Found:
    yield from _action(path, probe, ACTIONS)
    yield from not_negative(probe, path, *TIMES)
    successes = number_at(probe, "successThreshold")
    if only_once and successes != 1:
        yield invalid(f"{path}.successThreshold", successes, "must be 1")
    grace = number_at(probe, "terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        yield invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _action(path: str, parent: Document, actions: Sequence[str]) -> Found:
    given = [name for name in actions if parent.get(name) is not None]
    for name in given[1:]:
        yield forbidden(f"{path}.{name}", "may not specify more than 1 handler type")
    if not given:
        yield required(path, "must specify a handler type")
        return
    action, spot = mapping_at(parent, given[0]), f"{path}.{given[0]}"
    match given[0]:
        case "exec":
            if not items_at(action, "command"):
                yield required(f"{spot}.command")
        case "httpGet":
            yield from _http_get(spot, action)
        case "tcpSocket":
            yield from port_or_name(f"{spot}.port", action.get("port"))
        case "grpc":
            yield from port_number(f"{spot}.port", action.get("port", 0))
        case _:
            seconds = number_at(action, "seconds") or 0
            if seconds < 0:
                yield invalid(f"{spot}.seconds", seconds, "must be non-negative")


def _http_get(path: str, action: Document) -> Found:
    if not text_at(action, "path"):
        yield required(f"{path}.path")
    yield from port_or_name(f"{path}.port", action.get("port"))
    yield from one_of(f"{path}.scheme", text_at(action, "scheme"), SCHEMES)
    for index, header in enumerate(children(action, "httpHeaders")):
        name = text_at(header, "name")
        if not re.fullmatch("[-A-Za-z0-9]+", name):
            detail = texts.by_pattern(
                "a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name"
            )
            yield invalid(f"{path}.httpHeaders[{index}].name", name, detail)


def _resources(path: str, resources: Document) -> Found:
    limits, requests = mapping_at(resources, "limits"), mapping_at(resources, "requests")
    for side, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if _amount(amount) < 0:
                yield invalid(f"{path}.{side}[{name}]", str(amount), texts.NOT_NEGATIVE)
    for name, amount in requests.items():
        if name in limits and _amount(amount) > _amount(limits[name]):
            yield _above_limit(f"{path}.requests", name, amount, limits[name])


def _above_limit(path: str, name: str, amount: Json, limit: Json) -> FieldError:
    return invalid(path, str(amount), f"must be less than or equal to {name} limit of {limit}")


def _amount(amount: Json) -> float:
    try:
        return float(parse_quantity(amount)) if isinstance(amount, str | float) else 0
    except ValueError:
        return 0
