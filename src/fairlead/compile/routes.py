"""Ingresses and what they name to routing: changes of objects come in, one `Built` at a time goes out.

Compiled per Ingress, merged per host: a change costs what it touches. Incremental equals full, in any order of events.
Refuses to know who tells it of objects; `wanted_*` say which Secrets and ConfigMaps it has to be told of.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.annotations.f5 import INHERITED, MERGEABLE
from fairlead.compile.endpoints import SliceEndpoints, compile_slice
from fairlead.compile.route_certificates import compile_authorities, compile_certificate, data_of
from fairlead.compile.route_hosts import Merged, in_order, merge_host
from fairlead.compile.route_ingress import Draft, compile_ingress
from fairlead.compile.route_options import IngressOptions, Key
from fairlead.compile.route_review import review_draft
from fairlead.compile.route_settings import Compiled, compile_settings
from fairlead.compile.route_streams import compile_streams
from fairlead.compile.route_upstreams import compile_upstream, external_name
from fairlead.kube.core import ConfigMap, Secret, Service
from fairlead.kube.discovery import EndpointSlice, EndpointSliceOutline
from fairlead.kube.networking import Ingress, IngressClass
from fairlead.model import Finding, Origin, Severity
from fairlead.model.route_rules import CustomErrors
from fairlead.model.route_settings import ControllerSettings
from fairlead.model.route_tls import Certificate, CertificateId
from fairlead.model.route_upstreams import Endpoints, Upstream, UpstreamKey
from fairlead.model.routes import Location, Routing, Server, StreamListener, ToUpstream
from fairlead.net import Address, Protocol

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PART = MERGEABLE.name


class Built(Struct, frozen=True, kw_only=True):
    """All that is to be served. `server_names` are hosts and aliases with a certificate of their own."""

    routing: Routing
    settings: ControllerSettings
    endpoints: Mapping[UpstreamKey, Endpoints]
    certificates: Mapping[CertificateId, Certificate]
    authorities: Mapping[CertificateId, str]
    upstream_certificates: Mapping[CertificateId, Certificate]
    server_names: Mapping[str, CertificateId]
    default_certificate: CertificateId | None
    findings: tuple[Finding, ...]
    accepted: frozenset[Key]
    wanted_secrets: frozenset[Key]
    wanted_config_maps: frozenset[Key]
    wanted_names: frozenset[str]
    """External names whose addresses are to be told."""


class Routes:
    """Everything known, and what was made of it. Every setter may be called in any order, with doubles."""

    def __init__(self, options: IngressOptions) -> None:
        self._options = options
        self._ingresses: dict[Key, Ingress] = {}
        self._classes: dict[str, IngressClass] = {}
        self._services: dict[Key, Service] = {}
        self._slices: dict[Key, dict[str, SliceEndpoints]] = {}
        self._slice_owner: dict[Key, Key] = {}
        self._secrets: dict[Key, Mapping[str, bytes]] = {}
        self._certificates: dict[Key, Certificate | str] = {}
        self._authorities: dict[Key, str | ValueError] = {}
        self._config_maps: dict[Key, Mapping[str, str]] = {}
        self._compiled = compile_settings({}, Origin("ConfigMap", "", ""))
        self._withheld: frozenset[Key] = frozenset()
        self._resolved: dict[str, tuple[Address, ...]] = {}
        self._masters_of: dict[Key, frozenset[str]] = {}
        self._drafts: dict[Key, Draft] = {}
        self._named: dict[Key, frozenset[tuple[str, Key]]] = {}
        self._naming: dict[tuple[str, Key], set[Key]] = {}
        self._by_host: dict[str, set[Key]] = {}
        self._merged: dict[str, Merged] = {}
        self._host_certificates: dict[str, frozenset[Key]] = {}
        self._dirty: set[Key] = set()
        self._dirty_hosts: set[str] = set()
        self._dirty_upstreams: set[Key] = set()
        self._endpoints: dict[UpstreamKey, tuple[Endpoints, str]] = {}

    # What is told

    def set_ingress(self, ingress: Ingress) -> None:
        """An Ingress is there, or has changed."""
        key = (ingress.metadata.namespace, ingress.metadata.name)
        self._note_master(key, ingress)
        self._ingresses[key] = ingress
        self._dirty.add(key)

    def delete_ingress(self, key: Key) -> None:
        """An Ingress is gone."""
        if self._ingresses.pop(key, None) is not None:
            self._note_master(key, None)
            self._dirty.add(key)

    def _note_master(self, key: Key, ingress: Ingress | None) -> None:
        """Remember the masters of hosts, and look again at the minions of one that changed."""
        hosts = self._masters_of.pop(key, frozenset())
        if ingress is not None and ingress.metadata.annotations.get(f"{self._options.f5_prefix}/{_PART}") == "master":
            hosts_now = frozenset(rule.host for rule in ingress.spec.rules)
            self._masters_of[key] = hosts_now
            hosts |= hosts_now
        for host in hosts:
            self._dirty |= self._by_host.get(host, set())

    def _with_inherited(self, ingress: Ingress) -> Ingress:
        """A minion with the annotations it takes over from the oldest master of its host."""
        prefix, meta = self._options.f5_prefix, ingress.metadata
        if not self._masters_of or meta.annotations.get(f"{prefix}/{_PART}") != "minion":
            return ingress
        hosts = {rule.host for rule in ingress.spec.rules}
        masters = [self._ingresses[key] for key, named in self._masters_of.items() if named & hosts]
        if not masters:
            return ingress
        master = min(masters, key=lambda each: (each.metadata.creation_timestamp or "", each.metadata.name))
        inherited = {
            name: value
            for name, value in master.metadata.annotations.items()
            if name.startswith(prefix + "/") and name.removeprefix(prefix + "/") in INHERITED
        }
        return replace(ingress, metadata=replace(meta, annotations={**inherited, **meta.annotations}))

    def withhold(self, keys: AbstractSet[Key]) -> None:
        """Leave these Ingresses out, whatever they say; the others are let in."""
        self._dirty |= self._withheld ^ keys
        self._withheld = frozenset(keys)

    def set_class(self, found: IngressClass) -> None:
        """A class is there, or has changed."""
        self._classes[found.metadata.name] = found
        self._dirty |= self._ingresses.keys()

    def delete_class(self, name: str) -> None:
        """A class is gone."""
        if self._classes.pop(name, None) is not None:
            self._dirty |= self._ingresses.keys()

    def set_service(self, service: Service) -> None:
        """A Service is there, or has changed."""
        key = (service.metadata.namespace, service.metadata.name)
        self._services[key] = service
        self._dirty_upstreams.add(key)

    def delete_service(self, key: Key) -> None:
        """A Service is gone."""
        if self._services.pop(key, None) is not None:
            self._dirty_upstreams.add(key)

    def set_resolved(self, name: str, addresses: tuple[Address, ...]) -> None:
        """An external name has these addresses now."""
        if self._resolved.get(name, ()) != addresses:
            self._resolved[name] = addresses
            self._dirty_upstreams |= {key for key, each in self._services.items() if external_name(each) == name}

    def set_slice(self, piece: EndpointSlice | EndpointSliceOutline) -> None:
        """A slice is there, or has changed."""
        meta = piece.metadata
        compiled = compile_slice(piece, "")
        name, owner = (meta.namespace, meta.name), (meta.namespace, compiled.service)
        if self._slice_owner.get(name, owner) != owner:
            self.delete_slice(name)
        self._slice_owner[name] = owner
        self._slices.setdefault(owner, {})[meta.name] = compiled
        self._dirty_upstreams.add(owner)

    def delete_slice(self, name: Key) -> None:
        """A slice is gone."""
        owner = self._slice_owner.pop(name, None)
        if owner is not None:
            pieces = self._slices[owner]
            pieces.pop(name[1], None)
            if not pieces:
                del self._slices[owner]
            self._dirty_upstreams.add(owner)

    def set_secret(self, secret: Secret) -> None:
        """A Secret that is wanted is there, or has changed."""
        key = (secret.metadata.namespace, secret.metadata.name)
        self._secrets[key] = data_of(secret)
        self._certificates[key] = compile_certificate(secret)
        try:
            self._authorities[key] = compile_authorities(secret)
        except ValueError as error:
            self._authorities[key] = error
        self._touch("Secret", key)

    def delete_secret(self, key: Key) -> None:
        """A Secret that was wanted is gone, or not wanted any more."""
        if self._secrets.pop(key, None) is not None:
            del self._certificates[key], self._authorities[key]
            self._touch("Secret", key)

    def set_config_map(self, found: ConfigMap) -> None:
        """A ConfigMap that is wanted is there, or has changed."""
        key = (found.metadata.namespace, found.metadata.name)
        self._config_maps[key] = found.data
        self._touch("ConfigMap", key)

    def delete_config_map(self, key: Key) -> None:
        """A ConfigMap that was wanted is gone, or not wanted any more."""
        if self._config_maps.pop(key, None) is not None:
            self._touch("ConfigMap", key)

    def set_settings(self, data: Mapping[str, str], about: Origin) -> None:
        """The controller's own ConfigMap says this."""
        compiled = compile_settings(data, about)
        if compiled != self._compiled:
            self._compiled: Compiled = compiled
            self._dirty |= self._ingresses.keys()

    def _touch(self, kind: str, key: Key) -> None:
        self._dirty |= self._naming.get((kind, key), set())
        if kind == "Secret":
            self._dirty_hosts |= {host for host, keys in self._host_certificates.items() if key in keys}

    def review(self, ingress: Ingress) -> tuple[str, ...]:
        """The reasons not to let an Ingress of ours in; none for one of others. Nothing is changed."""
        if not self._is_ours(ingress):
            return ()
        allowed = self._compiled.settings.snippets_allowed
        draft = compile_ingress(ingress, self._options, self._compiled.defaults, _Named(self), snippets=allowed)
        servers = {host: self._merged[host].server for host in draft.hosts if host in self._merged}
        return review_draft(draft, servers)

    # What is made of it

    def build(self) -> Built:
        """Compile what was touched since last time, and return the whole."""
        hosts = set(self._by_host)
        for key in self._dirty:
            self._compile(key)
        self._dirty.clear()
        self._by_host = {host: keys for host, keys in self._by_host.items() if keys}
        if hosts != self._by_host.keys():  # a name that is taken, or free again, decides about other hosts' names
            for draft in self._drafts.values():
                if draft.shape.aliases or draft.shape.www:
                    self._dirty_hosts |= draft.hosts
        for host in self._dirty_hosts:
            self._merge(host)
        self._dirty_hosts.clear()
        servers, alias_findings = _without_doubles([merged.server for _, merged in sorted(self._merged.items())])
        upstreams = self._upstreams()
        self._compile_endpoints(upstreams)
        streams, stream_findings = self._streams()
        routing = Routing(
            servers=servers,
            upstreams=tuple(upstreams[key] for key in sorted(upstreams)),
            streams=streams,
            default_upstream=self._default(),
        )
        return self._built(routing, upstreams, (*alias_findings, *stream_findings))

    def _built(self, routing: Routing, upstreams: Mapping[UpstreamKey, Upstream], more: tuple[Finding, ...]) -> Built:
        names: dict[str, CertificateId] = {}
        for host, merged in self._merged.items():
            if merged.certificate is not None:
                others = (*merged.server.aliases, *((merged.server.www,) if merged.server.www else ()))
                names |= dict.fromkeys((host, *others), merged.certificate)
        default = self._options.default_certificate
        wanted_default = None if default is None else CertificateId(*default)
        used: set[CertificateId] = {*names.values(), *(() if wanted_default is None else (wanted_default,))}
        certificates = {each: pair for each in used if isinstance(pair := self._certificate(each), Certificate)}
        upstream_tls = {
            location.proxy.tls.certificate
            for server in routing.servers
            for location in server.locations
            if location.proxy.tls is not None and location.proxy.tls.certificate is not None
        }
        clients = {each.client_certificates.ca for each in routing.servers if each.client_certificates is not None}
        authorities = {
            each: text
            for each in (*upstream_tls, *clients)
            if each is not None and isinstance(text := self._authorities.get((each.namespace, each.secret)), str)
        }
        pairs = {each: pair for each in upstream_tls if isinstance(pair := self._certificate(each), Certificate)}
        findings = (
            *self._compiled.findings,
            *(finding for key in sorted(self._drafts) for finding in self._drafts[key].findings),
            *(finding for host in sorted(self._merged) for finding in self._merged[host].findings),
            *self._upstream_findings(upstreams),
            *more,
        )
        wanted = [each for names in self._named.values() for each in names]
        settings_maps = (self._options.tcp_services, self._options.udp_services)
        return Built(
            routing=routing,
            settings=self._compiled.settings,
            endpoints={key: self._endpoints[key][0] for key in upstreams},
            certificates=certificates,
            authorities=authorities,
            upstream_certificates=pairs,
            server_names=names,
            default_certificate=wanted_default if wanted_default in certificates else None,
            findings=tuple(dict.fromkeys(findings)),
            accepted=frozenset(self._drafts),
            wanted_secrets=frozenset(key for kind, key in wanted if kind == "Secret")
            | frozenset(key for keys in self._host_certificates.values() for key in keys)
            | frozenset(() if default is None else (default,)),
            wanted_names=self._external_names(upstreams),
            wanted_config_maps=frozenset(key for kind, key in wanted if kind == "ConfigMap")
            | frozenset(key for key in settings_maps if key is not None),
        )

    def _compile(self, key: Key) -> None:
        former = self._drafts.pop(key, None)
        for each in self._named.pop(key, frozenset()):
            self._naming[each].discard(key)
        if former is not None:
            for host in former.hosts:
                self._by_host[host].discard(key)
            self._dirty_hosts |= former.hosts
        ingress = self._ingresses.get(key)
        if ingress is None or key in self._withheld or not self._is_ours(ingress):
            return
        objects = _Named(self)
        allowed = self._compiled.settings.snippets_allowed
        whole = self._with_inherited(ingress)
        draft = compile_ingress(whole, self._options, self._compiled.defaults, objects, snippets=allowed)
        self._drafts[key] = draft
        self._named[key] = frozenset(objects.asked)
        for each in objects.asked:
            self._naming.setdefault(each, set()).add(key)
        for host in draft.hosts:
            self._by_host.setdefault(host, set()).add(key)
        self._dirty_hosts |= draft.hosts

    def _is_ours(self, ingress: Ingress) -> bool:
        """Reference 1.4, rule 10."""
        options = self._options
        if options.namespace and ingress.metadata.namespace != options.namespace:
            return False
        if options.disable_catch_all and ingress.spec.default_backend is not None:
            return False
        named = ingress.spec.ingress_class_name
        if named:
            found = self._classes.get(named)
            return found is not None and found.spec.controller in options.controllers
        annotated = ingress.metadata.annotations.get(CLASS_ANNOTATION)
        if annotated:
            return annotated == options.class_annotation
        return options.without_class

    def _merge(self, host: str) -> None:
        keys = self._by_host.get(host, set())
        self._merged.pop(host, None)
        self._host_certificates.pop(host, None)
        if not keys:
            return
        drafts = in_order(self._drafts[key] for key in keys)
        asked: set[Key] = set()

        def certificate_of(certificate: CertificateId) -> Certificate | str:
            asked.add((certificate.namespace, certificate.secret))
            return self._certificate(certificate)

        self._merged[host] = merge_host(host, drafts, certificate_of, default=self._default(), taken=self._by_host)
        if asked:
            self._host_certificates[host] = frozenset(asked)

    def _certificate(self, certificate: CertificateId) -> Certificate | str:
        return self._certificates.get((certificate.namespace, certificate.secret), "it is not there")

    def certificate_problem(self, key: Key) -> str:
        """What is wrong with a Secret's key pair, or nothing."""
        found = self._certificates.get(key, f"there is no Secret {key[0]}/{key[1]}")
        return found if isinstance(found, str) else ""

    def authority_problem(self, key: Key) -> str:
        """What is wrong with a Secret's authorities, or nothing."""
        found = self._authorities.get(key)
        if found is None:
            return f"there is no Secret {key[0]}/{key[1]}"
        return "" if isinstance(found, str) else str(found)

    def secret(self, key: Key) -> Mapping[str, bytes] | None:
        """The values of a Secret that was told of."""
        return self._secrets.get(key)

    def config_map(self, key: Key) -> Mapping[str, str] | None:
        """The texts of a ConfigMap that was told of."""
        return self._config_maps.get(key)

    def _default(self) -> UpstreamKey | None:
        service = self._options.default_service
        return None if service is None else UpstreamKey(*service, "")

    def _upstreams(self) -> dict[UpstreamKey, Upstream]:
        """Every upstream that a location uses, with the settings of the oldest Ingress that names it."""
        used = {
            key for merged in self._merged.values() for each in merged.server.locations for key in upstreams_of(each)
        }
        default = self._default()
        if default is not None:
            used.add(default)
        found: dict[UpstreamKey, Upstream] = {}
        for draft in in_order(self._drafts.values()):
            for upstream in draft.upstreams:
                if upstream.key in used:
                    found.setdefault(upstream.key, upstream)
        for key in used - found.keys():
            found[key] = Upstream(key=key, origin=Origin("Service", key.namespace, key.service))
        return found

    def _external_names(self, upstreams: Mapping[UpstreamKey, Upstream]) -> frozenset[str]:
        services = (self._services.get((key.namespace, key.service)) for key in upstreams)
        return frozenset(name for each in services if each is not None and (name := external_name(each)))

    def _compile_endpoints(self, upstreams: Mapping[UpstreamKey, Upstream]) -> None:
        whole = {each.key for draft in self._drafts.values() if draft.whole_service for each in draft.upstreams}
        for key in self._endpoints.keys() - upstreams.keys():
            del self._endpoints[key]
        for key in upstreams:
            owner = (key.namespace, key.service)
            if key not in self._endpoints or owner in self._dirty_upstreams:
                service, pieces = self._services.get(owner), self._slices.get(owner, {}).values()
                named = key if key.port or service is None else _first_port(key, service)
                backends, problem = compile_upstream(
                    named, service, pieces, whole_service=key in whole, resolved=self._resolved
                )
                self._endpoints[key] = (Endpoints(key, backends), problem)
        self._dirty_upstreams.clear()

    def _upstream_findings(self, upstreams: Mapping[UpstreamKey, Upstream]) -> Iterable[Finding]:
        for key, upstream in sorted(upstreams.items(), key=lambda each: each[0]):
            problem = self._endpoints[key][1]
            if problem and upstream.origin.kind == "Ingress":
                message = f"{problem}; requests get 503"
                yield Finding(Severity.ERROR, upstream.origin, message, "correct the name or port")

    def _streams(self) -> tuple[tuple[StreamListener, ...], tuple[Finding, ...]]:
        listeners: list[StreamListener] = []
        findings: list[Finding] = []
        for named, protocol in ((self._options.tcp_services, Protocol.TCP), (self._options.udp_services, Protocol.UDP)):
            data = self._config_maps.get(named) if named is not None else None
            if data and named is not None:
                found, wrong = compile_streams(
                    data,
                    protocol,
                    Origin("ConfigMap", *named),
                    lambda namespace, name: self._services.get((namespace, name)),
                    lambda namespace, name: self._slices.get((namespace, name), {}).values(),
                )
                listeners += found
                findings += wrong
        return tuple(sorted(listeners, key=attrgetter("protocol.value", "port"))), tuple(findings)


class _Named:
    """Looks objects up for one Ingress, and remembers what was asked for."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.asked: set[tuple[str, Key]] = set()

    def secret(self, key: Key) -> Mapping[str, bytes] | None:
        self.asked.add(("Secret", key))
        return self._routes.secret(key)

    def config_map(self, key: Key) -> Mapping[str, str] | None:
        self.asked.add(("ConfigMap", key))
        return self._routes.config_map(key)

    def authority_problem(self, certificate: CertificateId) -> str:
        key = (certificate.namespace, certificate.secret)
        self.asked.add(("Secret", key))
        return self._routes.authority_problem(key)

    def pair_problem(self, certificate: CertificateId) -> str:
        key = (certificate.namespace, certificate.secret)
        self.asked.add(("Secret", key))
        pair, authority = self._routes.certificate_problem(key), self._routes.authority_problem(key)
        return pair if pair and authority else ""


def upstreams_of(location: Location) -> tuple[UpstreamKey, ...]:
    """Every upstream that a location may ask."""
    found: list[UpstreamKey] = []
    if isinstance(location.action, ToUpstream):
        found += (location.action.upstream, *(each.upstream for each in location.action.canaries))
        if location.action.fallback is not None:
            found.append(location.action.fallback)
    errors: CustomErrors | None = location.errors
    if errors is not None and errors.upstream is not None:
        found.append(errors.upstream)
    return tuple(found)


def _without_doubles(servers: Iterable[Server]) -> tuple[tuple[Server, ...], list[Finding]]:
    """The servers with every name given once: a second one to claim an alias or a www name goes without."""
    taken: dict[str, Server] = {}
    found: list[Server] = []
    findings: list[Finding] = []
    for server in servers:
        kept: list[str] = []
        for alias in server.aliases:
            first = taken.setdefault(alias, server)
            if first is server:
                kept.append(alias)
            else:
                message = f"the alias {alias} of host {server.host} is one of host {first.host} already; it is left out"
                findings.append(Finding(Severity.WARNING, server.origin, message))
        www = server.www if server.www is not None and taken.setdefault(server.www, server) is server else None
        alike = len(kept) == len(server.aliases) and www == server.www
        found.append(server if alike else replace(server, aliases=tuple(kept), www=www))
    return tuple(found), findings


def _first_port(key: UpstreamKey, service: Service) -> UpstreamKey:
    ports = service.spec.ports
    return UpstreamKey(key.namespace, key.service, str(ports[0].port) if ports else "")
