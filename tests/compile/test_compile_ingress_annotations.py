"""Does every annotation change what is served, and is the documentation's page of them what the tables say?"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ingress_objects_made import COMMUNITY, a_config_map, a_secret, a_service, a_slice, an_ingress, routes_with
from msgspec.structs import replace

from fairlead.compile.annotations.catalogue import SUPPORTED
from fairlead.compile.annotations.page import annotations_page
from fairlead.compile.routes import Built
from fairlead.kube.core import Secret
from fairlead.model import Origin

SAID = {
    "backend-protocol": "GRPC", "proxy-body-size": "8m", "proxy-read-timeout": "7", "proxy-send-timeout": "7",
    "proxy-connect-timeout": "7", "proxy-buffering": "on", "proxy-request-buffering": "off",
    "proxy-buffer-size": "16k", "proxy-buffers-number": "8", "proxy-busy-buffers-size": "8k",
    "proxy-max-temp-file-size": "0", "client-body-buffer-size": "1m", "proxy-http-version": "1.0",
    "proxy-next-upstream": "error http_502", "proxy-next-upstream-tries": "9", "proxy-next-upstream-timeout": "9",
    "proxy-cookie-domain": "a.example b.example", "proxy-cookie-path": "/a /b", "proxy-redirect-from": "http://a/",
    "proxy-redirect-to": "http://c/", "upstream-vhost": "inner.example", "x-forwarded-prefix": "/front",
    "connection-proxy-header": "close", "service-upstream": "true",
    "rewrite-target": "/new/$1", "use-regex": "true", "app-root": "/home", "permanent-redirect": "https://b.example/",
    "permanent-redirect-code": "308", "temporal-redirect": "https://b.example/", "temporal-redirect-code": "307",
    "from-to-www-redirect": "true", "server-alias": "alias.example", "whitelist-source-range": "10.0.0.0/8",
    "allowlist-source-range": "10.0.0.0/8", "denylist-source-range": "10.0.0.0/8", "satisfy": "any",
    "enable-cors": "true", "cors-allow-origin": "https://c.example", "cors-allow-methods": "GET",
    "cors-allow-headers": "X-A", "cors-allow-credentials": "false", "cors-expose-headers": "X-B",
    "cors-max-age": "5", "limit-rps": "5", "limit-rpm": "5", "limit-connections": "5", "limit-burst-multiplier": "7",
    "limit-rate": "9", "limit-rate-after": "9", "limit-whitelist": "10.0.0.0/8", "limit-allowlist": "10.0.0.0/8",
    "custom-http-errors": "404,503", "disable-proxy-intercept-errors": "true", "mirror-target": "https://m.example/x",
    "mirror-host": "n.example", "mirror-request-body": "off", "enable-access-log": "false",
    "enable-rewrite-log": "true", "relative-redirects": "true",
    "load-balance": "ewma", "upstream-hash-by": "$remote_addr", "upstream-hash-by-subset": "true",
    "upstream-hash-by-subset-size": "5", "affinity": "cookie", "affinity-mode": "persistent",
    "affinity-canary-behavior": "legacy", "session-cookie-name": "seat", "session-cookie-path": "/p",
    "session-cookie-max-age": "60", "session-cookie-expires": "60", "session-cookie-samesite": "Strict",
    "session-cookie-conditional-samesite-none": "true", "session-cookie-secure": "false",
    "session-cookie-domain": "a.example", "session-cookie-change-on-failure": "true", "canary": "true",
    "canary-by-header": "X-Canary", "canary-by-header-value": "yes", "canary-by-header-pattern": "y.s",
    "canary-by-cookie": "canary", "canary-weight": "30", "canary-weight-total": "1000",
    "auth-type": "basic", "auth-secret": "others", "auth-secret-type": "auth-map", "auth-realm": "the shop",
    "auth-url": "http://auth.example/", "auth-signin": "http://auth.example/in", "auth-signin-redirect-param": "back",
    "auth-response-headers": "X-User", "auth-method": "POST", "auth-proxy-set-headers": "headers",
    "auth-request-redirect": "$request_uri", "auth-always-set-cookie": "true", "auth-cache-key": "$remote_user",
    "auth-cache-duration": "200 9m", "enable-global-auth": "false",
    "ssl-redirect": "false", "force-ssl-redirect": "true", "preserve-trailing-slash": "true",
    "ssl-ciphers": "AES256", "ssl-prefer-server-ciphers": "true", "auth-tls-secret": "pair",
    "auth-tls-verify-client": "optional", "auth-tls-verify-depth": "3",
    "auth-tls-error-page": "https://a.example/no", "auth-tls-pass-certificate-to-upstream": "true",
    "auth-tls-match-cn": "CN=me", "proxy-ssl-secret": "pair", "proxy-ssl-verify": "on", "proxy-ssl-verify-depth": "3",
    "proxy-ssl-name": "inner.example", "proxy-ssl-server-name": "on", "proxy-ssl-protocols": "TLSv1.3",
    "proxy-ssl-ciphers": "AES256",
    "default-backend": "web", "custom-headers": "headers", "fastcgi-index": "index.php",
    "fastcgi-params-configmap": "headers", "configuration-snippet": "etag off;", "server-snippet": "etag off;",
}  # fmt: skip
"""A value of each annotation that is not its default."""

BASIC = {"auth-type": "basic", "auth-secret": "users"}
CANARY = {"canary": "true"}
WITH: dict[str, dict[str, str]] = {
    "proxy-redirect-from": {"proxy-redirect-to": "http://b/"},
    "proxy-redirect-to": {"proxy-redirect-from": "http://a/"},
    "proxy-busy-buffers-size": {"proxy-buffer-size": "8k"},
    "permanent-redirect-code": {"permanent-redirect": SAID["permanent-redirect"]},
    "x-forwarded-prefix": {"rewrite-target": "/"},
    "temporal-redirect-code": {"temporal-redirect": SAID["temporal-redirect"]},
    **{name: {"enable-cors": "true"} for name in SAID if name.startswith("cors-")},
    "limit-burst-multiplier": {"limit-rps": "5"},
    "limit-rate": {"proxy-buffering": "on"},
    "disable-proxy-intercept-errors": {"custom-http-errors": "404"},
    **{name: {"mirror-target": SAID["mirror-target"]} for name in ("mirror-host", "mirror-request-body")},
    "upstream-hash-by-subset": {"upstream-hash-by": "$remote_addr"},
    **{name: {"affinity": "cookie"} for name in SAID if name.startswith("session-cookie") or name == "affinity-mode"},
    "affinity-canary-behavior": {**CANARY, "canary-weight": "10", "affinity": "cookie"},
    **dict.fromkeys(("canary-by-header", "canary-by-cookie", "canary-weight"), CANARY),
    **{
        name: {**CANARY, "canary-by-header": "X-Canary"}
        for name in ("canary-by-header-value", "canary-by-header-pattern")
    },
    "canary-weight-total": {**CANARY, "canary-weight": "10"},
    "auth-type": {"auth-secret": "users"},
    "auth-secret": BASIC,
    "auth-realm": BASIC,
    "auth-secret-type": BASIC,
    **{
        name: {"auth-url": "http://auth.example/"}
        for name in SAID
        if name.startswith("auth-")
        and name.removeprefix("auth-").partition("-")[0]
        in ("signin", "response", "method", "proxy", "request", "always", "cache")
    },
    "auth-signin-redirect-param": {"auth-url": "http://auth.example/", "auth-signin": "http://auth.example/in"},
    **{
        name: {"auth-tls-secret": "pair"} for name in SAID if name.startswith("auth-tls-") and name != "auth-tls-secret"
    },
    **{
        name: {"proxy-ssl-secret": "pair"}
        for name in SAID
        if name.startswith("proxy-ssl-") and name != "proxy-ssl-secret"
    },
    **{name: {"backend-protocol": "FCGI"} for name in SAID if name.startswith("fastcgi-")},
}
"""What else must be said for an annotation to mean something."""

CONFIG = {
    "allow-snippet-annotations": "true",
    "annotations-risk-level": "Critical",
    "global-allowed-response-headers": "X_A,X-A",
    "global-auth-url": "",
}


def _pair() -> Secret:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9)).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = made.public_bytes(Encoding.PEM).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return a_secret("pair", tls_crt=pem, tls_key=private, ca_crt=pem)


PAIR = _pair()


def built_with(said: dict[str, str], config: dict[str, str]) -> Built:
    """One host with TLS, and an Ingress of its path / (second, if it is a canary) that says this."""
    annotations = {COMMUNITY + name: value for name, value in said.items()}
    first = an_ingress("first", "a.example", "/", tls="pair", created="2025-01-01T00:00:00Z")
    second = an_ingress("second", "a.example", "/", service="spare", tls="pair", annotations=annotations)
    routes = routes_with(*((first, second) if "canary" in said else (second,)))
    routes.set_service(a_service("spare"))
    routes.set_slice(a_slice("spare", "10.0.0.9"))
    routes.set_secret(PAIR)
    routes.set_secret(a_secret("users", auth="me:$apr1$x$y", you="$apr1$x$z"))
    routes.set_secret(a_secret("others", auth="you:$apr1$x$y"))
    routes.set_config_map(a_config_map("headers", {"X_A": "1"}))
    routes.set_settings(config, Origin("ConfigMap", "ingress", "settings"))
    return routes.build()


def test_a_value_is_at_hand_for_every_annotation_of_the_table() -> None:
    assert set(SAID) == set(SUPPORTED)


@pytest.mark.parametrize("name", sorted(SUPPORTED))
def test_every_annotation_changes_what_is_served(name: str) -> None:
    config = {**CONFIG, "global-auth-url": "http://auth.example/" if name == "enable-global-auth" else ""}
    others = WITH.get(name, {})
    said = built_with({**others, name: SAID[name]}, config)
    unsaid = built_with({key: value for key, value in others.items() if key != name}, config)
    field = f"metadata.annotations[nginx.ingress.kubernetes.io/{name}]"
    assert not [each for each in said.findings if each.origin.field == field]
    assert replace(said, findings=()) != replace(unsaid, findings=())


def test_a_rate_without_buffering_is_told_to_have_no_effect() -> None:
    assert [each.message for each in built_with({"limit-rate": "10"}, {}).findings] == [
        "answers are sent at full speed, since NGINX slows down only what it buffers"
    ]
    assert not built_with({"limit-rate": "10"}, {"proxy-buffering": "on"}).findings


@pytest.mark.parametrize(("text", "on"), [("true", True), ("false", False)])
def test_stapling_is_the_operators_choice(text: str, on: bool) -> None:
    assert not built_with({}, {}).settings.tls.stapling
    assert built_with({}, {"enable-ocsp": text}).settings.tls.stapling is on


def test_the_page_of_the_documentation_is_what_the_tables_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "ingress" / "annotations.md"
    assert page.read_text() == annotations_page()
