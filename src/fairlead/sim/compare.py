"""What a real packet's outcome must be for a trace to be true."""

from fairlead.sim.answers import Disposition, Trace

OUTCOMES: dict[Disposition, str] = {
    Disposition.DELIVERED: "answered",
    Disposition.REJECTED: "refused",
    Disposition.NO_LISTENER: "refused",
    Disposition.DROPPED: "silence",
    Disposition.NO_ROUTE: "unreachable",
}
"""What a client sees of each disposition of a packet; the others never send one."""


def agrees(trace: Trace, outcome: str) -> bool:
    """Whether one of the ends the trace tells shows itself as `outcome`."""
    return any(OUTCOMES.get(end.disposition) == outcome for end in trace.ends)
