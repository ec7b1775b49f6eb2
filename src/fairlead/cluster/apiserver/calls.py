"""One request to one resource, with its options read.

In: a request whose path named a kind. Out: `Call`, and the options of queries and bodies as values. It changes nothing.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.negotiation import JSON, PROTOBUF, YAML, body_type
from fairlead.cluster.apiserver.paths import Target
from fairlead.cluster.apiserver.statuses import StatusError, bad_request, unknown_message
from fairlead.cluster.apiserver.store import ObjectKey, ResourceKey
from fairlead.cluster.apiserver.users import User
from fairlead.kube.documents import Document, Json

_TRUE = ("1", "true", "True", "TRUE", "t", "T", "")
VALIDATIONS = ("Ignore", "Warn", "Strict")


class Call(Struct, frozen=True, kw_only=True):
    """A request: what it names, what it says, and who sent it. Header names are lower case."""

    method: str
    kind: KindSpec
    target: Target
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    caller: User

    @property
    def resource(self) -> ResourceKey:
        """The key of the resource in the store."""
        return resource_key(self.kind)

    @property
    def api_version(self) -> str:
        """The apiVersion of the objects of the call."""
        return self.kind.resource.api_version

    @property
    def key(self) -> ObjectKey:
        """The key of the object in the store."""
        return (self.target.namespace if self.kind.resource.namespaced else "", self.target.name)

    def flag(self, name: str) -> bool:
        """Return whether a query parameter is set to true."""
        return name in self.query and self.query[name] in _TRUE

    def number(self, name: str) -> int | None:
        """Return a query parameter as a whole number, None where absent; raise 400 for anything else."""
        text = self.query.get(name, "")
        if not text:
            return None
        try:
            number = int(text)
        except ValueError as error:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
        if not -(2**63) <= number < 2**63:
            raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
        return number

    @property
    def dry_run(self) -> bool:
        """Whether everything but keeping the result is to be done."""
        value = self.query.get("dryRun", "")
        if value in ("", "All"):
            return value == "All"
        raise StatusError(422, "Invalid", f'invalid dryRun: Unsupported value: "{value}": supported values: "All"')

    @property
    def field_validation(self) -> str:
        """How to take unknown and double fields: Ignore, Warn or Strict."""
        value = self.query.get("fieldValidation", "") or "Warn"
        if value not in VALIDATIONS:
            names = ", ".join(f'"{each}"' for each in VALIDATIONS)
            raise StatusError(
                422,
                "Invalid",
                f'fieldValidation: Unsupported value: "{value}": supported values: {names}',
            )
        return value


def resource_key(kind: KindSpec) -> ResourceKey:
    """Return where objects of a kind are stored: versions of a group share their objects."""
    return (kind.resource.group, kind.resource.plural)


def as_json(body: bytes, content_type: str) -> bytes:
    """Return a body of any accepted form as JSON text; raise 415 or 400."""
    media = body_type(content_type, (JSON, YAML, PROTOBUF))
    if media == YAML:
        return _json_of_yaml(body)
    if media == PROTOBUF and body:
        return _json_of_protobuf(body)
    return body


def decode_object(body: bytes, content_type: str) -> Document:
    """Decode the body of a request as one object; raise 415 or 400."""
    body = as_json(body, content_type)
    try:
        document: Json = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body of the request is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body of the request must be one object")
    return document


def _json_of_yaml(body: bytes) -> bytes:
    import yaml

    try:
        return msgspec.json.encode(yaml.safe_load(body))
    except (yaml.YAMLError, TypeError) as error:
        raise bad_request(f"the body of the request is not valid YAML: {error}") from error


def _json_of_protobuf(body: bytes) -> bytes:
    from fairlead.cluster.apiserver.wire.protobuf import UnknownKindError, decode_protobuf

    try:
        return msgspec.json.encode(decode_protobuf(body))
    except UnknownKindError as error:
        raise unknown_message(str(error), (JSON, YAML)) from error
    except (ValueError, OverflowError) as error:
        raise bad_request(f"the body of the request is not valid protobuf: {error}") from error
