"""Annotations about what a request meets at a location: rewriting, redirects, access, limits, CORS, errors, mirrors.

Source: reference 1.1.
"""

import re

from msgspec import Struct

from fairlead.compile.annotations.reading import Annotation, Reading, Wrong
from fairlead.compile.annotations.values import (
    parse_bool,
    parse_header_list,
    parse_host,
    parse_number,
    parse_on,
    parse_path,
    parse_prefixes,
    parse_target,
    parse_text,
    parse_url,
    parse_url_text,
    parse_word_of,
)
from fairlead.model import Severity
from fairlead.model.route_rules import AccessRule, Cors, Limits, Mirror, Rate, Redirect
from fairlead.model.route_text import Text

_ORIGIN = re.compile(r"(?i)([a-z][a-z0-9+.-]*)://(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?")


class Shape(Struct, frozen=True):
    """What decides the form of an Ingress's locations."""

    use_regex: bool = False
    rewrite: Text | None = None
    app_root: str | None = None
    redirect: Redirect | None = None
    www: bool = False
    aliases: tuple[str, ...] = ()


def _hosts(text: str) -> tuple[str, ...]:
    return tuple(parse_host(each) for each in text.split(",") if each.strip())


def _statuses(text: str) -> tuple[int, ...]:
    return tuple(dict.fromkeys(parse_number(each.strip(), 400, 599) for each in text.split(",") if each.strip()))


def _methods(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z, ]+", text):
        raise ValueError(f"{text!r} is no list of methods")
    return text


def _expose(text: str) -> str:
    if text.strip() != "*":
        parse_header_list(text)
    return text


def _header_text(text: str) -> str:
    parse_header_list(text)
    return text


def _origins(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


REWRITE = Annotation("rewrite-target", parse_target, Wrong.DEFAULT, "the path the upstream is asked for, with $1 to $9")
REGEX = Annotation("use-regex", parse_bool, Wrong.DEFAULT, "whether paths are regular expressions; holds for the host")
APP_ROOT = Annotation("app-root", parse_path, Wrong.DEFAULT, "where / is redirected to, 302")
PERMANENT = Annotation("permanent-redirect", parse_url, Wrong.REFUSE, "every request is redirected there")
PERMANENT_CODE = Annotation("permanent-redirect-code", parse_number, Wrong.REFUSE, "its status; 301 outside 300 to 308")
TEMPORAL = Annotation("temporal-redirect", parse_url, Wrong.REFUSE, "as permanent-redirect, judged before it")
TEMPORAL_CODE = Annotation("temporal-redirect-code", parse_number, Wrong.REFUSE, "its status; 302 outside 300 to 307")
WWW = Annotation(
    "from-to-www-redirect", parse_bool, Wrong.REFUSE, "redirects the name with or without www. to this one"
)
ALIAS = Annotation("server-alias", _hosts, Wrong.REFUSE, "more names of the host")
ALLOW = Annotation("whitelist-source-range", parse_prefixes, Wrong.DENY, "only these clients; others get 403")
ALLOWLIST = Annotation("allowlist-source-range", parse_prefixes, Wrong.DENY, "only these clients; others get 403")
DENY = Annotation("denylist-source-range", parse_prefixes, Wrong.DENY, "these clients get 403")
SATISFY = Annotation("satisfy", parse_word_of("any", "all"), Wrong.DEFAULT, "whether one rule of access is enough")
CORS = Annotation("enable-cors", parse_bool, Wrong.DEFAULT, "whether cross-origin requests are answered")
CORS_ORIGIN = Annotation("cors-allow-origin", _origins, Wrong.DEFAULT, "origins, * or with *. for one label")
CORS_METHODS = Annotation("cors-allow-methods", _methods, Wrong.DEFAULT, "Access-Control-Allow-Methods")
CORS_HEADERS = Annotation("cors-allow-headers", _header_text, Wrong.DEFAULT, "Access-Control-Allow-Headers")
CORS_CREDENTIALS = Annotation("cors-allow-credentials", parse_bool, Wrong.DEFAULT, "Access-Control-Allow-Credentials")
CORS_EXPOSE = Annotation("cors-expose-headers", _expose, Wrong.DEFAULT, "Access-Control-Expose-Headers")
CORS_AGE = Annotation("cors-max-age", parse_number, Wrong.DEFAULT, "Access-Control-Max-Age, seconds")
RPS = Annotation(
    "limit-rps", lambda text: parse_number(text, 0, 1_000_000), Wrong.REFUSE, "requests a second of a client"
)
RPM = Annotation(
    "limit-rpm", lambda text: parse_number(text, 0, 1_000_000), Wrong.REFUSE, "requests a minute of a client"
)
CONNECTIONS = Annotation(
    "limit-connections", lambda text: parse_number(text, 0, 65535), Wrong.REFUSE, "connections of a client"
)
BURST = Annotation(
    "limit-burst-multiplier", lambda text: parse_number(text, 1, 1000), Wrong.REFUSE, "burst: rate times this"
)
RATE = Annotation("limit-rate", parse_number, Wrong.REFUSE, "kilobytes a second of an answer")
RATE_AFTER = Annotation("limit-rate-after", parse_number, Wrong.REFUSE, "kilobytes of an answer without limit-rate")
EXEMPT = Annotation("limit-whitelist", parse_prefixes, Wrong.REFUSE, "clients without limits")
EXEMPT_LIST = Annotation("limit-allowlist", parse_prefixes, Wrong.REFUSE, "clients without limits")
ERRORS = Annotation("custom-http-errors", _statuses, Wrong.REFUSE, "statuses that the default backend words")
INTERCEPT = Annotation(
    "disable-proxy-intercept-errors", parse_bool, Wrong.REFUSE, "leave the upstream's own errors alone"
)
MIRROR = Annotation("mirror-target", parse_url_text, Wrong.DEFAULT, "a URL that gets a copy of each request")
MIRROR_HOST = Annotation("mirror-host", parse_text, Wrong.DEFAULT, "the Host of the copies")
MIRROR_BODY = Annotation("mirror-request-body", parse_on, Wrong.DEFAULT, "whether copies have the body")
ACCESS_LOG = Annotation("enable-access-log", parse_bool, Wrong.DEFAULT, "whether requests are logged")
REWRITE_LOG = Annotation("enable-rewrite-log", parse_bool, Wrong.DEFAULT, "whether rewrites are logged")
RELATIVE = Annotation("relative-redirects", parse_bool, Wrong.DEFAULT, "whether redirects of NGINX name no host")

RULES = (
    REWRITE, REGEX, APP_ROOT, PERMANENT, PERMANENT_CODE, TEMPORAL, TEMPORAL_CODE, WWW, ALIAS, ALLOW, ALLOWLIST, DENY,
    SATISFY, CORS, CORS_ORIGIN, CORS_METHODS, CORS_HEADERS, CORS_CREDENTIALS, CORS_EXPOSE, CORS_AGE, RPS, RPM,
    CONNECTIONS, BURST, RATE, RATE_AFTER, EXEMPT, EXEMPT_LIST, ERRORS, INTERCEPT, MIRROR, MIRROR_HOST, MIRROR_BODY,
    ACCESS_LOG, REWRITE_LOG, RELATIVE,
)  # fmt: skip


def read_shape(reading: Reading) -> Shape:
    """Regular expressions, rewriting, redirects, further names."""
    redirect = None
    if (url := reading.get(PERMANENT)) is not None:
        code = reading.value(PERMANENT_CODE, 301)
        redirect = Redirect(code if 300 <= code <= 308 else 301, (url,))
    if (url := reading.get(TEMPORAL)) is not None:
        code = reading.value(TEMPORAL_CODE, 302)
        redirect = Redirect(code if 300 <= code <= 307 else 302, (url,))
    return Shape(
        use_regex=reading.value(REGEX, False),
        rewrite=reading.get(REWRITE),
        app_root=reading.get(APP_ROOT),
        redirect=redirect,
        www=reading.value(WWW, False),
        aliases=reading.value(ALIAS, ()),
    )


def read_access(reading: Reading, default: AccessRule) -> AccessRule:
    """Addresses; the annotation takes the place of the controller's list."""
    allow = reading.get(ALLOW) or reading.get(ALLOWLIST)
    return AccessRule(reading.value(DENY, default.deny), default.allow if allow is None else allow)


def read_cors(reading: Reading) -> Cors | None:
    """CORS, if it is turned on; origins that are none are left out."""
    if not reading.value(CORS, False):
        return None
    default = Cors()
    named = reading.value(CORS_ORIGIN, default.origins)
    origins = tuple(each for each in named if each in ("*", "null") or _ORIGIN.fullmatch(each))
    for each in named:
        if each not in origins:
            reading.find(Severity.WARNING, CORS_ORIGIN.name, f"{each!r} is no origin; it is left out")
    return Cors(
        origins=("*",) if "*" in origins or not origins else origins,
        methods=reading.value(CORS_METHODS, default.methods),
        headers=reading.value(CORS_HEADERS, default.headers),
        credentials=reading.value(CORS_CREDENTIALS, default.credentials),
        expose_headers=reading.value(CORS_EXPOSE, default.expose_headers),
        max_age=reading.value(CORS_AGE, default.max_age),
    )


def read_limits(reading: Reading, scope: str, status: int, connection_status: int, *, buffering: bool) -> Limits:
    """Bounds for each client, counted over all of the Ingress's paths. NGINX slows down only what it is `buffering`."""
    if reading.value(RATE, 0) and not buffering:
        message = "answers are sent at full speed, since NGINX slows down only what it buffers"
        reading.find(Severity.WARNING, RATE.name, message, 'set proxy-buffering to "on" as well')
    burst = reading.value(BURST, 5)
    rates: list[Rate] = []
    for annotation, seconds in ((RPS, 1), (RPM, 60)):
        amount = reading.value(annotation, 0)
        if amount:
            rates.append(Rate(amount, seconds, amount * burst, status=status))
    return Limits(
        rates=tuple(rates),
        connections=reading.value(CONNECTIONS, 0),
        connection_status=connection_status,
        bytes_per_second=1024 * reading.value(RATE, 0),
        bytes_after=1024 * reading.value(RATE_AFTER, 0),
        exempt=reading.get(EXEMPT) or reading.get(EXEMPT_LIST) or (),
        scope=scope,
    )


def read_mirror(reading: Reading) -> Mirror | None:
    """A mirror, if there is one; its Host is the URL's unless said."""
    url = reading.get(MIRROR)
    if url is None:
        return None
    named = reading.get(MIRROR_HOST)
    first = url[0] if isinstance(url[0], str) else ""
    host = re.split(r"[/?]", first.partition("://")[2], maxsplit=1)[0]
    if named is not None and len(named) == 1 and isinstance(named[0], str):
        host = named[0]
    return Mirror(url=url, host=host, request_body=reading.value(MIRROR_BODY, True))
