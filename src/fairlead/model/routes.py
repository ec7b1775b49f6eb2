"""What an ingress controller serves: servers, their locations, upstreams and streams, as NGINX understands them.

A `Routing` is the structure, which costs a reload to change. Endpoints and certificates are not in it: they are dynamic
(`Endpoints`, `Certificate`) and reach NGINX without a reload. Nothing here knows Ingress objects or annotations; every
value is typed and already judged to be safe, but writers quote it all the same.
"""

from enum import Enum

from msgspec import Struct

from fairlead.model.origins import Origin
from fairlead.model.route_proxy import ProxySettings
from fairlead.model.route_rules import (
    AccessRule,
    BasicAuth,
    Canary,
    Cors,
    CustomErrors,
    ExternalAuth,
    Limits,
    Mirror,
    Redirect,
    Refuse,
    Rewrite,
)
from fairlead.model.route_tls import ClientCertificates, ServerTls
from fairlead.model.route_upstreams import Upstream, UpstreamKey
from fairlead.model.services import Backend
from fairlead.net import Port, Protocol


class Match(Enum):
    """How a location's path is compared with the request's normalised path.

    EXACT and PREFIX are case-sensitive, and PREFIX matches whole path elements (`/foo` matches `/foo` and `/foo/bar`,
    not `/foobar`). RAW_PREFIX is NGINX's own prefix, by characters (nginx.org Ingresses). REGEX is `~* "^path"`, case
    insensitive and open at its end, and REGEX_CASE the same with case; locations of these two are tried in the
    server's order, after EXACT and before the prefixes of the same server (reference 1.4, rules 5 and 6).
    """

    EXACT = "exact"
    PREFIX = "prefix"
    RAW_PREFIX = "raw-prefix"
    REGEX = "regex"
    REGEX_CASE = "regex-case"


class ToUpstream(Struct, frozen=True, tag="upstream"):
    """Requests go to `upstream`, or to the first of `canaries` that claims them.

    `fallback` is asked in place of an upstream without endpoints (the default-backend annotation); None answers 503.
    """

    upstream: UpstreamKey
    canaries: tuple[Canary, ...] = ()
    fallback: UpstreamKey | None = None


Action = ToUpstream | Redirect | Refuse
"""What a location does with a request that passed its rules: `Refuse` answers a status at once."""


class Location(Struct, frozen=True, kw_only=True):
    """One path of one server, and everything that is done with requests under it.

    Order of judgement: CORS preflights, `secure_redirect`, `app_root`, an action that needs no upstream or finds none
    with endpoints, `limits`, `access`, the auth rules, then the upstream. `snippet` is raw NGINX configuration and only
    ever set where the operator turned snippets on.
    """

    path: str
    match: Match
    action: Action
    origin: Origin
    secure_redirect: bool = False
    force_secure_redirect: bool = False
    preserve_trailing_slash: bool = False
    app_root: str | None = None
    rewrite: Rewrite | None = None
    proxy: ProxySettings = ProxySettings()
    access: AccessRule = AccessRule()
    limits: Limits = Limits()
    basic_auth: BasicAuth | None = None
    external_auth: ExternalAuth | None = None
    satisfy_any: bool = False
    cors: Cors | None = None
    errors: CustomErrors | None = None
    mirror: Mirror | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    access_log: bool = True
    rewrite_log: bool = False
    relative_redirects: bool = False
    snippet: str = ""


class Server(Struct, frozen=True, kw_only=True):
    """One host name and its locations, in the order in which they were declared (oldest Ingress first).

    `host` is a lower-case DNS name, `*.` and a DNS name (exactly one label), or empty for the server of all other
    names. `aliases` are further names of the same form. `www` is the other name (with or without `www.`) that is
    redirected here. `tls` is None where no Ingress configured a certificate: HTTPS is then answered with the default
    certificate.
    """

    host: str
    locations: tuple[Location, ...]
    origin: Origin
    aliases: tuple[str, ...] = ()
    www: str | None = None
    tls: ServerTls | None = None
    client_certificates: ClientCertificates | None = None
    hsts: bool = True
    snippet: str = ""


class StreamListener(Struct, frozen=True, kw_only=True):
    """A port whose TCP connections or UDP datagrams go to `upstream` untouched (tcp-services, udp-services).

    `targets` is the Service's own address, behind which the node spreads connections, so that endpoints change without
    a reload; a headless Service's endpoints are targets themselves.
    """

    protocol: Protocol
    port: Port
    upstream: UpstreamKey
    targets: tuple[Backend, ...]
    origin: Origin
    decode_proxy: bool = False
    encode_proxy: bool = False


class Routing(Struct, frozen=True, kw_only=True):
    """The whole structure. `servers` are sorted by host, `upstreams` by key, `streams` by protocol and port.

    `default_upstream` answers unknown hosts and paths; None means NGINX's own 404.
    """

    servers: tuple[Server, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    streams: tuple[StreamListener, ...] = ()
    default_upstream: UpstreamKey | None = None
