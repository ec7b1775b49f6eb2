"""What policies make of a new connection, judged by the model alone: the verdict, who decided it, what nearly did.

Comes in: two ends, a protocol and a port, as they are after a Service's address was translated and before any source
is; and a view of the policies. Goes out: a verdict for each side. Refuses to know rows, routes and replies: those
follow their connection. Source: networking/v1 types.go, network-policy-api v0.2.0.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from fairlead.model.origins import Origin
from fairlead.model.policies import (
    Action,
    Direction,
    Policy,
    PolicyPod,
    PolicyRule,
    Tier,
)
from fairlead.sim.policy_matching import Dialled, End, PolicyView, rule_matches
from fairlead.sim.policy_misses import Miss, find_nearest_miss


class SideVerdict(Struct, frozen=True, kw_only=True):
    """What one side's policies say.

    `rule` decided, where one did. `isolating` are the policies of the tier NETWORK_POLICY that isolate the pod, and
    `selecting` all that judge this direction. `nearest` tells which rule nearly allowed what none did.
    """

    direction: Direction
    allowed: bool
    tier: Tier | None = None
    rule: PolicyRule | None = None
    isolating: tuple[Origin, ...] = ()
    selecting: tuple[Origin, ...] = ()
    nearest: Miss | None = None


class FlowVerdict(Struct, frozen=True):
    """Whether a connection passes; a side is None that nobody judges. `exempt` says why no policy was asked."""

    allowed: bool
    egress: SideVerdict | None = None
    ingress: SideVerdict | None = None
    exempt: str = ""

    @property
    def denial(self) -> SideVerdict | None:
        """The side that denies; the sender's comes first, as packets meet it."""
        return next((side for side in (self.egress, self.ingress) if side is not None and not side.allowed), None)


def judge_flow(view: PolicyView, source: End, destination: End, dialled: Dialled) -> FlowVerdict:
    """Return what the policies of both ends make of a new connection.

    A pod always reaches itself, and its own node always reaches it. Pods in the host's network are ends without a pod.
    """
    sender, receiver = source.pod, destination.pod
    if sender is not None and receiver is not None and sender.key == receiver.key:
        return FlowVerdict(allowed=True, exempt="a pod always reaches itself")
    if receiver is not None and sender is None and source.node and source.node == receiver.node:
        return FlowVerdict(allowed=True, exempt="a pod's own node always reaches it")
    egress = judge_side(view, sender, Direction.EGRESS, destination, dialled) if sender else None
    ingress = judge_side(view, receiver, Direction.INGRESS, source, dialled) if receiver else None
    allowed = all(side is None or side.allowed for side in (egress, ingress))
    return FlowVerdict(allowed, egress, ingress)


def judge_side(view: PolicyView, pod: PolicyPod, direction: Direction, other: End, dialled: Dialled) -> SideVerdict:
    """Return what the policies of `pod` make of a connection with `other`: tier by tier, the first decision counts."""
    judging = [policy for policy in view.selecting(pod) if policy.rules(direction) is not None]
    judging.sort(key=lambda policy: (policy.tier, policy.priority, policy.origin))
    selecting = tuple(policy.origin for policy in judging)
    target = pod if direction is Direction.INGRESS else other.pod
    isolating = tuple(policy for policy in judging if policy.tier is Tier.NETWORK_POLICY)

    def decided(allowed: bool, tier: Tier | None = None, rule: PolicyRule | None = None) -> SideVerdict:
        origins = tuple(policy.origin for policy in isolating)
        return SideVerdict(
            direction=direction, allowed=allowed, tier=tier, rule=rule, isolating=origins, selecting=selecting
        )

    rule = _first_match(view, judging, Tier.ADMIN, direction, other, dialled, target)
    if rule is not None and rule.action is not Action.PASS:
        return decided(rule.action is Action.ACCEPT, Tier.ADMIN, rule)
    if isolating:
        rule = _first_match(view, judging, Tier.NETWORK_POLICY, direction, other, dialled, target)
        if rule is not None:
            return decided(True, Tier.NETWORK_POLICY, rule)
        miss = find_nearest_miss(view, isolating, direction, other, dialled, target)
        return replace(decided(False, Tier.NETWORK_POLICY), nearest=miss)
    rule = _first_match(view, judging, Tier.BASELINE, direction, other, dialled, target)
    if rule is None:
        return decided(True)
    return decided(rule.action is not Action.DENY, Tier.BASELINE, rule)


def _first_match(
    view: PolicyView,
    policies: Sequence[Policy],
    tier: Tier,
    direction: Direction,
    other: End,
    dialled: Dialled,
    target: PolicyPod | None,
) -> PolicyRule | None:
    for policy in policies:
        if policy.tier is not tier:
            continue
        for rule in policy.rules(direction) or ():
            if rule_matches(view, rule, other, dialled, target):
                return rule
    return None
