"""Events for the authors of objects: what the agent has to say comes in, Events of the API go out, few and slowly.

The same words about the same object are one Event for ever: its name is made of them, so an agent that starts again,
however often, and the agents of a thousand nodes find it and count it up at most every ten minutes. Writing never holds
the agent up: a queue is worked off at a bounded rate, and what does not fit is dropped. Source of the form: core/v1
Event, as client-go's tools/record writes it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from msgspec import Struct

from fairlead.agents.lines import log
from fairlead.drivers.kubeapi import ApiError, KubeClient
from fairlead.kube.core import Event
from fairlead.kube.documents import Document, text_at
from fairlead.kube.resources import RESOURCES, Resource, resource_of
from fairlead.model import Finding, Origin, Severity

_QUIET_SECONDS = 600.0
_AT_ONCE, _REFILL_SECONDS, _MOST_WAITING = 25, 5.0, 1000
_LONGEST_MESSAGE = 1024


class Notice(Struct, frozen=True):
    """Something to tell about the object `about`; `reason` is one CamelCase word."""

    about: Origin
    reason: str
    message: str
    warning: bool = True


def notice_of(finding: Finding, node: str) -> Notice:
    """What a finding is told as; in an Event, which others read too, `this node` has its name."""
    where = f"{finding.origin.field}: " if finding.origin.field else ""
    remedy = f"; {finding.remedy}" if finding.remedy else ""
    reason = "NotProgrammed" if finding.severity is Severity.ERROR else "Doubtful"
    message = finding.message.replace("this node", f"node {node}")
    return Notice(finding.origin, reason, f"{where}{message}{remedy}")


class EventWriter:
    """Writes notices as Events of `component`, at `node`.

    `clock` tells seconds since the epoch, `uid_of` the uid of an object, or nothing.

    It gets along with what kube-proxy's role allows: to create and patch events.
    """

    def __init__(
        self,
        client: KubeClient,
        node: str,
        clock: Callable[[], float],
        uid_of: Callable[[Origin], str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        component: str = "fairlead-node-agent",
    ) -> None:
        self._component = component
        self._client = client
        self._node = node
        self._clock = clock
        self._uid_of = uid_of
        self._sleep = sleep
        self._waiting: deque[Notice] = deque(maxlen=_MOST_WAITING)
        self._some = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        """Add to what is to be written; the oldest gives way when there is too much."""
        self._waiting.append(notice)
        self._some.set()

    async def run(self) -> None:
        """Write for ever. What the API server refuses is said in the log, and given up."""
        tokens, filled = float(_AT_ONCE), self._clock()
        while True:
            await self._some.wait()
            while self._waiting:
                now = self._clock()
                tokens, filled = min(float(_AT_ONCE), tokens + max(0.0, now - filled) / _REFILL_SECONDS), now
                if tokens < 1:
                    await self._sleep((1 - tokens) * _REFILL_SECONDS)
                    continue
                tokens -= 1
                notice = self._waiting.popleft()
                try:
                    await self._write(notice)
                except (ApiError, msgspec.MsgspecError) as error:
                    log(event="untold", object=str(notice.about), reason=notice.reason, error=str(error))
            self._some.clear()

    async def _write(self, notice: Notice) -> None:
        about = notice.about
        resource = _resource_of(about.kind)
        if resource is None:
            return
        uid = self._uid_of(about)
        if not uid:
            found = await self._client.get_document(resource, about.name, about.namespace)
            uid = text_at(found, "metadata", "uid")
        namespace = about.namespace or "default"
        name = event_name(notice, uid)
        now = self._clock()
        document = self._event(notice, resource, uid, format_time(now))
        document["metadata"] = {"name": name, "namespace": namespace}
        try:
            await self._client.create_document(resource_of(Event), document, namespace)
        except ApiError as error:
            if error.status != 409:
                raise
            known = await self._client.patch(Event, name, namespace, {})  # reads it, without the right to
            if parse_time(known.last_timestamp) + _QUIET_SECONDS < now:
                counted: Document = {"count": known.count + 1, "lastTimestamp": format_time(now)}
                await self._client.patch(Event, name, namespace, counted)

    def _event(self, notice: Notice, resource: Resource, uid: str, moment: str) -> Document:
        about = notice.about
        involved: Document = {
            "apiVersion": resource.api_version,
            "kind": about.kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": uid,
        }
        return {
            "involvedObject": {key: value for key, value in involved.items() if value},
            "reason": notice.reason,
            "message": notice.message[:_LONGEST_MESSAGE],
            "type": "Warning" if notice.warning else "Normal",
            "source": {"component": self._component, "host": self._node},
            "reportingComponent": self._component,
            "reportingInstance": self._node,
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }


def event_name(notice: Notice, uid: str) -> str:
    """The one name of these words about this object."""
    words = "\0".join((uid, notice.reason, notice.message))
    return f"{notice.about.name[:200]}.{sha256(words.encode()).hexdigest()[:16]}"


def format_time(seconds: float) -> str:
    """A moment as the API writes it, in whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> float:
    """Seconds since the epoch; 0 for no time or what is none."""
    try:
        return datetime.fromisoformat(text or "").timestamp()
    except ValueError:
        return 0.0


def _resource_of(kind: str) -> Resource | None:
    return next((resource for resource in RESOURCES.values() if resource.kind == kind), None)
