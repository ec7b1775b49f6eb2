"""The drafts of all Ingresses that speak of one host, merged to its server: oldest first, and what lost is told.

Source: reference 1.4, rules 2 to 7, 11 and 12.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from fairlead.compile.expressions import check_expression
from fairlead.compile.route_certificates import is_good_for
from fairlead.compile.route_ingress import Draft
from fairlead.kube.networking import IngressTLS
from fairlead.model import Finding, Origin, Severity
from fairlead.model.route_rules import Canary, Rewrite
from fairlead.model.route_text import Capture
from fairlead.model.route_tls import Certificate, CertificateId, ServerTls
from fairlead.model.route_upstreams import UpstreamKey
from fairlead.model.routes import Location, Match, Server, ToUpstream

CertificateOf = Callable[[CertificateId], Certificate | str]
"""A certificate, or what is wrong with its Secret."""


class Merged(Struct, frozen=True):
    """A host's server, its certificate if a good one is named, and what was found."""

    server: Server
    certificate: CertificateId | None
    findings: tuple[Finding, ...]


def merge_host(
    host: str,
    drafts: Sequence[Draft],
    certificate_of: CertificateOf,
    *,
    default: UpstreamKey | None,
    taken: Mapping[str, object],
) -> Merged:
    """The server of `host` out of drafts in order of age; `taken` are the hosts that have servers of their own."""
    findings: list[Finding] = []
    main = [draft for draft in drafts if not draft.canary]
    shaped = [draft for draft in main if draft.shape.use_regex or _rewrites(draft, host)]
    locations = _locations(host, main, findings, default)
    _add_canaries(host, [draft for draft in drafts if draft.canary], locations, findings)
    oldest = main[0].origin if main else drafts[0].origin
    tls, certificate = _tls(host, main, certificate_of, findings)
    ordered = [_finished(each, shaped, drafts, tls, findings) for each in locations.values()]
    kept = _first_of_each([each for each in ordered if each is not None], findings)
    if shaped:
        kept.sort(key=lambda each: each.path, reverse=True)
        kept.sort(key=lambda each: len(each.path), reverse=True)
    clients = next((draft.client_certificates for draft in main if draft.client_certificates is not None), None)
    server = Server(
        host=host,
        locations=tuple(kept),
        origin=oldest,
        aliases=_aliases(host, main, taken, findings),
        www=_www(host, main, taken),
        tls=tls,
        client_certificates=clients,
        snippet=next((draft.server_snippet for draft in main if draft.server_snippet), ""),
    )
    return Merged(server, certificate, tuple(findings))


def in_order(drafts: Iterable[Draft]) -> list[Draft]:
    """Oldest first; among equals the greater name (reference 1.4, rule 1)."""
    by_name = sorted(drafts, key=lambda draft: f"{draft.key[0]}/{draft.key[1]}", reverse=True)
    return sorted(by_name, key=lambda draft: draft.created)


def _rules_of(draft: Draft, host: str) -> list[Location]:
    return [location for named, every in draft.rules if named == host for location in every]


def _rewrites(draft: Draft, host: str) -> bool:
    target = draft.shape.rewrite
    return target is not None and any(target != (each.path,) for each in _rules_of(draft, host))


def _locations(
    host: str, drafts: Sequence[Draft], findings: list[Finding], default: UpstreamKey | None
) -> dict[tuple[str, Match], Location]:
    found: dict[tuple[str, Match], Location] = {}
    for draft in drafts:
        for location in _rules_of(draft, host):
            key = (location.path, location.match)
            if key in found:
                first = found[key].origin
                message = (
                    f'host "{host or "*"}" and path "{location.path}" are already defined in Ingress '
                    f"{first.namespace}/{first.name}, which is older; this path is left out"
                )
                findings.append(Finding(Severity.ERROR, location.origin, message, "use another path or host"))
            else:
                found[key] = location
    root = ("/", Match.PREFIX)
    if root not in found:
        fallback = next((draft.default for draft in drafts if draft.default is not None), None)
        if fallback is not None:
            found[root] = fallback
        elif default is not None and drafts and (drafts[0].rules or drafts[0].default):
            pattern = next((each for draft in drafts for each in _rules_of(draft, host)), None)
            if pattern is not None:
                found[root] = replace(pattern, path="/", match=Match.PREFIX, action=ToUpstream(upstream=default))
    return found


def _add_canaries(
    host: str, drafts: Sequence[Draft], locations: dict[tuple[str, Match], Location], findings: list[Finding]
) -> None:
    for draft in drafts:
        for location in _rules_of(draft, host):
            key = (location.path, location.match)
            main = locations.get(key)
            rules = draft.canary_rules
            if main is None or not isinstance(main.action, ToUpstream):
                message = f'no Ingress that is no canary has host "{host or "*"}" and path "{location.path}"'
                findings.append(Finding(Severity.ERROR, location.origin, message, "create it, or drop canary"))
            elif main.action.canaries:
                first = main.action.canaries[0].origin
                message = f"Ingress {first.namespace}/{first.name} is a canary of this path already; this one waits"
                findings.append(Finding(Severity.WARNING, location.origin, message))
            elif rules is not None and isinstance(location.action, ToUpstream):
                canary: Canary = replace(rules, upstream=location.action.upstream, origin=location.origin)
                locations[key] = replace(main, action=replace(main.action, canaries=(canary,)))


def _finished(
    location: Location,
    shaped: Sequence[Draft],
    drafts: Sequence[Draft],
    tls: ServerTls | None,
    findings: list[Finding],
) -> Location | None:
    """The location with what the whole host decides: expressions, rewriting, redirects to HTTPS."""
    secure = location.secure_redirect and tls is not None
    location = replace(location, secure_redirect=secure)
    if not shaped:
        return location
    try:
        check_expression(location.path)
    except ValueError as error:
        culprit = shaped[0].origin
        why = (
            ""
            if culprit.name == location.origin.name
            else f" (Ingress {culprit.namespace}/{culprit.name} makes it one)"
        )
        message = f"the path is a regular expression here{why}: {error}; it is left out"
        findings.append(Finding(Severity.ERROR, location.origin, message, "correct the expression"))
        return None
    key = (location.origin.namespace, location.origin.name)
    draft = next((each for each in drafts if each.key == key), None)
    rewrite = location.rewrite
    if draft is not None and draft.shape.rewrite not in (None, (location.path,)):
        rewrite = _rewrite(location, draft, findings)
    return replace(location, match=Match.REGEX, rewrite=rewrite)


def _first_of_each(locations: Sequence[Location], findings: list[Finding]) -> list[Location]:
    """Without those that became the same expression as an older one, which is matched first."""
    found: dict[tuple[str, Match], Location] = {}
    for location in locations:
        first = found.setdefault((location.path, location.match), location)
        if first is not location:
            message = f'the expression "{location.path}" is already defined by {first.origin}; this path is left out'
            findings.append(Finding(Severity.WARNING, location.origin, message))
    return list(found.values())


def _rewrite(location: Location, draft: Draft, findings: list[Finding]) -> Rewrite:
    """The rewrite; a group that the path has not is empty, as NGINX has it, and told."""
    target = draft.shape.rewrite or ()
    groups = re.compile(location.path).groups
    wanted = max((part.number for part in target if isinstance(part, Capture)), default=0)
    if wanted > groups:
        message = f"rewrite-target names group ${wanted}, and the path has {groups}; the group is empty"
        findings.append(Finding(Severity.WARNING, location.origin, message, "put parentheses around what is meant"))
    return Rewrite(pattern=location.path, target=target)


def _tls(
    host: str, drafts: Sequence[Draft], certificate_of: CertificateOf, findings: list[Finding]
) -> tuple[ServerTls | None, CertificateId | None]:
    """Rule 11: the oldest Ingress with a tls section decides; anything wrong leaves the default certificate."""
    draft = next((each for each in drafts if each.tls), None)
    if draft is None or not host:
        return None, None
    namespace = draft.key[0]
    listed = [each for each in draft.tls if host in [name.lower() for name in each.hosts]]
    chosen = listed[0] if listed else _by_name(host, draft.tls, namespace, certificate_of)
    ciphers = next((each.ciphers for each in drafts if each.ciphers is not None), None)
    prefer = next((each.prefer_server_ciphers for each in drafts if each.prefer_server_ciphers is not None), None)
    settings = ServerTls(ciphers=ciphers, prefer_server_ciphers=prefer)
    if chosen is None or not chosen.secret_name:
        return settings, None
    wanted = CertificateId(namespace, chosen.secret_name)
    found = certificate_of(wanted)
    origin = Origin("Ingress", namespace, draft.key[1], f"spec.tls[{draft.tls.index(chosen)}].secretName")
    secret = f"Secret {wanted.namespace}/{wanted.secret}"
    rest = f"{host} is served with the default certificate"
    if isinstance(found, str):
        findings.append(Finding(Severity.WARNING, origin, f"{secret}: {found}; {rest}", "correct the Secret"))
        return settings, None
    if not is_good_for(found, host):
        names = ", ".join(found.names) or "no name"
        findings.append(Finding(Severity.WARNING, origin, f"{secret} is good for {names}; {rest}", "name another"))
        return settings, None
    return settings, wanted


def _by_name(host: str, tls: Sequence[IngressTLS], namespace: str, certificate_of: CertificateOf) -> IngressTLS | None:
    for each in tls:
        if each.secret_name:
            found = certificate_of(CertificateId(namespace, each.secret_name))
            if not isinstance(found, str) and is_good_for(found, host):
                return each
    return None


def _aliases(
    host: str, drafts: Sequence[Draft], taken: Mapping[str, object], findings: list[Finding]
) -> tuple[str, ...]:
    draft = next((each for each in drafts if each.shape.aliases), None)
    if draft is None or not host:
        return ()
    found: list[str] = []
    for alias in draft.shape.aliases:
        if alias in taken and alias != host:
            message = f"the alias {alias} is the host of another Ingress; it is left out"
            findings.append(Finding(Severity.WARNING, draft.origin, message))
        elif alias != host:
            found.append(alias)
    return tuple(dict.fromkeys(found))


def _www(host: str, drafts: Sequence[Draft], taken: Mapping[str, object]) -> str | None:
    if not host or host.startswith("*.") or not any(each.shape.www for each in drafts):
        return None
    other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
    return None if other in taken else other
