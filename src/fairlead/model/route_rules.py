"""Rules that a request meets at a location: rewriting, redirects, access, authentication, limits, CORS, canaries."""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.model.route_text import Text
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.net import Prefix


class Redirect(Struct, frozen=True, tag="redirect"):
    """`status` (300 to 308) to `url`."""

    status: int
    url: Text


class Refuse(Struct, frozen=True, tag="refuse"):
    """Every request gets `status`; `reason` says why, for findings and traces (a mistake in an annotation: 503)."""

    status: int
    reason: str


class Rewrite(Struct, frozen=True):
    """The upstream is asked for `target` instead of the request's path; the query stays.

    `pattern` is the location's path as a regular expression, matched without case and open at both ends of the rest;
    `replaces_prefix` (nginx.org/rewrites) puts `target` in place of the matched prefix only.
    """

    pattern: str
    target: Text
    replaces_prefix: bool = False


class AccessRule(Struct, frozen=True):
    """Clients in `deny` get 403; then, where `allow` is not None, so do all that are not in it."""

    deny: tuple[Prefix, ...] = ()
    allow: tuple[Prefix, ...] | None = None


class AuthType(Enum):
    """RFC 7617 and RFC 7616."""

    BASIC = "basic"
    DIGEST = "digest"


class BasicAuth(Struct, frozen=True, kw_only=True):
    """Users and their hashes, out of a Secret: `users` are lines `user:hash`, checked."""

    type: AuthType
    realm: str
    users: tuple[str, ...]
    origin: Origin


class ExternalAuth(Struct, frozen=True, kw_only=True):
    """A subrequest decides: 2xx passes, 401 and 403 are answered as they are, with `sign_in` 401 becomes a redirect.

    `url` has a scheme and a host. `sign_in_parameter` carries the place to come back to. `cache_valid` are pairs
    (status, seconds). `response_headers` of the answer go on to the upstream.
    """

    url: Text
    host: str
    method: str | None = None
    sign_in: Text | None = None
    sign_in_parameter: str = "rd"
    response_headers: tuple[str, ...] = ()
    request_headers: tuple[tuple[str, Text], ...] = ()
    request_redirect: Text | None = None
    always_set_cookie: bool = False
    cache_key: Text | None = None
    cache_valid: tuple[tuple[int, int], ...] = ()
    keepalive: int = 0
    snippet: str = ""


class Rate(Struct, frozen=True):
    """`amount` requests in `seconds` (1 or 60) for each key, and `burst` more at once; `delay` None is `nodelay`."""

    amount: int
    seconds: int
    burst: int
    delay: int | None = None
    status: int = 503
    key: Text = ()
    zone_size: int = 5 * 1024 * 1024


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds for each client address; those in `exempt` have none. `connections` 0 is no bound.

    `bytes_per_second` begins after `bytes_after` bytes of an answer; 0 is no bound. `scope` names the Ingress: all its
    locations count together.
    """

    rates: tuple[Rate, ...] = ()
    connections: int = 0
    connection_status: int = 503
    bytes_per_second: int = 0
    bytes_after: int = 0
    exempt: tuple[Prefix, ...] = ()
    scope: str = ""


class Cors(Struct, frozen=True, kw_only=True):
    """`origins` are `*`, `null`, or `scheme://host[:port]` whose host may begin with `*.` (one label)."""

    origins: tuple[str, ...] = ("*",)
    methods: str = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
    headers: str = (
        "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
    )
    credentials: bool = True
    expose_headers: str = ""
    max_age: int = 1728000


class Canary(Struct, frozen=True, kw_only=True):
    """Another upstream of the same path. Judged in this order: header, cookie, weight.

    `header`: `always` claims, `never` declines; with `header_value` that value claims, else with `header_pattern` a
    match does; anything else goes on to the next rule. `weight` of `weight_total` requests are claimed at random.
    """

    upstream: UpstreamKey
    origin: Origin
    header: str | None = None
    header_value: str | None = None
    header_pattern: str | None = None
    cookie: str | None = None
    weight: int = 0
    weight_total: int = 100


class CustomErrors(Struct, frozen=True, kw_only=True):
    """Answers with one of `statuses` are replaced by what `upstream` answers, told by X-Code and others.

    `upstream` None is the controller's default backend. `intercept` False replaces NGINX's own errors only.
    """

    statuses: tuple[int, ...]
    upstream: UpstreamKey | None = None
    intercept: bool = True


class Mirror(Struct, frozen=True, kw_only=True):
    """A copy of each request goes to `url`, its answer is thrown away."""

    url: Text
    host: str
    request_body: bool = True
