"""Are events listed in the order in which things happened, and said again by counting?"""

import asyncio

from fairlead.cluster.apiserver.bootstrap import create_first_objects
from fairlead.cluster.apiserver.engine import ApiServer
from fairlead.cluster.apiserver.kinds.table import KINDS
from fairlead.cluster.apiserver.loopback import InProcessTransport
from fairlead.cluster.apiserver.store import MemoryLog
from fairlead.cluster.kubelet.events import EventRecorder, Said
from fairlead.drivers.kubeapi import KubeClient
from fairlead.kube.core import Event
from fairlead.net import parse_prefix


def _said(reason: str) -> Said:
    return Said(
        namespace="default",
        pod="web",
        uid="u1",
        node="node-1",
        container="c",
        reason=reason,
        message=reason.lower(),
        warning=False,
    )


async def test_events_are_listed_in_order_and_repetitions_count() -> None:
    server = ApiServer(MemoryLog(), KINDS, service_ranges=(parse_prefix("10.96.0.0/16"),))
    await create_first_objects(server, service_address="10.96.0.1", api_address="172.18.0.1", api_port=6443)
    client = KubeClient(InProcessTransport(server))
    recorder = EventRecorder(client)
    task = asyncio.ensure_future(recorder.run())
    reasons = ["Pulled", "Created", "Started", "Killing", "BackOff", "Zoo", "Alpha"]
    for reason in (*reasons, "Pulled"):
        recorder.tell(_said(reason))
    async with asyncio.timeout(5):
        while True:
            events = (await client.list(Event, "default")).items
            if events and events[0].count == 2:
                break
            await asyncio.sleep(0)
    task.cancel()
    assert [each.reason for each in events] == reasons
