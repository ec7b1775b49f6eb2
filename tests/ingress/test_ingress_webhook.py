"""Does the webhook refuse what would hurt, with a reason, and nothing else, at a cost that does not grow?"""

import json
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from ingress_cluster import ingress

from fairlead.agents.ingress.placeholder import make_placeholder
from fairlead.agents.ingress.webhook import WebhookSettings, answer_review, serve_webhook
from fairlead.agents.pages import Binding
from fairlead.compile.route_options import IngressOptions
from fairlead.compile.routes import Routes
from fairlead.kube.networking import Ingress


def routes_with(*documents: dict[str, Any]) -> Routes:
    routes = Routes(IngressOptions(without_class=True, class_annotation="nginx"))
    for document in documents:
        routes.set_ingress(as_ours(document))
    routes.build()
    return routes


def as_ours(document: dict[str, Any]) -> Ingress:
    metadata = {"namespace": "default", **document["metadata"]}
    spec = {key: value for key, value in document["spec"].items() if key != "ingressClassName"}
    return msgspec.convert({**document, "metadata": metadata, "spec": spec}, Ingress)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (ingress("a", "x.example", permanent_redirect="https://x;}"), "permanent-redirect"),
        (ingress("a", "x.example", auth_url="nowhere"), "auth-url"),
        (ingress("a", "x.example", configuration_snippet="return 1;"), "snippets are off"),
        (ingress("a", "x.example", path="/(a+)+$", use_regex="true"), "can take for ever"),
        (ingress("a", "x.example", path='/x"{'), "no path for NGINX"),
        (ingress("a", "bad_host!.example"), "no host name"),
        (ingress("a", "taken.example"), "already defined in ingress default/first"),
    ],
)
def test_what_would_hurt_is_refused_with_its_reason(document: dict[str, Any], said: str) -> None:
    reasons = routes_with(ingress("first", "taken.example")).review(as_ours(document))
    assert any(said in each for each in reasons), reasons


@pytest.mark.parametrize(
    "document",
    [
        ingress("a", "x.example"),
        ingress("first", "taken.example"),
        ingress("a", "x.example", auth_type="basic", auth_secret="comes-later"),
        ingress("a", "x.example", tls="comes-later"),
        ingress("a", "taken.example", canary="true", canary_weight="10"),
        ingress("a", "x.example", service="comes-later"),
    ],
)
def test_what_is_good_or_only_early_is_let_in(document: dict[str, Any]) -> None:
    assert routes_with(ingress("first", "taken.example")).review(as_ours(document)) == ()


def test_a_review_looks_at_nothing_but_its_own_hosts() -> None:
    class Counting(dict[str, Any]):
        asked = 0

        def __getitem__(self, key: str) -> Any:
            Counting.asked += 1
            return super().__getitem__(key)

        def __iter__(self) -> Any:
            raise AssertionError("a review must not go through all hosts")

    routes = routes_with(*(ingress(f"i-{number}", f"h-{number}.example") for number in range(50)))
    object.__setattr__(routes, "_merged", Counting(vars(routes)["_merged"]))
    assert routes.review(as_ours(ingress("new", "h-7.example")))
    assert Counting.asked <= 2


def review_of(document: dict[str, Any], operation: str = "CREATE") -> bytes:
    request = {"uid": "u-1", "operation": operation, "object": document}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def test_answers_have_the_form_that_the_api_server_reads() -> None:
    refused = json.loads(answer_review(review_of(ingress("a", "x.example")), lambda _: ("no", "never")))
    assert refused["response"] == {
        "uid": "u-1",
        "allowed": False,
        "status": {"code": 400, "reason": "Invalid", "message": "no; never"},
    }
    removed = json.loads(answer_review(review_of(ingress("a", "x.example"), "DELETE"), lambda _: ("no",)))
    assert removed["response"] == {"uid": "u-1", "allowed": True}


async def test_it_speaks_https_and_outlives_nonsense(tmp_path: Path) -> None:
    pair = make_placeholder()
    certificate, key = tmp_path / "crt", tmp_path / "key"
    certificate.write_text(pair.chain)
    key.write_text(pair.key)
    settings = WebhookSettings(binding=Binding("127.0.0.1", 0), certificate=certificate, key=key)
    runner = await serve_webhook(settings, lambda _: ())
    port = runner.addresses[0][1]
    trusting = ssl.create_default_context(cadata=pair.chain)
    trusting.check_hostname = False
    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            url = f"https://127.0.0.1:{port}/networking/v1/ingresses"
            for body, status in (
                (b"{", 400),
                (b"[]", 400),
                (bytes(10 << 20), 413),
                (review_of(ingress("a", "b.c")), 200),
            ):
                async with session.post(url, data=body) as response:
                    assert response.status == status
    finally:
        await runner.cleanup()
