"""Manifests into a cluster: files and folders come in, each object is created or patched, an outcome per object goes
out.

One bad object never keeps another out. Refuses to know what objects mean; the API server is the judge.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlead.drivers.kubeapi import ApiError, ApiRequest, ApiResponse, KubeClient, PatchType
from fairlead.kube.documents import Document, mapping_at, text_at
from fairlead.kube.resources import Resource, find_resource
from fairlead.kube.yamlcodec import parse_documents

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_UNSUPPORTED_MEDIA_TYPE = 415
_SUFFIXES = (".yaml", ".yml", ".json")
_FIRST = (
    "Namespace",
    "ServiceAccount",
    "IngressClass",
    "ConfigMap",
    "Secret",
    "NetworkPolicy",
    "IPAddressPool",
    "Service",
)


class Manifest(Struct, frozen=True):
    """One object as written, and the file it was written in."""

    source: str
    document: Document

    def __str__(self) -> str:
        kind = text_at(self.document, "kind") or "object"
        name = text_at(self.document, "metadata", "name") or text_at(self.document, "metadata", "generateName")
        namespace = text_at(self.document, "metadata", "namespace")
        return f"{kind} {namespace + '/' if namespace else ''}{name or '(no name)'}"


class Outcome(Struct, frozen=True):
    """What became of one manifest; `refusal` is empty when it is in the cluster."""

    manifest: str
    source: str
    verb: str
    refusal: str = ""
    warnings: tuple[str, ...] = ()


class _Served(Struct, frozen=True):
    name: str
    kind: str
    namespaced: bool = False


class _Discovery(Struct, frozen=True):
    resources: tuple[_Served, ...] = ()


def manifest_files(paths: Sequence[Path]) -> list[Path]:
    """Every manifest file below `paths`, folders in name order. Raises FileNotFoundError for a missing path."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(entry for entry in path.rglob("*") if entry.suffix in _SUFFIXES and entry.is_file())
        elif path.exists():
            files.append(path)
        else:
            raise FileNotFoundError(str(path))
    return files


def read_manifests(sources: Iterable[tuple[str, str]]) -> list[Manifest]:
    """Parse (name, text) pairs; namespaces and what others refer to come first, else the order is kept.

    Raises the YAML codec's error, which names source, line and column.
    """
    manifests = [
        Manifest(name, document)
        for name, text in sources
        for document in parse_documents(text, source=name, converted=False)
    ]
    return sorted(manifests, key=_precedence)


def _precedence(manifest: Manifest) -> int:
    kind = text_at(manifest.document, "kind")
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)


async def apply_manifests(
    client: KubeClient, manifests: Sequence[Manifest], tell: Callable[[str], None]
) -> list[Outcome]:
    """Create every object, or patch the one that is there, as `kubectl apply` does; `tell` hears of each first."""
    outcomes: list[Outcome] = []
    for manifest in manifests:
        tell(f"applying {manifest}")
        outcomes.append(await _apply(client, manifest))
    return outcomes


async def _apply(client: KubeClient, manifest: Manifest) -> Outcome:
    document = manifest.document
    api_version, kind = text_at(document, "apiVersion"), text_at(document, "kind")
    resource = find_resource(api_version, kind) or await _discovered(client, api_version, kind)
    if resource is None:
        refusal = f'no matches for kind "{kind}" in version "{api_version}": this cluster does not serve it'
        return Outcome(str(manifest), manifest.source, "refused", refusal)
    namespace = text_at(document, "metadata", "namespace") or "default"
    marked = _with_last_applied(document, namespace if resource.namespaced else "")
    try:
        verb, answer = await _create_or_patch(client, resource, marked, namespace if resource.namespaced else "")
    except ApiError as error:
        return Outcome(str(manifest), manifest.source, "refused", error.message)
    return Outcome(str(manifest), manifest.source, verb, warnings=_warnings(answer))


def _warnings(answer: ApiResponse) -> tuple[str, ...]:
    """The texts of an answer's Warning headers (RFC 7234, 5.5)."""
    given = next((value for name, value in answer.headers.items() if name.lower() == "warning"), "")
    return tuple(re.sub(r"\\(.)", r"\1", text) for text in re.findall(r'299 \S+ "((?:[^"\\]|\\.)*)"', given))


async def _discovered(client: KubeClient, api_version: str, kind: str) -> Resource | None:
    """The resource of a kind that only the API server knows, such as a custom one."""
    group, _, version = api_version.rpartition("/")
    path = f"/apis/{api_version}" if group else f"/api/{api_version}"
    try:
        response = await client.request(ApiRequest("GET", path))
        listed = msgspec.json.decode(response.body, type=_Discovery)
    except (ApiError, msgspec.MsgspecError):
        return None
    for each in listed.resources:
        if each.kind == kind and "/" not in each.name:
            return Resource(group, version, kind, each.name, each.namespaced)
    return None


def _with_last_applied(document: Document, namespace: str) -> Document:
    """A copy that carries what was applied, so that a later `kubectl apply` knows what to remove."""
    metadata: Document = {**mapping_at(document, "metadata")}
    if namespace:
        metadata["namespace"] = namespace
    plain: Document = {**document, "metadata": metadata}
    annotations: Document = {**mapping_at(metadata, "annotations")}
    annotations[LAST_APPLIED] = msgspec.json.encode(plain).decode() + "\n"
    return {**plain, "metadata": {**metadata, "annotations": annotations}}


async def _create_or_patch(
    client: KubeClient, resource: Resource, document: Document, namespace: str
) -> tuple[str, ApiResponse]:
    name, body = text_at(document, "metadata", "name"), msgspec.json.encode(document)
    try:
        sent = {"Content-Type": "application/json"}
        answer = await client.request(ApiRequest("POST", resource.path(namespace), headers=sent, body=body))
    except ApiError as error:
        if error.reason != "AlreadyExists" or not name:
            raise
    else:
        return "created", answer
    path = resource.path(namespace, name)
    try:
        sent = {"Content-Type": PatchType.STRATEGIC.value}
        return "configured", await client.request(ApiRequest("PATCH", path, headers=sent, body=body))
    except ApiError as error:
        if error.status != _UNSUPPORTED_MEDIA_TYPE:
            raise
    sent = {"Content-Type": PatchType.MERGE.value}  # custom resources know no other
    return "configured", await client.request(ApiRequest("PATCH", path, headers=sent, body=body))
