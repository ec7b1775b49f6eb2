"""A container's environment and command line: what the pod wrote comes in, strings go out. Pure.

Source: pkg/kubelet/kubelet_pods.go (makeEnvironmentVariables), pkg/kubelet/envvars,
third_party/forked/golang/expansion.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_CEILING

from msgspec import Struct

from fairlead.kube.containers import Container, EnvVar, ResourceFieldSelector
from fairlead.kube.core import Service
from fairlead.kube.pods import Pod
from fairlead.kube.quantities import parse_quantity

Data = Mapping[tuple[str, str], Mapping[str, bytes] | None]
"""What is known of objects by kind (ConfigMap or Secret) and name; None for one that is not there."""

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


class MissingError(Exception):
    """Something the container refers to is not there; the text is what its waiting state says."""


class PodFacts(Struct, frozen=True, kw_only=True):
    """What is known of a pod besides its object."""

    addresses: tuple[str, ...]
    node_addresses: tuple[str, ...]
    node_cpu: str
    node_memory: str


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value where there is one; $$ is a dollar sign."""

    def replace(found: re.Match[str]) -> str:
        return "$" if found[1] == "$" else values.get(found[2], found[0])

    return _REFERENCE.sub(replace, text)


def field_text(pod: Pod, facts: PodFacts, path: str) -> str:
    """A field of the pod, by the paths that the downward API knows. Raises MissingError for others."""
    meta = pod.metadata
    if found := _SUBSCRIPT.fullmatch(path):
        return (meta.labels if found[1] == "labels" else meta.annotations).get(found[2], "")
    fields = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": pod.spec.node_name,
        "spec.serviceAccountName": pod.spec.service_account_name,
        "status.podIP": facts.addresses[0] if facts.addresses else "",
        "status.podIPs": ",".join(facts.addresses),
        "status.hostIP": facts.node_addresses[0],
        "status.hostIPs": ",".join(facts.node_addresses),
    }
    if path not in fields:
        raise MissingError(f"unsupported fieldPath: {path}")
    return fields[path]


def _lines(values: Mapping[str, str]) -> str:
    quoted = (
        (key, value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")) for key, value in values.items()
    )
    return "\n".join(f'{key}="{value}"' for key, value in sorted(quoted))


def resource_text(selector: ResourceFieldSelector, container: Container, facts: PodFacts) -> str:
    """A container's request or limit in units of the divisor, rounded up; no limit means what the node has."""
    which, _, resource = selector.resource.partition(".")
    values = container.resources.limits if which == "limits" else container.resources.requests
    default = {"cpu": facts.node_cpu, "memory": facts.node_memory}.get(resource, "0") if which == "limits" else "0"
    amount = parse_quantity(values.get(resource, default))
    divisor = parse_quantity(selector.divisor or "0") or parse_quantity("1")
    return str((amount / divisor).to_integral_value(ROUND_CEILING))


def environment_of(
    pod: Pod, container: Container, facts: PodFacts, data: Data, services: Iterable[Service]
) -> dict[str, str]:
    """The variables of a container. Raises MissingError with upstream's words."""
    values = service_variables(pod, services)
    for source in container.env_from:
        for kind, reference in (("ConfigMap", source.config_map_ref), ("Secret", source.secret_ref)):
            if reference is None:
                continue
            found = data.get((kind, reference.name))
            if found is None:
                if reference.optional:
                    continue
                raise MissingError(f'{kind.lower()} "{reference.name}" not found')
            values |= {f"{source.prefix}{key}": _text(value) for key, value in found.items()}
    own: dict[str, str] = {}
    for variable in container.env:
        text = _value(variable, pod, container, facts, data, values | own)
        if text is not None:
            own[variable.name] = text
    return values | own


def _value(
    variable: EnvVar, pod: Pod, container: Container, facts: PodFacts, data: Data, known: Mapping[str, str]
) -> str | None:
    source = variable.value_from
    if source is None:
        return expand(variable.value, known)
    if source.field_ref is not None:
        return field_text(pod, facts, source.field_ref.field_path)
    if (selector := source.resource_field_ref) is not None:
        named = (*pod.spec.init_containers, *pod.spec.containers)
        of = next((each for each in named if each.name == selector.container_name), container)
        return resource_text(selector, of, facts)
    for kind, key in (("ConfigMap", source.config_map_key_ref), ("Secret", source.secret_key_ref)):
        if key is None:
            continue
        found = data.get((kind, key.name))
        if found is not None and key.key in found:
            return _text(found[key.key])
        if key.optional:
            return None
        if found is None:
            raise MissingError(f'{kind.lower()} "{key.name}" not found')
        raise MissingError(f"couldn't find key {key.key} in {kind} {pod.metadata.namespace}/{key.name}")
    return None


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def service_variables(pod: Pod, services: Iterable[Service]) -> dict[str, str]:
    """The variables that point at the services of the pod's namespace, and always at the API server."""
    values: dict[str, str] = {}
    for service in sorted(services, key=lambda each: (each.metadata.namespace != "default", each.metadata.name)):
        meta, spec = service.metadata, service.spec
        is_api = (meta.namespace, meta.name) == ("default", "kubernetes")
        linked = meta.namespace == pod.metadata.namespace and pod.spec.enable_service_links is not False
        if not spec.ports or spec.cluster_ip in ("", "None") or not (is_api or linked):
            continue
        name, host = meta.name.upper().replace("-", "_"), spec.cluster_ip
        shown = f"[{host}]" if ":" in host else host
        values[f"{name}_SERVICE_HOST"], values[f"{name}_SERVICE_PORT"] = host, str(spec.ports[0].port)
        first = spec.ports[0]
        values[f"{name}_PORT"] = f"{first.protocol.lower()}://{shown}:{first.port}"
        for port in spec.ports:
            if port.name:
                values[f"{name}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
            prefix = f"{name}_PORT_{port.port}_{port.protocol}"
            values[prefix] = f"{port.protocol.lower()}://{shown}:{port.port}"
            values |= {
                f"{prefix}_PROTO": port.protocol.lower(),
                f"{prefix}_PORT": str(port.port),
                f"{prefix}_ADDR": host,
            }
    return values


def command_line(container: Container, program: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """What to execute: command and args, or for no command the words of the mapped program with args."""
    command: Sequence[str] = container.command or program
    return tuple(expand(word, values) for word in (*command, *container.args))


def references_of(container: Container) -> set[tuple[str, str]]:
    """Kind and name of every object the environment refers to."""
    found: set[tuple[str, str]] = set()
    for source in container.env_from:
        found |= {("ConfigMap", source.config_map_ref.name)} if source.config_map_ref else set()
        found |= {("Secret", source.secret_ref.name)} if source.secret_ref else set()
    for variable in container.env:
        if (value := variable.value_from) is not None:
            found |= {("ConfigMap", value.config_map_key_ref.name)} if value.config_map_key_ref else set()
            found |= {("Secret", value.secret_key_ref.name)} if value.secret_key_ref else set()
    return found
