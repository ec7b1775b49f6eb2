"""Versions of kinds that are served beside the one that is stored: requests and answers are converted at the edge.

In: a request of such a version, and the answer to what became of it. Out: the same request in the version of today,
and the answer in the version that was asked for. Ingress of extensions and v1beta1 (removed upstream in 1.22), and
the v1beta1 of CronJob, PodDisruptionBudget and IngressClass.
"""

from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fairlead.cluster.apiserver.calls import as_json
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.kinds.storage import BUDGET
from fairlead.cluster.apiserver.kinds.table import INGRESS, INGRESS_CLASS
from fairlead.cluster.apiserver.kinds.work import CRON_JOB
from fairlead.cluster.apiserver.negotiation import (
    APPLY_PATCH,
    JSON,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    YAML,
)
from fairlead.cluster.apiserver.paths import Target
from fairlead.cluster.apiserver.statuses import bad_request, unsupported_media_type
from fairlead.cluster.apiserver.strictness import warning_headers
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document, Json, items_at, text_at
from fairlead.kube.legacy import LEGACY_INGRESS, ingress_of_old, ingress_of_today, ingress_patch_of_today
from fairlead.kube.resources import Resource

Conversion = Callable[[Document], Document]

_ANYTHING: Document = {
    "type": "object",
    "description": "An older version of this kind; the fields are told where the version of today is.",
    "x-kubernetes-preserve-unknown-fields": True,
}


def _as_it_is(document: Document) -> Document:
    return document


class OtherVersion(Struct, frozen=True, kw_only=True):
    """One kind in another version: how discovery lists it, the kind it is stored as, and the ways there and back."""

    listed: KindSpec
    today: KindSpec
    to_today: Conversion = _as_it_is
    from_today: Conversion = _as_it_is
    patch_to_today: Conversion | None = None
    """The way there for a patch that is merged, where it differs."""

    warning: str = ""

    def request(self, request: ApiRequest) -> ApiRequest:
        """The request in the version of today; raise 400 or 415 for a body that cannot be converted."""
        old, new = self.listed.resource, self.today.resource
        path = new.base + request.path.removeprefix(old.base)
        if not request.body or request.method not in ("POST", "PUT", "PATCH"):
            return replace(request, path=path)
        headers = {name.lower(): value for name, value in request.headers.items()}
        media = headers.get("content-type", "")
        if request.method == "PATCH":
            text = self._patch(request.body, media.partition(";")[0].strip())
        else:
            text = as_json(request.body, media)
            headers["content-type"] = JSON
        if text is None:
            return replace(request, path=path)
        return replace(request, path=path, headers=headers, body=msgspec.json.encode(self._today(text, request, media)))

    def _patch(self, body: bytes, media: str) -> bytes | None:
        """The patch as JSON text; None for one that is good as it is."""
        if media == JSON_PATCH:
            if self.to_today is _as_it_is:
                return None
            raise unsupported_media_type(media, [MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH])
        return as_json(body, YAML) if media == APPLY_PATCH else body

    def _today(self, text: bytes, request: ApiRequest, media: str) -> Document:
        try:
            document: Json = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise bad_request(f"the body of the request is not valid JSON: {error}") from error
        if not isinstance(document, dict):
            raise bad_request("the body of the request must be one object")
        given, expected = text_at(document, "apiVersion"), self.listed.resource.api_version
        if given and given != expected:
            told = "the API version in the data ({}) does not match the expected API version ({})"
            raise bad_request(told.format(given, expected))
        merged = request.method == "PATCH" and not media.startswith(APPLY_PATCH)
        convert = self.patch_to_today if merged and self.patch_to_today is not None else self.to_today
        converted = convert(document)
        return {**converted, "apiVersion": self.today.resource.api_version} if given else converted

    def answer(self, answer: ApiResponse) -> ApiResponse:
        """The answer in the version that was asked for, with a warning where that is on its way out."""
        headers = dict(answer.headers)
        if self.warning:
            told = warning_headers([self.warning])
            headers["Warning"] = ", ".join(filter(None, (headers.get("Warning", ""), *told)))
        return ApiResponse(answer.status, headers, self._asked(answer.body))

    def lines(self, ready: bytes) -> bytes:
        """Lines of a watch in the version that was asked for."""
        events = (msgspec.json.decode(line) for line in ready.splitlines())
        shown = ({**event, "object": self._shown(event["object"])} for event in events)
        return b"".join(msgspec.json.encode(event) + b"\n" for event in shown)

    def _asked(self, body: bytes) -> bytes:
        try:
            document: Json = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return body
        return msgspec.json.encode(self._shown(document)) + b"\n" if isinstance(document, dict) else body

    def _shown(self, document: Document) -> Document:
        new, old = self.today.resource, self.listed.resource
        if text_at(document, "apiVersion") != new.api_version:
            return document
        if text_at(document, "kind") == f"{new.kind}List":
            items: list[Json] = [
                self._shown(each) if isinstance(each, dict) and "kind" in each else self.from_today(_mapping(each))
                for each in items_at(document, "items")
            ]
            return {**document, "apiVersion": old.api_version, "items": items}
        if text_at(document, "kind") == new.kind:
            return {**self.from_today(document), "apiVersion": old.api_version}
        return document


def _mapping(value: Json) -> Document:
    return value if isinstance(value, dict) else {}


def _listed(today: KindSpec, group: str, version: str) -> KindSpec:
    """How discovery and OpenAPI show a kind in another version: same names, and no word about its fields. A group of
    its own gets no short names, which would be ambiguous.
    """
    resource = today.resource
    name = f"io.k8s.api.{group.partition('.')[0]}.{version}.{resource.kind}"
    return KindSpec(
        resource=Resource(group, version, resource.kind, resource.plural, resource.namespaced),
        singular=today.singular,
        schema=name,
        short_names=today.short_names if group == resource.group else (),
        subresources=tuple(each for each in today.subresources if each.name == "status"),
        has_status=today.has_status,
        columns=today.columns,
        row=today.row,
        structure=_ANYTHING,
    )


def _removed(api_version: str, kind: str, since: str, gone: str, instead: str) -> str:
    return f"{api_version} {kind} is deprecated in {since}+, unavailable in {gone}+; use {instead} {kind}"


_OLD_INGRESS = [
    OtherVersion(
        listed=_listed(INGRESS, *api_version.split("/")),
        today=INGRESS,
        to_today=ingress_of_today,
        patch_to_today=ingress_patch_of_today,
        from_today=ingress_of_old,
        warning=warning,
    )
    for api_version, warning in reversed(LEGACY_INGRESS.items())
]

OTHER_VERSIONS: dict[tuple[str, str, str], OtherVersion] = {
    (each.listed.resource.group, each.listed.resource.version, each.listed.resource.plural): each
    for each in (
        *_OLD_INGRESS,
        OtherVersion(
            listed=_listed(INGRESS_CLASS, "networking.k8s.io", "v1beta1"),
            today=INGRESS_CLASS,
            warning=_removed("networking.k8s.io/v1beta1", "IngressClass", "v1.19", "v1.22", "networking.k8s.io/v1"),
        ),
        OtherVersion(
            listed=_listed(CRON_JOB, "batch", "v1beta1"),
            today=CRON_JOB,
            warning=_removed("batch/v1beta1", "CronJob", "v1.21", "v1.25", "batch/v1"),
        ),
        OtherVersion(
            listed=_listed(BUDGET, "policy", "v1beta1"),
            today=BUDGET,
            warning=_removed("policy/v1beta1", "PodDisruptionBudget", "v1.21", "v1.25", "policy/v1"),
        ),
    )
}
"""Every other version, by group, version and plural."""

OTHER_KINDS: tuple[KindSpec, ...] = tuple(each.listed for each in OTHER_VERSIONS.values())
"""Every other version, as discovery and OpenAPI list it."""


def other_version(target: Target | None) -> OtherVersion | None:
    """The other version that a path names, or None."""
    return OTHER_VERSIONS.get((target.group, target.version, target.plural)) if target is not None else None
