"""Annotations `nginx.org/*` of F5's controller, put over what the Ingress's other annotations made of it.

Comes in: their reading, and locations and upstreams. Goes out: the same, changed. Source: reference section 3.
"""

import re

from msgspec.structs import replace

from fairlead.compile.annotations import f5_rules, proxying
from fairlead.compile.annotations.access import parse_reference
from fairlead.compile.annotations.reading import Annotation, Reading, Unsupported, Wrong
from fairlead.compile.annotations.values import (
    parse_bool,
    parse_header_list,
    parse_header_name,
    parse_header_value,
    parse_number,
    parse_path,
    parse_size,
    parse_target,
    parse_text,
    parse_time,
    parse_word_of,
    parse_words,
)
from fairlead.model import Severity
from fairlead.model.route_proxy import BackendProtocol
from fairlead.model.route_rules import Rewrite
from fairlead.model.route_text import Text, Variable
from fairlead.model.route_upstreams import Balance, Upstream
from fairlead.model.routes import Location, Match, ToUpstream

_NAMES = re.compile(r"[a-z0-9-]+(,[a-z0-9-]+)*")
_METHOD = re.compile(r"hash (?P<key>\S+)( consistent)?")


def _services(text: str) -> tuple[str, ...]:
    if not _NAMES.fullmatch(text.replace(" ", "")):
        raise ValueError(f"{text!r} is no list of Services")
    return tuple(text.replace(" ", "").split(","))


def _rewrites(text: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for part in (each.strip() for each in text.split(";") if each.strip()):
        words = dict(word.split("=", 1) for word in part.split() if "=" in word)
        if set(words) != {"serviceName", "rewrite"}:
            raise ValueError(f"{part!r} is not serviceName=NAME rewrite=PATH")
        found.append((words["serviceName"], parse_path(words["rewrite"])))
    return tuple(found)


def _method(text: str) -> tuple[Balance, Text]:
    hashed = _METHOD.fullmatch(text.strip())
    if hashed is not None:
        return Balance.HASH, parse_text(hashed["key"])
    named = {
        "round_robin": Balance.ROUND_ROBIN,
        "least_conn": Balance.LEAST_CONNECTIONS,
        "random": Balance.RANDOM_TWO,
        "random two": Balance.RANDOM_TWO,
        "random two least_conn": Balance.RANDOM_TWO,
        "ip_hash": Balance.HASH,
    }
    if text.strip() not in named:
        raise ValueError(f"{text!r} is no method that is carried: {', '.join(named)} or hash KEY consistent")
    return named[text.strip()], (Variable("remote_addr"),) if text.strip() == "ip_hash" else ()


def _headers(text: str) -> tuple[tuple[str, Text], ...]:
    found: list[tuple[str, Text]] = []
    for part in (each.strip() for each in text.split(",") if each.strip()):
        name, colon, value = part.partition(":")
        header = parse_header_name(name.strip())
        if not colon and not re.fullmatch(r"[A-Za-z0-9_-]+", header):
            raise ValueError(f"{header!r} is no header that can be copied")
        copied: Text = (Variable("http_" + header.lower().replace("-", "_")),)
        found.append((header, parse_text(parse_header_value(value.strip())) if colon else copied))
    return tuple(found)


def _snippet(text: str) -> str:
    return text


MERGEABLE = Annotation("mergeable-ingress-type", parse_word_of("master", "minion"), Wrong.REFUSE, "host or paths alone")
METHOD = Annotation("lb-method", _method, Wrong.DEFAULT, "how the next endpoint is chosen")
CONNECT = Annotation("proxy-connect-timeout", parse_time, Wrong.DEFAULT, "time to connect to the upstream")
READ = Annotation("proxy-read-timeout", parse_time, Wrong.DEFAULT, "time between two reads from it")
SEND = Annotation("proxy-send-timeout", parse_time, Wrong.DEFAULT, "time between two writes to it")
BODY = Annotation("client-max-body-size", parse_size, Wrong.DEFAULT, "the largest request body; 0 is unlimited")
BODY_BUFFER = Annotation("client-body-buffer-size", parse_size, Wrong.DEFAULT, "the buffer for a request's body")
TO_HTTPS = Annotation("redirect-to-https", parse_bool, Wrong.DEFAULT, "redirect whoever came by plain HTTP")
SSL_REDIRECT = Annotation("ssl-redirect", parse_bool, Wrong.DEFAULT, "the same where the host has a certificate")
REWRITES = Annotation("rewrites", _rewrites, Wrong.REFUSE, "what replaces the matched prefix, by Service")
REWRITE_TARGET = Annotation("rewrite-target", parse_target, Wrong.REFUSE, "the path the upstream is asked for")
PATH_REGEX = Annotation(
    "path-regex", parse_word_of("case_sensitive", "case_insensitive", "exact"), Wrong.REFUSE, "how paths are compared"
)
WEBSOCKET = Annotation(
    "websocket-services", _services, Wrong.DEFAULT, "Services with WebSockets; all may have them here"
)
SECURE = Annotation("ssl-services", _services, Wrong.DEFAULT, "Services that speak HTTPS")
GRPC = Annotation("grpc-services", _services, Wrong.DEFAULT, "Services that speak gRPC")
AUTH_SECRET = Annotation("basic-auth-secret", parse_reference, Wrong.DENY, "the Secret with users, key htpasswd")
AUTH_REALM = Annotation("basic-auth-realm", parse_words, Wrong.DEFAULT, "what browsers show")
SERVER_SNIPPETS = Annotation("server-snippets", _snippet, Wrong.REFUSE, "raw configuration of its host")
LOCATION_SNIPPETS = Annotation("location-snippets", _snippet, Wrong.REFUSE, "raw configuration of its locations")
SET_HEADERS = Annotation("proxy-set-headers", _headers, Wrong.DEFAULT, "headers for the upstream")
KEEPALIVE = Annotation("keepalive", lambda text: parse_number(text, 0, 65535), Wrong.DEFAULT, "idle connections kept")
MAX_FAILS = Annotation("max-fails", lambda text: parse_number(text, 0, 1000), Wrong.DEFAULT, "failures until left out")
FAIL_TIMEOUT = Annotation("fail-timeout", parse_time, Wrong.DEFAULT, "for how long")
MAX_CONNECTIONS = Annotation(
    "max-conns",
    lambda text: parse_number(text, 0, 1_000_000),
    Wrong.DEFAULT,
    "connections to one endpoint; 0 is unlimited",
)
BUFFERING = Annotation("proxy-buffering", parse_bool, Wrong.DEFAULT, "whether answers are buffered")
BUFFER_SIZE = Annotation("proxy-buffer-size", parse_size, Wrong.DEFAULT, "the buffer for the head of an answer")
HIDE = Annotation("proxy-hide-headers", parse_header_list, Wrong.DEFAULT, "headers of answers that clients do not get")
PASS = Annotation(
    "proxy-pass-headers", parse_header_list, Wrong.DEFAULT, "headers of answers that clients get after all"
)
NEXT = Annotation("proxy-next-upstream", proxying.NEXT.parse, Wrong.DEFAULT, proxying.NEXT.summary)
NEXT_TIMEOUT = Annotation(
    "proxy-next-upstream-timeout", parse_time, Wrong.DEFAULT, "time for all tries; 0 is unlimited"
)
TRIES = Annotation("proxy-next-upstream-tries", proxying.TRIES.parse, Wrong.DEFAULT, proxying.TRIES.summary)
APP_ROOT = Annotation("app-root", parse_path, Wrong.DEFAULT, "where / is redirected to, 302")

F5 = {
    each.name: each
    for each in (
        MERGEABLE, METHOD, CONNECT, READ, SEND, BODY, BODY_BUFFER, TO_HTTPS, SSL_REDIRECT, REWRITES,
        REWRITE_TARGET, PATH_REGEX,
        WEBSOCKET, SECURE, GRPC, AUTH_SECRET, AUTH_REALM, SERVER_SNIPPETS, LOCATION_SNIPPETS, SET_HEADERS, KEEPALIVE,
        MAX_FAILS, FAIL_TIMEOUT, BUFFERING, BUFFER_SIZE, APP_ROOT, HIDE, PASS, NEXT, NEXT_TIMEOUT, TRIES,
        MAX_CONNECTIONS, *f5_rules.F5_RULES,
    )
}  # fmt: skip
_INSTEAD = "it does nothing here; see `fairlead ingress report`"
F5_UNSUPPORTED = {
    name: Unsupported(name, _INSTEAD)
    for name in (
        "policies", "server-tokens", "listen-ports", "listen-ports-ssl", "upstream-zone-size", "hsts", "hsts-max-age",
        "hsts-include-subdomains", "hsts-behind-proxy", "http-redirect-code", "add-header-inherit",
        "proxy-redirect-from", "proxy-redirect-to", "custom-http-errors", "limit-req-log-level", "limit-req-dry-run",
        "limit-req-scale", "ssl-ciphers", "ssl-prefer-server-ciphers",
    )
}  # fmt: skip
INHERITED = frozenset(
    each.name
    for each in (
        METHOD,
        CONNECT,
        READ,
        SEND,
        BODY,
        KEEPALIVE,
        MAX_FAILS,
        MAX_CONNECTIONS,
        FAIL_TIMEOUT,
        BUFFERING,
        BUFFER_SIZE,
        *f5_rules.RULES_INHERITED,
    )
) | {LOCATION_SNIPPETS.name}
"""What a minion takes over from the master of its host, unless it says so itself (column i of the reference)."""


def over_pattern(reading: Reading, pattern: Location, scope: str) -> Location:
    """What all locations of an Ingress share, with what these annotations say of it. `scope` names the Ingress."""
    proxy = f5_rules.over_buffers(reading, pattern.proxy)
    proxy = replace(
        proxy,
        connect_timeout=reading.value(CONNECT, proxy.connect_timeout),
        read_timeout=reading.value(READ, proxy.read_timeout),
        send_timeout=reading.value(SEND, proxy.send_timeout),
        body_size=reading.value(BODY, proxy.body_size),
        client_body_buffer_size=reading.value(BODY_BUFFER, proxy.client_body_buffer_size),
        buffering=reading.value(BUFFERING, proxy.buffering),
        buffer_size=max(1024, reading.value(BUFFER_SIZE, proxy.buffer_size)),
        hide_headers=(*proxy.hide_headers, *reading.value(HIDE, ())),
        pass_headers=(*proxy.pass_headers, *reading.value(PASS, ())),
        next_upstream=reading.value(NEXT, proxy.next_upstream),
        next_upstream_timeout=reading.value(NEXT_TIMEOUT, proxy.next_upstream_timeout),
        next_upstream_tries=reading.value(TRIES, proxy.next_upstream_tries),
        request_headers=(*proxy.request_headers, *reading.value(SET_HEADERS, ())),
    )
    return replace(
        pattern,
        proxy=proxy,
        limits=f5_rules.over_limits(reading, pattern.limits, scope),
        response_headers=(*pattern.response_headers, *reading.value(f5_rules.ADD, ())),
        secure_redirect=reading.value(SSL_REDIRECT, pattern.secure_redirect),
        force_secure_redirect=reading.value(TO_HTTPS, pattern.force_secure_redirect),
    )


def over_location(reading: Reading, location: Location) -> Location:
    """One location, by the Service it leads to."""
    action = location.action
    if not isinstance(action, ToUpstream):
        return location
    service = action.upstream.service
    if service in reading.value(SECURE, ()):
        location = replace(location, proxy=replace(location.proxy, protocol=BackendProtocol.HTTPS))
    if service in reading.value(GRPC, ()):
        location = replace(location, proxy=replace(location.proxy, protocol=BackendProtocol.GRPC))
    for named, target in reading.value(REWRITES, ()):
        if named == service:
            location = replace(location, rewrite=Rewrite(location.path, (target,), replaces_prefix=True))
    wanted = reading.get(REWRITE_TARGET)
    if wanted is not None:
        location = replace(location, rewrite=Rewrite(location.path, wanted))
    matches = {"case_sensitive": Match.REGEX_CASE, "case_insensitive": Match.REGEX, "exact": Match.EXACT}
    kind = reading.get(PATH_REGEX)
    if kind is not None:
        location = replace(location, match=matches[kind])
    if location.path == "/" and (root := reading.get(APP_ROOT)) is not None:
        location = replace(location, app_root=root)
    return location


def over_upstream(reading: Reading, upstream: Upstream) -> Upstream:
    """How requests are spread."""
    method = reading.get(METHOD)
    if method is not None:
        upstream = replace(upstream, balance=method[0], hash_by=method[1])
    return replace(
        f5_rules.over_affinity(reading, upstream),
        keepalive=reading.value(KEEPALIVE, upstream.keepalive),
        max_fails=reading.value(MAX_FAILS, upstream.max_fails),
        fail_timeout=reading.value(FAIL_TIMEOUT, upstream.fail_timeout),
        max_connections=reading.value(MAX_CONNECTIONS, upstream.max_connections),
    )


def check_type(reading: Reading, *, paths: bool, tls: bool, hosts: int) -> str:
    """The part a mergeable Ingress plays, or nothing; what it may not have is told."""
    kind = reading.get(MERGEABLE) or ""
    if kind == "master" and hosts != 1:
        reading.complain(MERGEABLE, f"a master has exactly one host, and this one has {hosts}")
    if kind == "master" and paths:
        reading.find(Severity.WARNING, MERGEABLE.name, "the paths of a master are left out; give them to a minion")
    if kind == "minion" and tls:
        reading.find(Severity.WARNING, MERGEABLE.name, "the tls section of a minion is left out; give it to the master")
    return kind
