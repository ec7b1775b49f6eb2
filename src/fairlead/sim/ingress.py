"""What NGINX does with one request, from the routing alone: the second opinion on what is rendered.

Comes in: routing, endpoints, settings and a request. Goes out: a verdict with its steps. Source: NGINX's own order of
phases (rewrite before access), ngx_http_core_find_location, and reference 1.4; nothing here reads configuration text.
"""

import re
from collections.abc import Iterator, Mapping
from typing import assert_never
from urllib.parse import unquote

from msgspec import Struct

from fairlead.model import Origin
from fairlead.model.route_rules import AuthType, Canary, Cors, Redirect, Refuse
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_text import Capture, Text, Variable
from fairlead.model.route_upstreams import Endpoints, UpstreamKey
from fairlead.model.routes import Location, Match, Routing, Server, ToUpstream
from fairlead.model.services import Backend
from fairlead.net import Address


class Request(Struct, frozen=True, kw_only=True):
    """One request as the client sends it. `target` is path and query; header names are in lower case."""

    host: str
    target: str = "/"
    method: str = "GET"
    secure: bool = False
    headers: Mapping[str, str] = {}
    client: Address | None = None


class RequestStep(Struct, frozen=True):
    """One thing that was decided, and the field that decided it."""

    what: str
    origin: Origin | None = None


class RequestVerdict(Struct, frozen=True, kw_only=True):
    """What becomes of a request: an answer by NGINX itself, or who is asked and for what.

    `status` 0 is whatever the upstream answers. `candidates` are the endpoints that may get it, `upstreams` what they
    belong to: more than one where a canary draws lots. `path` is what the upstream is asked for.
    """

    status: int
    steps: tuple[RequestStep, ...]
    server: str = ""
    location: str = ""
    redirect: str = ""
    path: str = ""
    upstreams: tuple[UpstreamKey, ...] = ()
    candidates: tuple[Backend, ...] = ()


def judge_request(
    routing: Routing,
    settings: ControllerSettings,
    endpoints: Mapping[UpstreamKey, Endpoints],
    request: Request,
    *,
    server_names: frozenset[str] = frozenset(),
) -> RequestVerdict:
    """The verdict on one request; `server_names` are the hosts with a certificate of their own, for the steps."""
    return _Judging(routing, settings, endpoints, request, server_names).verdict()


class _Judging:
    def __init__(
        self,
        routing: Routing,
        settings: ControllerSettings,
        endpoints: Mapping[UpstreamKey, Endpoints],
        request: Request,
        server_names: frozenset[str],
    ) -> None:
        self._routing = routing
        self._settings = settings
        self._endpoints = endpoints
        self._request = request
        self._names = server_names
        self._steps: list[RequestStep] = []
        self._server = ""
        self._location = ""

    def verdict(self) -> RequestVerdict:
        request = self._request
        path = normalise(request.target.partition("?")[0])
        if path is None:
            return self._answer(400, "the path leads above the root, or is none")
        self._tell_listener()
        other = next((each for each in self._routing.servers if each.www == _name(request.host)), None)
        if other is not None:
            to = f"{self._scheme}://{other.host}{request.target}"
            self._step(f"server {request.host}", other.origin)
            return self._redirected(self._settings.tls.redirect_status, to, "from-to-www-redirect")
        server = find_server(self._routing, request.host)
        if server is None:
            if path == "/healthz":
                return self._answer(200, "the controller's own health")
            return self._answer(404, f"no Ingress has host {request.host}, and there is no default backend")
        if not server.host and path == "/healthz":
            return self._answer(200, "the controller's own health")
        self._server = server.host or "_"
        self._step(f"server {self._server}", server.origin)
        location = find_location(server, path)
        if isinstance(location, str):
            slashed = f"{self._scheme}://{request.host}{location}{self._query}"
            return self._redirected(301, slashed, "the prefix ends with /")
        if location is None:
            return self._answer(404, "no path of this host matches, and there is no default backend")
        self._location = location.path
        self._step(f"location {location.match.value} {location.path}", location.origin)
        return self._at(location, path)

    @property
    def _scheme(self) -> str:
        trusted = self._settings.client.use_forwarded_headers
        given = self._request.headers.get("x-forwarded-proto", "") if trusted else ""
        return given or ("https" if self._request.secure else "http")

    @property
    def _query(self) -> str:
        _, mark, query = self._request.target.partition("?")
        return mark + query

    def _tell_listener(self) -> None:
        settings = self._settings
        if self._request.secure:
            name = self._request.host if self._request.host in self._names else "the default"
            self._step(f"listener {settings.https_port}, TLS with the certificate of {name}")
        else:
            self._step(f"listener {settings.http_port}")

    def _at(self, location: Location, path: str) -> RequestVerdict:
        return (
            self._preflight(location.cors)
            or self._early(location, path)
            or self._own_answer(location)
            or self._access(location)
            or self._upstream(location, path)
        )

    def _preflight(self, cors: Cors | None) -> RequestVerdict | None:
        origin = self._request.headers.get("origin", "")
        if cors is None or self._request.method != "OPTIONS" or not allows_origin(cors, origin):
            return None
        return self._answer(204, f"a CORS preflight of {origin}")

    def _early(self, location: Location, path: str) -> RequestVerdict | None:
        request, tls = self._request, self._settings.tls
        skipped = any(location.path.startswith(each) for each in tls.no_redirect_locations)
        wanted = location.secure_redirect or location.force_secure_redirect
        if wanted and not skipped and self._scheme == "http":
            target = request.target
            if target.endswith("/") and not location.preserve_trailing_slash:
                target = target[:-1]
            port = "" if self._settings.https_port == 443 else f":{self._settings.https_port}"
            host = request.host.partition(":")[0]
            return self._redirected(tls.redirect_status, f"https://{host}{port}{target}", "HTTPS only (ssl-redirect)")
        if location.app_root is not None and path == "/":
            return self._redirected(302, f"{self._scheme}://{request.host}{location.app_root}", "app-root")
        return None

    def _own_answer(self, location: Location) -> RequestVerdict | None:
        match location.action:
            case Redirect(status, url):
                return self._redirected(status, "".join(str(each) for each in url), "a redirect of the whole Ingress")
            case Refuse(status, reason):
                return self._answer(status, reason)
            case ToUpstream(upstream):
                chosen = self._with_endpoints(location.action)
                if not chosen:
                    return self._answer(503, f"Service {upstream} has no endpoints")
                return None
            case _:
                assert_never(location.action)

    def _with_endpoints(self, action: ToUpstream) -> tuple[UpstreamKey, ...]:
        """The upstreams that may get the request, those without endpoints left out or replaced."""
        found: list[UpstreamKey] = []
        for key in choose_upstreams(action, self._request):
            if self._backends(key):
                found.append(key)
            elif action.fallback is not None and self._backends(action.fallback):
                found.append(action.fallback)
        return tuple(dict.fromkeys(found))

    def _backends(self, key: UpstreamKey) -> tuple[Backend, ...]:
        known = self._endpoints.get(key)
        return known.backends if known is not None else ()

    def _access(self, location: Location) -> RequestVerdict | None:
        client, rule = self._request.client, location.access
        denied = client is not None and any(client in prefix for prefix in rule.deny)
        unlisted = client is not None and rule.allow is not None and not any(client in each for each in rule.allow)
        by_address = denied or unlisted
        user = location.basic_auth
        unknown = user is not None and "authorization" not in self._request.headers
        if location.satisfy_any and (user is not None) and (rule.allow is not None or rule.deny):
            if by_address and unknown:
                return self._answer(401, "neither the address nor a user is known (satisfy any)")
            return None
        if by_address:
            return self._answer(403, f"{client} is not among the allowed addresses")
        if unknown and user is not None:
            kind = "digest" if user.type is AuthType.DIGEST else "basic"
            return self._answer(401, f"no user is named ({kind} authentication)")
        return None

    def _upstream(self, location: Location, path: str) -> RequestVerdict:
        action = location.action
        assert isinstance(action, ToUpstream)
        chosen = self._with_endpoints(action)
        sent = self._request.target
        if location.rewrite is not None:
            rewritten = rewrite(location, path)
            if rewritten is not None:
                self._step(f"rewrite {path} to {rewritten}", location.origin)
                sent = rewritten + self._query
        for key in chosen:
            self._step(f"upstream {key}: " + ", ".join(spell(each) for each in self._backends(key)), location.origin)
        return RequestVerdict(
            status=0,
            steps=tuple(self._steps),
            server=self._server,
            location=self._location,
            path=sent,
            upstreams=chosen,
            candidates=tuple(each for key in chosen for each in self._backends(key)),
        )

    def _step(self, what: str, origin: Origin | None = None) -> None:
        self._steps.append(RequestStep(what, origin))

    def _answer(self, status: int, why: str) -> RequestVerdict:
        self._step(f"{status}: {why}")
        return RequestVerdict(status=status, steps=tuple(self._steps), server=self._server, location=self._location)

    def _redirected(self, status: int, to: str, why: str) -> RequestVerdict:
        self._step(f"{status} to {to}: {why}")
        return RequestVerdict(
            status=status, steps=tuple(self._steps), server=self._server, location=self._location, redirect=to
        )


def normalise(path: str) -> str | None:
    """The path as locations see it: decoded, slashes merged, dots resolved; None where NGINX answers 400."""
    if not path.startswith("/"):
        return None
    try:
        decoded = unquote(path, errors="strict")
    except UnicodeDecodeError:
        decoded = unquote(path, errors="replace")
    if "\0" in decoded:
        return None
    kept: list[str] = []
    parts = decoded.split("/")[1:]
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "..":
            if not kept:
                return None
            kept.pop()
            if last:
                kept.append("")
        elif part in ("", "."):
            if last:
                kept.append("")
        else:
            kept.append(part)
    return "/" + "/".join(kept)


def find_server(routing: Routing, host: str) -> Server | None:
    """By exact name, then by wildcard for one label, then the server of all other names."""
    name = _name(host)
    found = {each: server for server in routing.servers for each in (server.host, *server.aliases)}
    if name and name in found:
        return found[name]
    _, dot, rest = name.partition(".")
    if dot and f"*.{rest}" in found:
        return found[f"*.{rest}"]
    return found.get("")


def _name(host: str) -> str:
    """A Host header as servers are found by it."""
    return host.partition(":")[0].lower().rstrip(".")


def find_location(server: Server, path: str) -> Location | str | None:
    """The location; a text is where a missing slash at the end is redirected to; None where there is none."""
    exact = next((each for each in server.locations if each.match is Match.EXACT and each.path == path), None)
    if exact is not None:
        return exact
    best = _longest(server, path)
    for each in server.locations:
        if each.match in (Match.REGEX, Match.REGEX_CASE):
            flags = re.IGNORECASE if each.match is Match.REGEX else 0
            if re.match(each.path, path, flags):
                return each
    prefixes = (Match.PREFIX, Match.RAW_PREFIX, Match.EXACT)  # NGINX adds the slash for exact ones, too
    slashed = [each for each in server.locations if each.match in prefixes and each.path == path + "/" and path != "/"]
    if slashed and (best is None or best.path != path) and isinstance(slashed[0].action, ToUpstream):
        return path + "/"
    return best


def _longest(server: Server, path: str) -> Location | None:
    found: Location | None = None
    for each in server.locations:
        if each.match is Match.PREFIX:
            fits = path == each.path or path.startswith(each.path if each.path.endswith("/") else each.path + "/")
        elif each.match is Match.RAW_PREFIX:
            fits = path.startswith(each.path)
        else:
            fits = False
        if fits and (found is None or len(each.path.rstrip("/")) > len(found.path.rstrip("/"))):
            found = each
        elif fits and found is not None and each.path.rstrip("/") == found.path.rstrip("/"):
            found = each if len(each.path) > len(found.path) else found
    return found


def rewrite(location: Location, path: str) -> str | None:
    """The path the upstream is asked for, None where the expression does not match it."""
    rule = location.rewrite
    assert rule is not None
    if rule.replaces_prefix:
        return _text(rule.target, None) + path.removeprefix(rule.pattern)
    found = re.search(rule.pattern, path, re.IGNORECASE)
    return None if found is None else _text(rule.target, found)


def _text(text: Text, found: "re.Match[str] | None") -> str:
    parts: list[str] = []
    for part in text:
        match part:
            case Capture(number):
                has = found is not None and number <= (found.re.groups)
                parts.append((found.group(number) or "") if found is not None and has else "")
            case Variable(name):
                parts.append(f"${name}")
            case _:
                parts.append(part)
    return "".join(parts)


def choose_upstreams(action: ToUpstream, request: Request) -> Iterator[UpstreamKey]:
    """Every upstream that may get the request; more than one where a canary's weight draws lots."""
    for canary in action.canaries:
        claimed = _claims(canary, request)
        if claimed is not False:
            yield canary.upstream
        if claimed is True:
            return
    yield action.upstream


def _claims(canary: Canary, request: Request) -> bool | None:
    """Whether a canary claims a request; None where lots are drawn."""
    if canary.header is not None and (value := request.headers.get(canary.header.lower())) is not None:
        if canary.header_value is not None:
            if value == canary.header_value:
                return True
        elif canary.header_pattern is not None:
            if re.search(canary.header_pattern, value):
                return True
        elif value in ("always", "never"):
            return value == "always"
    if canary.cookie is not None:
        value = _cookies(request).get(canary.cookie)
        if value in ("always", "never"):
            return value == "always"
    if canary.weight <= 0:
        return False
    return True if canary.weight >= canary.weight_total else None


def _cookies(request: Request) -> dict[str, str]:
    pairs = (each.strip().partition("=") for each in request.headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs if name}


def allows_origin(cors: Cors, origin: str) -> bool:
    """Whether requests of a page of `origin` are answered with CORS headers."""
    for allowed in cors.origins:
        if allowed == "*":
            return True
        scheme, wildcard, rest = allowed.partition("://*.")
        pattern = rf"{re.escape(scheme)}://[A-Za-z0-9_-]+\.{re.escape(rest)}" if wildcard else re.escape(allowed)
        if re.fullmatch(pattern, origin, re.IGNORECASE):
            return True
    return False


def spell(backend: Backend) -> str:
    """An endpoint as NGINX logs it."""
    host = str(backend.address)
    return f"[{host}]:{backend.port}" if ":" in host else f"{host}:{backend.port}"
