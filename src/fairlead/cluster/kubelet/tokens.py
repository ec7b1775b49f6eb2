"""The tokens that pods get of their service accounts, renewed before they end.

Comes in: a pod and what its projected volume asks for. Goes out: a token bound to the pod, asked of the API server
once and again when four fifths of its life are over. Source: pkg/kubelet/token/token_manager.go.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from fairlead.cluster.kubelet.environment import MissingError
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.drivers.kubeapi.transport import ApiRequest
from fairlead.kube.containers import ServiceAccountTokenProjection
from fairlead.kube.core import ServiceAccount
from fairlead.kube.documents import Document, as_document, text_at
from fairlead.kube.pods import Pod
from fairlead.kube.resources import resource_of

_USED = 0.8
_LONGEST_USE = 24 * 3600.0
_HOUR = 3600


class _Held(Struct, frozen=True):
    token: bytes
    renew_at: float


class PodTokens:
    """Tokens by pod, audience and lifetime."""

    def __init__(self, client: KubeClient, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._held: dict[tuple[str, str, int], _Held] = {}

    async def token(self, pod: Pod, wanted: ServiceAccountTokenProjection) -> bytes:
        """The token for one file of a pod. Raises MissingError where the API server gives none."""
        seconds = wanted.expiration_seconds or _HOUR
        key = (pod.metadata.uid, wanted.audience, seconds)
        held = self._held.get(key)
        if held is None or self._clock() >= held.renew_at:
            try:
                held = await self._ask(pod, wanted.audience, seconds)
            except ApiError as error:
                if held is not None:
                    return held.token
                raise MissingError(f"failed to fetch token: {error.message}") from error
            self._held[key] = held
        return held.token

    async def _ask(self, pod: Pod, audience: str, seconds: int) -> _Held:
        metadata, account = pod.metadata, pod.spec.service_account_name or "default"
        bound: Document = {"kind": "Pod", "apiVersion": "v1", "name": metadata.name, "uid": metadata.uid}
        spec: Document = {"expirationSeconds": seconds, "boundObjectRef": bound}
        if audience:
            spec["audiences"] = [audience]
        body: Document = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": spec}
        path = resource_of(ServiceAccount).path(metadata.namespace, account, "token")
        headers = {"Content-Type": "application/json"}
        answer = await self._client.request(ApiRequest("POST", path, (), headers, msgspec.json.encode(body)))
        status = as_document(msgspec.json.decode(answer.body))
        now = self._clock()
        ends = datetime.fromisoformat(text_at(status, "status", "expirationTimestamp")).timestamp()
        return _Held(text_at(status, "status", "token").encode(), now + min((ends - now) * _USED, _LONGEST_USE))

    def due(self) -> Iterable[str]:
        """The uids of the pods that have a token to renew."""
        now = self._clock()
        return {uid for (uid, _, _), held in self._held.items() if now >= held.renew_at}

    def forget(self, uid: str) -> None:
        """Let go of the tokens of a pod that is gone."""
        for key in [key for key in self._held if key[0] == uid]:
            del self._held[key]
