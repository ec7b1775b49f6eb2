"""The chains that draw a backend: one per class, width and affinity timeout, shared by every frontend that needs it.

Comes in: what a frontend chose. Goes out: the chain's name, the verdict that leads there, its rules. Refuses to know
how many frontends there are: that changes rows, never these rules. They are those of kube-proxy's nftables mode
(k/pkg/proxy/nftables/proxier.go), on keyed rows instead of chains per Service.
"""

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, assert_never

from fairlead.model import Frontend
from fairlead.model import Masquerade as MasqueradeClass
from fairlead.net import Family, Prefix
from fairlead.nft.expressions import Decide, LookupValue, LookupVerdict, Nat, NatType, Numgen, NumgenType
from fairlead.nft.objects import Map, Rule, TableFamily
from fairlead.nft.verdicts import DROP, Verdict, goto
from fairlead.render.service_affinity import AffinityRules
from fairlead.render.service_sets import ServiceSets
from fairlead.render.service_steps import FROM_NODE, MARK, Steps


class ChainClass(IntEnum):
    """The ways into a width; the name in small letters begins the chain's.

    The first three differ in whose packets are masqueraded: nobody's, those of no local pod, everybody's. LOCAL sends
    the node's own pods and the node itself to the row of `inside`, which leads to a chain of the class INSIDE.
    """

    PICK = 0
    CLUSTER = 1
    EXTERNAL = 2
    LOCAL = 3
    INSIDE = 4


class Chosen(NamedTuple):
    """What makes a chain: its class, how many backends it draws from, and the seconds clients stay with theirs."""

    way: ChainClass
    width: int
    timeout: int = 0

    @property
    def name(self) -> str:
        """The chain's name, such as `cluster-3`, or `cluster-3-10800s` where clients stay with their backends."""
        name = f"{self.way.name.lower()}-{self.width}"
        return f"{name}-{self.timeout}s" if self.timeout else name

    @property
    def verdict(self) -> Verdict:
        """What leads there."""
        return _verdict_to(self)


@lru_cache(maxsize=4096)
def _verdict_to(chosen: Chosen) -> Verdict:
    """Return one and the same verdict for all that lead to a chain: there are as many as frontends."""
    return goto(chosen.name)


def class_of(frontend: Frontend) -> ChainClass:
    """Return the way a frontend's connections take first."""
    if frontend.inside:
        return ChainClass.LOCAL
    match frontend.masquerade:
        case MasqueradeClass.UNLESS_LOCAL_POD:
            return ChainClass.CLUSTER
        case MasqueradeClass.ALWAYS:
            return ChainClass.EXTERNAL
        case MasqueradeClass.NEVER:
            return ChainClass.PICK
        case _:
            assert_never(frontend.masquerade)


class ChoiceChains:
    """The rules of any such chain of one family's service table."""

    def __init__(self, family: Family, sets: ServiceSets, pod_prefixes: tuple[Prefix, ...]) -> None:
        self._family = TableFamily.of(family)
        self._sets = sets
        self._steps = Steps(family)
        self._affinity = AffinityRules(family, sets.affinity)
        self._pod_prefixes = pod_prefixes

    def rules(self, chosen: Chosen) -> tuple[Rule, ...]:
        """Return the rules that spread new connections evenly over the width; of no width they drop.

        If a change comes between two looks of a packet, and takes the backend it drew, the first one takes its place.
        """
        return (*self._before(chosen.way), *self._choice(chosen))

    def _choice(self, chosen: Chosen) -> tuple[Rule, ...]:
        sets, inside = self._sets, chosen.way is ChainClass.INSIDE
        if not chosen.width:
            return (Rule((Decide(DROP),)),)
        if not chosen.timeout:
            backends = sets.inside_backends if inside else sets.backends
            return (self._translate(backends, chosen.width), self._translate(backends, 1))
        draws, sticky = (sets.inside_draws, sets.inside_sticky) if inside else (sets.draws, sets.sticky)
        return tuple(self._affinity.rules(draws, sticky, chosen.timeout, chosen.width))

    def _before(self, way: ChainClass) -> tuple[Rule, ...]:
        match way:
            case ChainClass.PICK | ChainClass.INSIDE:
                return ()
            case ChainClass.EXTERNAL:
                return (Rule(MARK),)
            case ChainClass.CLUSTER:
                outside = (step for prefix in self._pod_prefixes for step in self._steps.source_outside(prefix))
                return (Rule((*outside, *MARK)),) if self._pod_prefixes else ()
            case ChainClass.LOCAL:
                inside = (*self._steps.load_frontend(), LookupVerdict(self._sets.inside.name, 0))
                pods = (Rule((*self._steps.source_in(prefix), *inside)) for prefix in self._pod_prefixes)
                return (*pods, Rule((*FROM_NODE, *MARK, *inside)))
            case _:
                assert_never(way)

    def _translate(self, backends: Map, width: int) -> Rule:
        steps = self._steps
        return Rule(
            (
                *steps.load_frontend(),
                Numgen(steps.frontend_words, NumgenType.RANDOM, width),
                LookupValue(backends.name, 0, 0),
                Nat(NatType.DNAT, self._family, 0, steps.words),
            )
        )
