"""Do hundreds of Ingresses serve, whatever is wrong with some others?"""

import asyncio
import os
from typing import Any

import pytest
from ingress_cluster import Cluster, eventually, ingress

from fairlead.drivers.kubeapi import ApiError, HttpTransport, KubeClient
from fairlead.kube.networking import Ingress
from fairlead.kube.resources import resource_of

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]
COUNT = 1000 if os.environ.get("FAIRLEAD_LONG") else 150
AT_ONCE = 8

BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "service": (ingress("service", "broken-service.example", "nowhere"), "there is no Service default/nowhere"),
    "size": (ingress("size", "broken-size.example", proxy_body_size="big"), "is no size"),
    "clients": (ingress("clients", "broken-clients.example", whitelist_source_range="here"), "no CIDR block"),
    "auth": (ingress("auth", "broken-auth.example", auth_type="basic", auth_secret="none"), "there is no Secret"),
    "url": (ingress("url", "broken-url.example", auth_url="not a url"), "is not taken over"),
    "redirect": (ingress("redirect", "broken-to.example", permanent_redirect="https://x;}"), "is not taken over"),
    "regex": (ingress("regex", "broken-regex.example", path="/(a+)+$", use_regex="true"), "can take for ever"),
    "snippet": (ingress("snippet", "broken-snippet.example", configuration_snippet="oops {"), "snippets are off"),
    "certificate": (ingress("certificate", "broken-tls.example", tls="none"), "default certificate"),
    "typo": (ingress("typo", "broken-typo.example", rewrite_traget="/"), "did you mean"),
    "duplicate": (ingress("duplicate", "app.example"), "already defined in Ingress default/app"),
    "canary": (ingress("canary", "broken-canary.example", canary="true"), "no Ingress that is no canary has host"),
    "session": (ingress("session", "broken-session.example", affinity="cookie", session_cookie_name="a b"), "cookie"),
    "hash": (ingress("hash", "broken-hash.example", upstream_hash_by="${x};"), "is not taken over"),
}


async def create(cluster: Cluster, documents: list[dict[str, Any]]) -> None:
    transport = HttpTransport.from_kubeconfig(cluster.home / "fairlead" / "kubeconfig")
    client = KubeClient(transport)
    waiting = list(documents)

    async def work() -> None:
        while waiting:
            try:
                await client.create_document(resource_of(Ingress), waiting.pop(), "default")
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise

    try:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    finally:
        await transport.close()


def test_the_rest_serve_and_each_broken_one_has_an_event_that_says_what_to_do(cluster: Cluster) -> None:
    good = [ingress(f"many-{number}", f"host-{number}.example") for number in range(COUNT)]
    named = [
        {**document, "metadata": {**document["metadata"], "name": f"broken-{name}"}}
        for name, (document, _) in BROKEN.items()
    ]
    asyncio.run(create(cluster, [*good[: COUNT // 2], *named, *good[COUNT // 2 :]]))
    for number in range(0, COUNT, max(1, COUNT // 20)):
        host = f"host-{number}.example"
        eventually(lambda host=host: cluster.status(f"http://{host}/", host=host) == 200, host, 120)
    assert cluster.status("http://app.example/", host="app.example") == 200
    for name, (_, said) in BROKEN.items():
        eventually(
            lambda name=name, said=said: any(said in each for each in cluster.events(f"broken-{name}")),
            f"an Event with {said!r} for broken-{name}, not {cluster.events(f'broken-{name}')}",
            180,
        )
    served = {
        "size": 200,
        "clients": 503,
        "auth": 503,
        "service": 503,
        "snippet": 200,
        "certificate": 308,
        "regex": 404,
    }
    for name, status in served.items():
        host = BROKEN[name][0]["spec"]["rules"][0]["host"]
        eventually(lambda host=host, status=status: cluster.status(f"http://{host}/", host=host) == status, name)
