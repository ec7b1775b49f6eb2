"""A trace as text to read: the way of the first end hop by hop, then every end, then the answer."""

from collections.abc import Iterator

from fairlead.sim.answers import Disposition, End, Hop, RuleStep, Trace

_WIDTH = 14
_SHOWN_ENDS = 12
_SERVICES = "fairlead"
"""The table whose chains go without their table's name."""


def tell_trace(trace: Trace) -> str:
    """Return the lines of a trace, without one at the end."""
    return "\n".join(_lines(trace))


def _lines(trace: Trace) -> Iterator[str]:
    yield f"{trace.source} -> {trace.target}"
    yield from (f"  {remark}" for remark in trace.remarks)
    yield ""
    if not trace.ends:
        yield from _request(trace)
        return
    first = trace.ends[0]
    for hop in first.hops:
        yield from _hop(hop)
    delivered = first.disposition is Disposition.DELIVERED
    yield f"{'●' if delivered else '✗'} {first.place}"
    if trace.request is not None:
        yield from _request(trace)
    else:
        yield ""
        yield from _answer(trace)
    if trace.sent is not None:
        yield ""
        yield f"sent for real: {trace.sent.outcome}{', as traced' if trace.sent.agrees else ', NOT as traced'}"


def _request(trace: Trace) -> Iterator[str]:
    """What NGINX does, and the way on from it."""
    verdict = trace.request
    if verdict is None:
        return
    for step in verdict.steps:
        yield f"│ {'nginx':>{_WIDTH}}  {step.what}"
        if step.origin is not None and step.origin.name:
            yield f"│ {'':<{_WIDTH}}    from {step.origin}"
    for onward in trace.onward:
        end = onward.ends[0]
        yield f"{'●' if end.disposition is Disposition.DELIVERED else '✗'} {end.place}  {end.address}"
        if end.disposition is not Disposition.DELIVERED:
            yield f"    {end.disposition.value}: {end.reason}"
            if end.origin is not None:
                yield f"    decided by {end.origin}"
    yield ""
    if verdict.status:
        yield f"status {verdict.status}" + (f", Location: {verdict.redirect}" if verdict.redirect else "")
    elif trace.disposition is Disposition.DELIVERED:
        yield f"the pod answers {verdict.path}"
    else:
        yield f"{trace.disposition.value}: NGINX answers 502 or 504"


def _hop(hop: Hop) -> Iterator[str]:
    yield f"● {hop.place:<{_WIDTH}}  {hop.packet}"
    hook = ""
    for step in hop.steps:
        yield from _step(step, step.hook if step.hook != hook else "")
        hook = step.hook
    yield f"│ {'':<{_WIDTH}}  to {hop.onward}" if hop.onward not in ("reject", "drop") else "│"


def _step(step: RuleStep, hook: str) -> Iterator[str]:
    chain = step.chain if step.table in ("", _SERVICES) else f"{step.table} {step.chain}"
    yield f"│ {hook:>{_WIDTH}}  {chain}: {step.rule}"
    for row in step.rows:
        yield f"│ {'':<{_WIDTH}}    row {row}"
    if step.origin is not None:
        yield f"│ {'':<{_WIDTH}}    from {step.origin}"


def _answer(trace: Trace) -> Iterator[str]:
    ends = trace.ends
    word = trace.disposition.value
    if len(ends) == 1:
        yield f"{word}: {_end(ends[0])}"
    else:
        yield f"{word}, to one of {len(ends)} at random, each as likely:"
        yield from (f"  {_end(end, trace.disposition)}" for end in ends[:_SHOWN_ENDS])
        if len(ends) > _SHOWN_ENDS:
            yield f"  and {len(ends) - _SHOWN_ENDS} more"
        return
    if ends[0].origin is not None:
        yield f"  decided by {ends[0].origin}"


def _end(end: End, expected: Disposition | None = None) -> str:
    words = [end.place, end.address, end.reason]
    if end.seen_as:
        words.append(f"sees {end.seen_as}")
    if expected is not None and end.origin is not None:
        words.append(f"({end.origin})")
    if expected is not None and end.disposition is not expected:
        words.insert(0, f"{end.disposition.value}:")
    return "  ".join(word for word in words if word)
