"""Requests per second of Ingresses, as the ingress controllers' own metrics count them.

In: the pods of controllers in the store. Out: rates by Ingress. A controller is a pod with a container port named
`metrics`, of the application that serves Ingresses here or upstream; its counter is nginx_ingress_controller_requests,
which carries namespace and ingress in both.
"""

import asyncio
import re
import time
from collections.abc import Mapping

import aiohttp
from msgspec import Struct

from fairlead.cluster.apiserver.kinds.editing import children
from fairlead.cluster.apiserver.store import Store
from fairlead.cluster.metrics.collector import Paired
from fairlead.kube.documents import Document, mapping_at, number_at, text_at

_COUNTER = "nginx_ingress_controller_requests{"
_LABEL = re.compile(r'(?:^|,)(namespace|ingress)="((?:[^"\\]|\\.)*)"')
_APPLICATION = "app.kubernetes.io/name"
_APPLICATIONS = ("nginx-ingress", "ingress-nginx")
_PATIENCE = aiohttp.ClientTimeout(total=2)

Key = tuple[str, str]
"""Namespace and name of an Ingress."""


class IngressLook(Struct, frozen=True):
    """The counters of each controller's pod, by its uid, at one moment."""

    at: float
    counts: Mapping[str, Mapping[Key, float]]


class IngressRates(Struct, frozen=True):
    """Requests per second until `at`, over `window` seconds."""

    at: float
    window: float
    requests: Mapping[Key, float]


def parse_counts(text: str) -> dict[Key, float]:
    """Add up the requests of each Ingress in the metrics of one controller."""
    found: dict[Key, float] = {}
    for line in text.splitlines():
        if line.startswith(_COUNTER):
            labels, _, value = line.removeprefix(_COUNTER).rpartition("} ")
            named = dict(_LABEL.findall(labels))
            key = (named.get("namespace", ""), named.get("ingress", ""))
            found[key] = found.get(key, 0.0) + float(value)
    return found


def rates_of(before: IngressLook, after: IngressLook) -> IngressRates:
    """Return what came between two looks; a controller counts once it was there at both, from 0 where it began anew."""
    window = max(after.at - before.at, 1e-3)
    requests: dict[Key, float] = {}
    for uid, counts in after.counts.items():
        former = before.counts.get(uid)
        for key, count in counts.items() if former is not None else ():
            first = former.get(key, 0.0) if former is not None else 0.0
            requests[key] = requests.get(key, 0.0) + (count - first if count >= first else count) / window
    return IngressRates(after.at, window, requests)


def ingress_rates(store: Store, resolution: float) -> Paired[IngressLook, IngressRates]:
    """Return what asks the controllers among the pods of a store."""

    async def look() -> IngressLook:
        pods = (each for each in store.items(("", "pods")) if each.labels.get(_APPLICATION) in _APPLICATIONS)
        urls = {uid: url for uid, url in (_metrics_of(each.document()) for each in pods) if url}
        async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
            texts = await asyncio.gather(*(_fetch(session, url) for url in urls.values()))
        counts = {uid: parse_counts(text) for uid, text in zip(urls, texts, strict=True) if text is not None}
        return IngressLook(time.time(), counts)

    return Paired(look, rates_of, lambda seen: seen.at, resolution)


def _metrics_of(pod: Document) -> tuple[str, str]:
    """The uid of a controller's pod and where its metrics are, "" for one that has none or does not run."""
    uid, address = text_at(pod, "metadata", "uid"), text_at(pod, "status", "podIP")
    if text_at(pod, "status", "phase") != "Running":
        return uid, ""
    for container in children(mapping_at(pod, "spec"), "containers"):
        for port in children(container, "ports"):
            if text_at(port, "name") == "metrics" and address:
                host = f"[{address}]" if ":" in address else address
                return uid, f"http://{host}:{number_at(port, 'containerPort')}/metrics"
    return uid, ""


async def _fetch(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url) as answer:
            return await answer.text() if answer.status == 200 else None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None
