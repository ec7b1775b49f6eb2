"""Cluster DNS as a built-in program of the stand-ins process: comes in as a container's sockets, goes out as answers.

The containers of one process share one set of records and one watch of the API, which lasts as long as there are any.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from fairlead.cluster.dns.answers import Zone
from fairlead.cluster.dns.manifests import ADDRESS, IMAGE, system_manifests
from fairlead.cluster.dns.records import Records
from fairlead.net import Address, parse_address

__all__ = ["DNS_IMAGE", "DnsApp", "dns_app", "system_manifests"]

DNS_IMAGE = IMAGE

Feed = Callable[[Records, asyncio.Event], "asyncio.Task[None]"]
"""Starts to keep the records up to date; sets the event once they are filled."""


class DnsApp:
    """The program; called once per container, it serves until it is cancelled."""

    def __init__(self, feed: Feed, zone: Zone, upstreams: Sequence[Address] = ()) -> None:
        self._feed = feed
        self._zone = zone
        self._upstreams = upstreams
        self._records = Records()
        self._filled = asyncio.Event()
        self._feeding: asyncio.Task[None] | None = None
        self._containers = 0

    async def __call__(
        self, order: object, opened: Sequence[tuple[object, socket.socket]], log: Callable[[str], None]
    ) -> None:
        """Serve on the container's sockets. Raises what ended the watch, if it ends."""
        from fairlead.cluster.dns.server import serve_dns

        del order
        if self._feeding is None:
            self._filled.clear()
            self._feeding = self._feed(self._records, self._filled)
        feeding, serving = self._feeding, None
        self._containers += 1
        try:
            filled = asyncio.create_task(self._filled.wait())
            await asyncio.wait({filled, feeding}, return_when=asyncio.FIRST_COMPLETED)
            filled.cancel()
            if not feeding.done():
                log(f"serving {self._zone.domain}")
                sockets = [each for _, each in opened]
                serving = asyncio.create_task(serve_dns(sockets, self._records, self._zone, self._upstreams))
                await asyncio.wait({serving, feeding}, return_when=asyncio.FIRST_COMPLETED)
            for task in (serving, feeding):
                if task is not None and task.done():
                    task.result()
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.wait({serving})
            self._containers -= 1
            if not self._containers or feeding.done():
                feeding.cancel()
                self._feeding = None


def dns_app(kubeconfig: Path, upstreams: Sequence[Address] = ()) -> DnsApp:
    """The program for a cluster whose API server `kubeconfig` names; libraries are loaded when it is first run."""
    return DnsApp(
        lambda records, filled: _follow(kubeconfig, records, filled), Zone(server=parse_address(ADDRESS)), upstreams
    )


def _follow(kubeconfig: Path, records: Records, filled: asyncio.Event) -> "asyncio.Task[None]":
    from fairlead.cluster.dns.feeds import feed
    from fairlead.drivers.kubeapi import HttpTransport, KubeClient

    async def follow() -> None:
        client = KubeClient(HttpTransport.from_kubeconfig(kubeconfig))
        try:
            await feed(client, records, filled)
        finally:
            await client.close()

    return asyncio.create_task(follow())
