"""What becomes of every Ingress under our controller: what carries over, what differs and why, before anyone switches.

Comes in: objects. Goes out: one entry an Ingress. Pure, and the same code that serves.
"""

from collections.abc import Iterator
from enum import Enum

from msgspec import Struct

from fairlead.compile.annotations.catalogue import SUPPORTED
from fairlead.compile.annotations.f5 import F5
from fairlead.compile.route_options import IngressOptions
from fairlead.kube.networking import Ingress
from fairlead.model import Finding, Severity
from fairlead.model.route_text import Capture, Variable
from fairlead.model.routes import Location, Routing, ToUpstream
from fairlead.sim.ingress_objects import IngressObjects, key_of, routes_of


class Outcome(Enum):
    """How an Ingress fares: as it is, with something to know, with something missing, or not at all."""

    SAME = "carries over"
    REMARKS = "carries over, with remarks"
    DIFFERS = "differs"
    NOT_OURS = "not ours"


class Remark(Struct, frozen=True):
    """One thing that differs: the field, why, and what to do."""

    field: str
    message: str
    remedy: str
    error: bool


class IngressEntry(Struct, frozen=True, kw_only=True):
    """One Ingress. `paths` are served paths with what they lead to; `carried` are annotations that do what they did."""

    ingress: str
    outcome: Outcome
    paths: tuple[str, ...]
    carried: tuple[str, ...]
    remarks: tuple[Remark, ...]


class IngressReport(Struct, frozen=True):
    """All entries in the order of their names, and remarks about the controller's ConfigMap."""

    entries: tuple[IngressEntry, ...]
    settings: tuple[Remark, ...]


def report_on(objects: IngressObjects, options: IngressOptions | None = None) -> IngressReport:
    """The report on everything."""
    chosen = options or IngressOptions(without_class=True)
    built = routes_of(objects, chosen).build()
    by_object: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in built.findings:
        origin = finding.origin
        by_object.setdefault((origin.kind, origin.namespace, origin.name), []).append(finding)
    entries = [
        _entry(
            each,
            built.routing,
            by_object.get(("Ingress", *key_of(each)), []),
            chosen,
            ours=key_of(each) in built.accepted,
        )
        for each in sorted(objects.ingresses, key=key_of)
    ]
    settings = [_remark(each) for key, found in by_object.items() if key[0] == "ConfigMap" for each in found]
    return IngressReport(tuple(entries), tuple(settings))


def _entry(
    ingress: Ingress, routing: Routing, findings: list[Finding], options: IngressOptions, *, ours: bool
) -> IngressEntry:
    name = "/".join(key_of(ingress))
    if not ours:
        return IngressEntry(ingress=name, outcome=Outcome.NOT_OURS, paths=(), carried=(), remarks=())
    remarks = tuple(_remark(each) for each in findings)
    touched = {each.field for each in remarks}
    carried = tuple(
        annotation
        for annotation in sorted(ingress.metadata.annotations)
        if (
            annotation.removeprefix(options.prefix + "/") in SUPPORTED
            or annotation.removeprefix(options.f5_prefix + "/") in F5
        )
        and f"metadata.annotations[{annotation}]" not in touched
    )
    outcome = Outcome.SAME
    if remarks:
        outcome = Outcome.DIFFERS if any(each.error for each in remarks) else Outcome.REMARKS
    return IngressEntry(
        ingress=name, outcome=outcome, paths=tuple(_paths(ingress, routing)), carried=carried, remarks=remarks
    )


def _paths(ingress: Ingress, routing: Routing) -> Iterator[str]:
    for server in routing.servers:
        for location in server.locations:
            if (location.origin.namespace, location.origin.name) == key_of(ingress):
                yield f"{server.host or '*'} {location.match.value} {location.path} -> {_leads_to(location)}"


def _leads_to(location: Location) -> str:
    action = location.action
    if isinstance(action, ToUpstream):
        target = str(action.upstream)
        if location.rewrite is not None:
            parts = [
                f"${part.number}"
                if isinstance(part, Capture)
                else f"${part.name}"
                if isinstance(part, Variable)
                else part
                for part in location.rewrite.target
            ]
            target += f" as {''.join(parts)}"
        if action.canaries:
            target += f", canary {action.canaries[0].upstream}"
        return target
    return f"status {action.status}"


def _remark(finding: Finding) -> Remark:
    error = finding.severity is Severity.ERROR
    return Remark(finding.origin.field, finding.message, finding.remedy, error)
