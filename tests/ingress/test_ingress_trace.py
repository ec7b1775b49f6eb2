"""Does a trace of a URL say what a real request then meets?"""

import json

import pytest
from ingress_cluster import Cluster, eventually, ingress

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]

INGRESSES = (
    ingress("secure", "secure.example", tls="absent"),
    ingress("moved", "moved.example", permanent_redirect="https://else.example/there"),
    ingress("office", "office.example", whitelist_source_range="192.0.2.0/24"),
    ingress("users", "users.example", auth_type="basic", auth_secret="users"),
    ingress("rewritten", "rewritten.example", path="/api(/|$)(.*)", rewrite_target="/$2"),
    ingress("cors", "cors.example", enable_cors="true", cors_allow_origin="https://*.ok.example"),
    ingress("lost", "lost.example", "nowhere"),
)
USERS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "users"},
    "stringData": {"auth": "me:$apr1$hUNyGkR0$Pq4Lk7nXUGDKLUzG0y3Fb1\n"},
}


@pytest.fixture(scope="module")
def applied(cluster: Cluster) -> Cluster:
    rewritten = next(each for each in INGRESSES if each["metadata"]["name"] == "rewritten")
    rewritten["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "ImplementationSpecific"
    cluster.apply(USERS, *INGRESSES)
    eventually(lambda: cluster.status("http://lost.example/", host="lost.example") == 503, "all of them")
    return cluster


@pytest.mark.parametrize(
    ("url", "options", "status"),
    [
        ("http://app.example/a/b?c=d", (), 0),
        ("https://app.example/", (), 0),
        ("http://secure.example/x/", (), 308),
        ("http://moved.example/", (), 301),
        ("http://office.example/", (), 403),
        ("http://users.example/", (), 401),
        ("http://rewritten.example/api/v1/x", (), 0),
        ("http://rewritten.example/other", (), 404),
        ("http://cors.example/", ("--method", "OPTIONS", "-H", "Origin: https://a.ok.example"), 204),
        ("http://lost.example/", (), 503),
    ],
)
def test_the_trace_and_the_real_request_agree(
    applied: Cluster, url: str, options: tuple[str, ...], status: int
) -> None:
    said = applied.run("trace", "client", url, *options, "--packet", "-o", "json", check=False)
    answer = json.loads(said[: said.rindex("}") + 1])
    assert answer["request"]["status"] == status, answer["request"]
    assert answer["sent"]["agrees"], (answer["sent"], answer["request"])
