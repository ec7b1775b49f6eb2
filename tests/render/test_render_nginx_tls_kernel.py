"""TLS on both sides of a real NGINX: certificates by name, clients' and upstreams' ones, changes without a reload."""

import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nginx_authorities import Authority
from nginx_running import RunningNginx, Service, unchecked
from nginx_worlds import key, location, routing, server, serving

from fairlead.model.route_proxy import BackendProtocol, ProxySettings, UpstreamTls
from fairlead.model.route_tls import Certificate, CertificateId, ClientCertificates, ServerTls, VerifyClient
from fairlead.model.route_upstreams import Endpoints

pytestmark = pytest.mark.kernel

CA, GONE, DEFAULT, PEER = (CertificateId("shop", name) for name in ("ca", "gone", "default", "peer"))


def secured(**more: object) -> ProxySettings:
    return ProxySettings(protocol=BackendProtocol.HTTPS, tls=UpstreamTls(**more))  # type: ignore[arg-type]


WORLD = routing(
    server("a.example", location("/", "plain", secure_redirect=True), tls=ServerTls()),
    server("*.w.example", location("/", "plain")),
    server(
        "clients.example",
        location("/", "plain"),
        client_certificates=ClientCertificates(ca=CA, pass_to_upstream=True),
    ),
    server(
        "optional.example",
        location("/", "plain"),
        client_certificates=ClientCertificates(ca=CA, verify=VerifyClient.OPTIONAL),
    ),
    server(
        "named.example",
        location("/", "plain"),
        client_certificates=ClientCertificates(ca=CA, match_common_name='^CN=good\\.client"{0,1}(} #){0,1}$'),
    ),
    server("broken.example", location("/", "plain"), client_certificates=ClientCertificates(ca=None)),
    server("revoked.example", location("/", "plain"), client_certificates=ClientCertificates(ca=GONE)),
    server("upstream.example", location("/", "tls", proxy=ProxySettings(protocol=BackendProtocol.HTTPS))),
    server(
        "verified.example",
        location("/", "tls", proxy=secured(ca=CA, verify=True, name="tls.internal", certificate=PEER)),
    ),
    server("misnamed.example", location("/", "tls", proxy=secured(ca=CA, verify=True, name="x.internal"))),
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def signed(authority: Authority) -> dict[str, Certificate]:
    names = {
        "a": ("a.example",),
        "w": ("*.w.example",),
        "default": ("default.example",),
        "tls": ("tls.internal",),
        "peer": ("proxy.internal",),
        "good": ("good.client",),
        "bad": ("bad.client",),
    }
    return {secret: authority.sign(secret, *each) for secret, each in names.items()}


@pytest.fixture(scope="module")
def services(
    authority: Authority, signed: dict[str, Certificate], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Service]]:
    folder = tmp_path_factory.mktemp("upstream")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(write_pair(folder, signed["tls"]))
    context.load_verify_locations(cadata=authority.pem)
    context.verify_mode = ssl.CERT_OPTIONAL
    found = {"plain": Service("plain"), "tls": Service("tls", tls=context)}
    yield found
    for each in found.values():
        each.stop()


@pytest.fixture(scope="module")
def nginx(
    tmp_path_factory: pytest.TempPathFactory,
    services: dict[str, Service],
    authority: Authority,
    signed: dict[str, Certificate],
) -> Iterator[RunningNginx]:
    more: dict[str, Any] = {
        "certificates": {PEER: signed["peer"]},
        "authorities": {CA: authority.pem, GONE: authority.pem},
        "revocations": {GONE: authority.revoke(signed["bad"])},
    }
    with serving(tmp_path_factory.mktemp("nginx"), WORLD, **more) as running:
        running.tell(*(Endpoints(key(name), (each.backend,)) for name, each in services.items()))
        running.tell_certificates(
            signed["a"],
            signed["w"],
            signed["default"],
            names={"a.example": signed["a"].id, "*.w.example": signed["w"].id},
            default=DEFAULT,
        )
        yield running


def write_pair(folder: Path, certificate: Certificate) -> str:
    path = folder / f"{certificate.id.secret}.pem"
    path.write_text(certificate.chain + certificate.key)
    return str(path)


def shown(nginx: RunningNginx, name: str | None) -> str:
    """The names in the certificate that a client is shown who asks for `name`."""
    words = ["-noservername"] if name is None else ["-servername", name]
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.https}", *words],
        input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    text = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"], input=done.stdout, capture_output=True, check=False
    ).stdout.decode()
    return text.rpartition("DNS:")[2].strip()


@pytest.mark.parametrize(
    ("name", "certificate"),
    [
        ("a.example", "a.example"),
        ("A.EXAMPLE", "a.example"),
        ("x.w.example", "*.w.example"),
        ("x.y.w.example", "default.example"),
        ("nobody.example", "default.example"),
        (None, "default.example"),
    ],
)
def test_a_client_is_shown_the_certificate_of_the_name_it_asks_for(
    nginx: RunningNginx, name: str | None, certificate: str
) -> None:
    assert shown(nginx, name) == certificate


def test_certificates_change_without_a_reload_and_without_a_failed_handshake(
    nginx: RunningNginx, authority: Authority, signed: dict[str, Certificate]
) -> None:
    workers, client = nginx.workers(), ssl.create_default_context(cadata=authority.pem)
    failures: list[Exception] = []
    rotated = threading.Event()

    def connect() -> None:
        while not rotated.is_set():
            try:
                assert nginx.get("a.example", tls=client).status == 200
            except Exception as error:
                failures.append(error)

    clients = [threading.Thread(target=connect) for _ in range(2)]
    for each in clients:
        each.start()
    for number in range(40):
        nginx.tell_certificates(authority.sign("a", "a.example", f"rotation-{number}.example"))
    rotated.set()
    for each in clients:
        each.join()
    assert failures == []
    assert shown(nginx, "a.example") == "rotation-39.example"
    assert nginx.workers() == workers
    nginx.tell_certificates(signed["a"])


def test_a_certificate_that_goes_gives_way_to_the_default_one(nginx: RunningNginx, authority: Authority) -> None:
    gone = authority.sign("gone", "gone.example")
    nginx.tell_certificates(gone, names={"gone.example": gone.id})
    assert shown(nginx, "gone.example") == "gone.example"
    nginx.tell_certificates(dropped=[gone.id], dropped_names=["gone.example"])
    assert shown(nginx, "gone.example") == "default.example"


def test_answers_over_tls_carry_hsts_and_services_know(nginx: RunningNginx) -> None:
    answer = nginx.get("a.example", "/x", tls=unchecked())
    assert answer.headers_named("Strict-Transport-Security") == ["max-age=31536000; includeSubDomains"]
    assert answer.told["headers"]["x-forwarded-proto"] == "https"
    assert nginx.get("a.example", "/x").status == 308
    assert nginx.get("clients.example").header("Strict-Transport-Security") is None


def test_http_2_is_spoken_and_old_tls_is_not(nginx: RunningNginx) -> None:
    done = subprocess.run(
        ["curl", "-sk", "--http2", "-o", "/dev/null", "-w", "%{http_version}", "--connect-to",
         f"a.example:443:127.0.0.1:{nginx.https}", "https://a.example/"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.stdout == "2"
    old = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.https}", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
        input=b"", capture_output=True, timeout=20, check=False,
    )  # fmt: skip
    assert b"alert protocol version" in old.stderr


def showing(folder: Path, certificate: Certificate) -> ssl.SSLContext:
    context = unchecked()
    context.load_cert_chain(write_pair(folder, certificate))
    return context


def test_clients_have_to_show_a_certificate_of_the_authority(
    nginx: RunningNginx, signed: dict[str, Certificate], tmp_path: Path
) -> None:
    stranger = showing(tmp_path, Authority("stranger").sign("stranger", "stranger"))
    assert nginx.get("clients.example", tls=unchecked()).status == 400
    assert nginx.get("clients.example", tls=stranger).status == 400
    answer = nginx.get("clients.example", tls=showing(tmp_path, signed["good"]))
    headers = answer.told["headers"]
    assert headers["ssl-client-verify"] == "SUCCESS"
    assert headers["ssl-client-subject-dn"] == "CN=good.client"
    assert headers["ssl-client-issuer-dn"] == "CN=authority"
    assert headers["ssl-client-cert"].startswith("-----BEGIN%20CERTIFICATE")


def test_optional_certificates_are_told_but_not_handed_on(nginx: RunningNginx) -> None:
    told = nginx.get("optional.example", headers={"ssl-client-cert": "forged"}, tls=unchecked()).told
    assert told["headers"]["ssl-client-verify"] == "NONE"
    assert "ssl-client-cert" not in told["headers"]


def test_only_the_wanted_common_name_passes(
    nginx: RunningNginx, signed: dict[str, Certificate], tmp_path: Path
) -> None:
    assert nginx.get("named.example", tls=showing(tmp_path, signed["good"])).status == 200
    assert nginx.get("named.example", tls=showing(tmp_path, signed["bad"])).status == 403
    assert nginx.get("named.example").status == 403


def test_a_host_whose_authority_is_unusable_refuses_everybody(nginx: RunningNginx) -> None:
    assert nginx.get("broken.example", tls=unchecked()).status == 403
    assert nginx.get("broken.example").status == 403


def test_revoked_certificates_are_refused(nginx: RunningNginx, signed: dict[str, Certificate], tmp_path: Path) -> None:
    assert nginx.get("revoked.example", tls=showing(tmp_path, signed["good"])).status == 200
    assert nginx.get("revoked.example", tls=showing(tmp_path, signed["bad"])).status == 400


def test_upstreams_speak_tls_and_are_verified_where_asked(nginx: RunningNginx) -> None:
    assert nginx.get("upstream.example").service == "tls"
    assert nginx.get("verified.example").service == "tls"
    assert nginx.get("misnamed.example").status == 502
