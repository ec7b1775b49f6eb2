"""Answers of an authority's responder, stapled to the handshakes of a real NGINX by the controller's part for it."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.x509 import ocsp
from nginx_authorities import Authority
from nginx_running import RunningNginx, Service
from nginx_worlds import key, location, routing, server, serving

from fairlead.agents.ingress.stapling import Stapler, check_answer, question, subject_of
from fairlead.model.route_tls import Certificate
from fairlead.model.route_upstreams import Endpoints

pytestmark = pytest.mark.kernel
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED
Responder = Callable[[bytes], bytes]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNginx]:
    service = Service("a")
    with serving(tmp_path_factory.mktemp("nginx"), routing(server("a.example", location("/", "a")))) as running:
        running.tell(Endpoints(key("a"), (service.backend,)))
        yield running
    service.stop()


async def responding(answer: Responder) -> tuple[TestServer, list[bytes]]:
    asked: list[bytes] = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(await request.read())
        return web.Response(body=answer(asked[-1]), content_type="application/ocsp-response")

    app = web.Application()
    app.router.add_post("/", respond)
    started = TestServer(app)
    await started.start_server()
    return started, asked


def shown(nginx: RunningNginx) -> str:
    """What a client sees that asks for a stapled answer."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.https}", "-servername", "a.example", "-status"],
        input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.decode()


def teller(nginx: RunningNginx) -> Callable[[str, bytes], Awaitable[object]]:
    async def tell(path: str, body: bytes) -> None:
        assert nginx.control(path, body)[0] == 200

    return tell


async def test_a_good_answer_is_stapled_and_asked_for_again_when_it_grows_old(
    nginx: RunningNginx, authority: Authority
) -> None:
    known: list[Certificate] = []
    responder, asked = await responding(lambda request: authority.answer(request, GOOD, *known))
    certificate = authority.sign("a", "a.example", responder=str(responder.make_url("/")))
    known.append(certificate)
    nginx.tell_certificates(certificate, names={"a.example": certificate.id}, default=certificate.id)
    process = 1
    stapler = Stapler(teller(nginx), lambda: process)
    now = datetime.now(UTC)
    async with aiohttp.ClientSession() as session:
        await stapler.look(session, now)
        assert "no response sent" in shown(nginx)
        stapler.want([certificate], enabled=True)
        await stapler.look(session, now)
        assert "OCSP Response Status: successful" in shown(nginx)
        assert "Cert Status: good" in shown(nginx)
        await stapler.look(session, now + timedelta(hours=23))
        assert len(asked) == 1
        await stapler.look(session, now + timedelta(hours=25))
        assert len(asked) == 2
        nginx.control("/staples", b'{"set": {}}')
        process = 2  # another NGINX, which knows nothing
        await stapler.look(session, now + timedelta(hours=26))
        assert "Cert Status: good" in shown(nginx)
        stapler.want([certificate], enabled=False)
        await stapler.look(session, now)
        assert "no response sent" in shown(nginx)
    await responder.close()


@pytest.mark.parametrize("wrong", ["revoked", "old", "another", "forged", "nonsense", "absent"])
async def test_nothing_else_is_stapled(nginx: RunningNginx, authority: Authority, wrong: str) -> None:
    other = authority.sign("other", "other.example")
    known: list[Certificate] = []

    def answer(request: bytes) -> bytes:
        match wrong:
            case "revoked":
                return authority.answer(request, REVOKED, *known)
            case "old":
                return authority.answer(request, GOOD, *known, days=-1)
            case "another":
                return authority.answer(request, GOOD, other)
            case "forged":
                return Authority("authority").answer(request, GOOD, *known)
            case _:
                return b"nonsense"

    responder, asked = await responding(answer)
    certificate = authority.sign("a", "a.example", responder=str(responder.make_url("/")))
    known.append(certificate)
    if wrong == "absent":
        await responder.close()
    nginx.tell_certificates(certificate, names={"a.example": certificate.id}, default=certificate.id)
    stapler = Stapler(teller(nginx), lambda: 1)
    stapler.want([certificate], enabled=True)
    async with aiohttp.ClientSession() as session:
        await stapler.look(session, datetime.now(UTC))
        assert "no response sent" in shown(nginx)
        await stapler.look(session, datetime.now(UTC))
        assert len(asked) == (wrong != "absent"), "it is asked again later, not at once"
    await responder.close()


def test_a_certificate_without_a_responder_or_an_issuer_is_none_to_ask_about(authority: Authority) -> None:
    assert subject_of(authority.sign("a", "a.example").chain) is None
    alone = authority.sign("a", "a.example", responder="http://ocsp.example/").chain.partition(
        "-----END CERTIFICATE-----"
    )
    assert subject_of("".join(alone[:2]) + "\n") is None


def test_a_responder_that_the_authority_did_not_appoint_is_not_believed(authority: Authority) -> None:
    certificate = authority.sign("a", "a.example", responder="http://ocsp.example/")
    subject = subject_of(certificate.chain)
    assert subject is not None
    asked = question(subject)
    assert check_answer(authority.answer(asked, GOOD, certificate), subject, datetime.now(UTC)) > datetime.now(UTC)
    with pytest.raises(ValueError, match="nobody who may"):
        check_answer(Authority("authority").answer(asked, GOOD, certificate), subject, datetime.now(UTC))
