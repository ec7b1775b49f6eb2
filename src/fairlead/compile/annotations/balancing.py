"""Annotations about the choice of an endpoint: algorithm, cookies, canaries. Source: reference 1.1."""

import re

from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import (
    parse_base,
    parse_bool,
    parse_header_name,
    parse_number,
    parse_path,
    parse_text,
    parse_word_of,
)
from fairlead.compile.expressions import check_expression
from fairlead.model import Origin, Severity
from fairlead.model.route_rules import Canary
from fairlead.model.route_upstreams import Balance, CookieAffinity, SameSite, Upstream, UpstreamKey

_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,128}")


def _cookie(text: str) -> str:
    if not _COOKIE.fullmatch(text):
        raise ValueError(f"{text!r} holds more than letters, digits, - and _, and so is no name of a cookie here")
    return text


def _pattern(text: str) -> str:
    check_expression(text)
    return text


_ALGORITHMS = ("round_robin", "least_conn", "ewma", "chash", "chashsubset", "random_two")
BALANCE = Annotation("load-balance", parse_word_of(*_ALGORITHMS), Wrong.DEFAULT, "how the next endpoint is chosen")
HASH_BY = Annotation("upstream-hash-by", parse_text, Wrong.REFUSE, "what is hashed to choose an endpoint")
SUBSET = Annotation("upstream-hash-by-subset", parse_bool, Wrong.REFUSE, "whether a key leads to a group of endpoints")
SUBSET_SIZE = Annotation(
    "upstream-hash-by-subset-size", lambda text: parse_number(text, 1, 1000), Wrong.REFUSE, "its size"
)
AFFINITY = Annotation("affinity", parse_word_of("cookie"), Wrong.DEFAULT, "whether clients keep their endpoint")
MODE = Annotation("affinity-mode", parse_word_of("balanced", "persistent"), Wrong.DEFAULT, "whether they ever move")
CANARY_MODE = Annotation(
    "affinity-canary-behavior", parse_word_of("sticky", "legacy"), Wrong.DEFAULT, "whether a canary keeps its clients"
)
COOKIE_NAME = Annotation("session-cookie-name", _cookie, Wrong.DEFAULT, "the cookie")
COOKIE_PATH = Annotation("session-cookie-path", parse_path, Wrong.DEFAULT, "its path; the location's by default")
COOKIE_AGE = Annotation("session-cookie-max-age", parse_number, Wrong.DEFAULT, "its Max-Age, seconds")
COOKIE_EXPIRES = Annotation("session-cookie-expires", parse_number, Wrong.DEFAULT, "its Expires, seconds from now")
COOKIE_SAME_SITE = Annotation(
    "session-cookie-samesite", parse_word_of("None", "Lax", "Strict"), Wrong.DEFAULT, "its SameSite"
)
COOKIE_CONDITIONAL = Annotation(
    "session-cookie-conditional-samesite-none", parse_bool, Wrong.DEFAULT, "no SameSite=None for clients it breaks"
)
COOKIE_SECURE = Annotation("session-cookie-secure", parse_bool, Wrong.DEFAULT, "its Secure; by default over TLS")
COOKIE_DOMAIN = Annotation("session-cookie-domain", parse_base, Wrong.DEFAULT, "its Domain")
COOKIE_CHANGE = Annotation(
    "session-cookie-change-on-failure", parse_bool, Wrong.DEFAULT, "a new endpoint after a failure"
)

CANARY = Annotation("canary", parse_bool, Wrong.DEFAULT, "whether this Ingress is a canary of another one's paths")
BY_HEADER = Annotation("canary-by-header", parse_header_name, Wrong.DEFAULT, "the header that decides")
BY_VALUE = Annotation("canary-by-header-value", parse_base, Wrong.DEFAULT, "the value that claims a request")
BY_PATTERN = Annotation("canary-by-header-pattern", _pattern, Wrong.DEFAULT, "an expression that claims a request")
BY_COOKIE = Annotation("canary-by-cookie", _cookie, Wrong.DEFAULT, "the cookie that decides")
WEIGHT = Annotation("canary-weight", lambda text: parse_number(text, 0, 10**9), Wrong.DEFAULT, "how many are claimed")
WEIGHT_TOTAL = Annotation(
    "canary-weight-total", lambda text: parse_number(text, 1, 10**9), Wrong.DEFAULT, "out of these"
)

BALANCING = (
    BALANCE, HASH_BY, SUBSET, SUBSET_SIZE, AFFINITY, MODE, CANARY_MODE, COOKIE_NAME, COOKIE_PATH, COOKIE_AGE,
    COOKIE_EXPIRES, COOKIE_SAME_SITE, COOKIE_CONDITIONAL, COOKIE_SECURE, COOKIE_DOMAIN, COOKIE_CHANGE, CANARY,
    BY_HEADER, BY_VALUE, BY_PATTERN, BY_COOKIE, WEIGHT, WEIGHT_TOTAL,
)  # fmt: skip


def read_upstream(reading: Reading, key: UpstreamKey, origin: Origin, default: Upstream) -> Upstream:
    """How requests are spread over the endpoints of `key`."""
    hash_by = reading.get(HASH_BY)
    balance = Balance(reading.value(BALANCE, default.balance.value))
    if hash_by is not None:
        balance = Balance.HASH_SUBSET if reading.value(SUBSET, False) else Balance.HASH
    elif balance in (Balance.HASH, Balance.HASH_SUBSET):
        reading.find(Severity.WARNING, BALANCE.name, f"{balance.value} needs upstream-hash-by; round_robin holds")
        balance = Balance.ROUND_ROBIN
    return Upstream(
        key=key,
        origin=origin,
        balance=balance,
        hash_by=hash_by or (),
        subset_size=reading.value(SUBSET_SIZE, default.subset_size),
        affinity=read_affinity(reading),
        keepalive=default.keepalive,
        max_fails=default.max_fails,
        fail_timeout=default.fail_timeout,
        max_connections=default.max_connections,
    )


def read_affinity(reading: Reading) -> CookieAffinity | None:
    """Session affinity by cookie, if it is turned on."""
    if reading.get(AFFINITY) is None:
        return None
    same_site = reading.get(COOKIE_SAME_SITE)
    return CookieAffinity(
        name=reading.value(COOKIE_NAME, "INGRESSCOOKIE"),
        path=reading.get(COOKIE_PATH),
        max_age=reading.get(COOKIE_AGE),
        expires=reading.get(COOKIE_EXPIRES),
        same_site=None if same_site is None else SameSite(same_site),
        conditional_same_site_none=reading.value(COOKIE_CONDITIONAL, False),
        secure=reading.get(COOKIE_SECURE),
        domain=reading.get(COOKIE_DOMAIN),
        change_on_failure=reading.value(COOKIE_CHANGE, False),
        persistent=reading.value(MODE, "balanced") == "persistent",
        canary_sticky=reading.value(CANARY_MODE, "sticky") == "sticky",
    )


def read_canary(reading: Reading, upstream: UpstreamKey, origin: Origin) -> Canary:
    """The rules by which an Ingress that is a canary claims requests."""
    return Canary(
        upstream=upstream,
        origin=origin,
        header=reading.get(BY_HEADER),
        header_value=reading.get(BY_VALUE),
        header_pattern=reading.get(BY_PATTERN),
        cookie=reading.get(BY_COOKIE),
        weight=reading.value(WEIGHT, 0),
        weight_total=max(100, reading.value(WEIGHT_TOTAL, 100)),
    )
