"""What this server serves, told in both of the ways clients ask.

In: the table of kinds and an Accept header. Out: JSON bytes, made once each. Aggregated documents are those of
apidiscovery.k8s.io (v2 and v2beta1); the legacy ones are APIVersions, APIGroupList, APIGroup and APIResourceList.
"""

import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.kinds.spec import KindSpec, Subresource
from fairlead.cluster.apiserver.negotiation import JSON, clauses
from fairlead.kube.documents import Document, Json

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


class Discovered(Struct, frozen=True):
    """One document with its content type and entity tag."""

    body: bytes
    content_type: str
    etag: str


class Discovery:
    """The discovery documents of one table of kinds."""

    def __init__(self, kinds: Iterable[KindSpec]) -> None:
        self._groups: dict[str, dict[str, list[KindSpec]]] = {}
        for kind in kinds:
            versions = self._groups.setdefault(kind.resource.group, {})
            versions.setdefault(kind.resource.version, []).append(kind)
        self._made: dict[tuple[str, str], Discovered | None] = {}

    def answer(self, path: str, accept: str) -> Discovered | None:
        """Return the document for a path such as /api, /apis, /apis/apps or /apis/apps/v1; None where there is none."""
        path = path.rstrip("/")
        version = _aggregated_version(accept) if path in ("/api", "/apis") else ""
        key = (path, version)
        if key not in self._made:
            document = self._aggregated(path, version) if version else self._legacy(path)
            self._made[key] = _discovered(document, version) if document else None
        return self._made[key]

    def _aggregated(self, path: str, version: str) -> Document:
        items: list[Json] = [
            {
                "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
                "versions": [
                    {
                        "version": each,
                        # A name with a slash in it, as metrics of objects have, has no place in this form.
                        "resources": [_aggregated_resource(kind) for kind in kinds if "/" not in kind.resource.plural],
                        "freshness": "Current",
                    }
                    for each, kinds in versions.items()
                ],
            }
            for group, versions in self._groups.items()
            if (path == "/api") is (group == "")
        ]
        return {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
            "items": items,
        }

    def _legacy(self, path: str) -> Document | None:
        parts = path.split("/")[1:]
        if parts == ["api"]:
            address: Json = {"clientCIDR": "0.0.0.0/0", "serverAddress": ""}
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}
        if parts == ["apis"]:
            groups: list[Json] = [self._group(group) for group in self._groups if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in self._groups:
            return {"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}
        group, version = ("", parts[1]) if parts[0] == "api" and len(parts) == 2 else ("/", "")
        if parts[0] == "apis" and len(parts) == 3:
            group, version = parts[1], parts[2]
        kinds = self._groups.get(group, {}).get(version)
        return _resource_list(group, version, kinds) if kinds else None

    def _group(self, group: str) -> Document:
        versions: list[Json] = [
            {"groupVersion": f"{group}/{version}", "version": version} for version in self._groups[group]
        ]
        return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _aggregated_version(accept: str) -> str:
    """Return the version of the aggregated form a client takes before plain JSON, "" for the legacy form."""
    for media, parameters in clauses(accept):
        if media not in (JSON, "*/*"):
            continue
        wanted = parameters.get("as")
        if wanted is None:
            return ""
        version = parameters.get("v", "")
        if wanted == "APIGroupDiscoveryList" and version in ("v2", "v2beta1"):
            return version
    return ""


def _discovered(document: Document, version: str) -> Discovered:
    body = msgspec.json.encode(document) + b"\n"
    etag = f'"{hashlib.sha512(body).hexdigest().upper()}"'
    return Discovered(body, _AGGREGATED.format(version) if version else JSON, etag)


def _kind_of(kind: KindSpec, subresource: Subresource | None = None) -> Document:
    resource = kind.resource
    if subresource is None or not subresource.group:
        named = subresource.kind if subresource else resource.kind
        return {"group": resource.group, "version": resource.version, "kind": named}
    return {"group": subresource.group, "version": subresource.version, "kind": subresource.kind}


def _aggregated_resource(kind: KindSpec) -> Document:
    resource = kind.resource
    found: Document = {
        "resource": resource.plural,
        "responseKind": _kind_of(kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [
            {"subresource": each.name, "responseKind": _kind_of(kind, each), "verbs": list(each.verbs)}
            for each in kind.subresources
        ]
    return found


def _resource_list(group: str, version: str, kinds: Iterable[KindSpec]) -> Document:
    resources: list[Json] = []
    for kind in kinds:
        resource = kind.resource
        found: Document = {
            "name": resource.plural,
            "singularName": kind.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            found["shortNames"] = list(kind.short_names)
        if kind.categories:
            found["categories"] = list(kind.categories)
        found["storageVersionHash"] = hashlib.sha256(f"{group}/{version}/{resource.kind}".encode()).hexdigest()[:12]
        resources.append(found)
        resources += [_legacy_subresource(kind, each) for each in kind.subresources]
    named = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": named, "resources": resources}


def _legacy_subresource(kind: KindSpec, subresource: Subresource) -> Document:
    own: Document = {}
    if subresource.group:
        own = {"group": subresource.group, "version": subresource.version}
    return {
        "name": f"{kind.resource.plural}/{subresource.name}",
        "singularName": "",
        "namespaced": kind.resource.namespaced,
        **own,
        "kind": subresource.kind,
        "verbs": list(subresource.verbs),
    }
