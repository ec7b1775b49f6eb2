"""Who of several equal programs speaks for all: a Lease that one of them holds and renews.

Comes in: a client, a name, who we are. Goes out: whether we are the one. What only one may do is to be asked for right
before it is done. Source: client-go tools/leaderelection; times are its defaults.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.drivers.kubeapi import ApiError, KubeClient, PatchType
from fairlead.kube.coordination import Lease
from fairlead.kube.documents import Document
from fairlead.kube.resources import resource_of

SECONDS, RENEW_SECONDS, RETRY_SECONDS = 15, 10.0, 2.0


class LeaseName(Struct, frozen=True):
    """The Lease and its namespace."""

    namespace: str
    name: str


class Leadership:
    """Takes the lease when it is free, renews it, gives it back. `clock` tells seconds that only grow.

    Whether a holder is alive is judged by our own clock, from when its last sign was seen, so that clocks may differ.
    """

    def __init__(self, client: KubeClient, lease: LeaseName, who: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._lease = lease
        self._who = who
        self._clock = clock
        self._until = float("-inf")
        self._seen: tuple[str, str] = ("", "")
        self._seen_at = float("-inf")
        self.gained = asyncio.Event()
        """Set while the lease is ours."""

    @property
    def leads(self) -> bool:
        """Whether the lease is ours, and surely nobody else's."""
        return self._clock() < self._until

    async def run(self) -> None:
        """Try for ever."""
        while True:
            asked = self._clock()
            try:
                held = await self._try()
            except ApiError as error:
                held = self.leads and error.status == 0  # nobody could ask; what was promised still holds
                log(event="lease", error=str(error))
            if held and asked + SECONDS > self._until:
                self._until = asked + SECONDS
            if self.leads and not self.gained.is_set():
                log(event="leading", lease=f"{self._lease.namespace}/{self._lease.name}")
                self.gained.set()
            elif not self.leads:
                self.gained.clear()
            await asyncio.sleep(RENEW_SECONDS if held else RETRY_SECONDS)

    async def give_back(self) -> None:
        """Let another have it at once."""
        if not self.leads:
            return
        self._until = float("-inf")
        self.gained.clear()
        document: Document = {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}}
        await self._client.patch(Lease, self._lease.name, self._lease.namespace, document, patch_type=PatchType.MERGE)

    async def _try(self) -> bool:
        namespace, name = self._lease.namespace, self._lease.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ours: Document = {"holderIdentity": self._who, "leaseDurationSeconds": SECONDS, "renewTime": now}
        found = await self._client.get_or_none(Lease, name, namespace)
        if found is None:
            spec: Document = {**ours, "acquireTime": now, "leaseTransitions": 0}
            document: Document = {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
            return await self._written(self._client.create_document(resource_of(Lease), document, namespace))
        known = found.spec
        holder = known.holder_identity or ""
        sign = (holder, known.renew_time or "")
        if sign != self._seen:
            self._seen, self._seen_at = sign, self._clock()
        alive = self._clock() < self._seen_at + (known.lease_duration_seconds or SECONDS)
        if holder and holder != self._who and alive:
            return False
        if holder != self._who:
            ours = {**ours, "acquireTime": now, "leaseTransitions": (known.lease_transitions or 0) + 1}
        patch: Document = {"metadata": {"resourceVersion": found.metadata.resource_version}, "spec": ours}
        return await self._written(self._client.patch(Lease, name, namespace, patch))

    async def _written(self, writing: Awaitable[object]) -> bool:
        try:
            await writing
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True
