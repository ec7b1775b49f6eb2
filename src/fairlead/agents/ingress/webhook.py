"""The validating admission webhook: AdmissionReviews come in over HTTPS, and go out with a verdict.

Nothing is executed and nothing is remembered. Bodies are bounded, and with a client authority only the API server gets
in (reference section 7, CVE-2025-1974 and CVE-2026-24514). Source of the form: admission.k8s.io/v1.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from fairlead.agents.pages import Binding
from fairlead.drivers.errors import FairleadError
from fairlead.kube.networking import Ingress

_LARGEST = 9 * 1024 * 1024
PATH = "/networking/v1/ingresses"

Review = Callable[[Ingress], tuple[str, ...]]
"""The reasons against an Ingress."""


class WebhookSettings(Struct, frozen=True, kw_only=True):
    """Where to answer, with which certificate, and whose client certificates are asked for."""

    binding: Binding
    certificate: Path
    key: Path
    client_ca: Path | None = None


class _Request(Struct, frozen=True):
    uid: str
    operation: str = ""
    object: msgspec.Raw = msgspec.Raw(b"null")


class _AdmissionReview(Struct, frozen=True, rename="camel"):
    request: _Request
    api_version: str = "admission.k8s.io/v1"


def answer_review(body: bytes, review: Review) -> bytes:
    """The answer to an AdmissionReview. Raises msgspec.MsgspecError where the body is none."""
    asked = msgspec.json.decode(body, type=_AdmissionReview)
    reasons: tuple[str, ...] = ()
    if asked.request.operation in ("CREATE", "UPDATE"):
        reasons = review(msgspec.json.decode(asked.request.object, type=Ingress))
    response: dict[str, object] = {"uid": asked.request.uid, "allowed": not reasons}
    if reasons:
        response["status"] = {"code": 400, "reason": "Invalid", "message": "; ".join(reasons)}
    return msgspec.json.encode({"apiVersion": asked.api_version, "kind": "AdmissionReview", "response": response})


async def serve_webhook(settings: WebhookSettings, review: Review) -> web.AppRunner:
    """Start to answer. Raises FairleadError where certificate or address cannot be had."""

    async def handle(request: web.Request) -> web.Response:
        try:
            answer = answer_review(await request.read(), review)
        except msgspec.MsgspecError as error:
            return web.Response(status=400, text=f"no AdmissionReview: {error}\n")
        return web.Response(body=answer, content_type="application/json")

    app = web.Application(client_max_size=_LARGEST)
    app.router.add_post(PATH, handle)
    app.router.add_post("/", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(settings.certificate, settings.key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        await web.TCPSite(runner, settings.binding.host or None, settings.binding.port, ssl_context=context).start()
    except (OSError, ssl.SSLError) as error:
        await runner.cleanup()
        raise FairleadError(f"the webhook cannot answer at {settings.binding}: {error}") from error
    return runner
