"""Pods that policies keep from the cluster's DNS, judged connection by connection.

Comes in: a world. Goes out: findings, one for each set of policies that do it together. Names are what nearly every pod
asks for first, and a policy for egress takes them away as soon as it selects a pod.
"""

from collections.abc import Iterator

from fairlead.compile.lint_world import DNS_PORT, LintWorld, finding_at
from fairlead.model import Finding, Origin
from fairlead.model.policies import Direction, PolicyPod, Tier
from fairlead.net import Address, Family, Protocol
from fairlead.sim.policies import SideVerdict, judge_flow
from fairlead.sim.policy_matching import Dialled, End

_NOWHERE = Address(bytes(Family.IPV4.size))
_REMEDY = "allow UDP and TCP 53 to pods k8s-app=kube-dns in kube-system, if they are to resolve names"


def lint_names(world: LintWorld) -> Iterator[Finding]:
    """Yield who cannot ask for names, and which policies see to that."""
    told: set[tuple[Direction, tuple[Origin, ...]]] = set()
    server = _end(world.resolver)
    for pod in world.index.pods.pods.values():
        if pod is world.resolver or not world.index.selecting(pod) + world.index.selecting(world.resolver):
            continue
        denial = judge_flow(world.index, _end(pod), server, Dialled(int(Protocol.UDP), DNS_PORT)).denial
        if denial is None:
            continue
        origins = tuple(sorted(denial.isolating)) if denial.rule is None else (denial.rule.origin,)
        if (denial.direction, origins) not in told:
            told.add((denial.direction, origins))
            yield _tell(pod, denial, origins)


def _tell(pod: PolicyPod, denial: SideVerdict, origins: tuple[Origin, ...]) -> Finding:
    name = f"{pod.namespace}/{pod.name}"
    message, remedy = f"cuts pods such as {name} off from the cluster's DNS", _REMEDY
    if denial.direction is Direction.INGRESS:
        message, remedy = (
            f"keeps pods such as {name} from the cluster's DNS",
            "let UDP and TCP 53 in to the pods of the DNS",
        )
    if denial.rule is not None:
        assert denial.tier is not Tier.NETWORK_POLICY
        return finding_at(origins[0], "", message, remedy)
    others = f", with {', '.join(each.name for each in origins[1:])}" if origins[1:] else ""
    return finding_at(origins[0], f"spec.{denial.direction.value}", f"{message}{others}", remedy)


def _end(pod: PolicyPod) -> End:
    return End(pod.addresses[0] if pod.addresses else _NOWHERE, pod)
