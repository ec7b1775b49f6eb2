"""One Ingress by itself: its rules and annotations to drafts of locations, before they meet those of others on a host.

Comes in: the object, and what it names of Secrets and ConfigMaps. Goes out: a draft with findings; what the Ingress is
refused for leaves it without rules. Source: reference 1.1 and 1.4.
"""

import re
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.annotations import access, balancing, f5, f5_rules, general, proxying, rules, tls
from fairlead.compile.annotations.catalogue import BOUGHT, SUPPORTED, UNSUPPORTED
from fairlead.compile.annotations.reading import Reading
from fairlead.compile.annotations.rules import Shape
from fairlead.compile.annotations.values import (
    ALLOWED_VARIABLES,
    parse_header_name,
    parse_header_value,
    parse_host,
    parse_text,
)
from fairlead.compile.expressions import check_expression
from fairlead.compile.route_options import IngressOptions, Key
from fairlead.compile.route_settings import RouteDefaults
from fairlead.kube.networking import HTTPIngressPath, Ingress, IngressBackend, IngressTLS
from fairlead.model import Finding, Origin, Severity
from fairlead.model.route_proxy import BackendProtocol, FastCgi
from fairlead.model.route_rules import BasicAuth, Canary, CustomErrors, Refuse
from fairlead.model.route_text import Text
from fairlead.model.route_tls import CertificateId, ClientCertificates
from fairlead.model.route_upstreams import Upstream, UpstreamKey
from fairlead.model.routes import Location, Match, ToUpstream

_PLAIN_PATH = re.compile(r"/[-A-Za-z0-9._~!$&'()*+,;=:@%/]*")
_ANY_PATH = re.compile(r"/[^\x00-\x1f\x7f\x85\u2028\u2029]*")


class Objects(Protocol):
    """What an Ingress may name; every lookup is remembered, so that a change of what is named is noticed."""

    def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """The values of a Secret, None when it is absent."""
        ...

    def config_map(self, key: Key) -> Mapping[str, str] | None:
        """The texts of a ConfigMap, None when it is absent."""
        ...

    def authority_problem(self, certificate: CertificateId) -> str:
        """What is wrong with a Secret's `ca.crt`, or nothing."""
        ...

    def pair_problem(self, certificate: CertificateId) -> str:
        """What is wrong with a Secret's key pair and authorities for TLS upstream, or nothing."""
        ...


class Draft(Struct, frozen=True, kw_only=True):
    """What one Ingress says. `rules` are in its own order; `created` and the key decide who is first on a host."""

    key: Key
    created: str
    origin: Origin
    canary: bool = False
    canary_rules: Canary | None = None
    rules: tuple[tuple[str, tuple[Location, ...]], ...] = ()
    default: Location | None = None
    tls: tuple[IngressTLS, ...] = ()
    shape: Shape = Shape()
    client_certificates: ClientCertificates | None = None
    ciphers: str | None = None
    prefer_server_ciphers: bool | None = None
    server_snippet: str = ""
    upstreams: tuple[Upstream, ...] = ()
    whole_service: bool = False
    refused: str = ""
    """Why it is not taken over; such a draft has no rules."""
    findings: tuple[Finding, ...] = ()

    @property
    def hosts(self) -> frozenset[str]:
        """Every host it says something of; one with only a default backend speaks of the empty host."""
        named = {host for host, _ in self.rules}
        return frozenset(named | {""} if self.default is not None and not named else named)


def compile_ingress(
    ingress: Ingress, options: IngressOptions, defaults: RouteDefaults, objects: Objects, *, snippets: bool
) -> Draft:
    """The draft of one Ingress of ours."""
    return _Compiling(ingress, options, defaults, objects, snippets=snippets).draft()


class _Compiling:
    def __init__(
        self, ingress: Ingress, options: IngressOptions, defaults: RouteDefaults, objects: Objects, *, snippets: bool
    ) -> None:
        meta = ingress.metadata
        self._ingress = ingress
        self._options = options
        self._defaults = defaults
        self._objects = objects
        self._snippets = snippets
        self._about = Origin("Ingress", meta.namespace, meta.name)
        self._reading = Reading(meta.annotations, options.prefix, self._about)
        self._f5 = Reading(meta.annotations, options.f5_prefix, self._about)
        self._findings: list[Finding] = []
        self._upstreams: dict[UpstreamKey, Upstream] = {}

    def draft(self) -> Draft:
        meta, reading = self._ingress.metadata, self._reading
        shape = rules.read_shape(reading)
        canary = reading.value(balancing.CANARY, False)
        spec = self._ingress.spec
        part = f5.check_type(
            self._f5,
            paths=any(rule.http is not None and rule.http.paths for rule in spec.rules),
            tls=bool(spec.tls),
            hosts=len({rule.host for rule in spec.rules}),
        )
        pattern = f5.over_pattern(self._f5, self._pattern(), f"{self._about.namespace}/{self._about.name}")
        server_snippet = self._snippet(general.SERVER) or self._snippet(f5.SERVER_SNIPPETS, self._f5)
        location_snippet = self._snippet(general.CONFIGURATION) or self._snippet(f5.LOCATION_SNIPPETS, self._f5)
        reading.tell_unread(SUPPORTED, UNSUPPORTED)
        self._f5.tell_unread(f5.F5, f5.F5_UNSUPPORTED)
        self._tell_bought()
        pattern = replace(pattern, snippet=location_snippet)
        found = tuple(each for number in range(len(spec.rules)) for each in self._rule(number, pattern, shape))
        default = None
        if spec.default_backend is not None:
            action = self._backend(spec.default_backend, "spec.defaultBackend")
            if action is not None:
                origin = self._origin("spec.defaultBackend")
                default = self._location("/", Match.PREFIX, action, pattern, shape, origin)
        clients = self._clients()
        first = next((each.action for _, every in found for each in every if isinstance(each.action, ToUpstream)), None)
        refused = reading.refused or self._f5.refused
        if refused:
            self._find(Severity.ERROR, "", f"the Ingress is not taken over: {refused}")
            found, default, canary = (), None, False
        elif part == "master":
            found = tuple((host, ()) for host, _ in found)
        return Draft(
            key=(meta.namespace, meta.name),
            created=meta.creation_timestamp or "",
            origin=self._about,
            canary=canary,
            canary_rules=balancing.read_canary(reading, first.upstream, self._about)
            if canary and first is not None
            else None,
            rules=found,
            default=default,
            tls=() if part == "minion" else spec.tls,
            shape=shape,
            client_certificates=clients,
            ciphers=reading.get(tls.CIPHERS),
            prefer_server_ciphers=reading.get(tls.PREFER),
            server_snippet=server_snippet,
            upstreams=tuple(self._upstreams.values()),
            whole_service=self._f5.value(
                f5_rules.WHOLE, reading.value(proxying.SERVICE_UPSTREAM, self._defaults.service_upstream)
            ),
            refused=refused,
            findings=(*self._findings, *dict.fromkeys((*reading.findings, *self._f5.findings))),
        )

    # What all locations of the Ingress share

    def _pattern(self) -> Location:
        reading, defaults, about = self._reading, self._defaults, self._about
        redirection = tls.read_redirection(
            reading, secure=defaults.secure_redirect, force=defaults.force_secure_redirect
        )
        proxy = proxying.read_proxying(reading, defaults.proxy)
        proxy = replace(
            proxy,
            tls=self._upstream_tls(),
            fastcgi=self._fastcgi() if proxy.protocol is BackendProtocol.FCGI else None,
            hide_headers=defaults.hide_headers,
            request_headers=self._default_headers(defaults.request_headers_from),
        )
        scope = f"{about.namespace}/{about.name}"
        return Location(
            path="/",
            match=Match.PREFIX,
            action=Refuse(404, "pattern"),
            origin=about,
            secure_redirect=redirection.secure,
            force_secure_redirect=redirection.force,
            preserve_trailing_slash=redirection.preserve_slash,
            proxy=proxy,
            access=rules.read_access(reading, defaults.access),
            limits=rules.read_limits(
                reading, scope, defaults.rate_status, defaults.connection_status, buffering=proxy.buffering
            ),
            basic_auth=access.read_basic(reading, about, self._secret(access.AUTH_SECRET)) or self._f5_users(),
            external_auth=self._external_auth(),
            satisfy_any=reading.value(rules.SATISFY, "all") == "any",
            cors=rules.read_cors(reading),
            errors=self._errors(),
            mirror=rules.read_mirror(reading),
            response_headers=self._response_headers(),
            access_log=reading.value(rules.ACCESS_LOG, True),
            rewrite_log=reading.value(rules.REWRITE_LOG, False),
            relative_redirects=reading.value(rules.RELATIVE, False),
        )

    def _f5_users(self) -> BasicAuth | None:
        """Users out of a Secret with the key `htpasswd`."""
        if self._f5.get(f5.AUTH_SECRET) is None or not self._allowed(f5.AUTH_SECRET, self._f5):
            return None
        return access.read_htpasswd(self._f5, self._about, self._objects.secret, f5.AUTH_SECRET, f5.AUTH_REALM)

    def _external_auth(self) -> "access.ExternalAuth | None":
        found = access.read_external(self._reading, self._about, self._config_map(access.SET_HEADERS))
        url = self._defaults.global_auth_url
        if found is None and url and self._reading.value(access.GLOBAL, True):
            try:
                return access.global_auth(url)
            except ValueError:
                return None  # told where the ConfigMap is read
        return found

    def _errors(self) -> CustomErrors | None:
        statuses = self._reading.value(rules.ERRORS, self._defaults.error_statuses)
        if not statuses:
            return None
        service = self._reading.get(general.DEFAULT_BACKEND)
        upstream = None
        if service is not None:
            upstream = self._upstream(UpstreamKey(self._about.namespace, service, ""), "default-backend")
        elif self._options.default_service is not None:
            upstream = self._upstream(UpstreamKey(*self._options.default_service, ""), "")
        return CustomErrors(
            statuses=statuses, upstream=upstream, intercept=not self._reading.value(rules.INTERCEPT, False)
        )

    def _fallback(self) -> UpstreamKey | None:
        service = self._reading.get(general.DEFAULT_BACKEND)
        if service is None:
            return None
        return self._upstream(UpstreamKey(self._about.namespace, service, ""), "default-backend")

    def _upstream_tls(self) -> "tls.UpstreamTls | None":
        if not self._allowed(tls.PROXY_SECRET):
            return None
        return tls.read_upstream_tls(self._reading, self._about, self._objects.pair_problem)

    def _clients(self) -> ClientCertificates | None:
        if not self._allowed(tls.CLIENT_SECRET):
            return None
        return tls.read_clients(self._reading, self._about, self._objects.authority_problem)

    def _fastcgi(self) -> FastCgi:
        index = self._reading.get(general.FASTCGI_INDEX)
        name = self._reading.get(general.FASTCGI_PARAMETERS)
        parameters: list[tuple[str, Text]] = []
        if name is not None and self._allowed(general.FASTCGI_PARAMETERS):
            data = self._objects.config_map((name[0] or self._about.namespace, name[1])) or {}
            for key, value in data.items():
                try:
                    if not re.fullmatch(r"[A-Za-z0-9_]+", key):
                        raise ValueError(f"{key!r} is no name of a parameter")
                    parameters.append((key, parse_text(value, ALLOWED_VARIABLES | {"fastcgi_script_name"})))
                except ValueError as error:
                    self._reading.complain(general.FASTCGI_PARAMETERS, f"{key}: {error}")
        return FastCgi(str(index[0]) if index else "", tuple(parameters))

    def _response_headers(self) -> tuple[tuple[str, str], ...]:
        found = [(name, str(value[0])) for name, value in self._default_headers(self._defaults.response_headers_from)]
        named = self._reading.get(general.CUSTOM_HEADERS)
        if named is None or not self._allowed(general.CUSTOM_HEADERS):
            return tuple(found)
        key = (named[0] or self._about.namespace, named[1])
        data = self._objects.config_map(key)
        if data is None:
            self._reading.complain(general.CUSTOM_HEADERS, f"there is no ConfigMap {key[0]}/{key[1]}", "create it")
            return tuple(found)
        allowed = {each.lower() for each in self._defaults.allowed_response_headers}
        for name, value in data.items():
            try:
                if name.lower() not in allowed:
                    raise ValueError("it is not in the controller's global-allowed-response-headers")
                found.append((parse_header_name(name), parse_header_value(value)))
            except ValueError as error:
                self._reading.complain(general.CUSTOM_HEADERS, f"{name}: {error}")
        return tuple(found)

    def _default_headers(self, named: str) -> tuple[tuple[str, Text], ...]:
        """The headers of a ConfigMap that the operator named."""
        namespace, _, name = named.partition("/")
        data = self._objects.config_map((namespace, name)) if name else None
        found: list[tuple[str, Text]] = []
        for header, value in (data or {}).items():
            try:
                found.append((parse_header_name(header), parse_text(parse_header_value(value))))
            except ValueError:
                continue
        return tuple(found)

    def _snippet(self, annotation: "general.Annotation[str]", given: Reading | None = None) -> str:
        reading = given or self._reading
        text = reading.get(annotation)
        if text is None:
            return ""
        if not self._snippets:
            reading.find(
                Severity.ERROR,
                annotation.name,
                "snippets are off; the Ingress works without it",
                "use an annotation of its own for what it does, or set allow-snippet-annotations in the ConfigMap",
            )
            return ""
        return text

    # Names of other objects

    def _allowed(self, annotation: "general.Annotation[tuple[str, str]]", given: Reading | None = None) -> bool:
        """Whether what an annotation names is of the Ingress's own namespace, or the operator allows others."""
        reading = given or self._reading
        named = reading.get(annotation)
        if named is None or named[0] in ("", self._about.namespace) or self._defaults.cross_namespace:
            return True
        reading.complain(
            annotation,
            f"{named[0]}/{named[1]} is of another namespace",
            "copy it into this one, or set allow-cross-namespace-resources in the ConfigMap",
        )
        return False

    def _secret(self, annotation: "general.Annotation[tuple[str, str]]") -> Callable[[Key], Mapping[str, bytes] | None]:
        return lambda key: self._objects.secret(key) if self._allowed(annotation) else None

    def _config_map(
        self, annotation: "general.Annotation[tuple[str, str]]"
    ) -> Callable[[Key], Mapping[str, str] | None]:
        return lambda key: self._objects.config_map(key) if self._allowed(annotation) else None

    # Rules

    def _rule(self, number: int, pattern: Location, shape: Shape) -> list[tuple[str, tuple[Location, ...]]]:
        rule = self._ingress.spec.rules[number]
        field = f"spec.rules[{number}]"
        host = rule.host
        if host:
            try:
                host = parse_host(host)
            except ValueError as error:
                self._find(Severity.ERROR, f"{field}.host", f"{error}; the rule is left out")
                return []
        paths = rule.http.paths if rule.http is not None else ()
        found = [
            each
            for index, path in enumerate(paths)
            if (each := self._path(path, f"{field}.http.paths[{index}]", pattern, shape)) is not None
        ]
        return [(host, tuple(found))]

    def _path(self, path: HTTPIngressPath, field: str, pattern: Location, shape: Shape) -> Location | None:
        text, kind = path.path or "/", path.path_type or "ImplementationSpecific"
        match = {"Exact": Match.EXACT, "Prefix": Match.PREFIX}.get(kind, Match.PREFIX)
        if kind == "ImplementationSpecific" and not shape.use_regex and shape.rewrite is None and text.endswith("/*"):
            text = text[:-1]
        fits = _ANY_PATH if kind == "ImplementationSpecific" else _PLAIN_PATH
        if not fits.fullmatch(text) or len(text) > 2048:
            message = f"{text!r} is no path for NGINX; it is left out"
            self._find(Severity.ERROR, f"{field}.path", message, "begin with / and use the characters of a URL's path")
            return None
        action = self._backend(path.backend, f"{field}.backend")
        if action is None:
            return None
        return self._checked(self._location(text, match, action, pattern, shape, self._origin(field)))

    def _checked(self, location: Location) -> Location | None:
        """The location with what nginx.org annotations say of it; None where that makes it no expression."""
        found = f5.over_location(self._f5, location)
        if found.match in (Match.REGEX, Match.REGEX_CASE):
            try:
                check_expression(found.path)
            except ValueError as error:
                self._find(Severity.ERROR, f"{found.origin.field}.path", f"{error}; the path is left out")
                return None
        return found

    def _location(
        self, path: str, match: Match, action: ToUpstream, pattern: Location, shape: Shape, origin: Origin
    ) -> Location:
        denied = self._reading.denied or self._f5.denied
        if denied:
            return replace(pattern, path=path, match=match, origin=origin, action=Refuse(503, denied))
        return replace(
            pattern,
            path=path,
            match=match,
            origin=origin,
            app_root=shape.app_root if path == "/" else None,
            action=shape.redirect if shape.redirect is not None else action,
        )

    def _backend(self, backend: IngressBackend, field: str) -> ToUpstream | None:
        service = backend.service
        if service is None:
            what = f"{backend.resource.kind} {backend.resource.name}" if backend.resource is not None else "nothing"
            message = f"the backend is {what}, and only Services can be one; it is left out"
            self._find(Severity.ERROR, field, message, "name a Service and its port")
            return None
        port = service.port.name or (str(service.port.number) if service.port.number else "")
        key = UpstreamKey(self._about.namespace, service.name, port)
        return ToUpstream(upstream=self._upstream(key, field), fallback=self._fallback())

    def _upstream(self, key: UpstreamKey, field: str) -> UpstreamKey:
        if key not in self._upstreams:
            defaults = Upstream(
                key=key, origin=self._about, balance=self._defaults.balance, keepalive=self._defaults.keepalive
            )
            found = balancing.read_upstream(self._reading, key, self._origin(field), defaults)
            self._upstreams[key] = f5.over_upstream(self._f5, found)
        return key

    def _origin(self, field: str) -> Origin:
        return Origin(self._about.kind, self._about.namespace, self._about.name, field)

    def _tell_bought(self) -> None:
        """Record annotations of products that F5 sells, which do nothing here."""
        for name in sorted(self._ingress.metadata.annotations):
            product = BOUGHT.get(name.partition("/")[0])
            if product is not None:
                message = f"this is not carried: it belongs to {product}, and does nothing here"
                self._find(Severity.WARNING, f"metadata.annotations[{name}]", message)

    def _find(self, severity: Severity, field: str, message: str, remedy: str = "") -> None:
        self._findings.append(Finding(severity, self._origin(field), message, remedy))
