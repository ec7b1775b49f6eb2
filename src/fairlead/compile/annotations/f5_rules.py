"""The annotations `nginx.org/*` that limit, remember and add: rates, cookies of affinity, headers, buffers.

Comes in: their reading. Goes out: what locations and upstreams have of them. Source: reference section 3.
"""

import re

from msgspec.structs import replace

from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import (
    parse_bool,
    parse_header_name,
    parse_header_value,
    parse_number,
    parse_path,
    parse_size,
    parse_text,
    parse_time,
)
from fairlead.model.route_proxy import ProxySettings
from fairlead.model.route_rules import Limits, Rate
from fairlead.model.route_text import Text
from fairlead.model.route_upstreams import CookieAffinity, Upstream

_RATE = re.compile(r"(?P<amount>[1-9][0-9]{0,6})r/(?P<unit>[sm])")
_BRACED = re.compile(r"\$\{([a-z0-9_]+)\}")
_COOKIE = re.compile(r"[A-Za-z0-9_-]+")
_ADDRESS = "$binary_remote_addr"
_FOR_EVER = 315360000
"""Seconds that stand for `expires=max`, NGINX's ten years."""


def _rate(text: str) -> tuple[int, int]:
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no rate such as 10r/s or 100r/m")
    return int(found["amount"]), 1 if found["unit"] == "s" else 60


def _key(text: str) -> Text:
    plain = _BRACED.sub(r"$\1", text.strip())
    return () if plain == _ADDRESS else parse_text(plain)


def _buffers(text: str) -> tuple[int, int]:
    words = text.split()
    if len(words) != 2:
        raise ValueError(f"{text!r} is not a number and a size, such as 4 8k")
    return parse_number(words[0], 1, 4096), parse_size(words[1])


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for part in (each.strip() for each in text.split(",") if each.strip()):
        name, colon, value = part.partition(":")
        if not colon:
            raise ValueError(f"{part!r} is not NAME: VALUE")
        found.append((parse_header_name(name.strip()), parse_header_value(value.strip())))
    return tuple(found)


def _cookies(text: str) -> dict[str, CookieAffinity]:
    found: dict[str, CookieAffinity] = {}
    for part in (each.strip() for each in text.split(";") if each.strip()):
        words = part.split()
        service, equals, named = words[0].partition("=")
        if service != "serviceName" or not equals or len(words) < 2 or not _COOKIE.fullmatch(words[1]):
            raise ValueError(f"{part!r} is not serviceName=NAME COOKIE [expires=TIME] [domain=...] [path=...]")
        found[named] = _cookie(words[1], words[2:])
    return found


def _cookie(name: str, words: list[str]) -> CookieAffinity:
    cookie = CookieAffinity(name=name, path="/", persistent=True)
    for word in words:
        field, _, value = word.partition("=")
        match field:
            case "expires":
                seconds = _FOR_EVER if value == "max" else parse_time(value)
                cookie = replace(cookie, expires=seconds, max_age=seconds)
            case "domain":
                cookie = replace(cookie, domain=parse_header_value(value))
            case "path":
                cookie = replace(cookie, path=parse_path(value))
            case "secure":
                cookie = replace(cookie, secure=True)
            case "httponly":
                pass
            case _:
                raise ValueError(f"{word!r} says nothing of a cookie")
    return cookie


RATE = Annotation("limit-req-rate", _rate, Wrong.DEFAULT, "requests of a client, as 10r/s or 100r/m")
KEY = Annotation("limit-req-key", _key, Wrong.DEFAULT, "what tells clients apart, as ${binary_remote_addr}")
ZONE = Annotation("limit-req-zone-size", parse_size, Wrong.DEFAULT, "memory to remember clients in")
BURST = Annotation("limit-req-burst", lambda text: parse_number(text, 0, 1_000_000), Wrong.DEFAULT, "how many more")
DELAY = Annotation("limit-req-delay", lambda text: parse_number(text, 0, 1_000_000), Wrong.DEFAULT, "of them at once")
NO_DELAY = Annotation("limit-req-no-delay", parse_bool, Wrong.DEFAULT, "all of them at once")
CODE = Annotation("limit-req-reject-code", lambda text: parse_number(text, 400, 599), Wrong.DEFAULT, "the answer, 429")
BUFFERS = Annotation("proxy-buffers", _buffers, Wrong.DEFAULT, "number and size of the buffers for an answer")
BUSY = Annotation("proxy-busy-buffers-size", parse_size, Wrong.DEFAULT, "how much of them may wait for the client")
TEMPORARY = Annotation("proxy-max-temp-file-size", parse_size, Wrong.DEFAULT, "how much of an answer goes to disk")
ADD = Annotation("add-header", _headers, Wrong.DEFAULT, "headers of answers, as NAME: VALUE, separated by commas")
STICKY = Annotation("sticky-cookie-services", _cookies, Wrong.DEFAULT, "Services whose clients keep their endpoint")
WHOLE = Annotation("use-cluster-ip", parse_bool, Wrong.DEFAULT, "ask the Service's address instead of its endpoints")

F5_RULES = (RATE, KEY, ZONE, BURST, DELAY, NO_DELAY, CODE, BUFFERS, BUSY, TEMPORARY, ADD, STICKY, WHOLE)
RULES_INHERITED = (RATE, KEY, ZONE, BURST, DELAY, NO_DELAY, CODE, BUFFERS, BUSY, TEMPORARY)
"""Those that a minion takes over from the master of its host."""


def over_limits(reading: Reading, limits: Limits, scope: str) -> Limits:
    """The bounds of an Ingress with its rate, if there is one. `scope` names it: all its paths count together."""
    rate = reading.get(RATE)
    if rate is None:
        return limits
    burst = reading.value(BURST, 0)
    delay = None if reading.value(NO_DELAY, False) else reading.value(DELAY, 0)
    counted = Rate(
        *rate,
        burst,
        delay,
        status=reading.value(CODE, 429),
        key=reading.value(KEY, ()),
        zone_size=max(32 * 1024, reading.value(ZONE, 10 * 1024 * 1024)),
    )
    return replace(limits, rates=(*limits.rates, counted), scope=limits.scope or scope)


def over_buffers(reading: Reading, proxy: ProxySettings) -> ProxySettings:
    """How answers are buffered. One size holds for the buffer of the head and for the others."""
    number, size = reading.value(BUFFERS, (proxy.buffers_number, proxy.buffer_size))
    return replace(
        proxy,
        buffers_number=number,
        buffer_size=max(1024, size),
        busy_buffers_size=reading.value(BUSY, proxy.busy_buffers_size),
        max_temp_file_size=reading.value(TEMPORARY, proxy.max_temp_file_size),
    )


def over_affinity(reading: Reading, upstream: Upstream) -> Upstream:
    """The upstream with the cookie that its Service is named with."""
    cookies = reading.get(STICKY)
    cookie = cookies.get(upstream.key.service) if cookies else None
    return upstream if cookie is None else replace(upstream, affinity=cookie)
