"""Whether an Ingress should be let in at all: the question of an admission webhook, answered by looking alone.

Comes in: the Ingress and what is known of the hosts it names. Goes out: reasons to refuse it, none for a good one. The
cost does not grow with the number of Ingresses. What is only missing yet, such as a Secret, is no reason. Source:
reference 1.4 rule 13.
"""

from collections.abc import Iterator, Mapping

from fairlead.compile.expressions import check_expression
from fairlead.compile.route_ingress import Draft
from fairlead.model import Severity
from fairlead.model.routes import Server

_RULES = "spec.rules["


def review_draft(draft: Draft, servers: Mapping[str, Server]) -> tuple[str, ...]:
    """The reasons against the Ingress of `draft`; `servers` are those of the hosts it names."""
    return tuple(dict.fromkeys((*_mistakes(draft), *_expressions(draft), *_taken(draft, servers))))


def _mistakes(draft: Draft) -> Iterator[str]:
    if draft.refused:
        yield draft.refused
    for finding in draft.findings:
        field = finding.origin.field
        if finding.severity is Severity.ERROR and (field.startswith(_RULES) or "-snippet" in field):
            yield f"{field}: {finding.message}"


def _expressions(draft: Draft) -> Iterator[str]:
    if not draft.shape.use_regex and draft.shape.rewrite is None:
        return
    for _, locations in draft.rules:
        for location in locations:
            try:
                check_expression(location.path)
            except ValueError as error:
                yield f"{location.origin.field}.path: {error}"


def _taken(draft: Draft, servers: Mapping[str, Server]) -> Iterator[str]:
    if draft.canary:
        return
    for host, locations in draft.rules:
        server = servers.get(host)
        others = server.locations if server is not None else ()
        known = {each.path: each.origin for each in others if (each.origin.namespace, each.origin.name) != draft.key}
        for location in locations:
            first = known.get(location.path)
            if first is not None and first.field.startswith(_RULES):
                where = f'host "{host or "_"}" and path "{location.path}"'
                yield f"{where} is already defined in ingress {first.namespace}/{first.name}"
