"""Annotations about TLS: redirects to it, certificates of clients, TLS towards the upstream. Source: reference 1.1."""

import re
from collections.abc import Callable

from msgspec import Struct

from fairlead.compile.annotations.access import parse_reference
from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import parse_base, parse_bool, parse_number, parse_on, parse_url, parse_word_of
from fairlead.compile.expressions import check_expression
from fairlead.model import Origin
from fairlead.model.route_proxy import UpstreamTls
from fairlead.model.route_tls import CertificateId, ClientCertificates, VerifyClient

_CIPHERS = re.compile(r"[A-Za-z0-9:_!@+=-]{1,2048}")


def _ciphers(text: str) -> str:
    if not _CIPHERS.fullmatch(text):
        raise ValueError(f"{text!r} is no list of ciphers")
    return text


def _protocols(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if not words or any(word not in ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3") for word in words):
        raise ValueError(f"{text!r} holds more than TLSv1.2 and TLSv1.3")
    return words


def _common_name(text: str) -> str:
    if not text.startswith("CN="):
        raise ValueError(f"{text!r} does not begin with CN=")
    check_expression(text[3:])
    return text[3:]


class Redirection(Struct, frozen=True):
    """How requests without TLS are answered."""

    secure: bool
    force: bool
    preserve_slash: bool


SSL_REDIRECT = Annotation(
    "ssl-redirect", parse_bool, Wrong.DEFAULT, "redirect to HTTPS where the host has a certificate"
)
FORCE = Annotation("force-ssl-redirect", parse_bool, Wrong.DEFAULT, "redirect to HTTPS in any case")
SLASH = Annotation("preserve-trailing-slash", parse_bool, Wrong.DEFAULT, "keep the slash at the end when redirecting")
CIPHERS = Annotation("ssl-ciphers", _ciphers, Wrong.DEFAULT, "the host's ciphers")
PREFER = Annotation("ssl-prefer-server-ciphers", parse_bool, Wrong.DEFAULT, "whether the server chooses")
CLIENT_SECRET = Annotation("auth-tls-secret", parse_reference, Wrong.REFUSE, "the Secret with ca.crt for clients")
CLIENT_VERIFY = Annotation(
    "auth-tls-verify-client", parse_word_of("on", "off", "optional", "optional_no_ca"), Wrong.DEFAULT, "whether asked"
)
CLIENT_DEPTH = Annotation("auth-tls-verify-depth", lambda text: parse_number(text, 1, 10), Wrong.DEFAULT, "its chain")
CLIENT_ERROR = Annotation("auth-tls-error-page", parse_url, Wrong.DEFAULT, "where clients without one are sent")
CLIENT_PASS = Annotation(
    "auth-tls-pass-certificate-to-upstream", parse_bool, Wrong.DEFAULT, "the certificate as header ssl-client-cert"
)
CLIENT_NAME = Annotation("auth-tls-match-cn", _common_name, Wrong.REFUSE, "an expression for its common name")
PROXY_SECRET = Annotation("proxy-ssl-secret", parse_reference, Wrong.REFUSE, "the Secret for TLS with the upstream")
PROXY_VERIFY = Annotation("proxy-ssl-verify", parse_on, Wrong.DEFAULT, "whether its certificate is verified")
PROXY_DEPTH = Annotation("proxy-ssl-verify-depth", lambda text: parse_number(text, 1, 10), Wrong.DEFAULT, "its chain")
PROXY_NAME = Annotation("proxy-ssl-name", parse_base, Wrong.DEFAULT, "the name in it")
PROXY_SERVER_NAME = Annotation("proxy-ssl-server-name", parse_on, Wrong.DEFAULT, "whether the name is sent (SNI)")
PROXY_PROTOCOLS = Annotation("proxy-ssl-protocols", _protocols, Wrong.DEFAULT, "its versions of TLS")
PROXY_CIPHERS = Annotation("proxy-ssl-ciphers", _ciphers, Wrong.DEFAULT, "its ciphers")

TLS = (
    SSL_REDIRECT, FORCE, SLASH, CIPHERS, PREFER, CLIENT_SECRET, CLIENT_VERIFY, CLIENT_DEPTH, CLIENT_ERROR, CLIENT_PASS,
    CLIENT_NAME, PROXY_SECRET, PROXY_VERIFY, PROXY_DEPTH, PROXY_NAME, PROXY_SERVER_NAME, PROXY_PROTOCOLS,
    PROXY_CIPHERS,
)  # fmt: skip


def read_redirection(reading: Reading, *, secure: bool, force: bool) -> Redirection:
    """Redirects to HTTPS; the arguments are the operator's defaults."""
    return Redirection(reading.value(SSL_REDIRECT, secure), reading.value(FORCE, force), reading.value(SLASH, False))


def read_clients(
    reading: Reading, about: Origin, has_authority: Callable[[CertificateId], str]
) -> ClientCertificates | None:
    """What the host asks of its clients; `has_authority` says what is wrong with a Secret, or nothing."""
    named = reading.get(CLIENT_SECRET)
    if named is None:
        return None
    ca: CertificateId | None = CertificateId(named[0] or about.namespace, named[1])
    problem = has_authority(ca)
    if problem:
        reading.find_error(CLIENT_SECRET, f"{problem}; every request to the host gets 403")
        ca = None
    return ClientCertificates(
        ca=ca,
        verify=VerifyClient(reading.value(CLIENT_VERIFY, "on")),
        depth=reading.value(CLIENT_DEPTH, 1),
        error_page=reading.get(CLIENT_ERROR),
        pass_to_upstream=reading.value(CLIENT_PASS, False),
        match_common_name=reading.get(CLIENT_NAME),
    )


def read_upstream_tls(
    reading: Reading, about: Origin, problem_of: Callable[[CertificateId], str]
) -> UpstreamTls | None:
    """TLS towards the upstream; the whole group counts only with a Secret."""
    named = reading.get(PROXY_SECRET)
    if named is None:
        return None
    secret = CertificateId(named[0] or about.namespace, named[1])
    problem = problem_of(secret)
    if problem:
        reading.complain(PROXY_SECRET, problem)
        return None
    return UpstreamTls(
        certificate=secret,
        ca=secret,
        verify=reading.value(PROXY_VERIFY, False),
        verify_depth=reading.value(PROXY_DEPTH, 1),
        name=reading.get(PROXY_NAME),
        server_name=reading.value(PROXY_SERVER_NAME, False),
        protocols=reading.value(PROXY_PROTOCOLS, ("TLSv1.2",)),
        ciphers=reading.value(PROXY_CIPHERS, "DEFAULT"),
    )
