"""The API server: requests in, answers out, whatever carries them.

In: an `ApiRequest` and the user who sent it. Out: an `ApiResponse`, or a `WatchStream` for a watch. It knows the
table of kinds only through `KindSpec`, the disk only through a `Log`, and no sockets. Streaming subresources (log,
proxy) never come here.
"""

import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from fairlead.cluster.apiserver import deleting, reading, subresources
from fairlead.cluster.apiserver.access.aggregation import Aggregation
from fairlead.cluster.apiserver.access.authorizer import MASTERS, Authorizer, wish_of
from fairlead.cluster.apiserver.access.escalation import Escalation
from fairlead.cluster.apiserver.allocating import Allocating
from fairlead.cluster.apiserver.calls import Call, as_json, decode_object, resource_key
from fairlead.cluster.apiserver.committing import GroupCommit
from fairlead.cluster.apiserver.custom.serving import Definitions
from fairlead.cluster.apiserver.discovery import Discovery
from fairlead.cluster.apiserver.health import health, version
from fairlead.cluster.apiserver.kinds.spec import KindSpec
from fairlead.cluster.apiserver.negotiation import JSON
from fairlead.cluster.apiserver.objectmeta import check_type
from fairlead.cluster.apiserver.openapi import openapi_answer
from fairlead.cluster.apiserver.paths import Target, parse_path
from fairlead.cluster.apiserver.statuses import (
    StatusError,
    bad_request,
    expired,
    method_not_allowed,
    no_such_path,
    out_of_storage,
)
from fairlead.cluster.apiserver.store import ExpiredError, Log, ResourceKey, Store
from fairlead.cluster.apiserver.strictness import tidy, warning_headers
from fairlead.cluster.apiserver.tables import Clock
from fairlead.cluster.apiserver.users import User
from fairlead.cluster.apiserver.versions import OTHER_KINDS, OtherVersion, other_version
from fairlead.cluster.apiserver.watch import WatchStream
from fairlead.cluster.apiserver.writing import Writer, Written
from fairlead.drivers.errors import FairleadError
from fairlead.drivers.kubeapi.transport import ApiRequest, ApiResponse
from fairlead.kube.documents import Document, text_at
from fairlead.net import Prefix

if TYPE_CHECKING:
    from fairlead.cluster.apiserver.access.accounts import Accounts

Answers = Callable[[ApiRequest, Target], Awaitable[ApiResponse]]
"""Answers for a group whose objects are measured rather than stored; raises StatusError."""

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
_NO_STORE = {"Cache-Control": "no-cache, private"}


class ApiServer:
    """The engine over one store and one table of kinds."""

    def __init__(
        self,
        log: Log,
        kinds: Iterable[KindSpec],
        *,
        service_ranges: tuple[Prefix, ...],
        account_key: bytes = b"",
        clock: Clock = time.time,
        dice: random.Random | None = None,
    ) -> None:
        """Load what the log holds; services get addresses of `service_ranges`, the first family first.

        `account_key` (PEM) signs the tokens of service accounts; without one they end with this server.
        Raises FairleadError where the log cannot be trusted.
        """
        self._built_in = tuple(kinds)
        self._measured: tuple[KindSpec, ...] = ()
        self._groups: dict[str, Answers] = {}
        self._serve(self._built_in)
        self._clock = clock
        self._dice = dice or random.SystemRandom()
        self._served: dict[tuple[str, str, int], int] = {}
        self._writable = True
        self.store = Store(log, self._fields_of)
        self.service_ranges = service_ranges
        allocating = Allocating(self.store, service_ranges, self._dice.randrange)
        self.authorizer = Authorizer(self.store)
        self._aggregation = Aggregation(self.store)
        guard = Escalation(self.authorizer).check
        self.writer = Writer(self.store, allocating, guard, clock=clock, dice=self._dice)
        self._account_key = account_key
        self._definitions = Definitions(self.store, self.writer, clock)
        self._edition = 0
        self._commits = GroupCommit(self.store)

    def _serve(self, kinds: tuple[KindSpec, ...]) -> None:
        self._kinds = {(kind.resource.group, kind.resource.version, kind.resource.plural): kind for kind in kinds}
        self._fields = {resource_key(kind): kind for kind in kinds}
        self._discovery = Discovery((*kinds, *self._measured, *OTHER_KINDS))

    def measure(self, kinds: tuple[KindSpec, ...], answers: Answers) -> None:
        """Have the groups of `kinds`, which are not stored, listed by discovery and answered by `answers`."""
        self._measured += kinds
        self._groups |= {kind.resource.group: answers for kind in kinds}
        self._discovery = Discovery((*self._built_in, *self._measured, *OTHER_KINDS))
        self._edition = 0

    def _look_at_definitions(self) -> None:
        """Serve what users have defined since the last look; kinds of our own are not theirs to replace."""
        if self._edition != self._definitions.edition:
            self._edition = self._definitions.edition
            own = {kind.resource.group for kind in (*self._built_in, *self._measured)}
            custom = (kind for kind in self._definitions.kinds() if kind.resource.group not in own)
            self._serve((*self._built_in, *custom))

    def _fields_of(self, resource: ResourceKey, document: Document) -> Mapping[str, str]:
        metadata = document.get("metadata")
        fields = {
            "metadata.name": text_at(metadata, "name"),
            "metadata.namespace": text_at(metadata, "namespace"),
        }
        kind = self._fields.get(resource)
        if kind is not None:
            fields.update(kind.field_labels(document))
        return fields

    # Reading in the same process.

    def get(self, plural: str, namespace: str, name: str, group: str = "") -> Document | None:
        """Return one object, None where it is not there."""
        stored = self.store.get((group, plural), (namespace, name))
        return stored.document() if stored else None

    def list(self, plural: str, namespace: str = "", group: str = "") -> list[Document]:
        """Return the objects of a resource, of one namespace or of all."""
        return [stored.document() for stored in self.store.items((group, plural), namespace)]

    def kind_of(self, target: Target) -> KindSpec | None:
        """Return the kind a path names."""
        return self._kinds.get((target.group, target.version, target.plural))

    def counts(self) -> Mapping[ResourceKey, int]:
        """Return how many objects of each resource exist."""
        return {resource: self.store.count(resource) for resource in self._fields}

    @property
    def served(self) -> Mapping[tuple[str, str, int], int]:
        """How many requests were answered, by method, plural name and status."""
        return self._served

    # Access.

    @cached_property
    def accounts(self) -> "Accounts":
        """The service accounts and their tokens."""
        from fairlead.cluster.apiserver.access.accounts import Accounts
        from fairlead.cluster.apiserver.access.tokens import Tokens

        return Accounts(self.store, Tokens(self._account_key, self._clock), self._clock)

    def acting(self, user: User, headers: Iterable[tuple[str, str]]) -> User:
        """Return whom a request counts for: its sender, or whom its Impersonate headers name; raise 403 or 400."""
        if not any(name.lower().startswith("impersonate-") for name, _ in headers):
            return user
        from fairlead.cluster.apiserver.access.impersonation import impersonated

        return impersonated(user, headers, self.authorizer)

    def admit(self, user: User, method: str, path: str, query: Mapping[str, str]) -> None:
        """Raise 403 unless a user may send a request."""
        if MASTERS in user.groups:
            return
        refusal = self.authorizer.refusal(user, wish_of(method, path, parse_path(path), query))
        if refusal is not None:
            raise refusal

    # Answering.

    async def handle(self, request: ApiRequest, user: User) -> ApiResponse | WatchStream:
        """Answer a request. Refusals are answers too: nothing is raised for what a client does."""
        self._look_at_definitions()
        target = parse_path(request.path)
        try:
            self.admit(user, request.method, request.path, dict(request.query))
            other = other_version(target)
            if target is not None and target.group in self._groups:
                answer = await self._groups[target.group](request, target)
            elif other is not None:
                answer = await self._of_other_version(request, other, user)
            else:
                answer = await (self._of_server(request) if target is None else self._of_kind(request, target, user))
        except StatusError as error:
            answer = ApiResponse(error.code, {"Content-Type": JSON, **_NO_STORE}, error.body())
        except RecursionError:
            answer = ApiResponse(400, {"Content-Type": JSON}, bad_request("the body is nested too deeply").body())
        except ExpiredError as error:
            answer = ApiResponse(410, {"Content-Type": JSON}, expired(str(error)).body())
        except FairleadError as error:
            self._writable = False
            answer = ApiResponse(507, {"Content-Type": JSON}, out_of_storage(str(error)).body())
        status = answer.status if isinstance(answer, ApiResponse) else 200
        key = (request.method, target.plural if target else "", status)
        self._served[key] = self._served.get(key, 0) + 1
        return answer

    async def _of_other_version(
        self, request: ApiRequest, other: OtherVersion, user: User
    ) -> ApiResponse | WatchStream:
        """Answer a request of a version that is served beside the one that is stored."""
        converted = other.request(request)
        target = parse_path(converted.path)
        assert target is not None
        answer = await self._of_kind(converted, target, user)
        if isinstance(answer, WatchStream):
            answer.rewrite = other.lines
            return answer
        return other.answer(answer)

    async def _of_server(self, request: ApiRequest) -> ApiResponse:
        """Answer what is about the server and not about objects."""
        path = request.path
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query)
        if request.method not in ("GET", "HEAD"):
            raise method_not_allowed(None, request.method)
        if path.rstrip("/") == "/version":
            return ApiResponse(200, {"Content-Type": JSON, **_NO_STORE}, version())
        found = health(path, verbose="verbose" in query, writable=self._writable)
        if found is not None:
            return ApiResponse(found.status, {"Content-Type": found.content_type, **_NO_STORE}, found.body)
        if path == "/metrics":
            from fairlead.cluster.apiserver.metrics import CONTENT_TYPE, render_metrics

            return ApiResponse(200, {"Content-Type": CONTENT_TYPE}, render_metrics(self))
        if path.startswith("/openapi/"):
            return openapi_answer(path, query, headers, self._clock(), self._definitions.documents())
        return self._discover(path, headers)

    def _discover(self, path: str, headers: Mapping[str, str]) -> ApiResponse:
        if path == "/":
            raise no_such_path()
        found = self._discovery.answer(path, headers.get("accept", ""))
        if found is None:
            raise no_such_path()
        tags = {"ETag": found.etag, "Vary": "Accept", "Cache-Control": "public"}
        if found.etag in headers.get("if-none-match", ""):
            return ApiResponse(304, tags)
        return ApiResponse(200, {"Content-Type": found.content_type, **tags}, found.body)

    async def _of_kind(self, request: ApiRequest, target: Target, user: User) -> ApiResponse | WatchStream:
        kind = self.kind_of(target)
        if kind is None or (target.namespace and not kind.resource.namespaced):
            raise no_such_path()
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = request.body
        if body and request.method in ("POST", "PUT", "DELETE"):
            body, headers["content-type"] = as_json(body, headers.get("content-type", "")), JSON
        call = Call(
            method="GET" if request.method == "HEAD" else request.method,
            kind=kind,
            target=target,
            query=dict(request.query),
            headers=headers,
            body=body,
            caller=user,
        )
        if target.name and kind.resource.namespaced and not target.namespace:
            raise no_such_path()
        if target.subresource and target.subresource != "status":
            return await self._of_subresource(call)
        if call.method == "GET":
            return self._read(call)
        return await self._write(call)

    def _read(self, call: Call) -> ApiResponse | WatchStream:
        watch = call.flag("watch")
        _allow(call, "watch" if watch else "get" if call.target.name else "list")
        if watch:
            return WatchStream(self.store, reading.plan_watch(call, self.store, self._clock, self._dice))
        if call.target.name:
            return _json(200, reading.show(call, reading.get(call, self.store), self._clock))
        return _json(200, reading.list_objects(call, self.store, self._clock))

    async def _write(self, call: Call) -> ApiResponse:
        if call.method == "DELETE":
            return await self._delete(call)
        verb = _VERBS.get(call.method)
        if verb is None:
            raise method_not_allowed(call.kind.resource, call.method)
        _allow(call, verb)
        if bool(call.target.name) is (verb == "create"):
            raise method_not_allowed(call.kind.resource, call.method)
        if call.kind.asked:
            return self._answer(call)
        write = {"create": self.writer.create, "update": self.writer.update, "patch": self.writer.patch}[verb]
        return await self._written(call, write(call))

    def _answer(self, call: Call) -> ApiResponse:
        """Answer a kind that is asked and never stored, such as SelfSubjectAccessReview."""
        from fairlead.cluster.apiserver.access.reviews import answer_review

        document = decode_object(call.body, call.headers.get("content-type", ""))
        check_type(call, document)
        warnings = tidy(call.kind, document, b"", call.field_validation)
        headers = {"Warning": ", ".join(warning_headers(warnings))} if warnings else {}
        document.setdefault("metadata", {})
        if call.kind.resource.kind == "TokenReview":
            answer = self.accounts.review(document)
        else:
            answer = answer_review(call, document, self.authorizer)
        return _json(201, msgspec.json.encode(answer), headers)

    async def _written(self, call: Call, written: Written) -> ApiResponse:
        await self.settle()
        headers: dict[str, str] = {}
        if written.warnings:
            headers["Warning"] = ", ".join(warning_headers(written.warnings))
        return _json(201 if written.created else 200, reading.show(call, written.stored, self._clock), headers)

    async def _delete(self, call: Call) -> ApiResponse:
        if not call.target.name:
            _allow(call, "deletecollection")
            gone = deleting.delete_collection(call, self.writer, self._clock)
            await self.settle()
            return _json(200, reading.whole_list(call, gone, self.store.committed))
        _allow(call, "delete")
        if call.target.subresource:
            raise method_not_allowed(call.kind.resource, call.method)
        outcome = deleting.delete(call, self.writer, self._clock)
        await self.settle()
        if outcome.gone and not deleting.answers_whole(call.kind):
            return _json(200, deleting.gone_status(call.kind, outcome.stored))
        return _json(200, reading.show(call, outcome.stored, self._clock))

    async def _of_subresource(self, call: Call) -> ApiResponse:
        known = call.kind.subresource(call.target.subresource)
        if known is None:
            raise no_such_path()
        verb = _VERBS.get(call.method, call.method.lower())
        if verb not in known.verbs:
            raise method_not_allowed(call.kind.resource, call.method)
        status = 201 if call.method == "POST" else 200
        match known.kind:
            case "Scale":
                body = subresources.scale(call, self.writer)
            case "TokenRequest":
                body = self.accounts.request(call)
            case "Binding":
                body = subresources.bind(call, self.writer)
            case "Eviction":
                body = subresources.evict(call, self.writer, self._clock)
            case _:
                if known.name != "finalize":
                    raise no_such_path()
                body = subresources.finalize(call, self.writer)
        await self.settle()
        return _json(status, body)

    async def settle(self) -> None:
        """Return when all changes staged so far are durable; raise FairleadError where they could not be kept."""
        self._aggregation.run()
        self._definitions.run()
        await self._commits.settle()
        self._writable = True

    def close(self) -> None:
        """Release the log."""
        self.store.close()


def _allow(call: Call, verb: str) -> None:
    if verb in call.kind.verbs:
        return
    if call.target.subresource == "status" and verb in ("get", "patch", "update"):
        return
    raise method_not_allowed(call.kind.resource, call.method)


def _json(status: int, body: bytes, headers: Mapping[str, str] | None = None) -> ApiResponse:
    return ApiResponse(status, {"Content-Type": JSON, **_NO_STORE, **(headers or {})}, body)
