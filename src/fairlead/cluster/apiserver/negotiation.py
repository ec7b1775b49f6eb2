"""Which form of answer a client takes, and which form of body it sent.

In: Accept and Content-Type headers. Out: an `Acceptance`, or the type of a body; or a StatusError. The first clause
of Accept that can be satisfied wins, in the order written (k8s.io/apiserver/pkg/endpoints/handlers/negotiation).
"""

from enum import Enum

from msgspec import Struct

from fairlead.cluster.apiserver.statuses import not_acceptable, unsupported_media_type

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH)

_ANY = ("*/*", "application/*", JSON)


class Form(Enum):
    """How objects are shown: whole, as rows of a table, or only their metadata."""

    OBJECT = "object"
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"


class Acceptance(Struct, frozen=True):
    """The form and the version of meta.k8s.io it is written in."""

    form: Form = Form.OBJECT
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """The apiVersion of a Table or of PartialObjectMetadata."""
        return f"meta.k8s.io/{self.version}"


_FORMS = {
    "Table": Form.TABLE,
    "PartialObjectMetadata": Form.METADATA,
    "PartialObjectMetadataList": Form.METADATA,
}


def clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Split an Accept header into media types and their parameters, in the order written."""
    found: list[tuple[str, dict[str, str]]] = []
    for clause in accept.split(","):
        media, *pairs = (part.strip() for part in clause.split(";"))
        if media:
            named = (pair.partition("=") for pair in pairs if pair)
            found.append((media, {name: value for name, _, value in named}))
    return found


def parse_accept(accept: str) -> Acceptance:
    """Return the form of answer to give; raise 406 where none can be given."""
    if not accept:
        return Acceptance()
    for media, parameters in clauses(accept):
        if media not in _ANY:
            continue
        wanted = parameters.get("as")
        if wanted is None:
            return Acceptance()
        form = _FORMS.get(wanted)
        version = parameters.get("v", "")
        if form and parameters.get("g") == "meta.k8s.io" and version in ("v1", "v1beta1"):
            return Acceptance(form, version)
    raise not_acceptable([JSON])


def body_type(content_type: str, accepted: tuple[str, ...] = (JSON, YAML)) -> str:
    """Return the media type of a body, JSON where none is named; raise 415 for one that is not accepted."""
    media = content_type.partition(";")[0].strip().lower() or accepted[0]
    if media not in accepted:
        raise unsupported_media_type(media, accepted)
    return media
