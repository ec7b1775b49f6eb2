"""Annotations about how requests are handed to the upstream. Source: reference 1.1."""

from msgspec.structs import replace

from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import (
    parse_bool,
    parse_number,
    parse_on,
    parse_path,
    parse_seconds,
    parse_size,
    parse_text,
    parse_word_of,
)
from fairlead.model.route_proxy import BackendProtocol, ProxySettings

_NEXT = (
    "error", "timeout", "invalid_header", "http_500", "http_502", "http_503", "http_504", "http_403", "http_404",
    "http_429", "non_idempotent", "off",
)  # fmt: skip


def _protocol(text: str) -> BackendProtocol:
    return BackendProtocol(parse_word_of(*(each.value for each in BackendProtocol))(text))


def _next_upstream(text: str) -> tuple[str, ...]:
    words = tuple(text.split())
    if not words or any(word not in _NEXT for word in words):
        raise ValueError(f"{text!r} holds more than {', '.join(_NEXT)}")
    return words


def _pair(text: str) -> tuple[str, str]:
    words = text.split()
    if len(words) != 2 or any("$" in word or ";" in word for word in words):
        raise ValueError(f"{text!r} is no pair of plain texts")
    return words[0], words[1]


PROTOCOL = Annotation("backend-protocol", _protocol, Wrong.DEFAULT, "what the Service speaks")
BODY_SIZE = Annotation("proxy-body-size", parse_size, Wrong.DEFAULT, "the largest request body; 0 is unlimited")
READ = Annotation("proxy-read-timeout", parse_seconds, Wrong.DEFAULT, "seconds between two reads from the upstream")
SEND = Annotation("proxy-send-timeout", parse_seconds, Wrong.DEFAULT, "seconds between two writes to the upstream")
CONNECT = Annotation("proxy-connect-timeout", parse_seconds, Wrong.DEFAULT, "seconds to connect to the upstream")
BUFFERING = Annotation("proxy-buffering", parse_on, Wrong.DEFAULT, "whether answers are buffered")
REQUEST_BUFFERING = Annotation("proxy-request-buffering", parse_on, Wrong.DEFAULT, "whether requests are buffered")
BUFFER_SIZE = Annotation("proxy-buffer-size", parse_size, Wrong.DEFAULT, "the buffer for the head of an answer")
BUFFERS = Annotation(
    "proxy-buffers-number", lambda text: parse_number(text, 1, 1024), Wrong.DEFAULT, "how many buffers"
)
BUSY = Annotation("proxy-busy-buffers-size", parse_size, Wrong.DEFAULT, "how much may be on its way to the client")
TEMP_FILE = Annotation("proxy-max-temp-file-size", parse_size, Wrong.DEFAULT, "the largest file for an answer; 0: none")
BODY_BUFFER = Annotation("client-body-buffer-size", parse_size, Wrong.DEFAULT, "the buffer for a request's body")
VERSION = Annotation("proxy-http-version", parse_word_of("1.0", "1.1"), Wrong.DEFAULT, "the version of HTTP upstream")
NEXT = Annotation(
    "proxy-next-upstream", _next_upstream, Wrong.DEFAULT, "after which failures the next endpoint is tried"
)
TRIES = Annotation(
    "proxy-next-upstream-tries", lambda text: parse_number(text, 0, 100), Wrong.DEFAULT, "how many tries"
)
NEXT_TIMEOUT = Annotation("proxy-next-upstream-timeout", parse_seconds, Wrong.DEFAULT, "seconds for all tries")
COOKIE_DOMAIN = Annotation("proxy-cookie-domain", _pair, Wrong.DEFAULT, "rewrites the domain of cookies")
COOKIE_PATH = Annotation("proxy-cookie-path", _pair, Wrong.DEFAULT, "rewrites the path of cookies")
REDIRECT_FROM = Annotation("proxy-redirect-from", parse_text, Wrong.DEFAULT, "which Location of an answer is rewritten")
REDIRECT_TO = Annotation("proxy-redirect-to", parse_text, Wrong.DEFAULT, "what it is rewritten to")
VHOST = Annotation("upstream-vhost", parse_text, Wrong.REFUSE, "the Host that the upstream sees")
PREFIX = Annotation("x-forwarded-prefix", parse_path, Wrong.REFUSE, "the X-Forwarded-Prefix of rewritten requests")
CONNECTION = Annotation(
    "connection-proxy-header", parse_word_of("close", "keep-alive"), Wrong.REFUSE, "the Connection the upstream sees"
)
SERVICE_UPSTREAM = Annotation(
    "service-upstream", parse_bool, Wrong.REFUSE, "the Service's address in place of its pods"
)

PROXYING = (
    PROTOCOL, BODY_SIZE, READ, SEND, CONNECT, BUFFERING, REQUEST_BUFFERING, BUFFER_SIZE, BUFFERS, BUSY, TEMP_FILE,
    BODY_BUFFER, VERSION, NEXT, TRIES, NEXT_TIMEOUT, COOKIE_DOMAIN, COOKIE_PATH, REDIRECT_FROM, REDIRECT_TO, VHOST,
    PREFIX, CONNECTION, SERVICE_UPSTREAM,
)  # fmt: skip


def read_proxying(reading: Reading, default: ProxySettings) -> ProxySettings:
    """The settings, `default` where nothing is said."""
    buffer_size = max(1024, reading.value(BUFFER_SIZE, default.buffer_size))
    number = max(2, reading.value(BUFFERS, default.buffers_number))
    return replace(
        default,
        protocol=reading.value(PROTOCOL, default.protocol),
        body_size=reading.value(BODY_SIZE, default.body_size),
        read_timeout=reading.value(READ, default.read_timeout),
        send_timeout=reading.value(SEND, default.send_timeout),
        connect_timeout=reading.value(CONNECT, default.connect_timeout),
        buffering=reading.value(BUFFERING, default.buffering),
        request_buffering=reading.value(REQUEST_BUFFERING, default.request_buffering),
        buffer_size=buffer_size,
        buffers_number=number,
        busy_buffers_size=_busy(reading, reading.value(BUSY, default.busy_buffers_size), buffer_size, number),
        max_temp_file_size=_temp_file(reading, reading.value(TEMP_FILE, default.max_temp_file_size), buffer_size),
        client_body_buffer_size=reading.value(BODY_BUFFER, default.client_body_buffer_size),
        http_version=reading.value(VERSION, default.http_version),
        next_upstream=reading.value(NEXT, default.next_upstream),
        next_upstream_tries=reading.value(TRIES, default.next_upstream_tries),
        next_upstream_timeout=reading.value(NEXT_TIMEOUT, default.next_upstream_timeout),
        cookie_domain=reading.value(COOKIE_DOMAIN, default.cookie_domain),
        cookie_path=reading.value(COOKIE_PATH, default.cookie_path),
        redirect=_redirect(reading, default),
        host=reading.value(VHOST, default.host),
        forwarded_prefix=reading.value(PREFIX, default.forwarded_prefix),
        connection=reading.value(CONNECTION, default.connection),
    )


def _busy(reading: Reading, size: int | None, buffer_size: int, number: int) -> int | None:
    """NGINX refuses a size outside what the buffers allow; so do we, for this annotation alone."""
    if size is None or buffer_size <= size < buffer_size * (number - 1) or size == buffer_size:
        return size
    reading.complain(BUSY, f"{size} must be at least one buffer and less than all but one of {number} x {buffer_size}")
    return None


def _temp_file(reading: Reading, size: int, buffer_size: int) -> int:
    if size == 0 or size >= buffer_size:
        return size
    reading.complain(TEMP_FILE, f"{size} must be 0 or at least one buffer of {buffer_size}")
    return max(buffer_size, 1024**3)


def _redirect(reading: Reading, default: ProxySettings) -> tuple[str, str] | None:
    before, after = reading.get(REDIRECT_FROM), reading.get(REDIRECT_TO)
    if before is None:
        return default.redirect
    if before == ("off",):
        return None
    if before == ("default",):
        return "default", ""
    if len(before) != 1 or after is None or len(after) != 1 or not isinstance(before[0], str):
        reading.complain(REDIRECT_FROM, "both proxy-redirect-from and proxy-redirect-to must be plain texts")
        return default.redirect
    return before[0], str(after[0])
