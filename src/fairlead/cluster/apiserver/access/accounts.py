"""Service accounts: their tokens asked for, and recognised again.

In: a TokenRequest, a TokenReview or the token of a request. Out: the token, the user behind it, or a StatusError. A
token is good as long as its account, and the object it is bound to, are still the same ones. Source:
k8s.io/kubernetes/pkg/registry/core/serviceaccount/storage/token.go and pkg/serviceaccount/claims.go.
"""

import uuid
from collections.abc import Callable

import msgspec

from fairlead.cluster.apiserver.access.impersonation import ACCOUNT, groups_of_account
from fairlead.cluster.apiserver.access.reviews import user_info
from fairlead.cluster.apiserver.access.tokens import ISSUER, BadTokenError, Claims, Named, Place, Tokens
from fairlead.cluster.apiserver.calls import Call, decode_object
from fairlead.cluster.apiserver.kinds.errors import invalid
from fairlead.cluster.apiserver.reading import get
from fairlead.cluster.apiserver.statuses import bad_request, conflict, not_found, unauthorized
from fairlead.cluster.apiserver.statuses import invalid as refuse
from fairlead.cluster.apiserver.store import Store
from fairlead.cluster.apiserver.users import User
from fairlead.cluster.apiserver.writing import time_text
from fairlead.kube.documents import Document, items_at, mapping_at, number_at, text_at
from fairlead.kube.resources import Resource

_ACCOUNTS, _PODS, _SECRETS = ("", "serviceaccounts"), ("", "pods"), ("", "secrets")
_REQUEST = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", True)
_BOUND = {"Pod": _PODS, "Secret": _SECRETS}
_HOUR, _SHORTEST, _LONGEST = 3600, 600, 1 << 32


class Accounts:
    """Gives out tokens, and says whose a token is."""

    def __init__(self, store: Store, tokens: Tokens, clock: Callable[[], float]) -> None:
        self._store = store
        self._tokens = tokens
        self._clock = clock

    def request(self, call: Call) -> bytes:
        """Answer a POST to /token of a service account."""
        body = decode_object(call.body, call.headers.get("content-type", ""))
        account = get(call, self._store).document()
        spec = mapping_at(body, "spec")
        seconds = number_at(spec, "expirationSeconds")
        seconds = _HOUR if seconds is None else seconds
        name, namespace = call.target.name, call.target.namespace
        if not _SHORTEST <= seconds <= _LONGEST:
            limit = "less than 10 minutes" if seconds < _SHORTEST else "larger than 2^32 seconds"
            told = invalid("spec.expirationSeconds", seconds, f"may not specify a duration {limit}")
            raise refuse(_REQUEST, "", [told])
        place = self._bound(call, Place(namespace, Named(name, text_at(account, "metadata", "uid"))), spec)
        audiences = tuple(str(each) for each in items_at(spec, "audiences")) or (ISSUER,)
        now = int(self._clock())
        claims = Claims(
            iss=ISSUER,
            sub=f"{ACCOUNT}{namespace}:{name}",
            aud=audiences,
            exp=now + seconds,
            nbf=now,
            iat=now,
            jti=str(uuid.uuid4()),
            place=place,
        )
        answer: Document = {
            **body,
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": time_text(now)},
            "spec": {"boundObjectRef": None, **spec, "audiences": list(audiences), "expirationSeconds": seconds},
            "status": {"token": self._tokens.sign(claims), "expirationTimestamp": time_text(claims.exp)},
        }
        return msgspec.json.encode(answer) + b"\n"

    def _bound(self, call: Call, place: Place, spec: Document) -> Place:
        """Return the place with the object of spec.boundObjectRef, which must exist and be the one meant."""
        ref = mapping_at(spec, "boundObjectRef")
        if not ref:
            return place
        kind, name, uid = text_at(ref, "kind"), text_at(ref, "name"), text_at(ref, "uid")
        resource = _BOUND.get(kind)
        if resource is None:
            raise bad_request(f"cannot bind token for serviceaccount {call.target.name!r} to a {kind}")
        stored = self._store.get(resource, (place.namespace, name))
        if stored is None:
            raise not_found(Resource("", "v1", kind, resource[1], True), name)
        document = stored.document()
        found = text_at(document, "metadata", "uid")
        if uid and uid != found:
            why = f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            raise conflict(
                Resource("", "v1", kind, resource[1], True),
                name,
                f"{why}The object might have been deleted and then recreated",
            )
        if kind == "Secret":
            return msgspec.structs.replace(place, secret=Named(name, found))
        if text_at(document, "spec", "serviceAccountName") != call.target.name:
            told = f'cannot bind token for serviceaccount "{call.target.name}" to pod running with different'
            raise bad_request(f"{told} serviceaccount name.")
        node = text_at(document, "spec", "nodeName")
        return msgspec.structs.replace(place, pod=Named(name, found), node=Named(node) if node else None)

    def user_of(self, token: str, audiences: tuple[str, ...] = (ISSUER,)) -> User:
        """Return whose a token is; raise BadTokenError where it is nobody's, or for others to read."""
        claims = self._tokens.read(token)
        if not set(audiences) & set(claims.aud):
            raise BadTokenError(
                f"token audiences {list(claims.aud)} is invalid for the target audiences {list(audiences)}"
            )
        place = claims.place
        for resource, named in (
            (_ACCOUNTS, place.serviceaccount),
            (_PODS, place.pod),
            (_SECRETS, place.secret),
        ):
            if named is not None and not self._lives(resource, place.namespace, named):
                raise BadTokenError("service account token has been invalidated")
        extra: dict[str, tuple[str, ...]] = {"authentication.kubernetes.io/credential-id": (f"JTI={claims.jti}",)}
        if place.node is not None:
            extra["authentication.kubernetes.io/node-name"] = (place.node.name,)
        if place.pod is not None:
            extra["authentication.kubernetes.io/pod-name"] = (place.pod.name,)
            extra["authentication.kubernetes.io/pod-uid"] = (place.pod.uid,)
        return User(claims.sub, groups_of_account(place.namespace), place.serviceaccount.uid, tuple(extra.items()))

    def _lives(self, resource: tuple[str, str], namespace: str, named: Named) -> bool:
        stored = self._store.get(resource, (namespace, named.name))
        return stored is not None and text_at(stored.document(), "metadata", "uid") == named.uid

    def authenticate(self, authorization: str) -> User:
        """Return the user of an Authorization header; raise 401 where there is none."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized()
        try:
            return self.user_of(token.strip())
        except BadTokenError as error:
            raise unauthorized() from error

    def review(self, review: Document) -> Document:
        """Answer a TokenReview."""
        token = text_at(review, "spec", "token")
        if not token:
            raise bad_request("token is required for TokenReview in authentication")
        audiences = tuple(str(each) for each in items_at(review, "spec", "audiences")) or (ISSUER,)
        try:
            user = self.user_of(token, audiences)
        except BadTokenError as error:
            return {**review, "status": {"user": {}, "error": str(error)}}
        claimed = self._tokens.read(token).aud
        status: Document = {"authenticated": True, "user": user_info(user)}
        status["audiences"] = [each for each in audiences if each in claimed]
        return {**review, "status": status}
