"""What the model says of a connection, in a few lines that know no rules: the other truth to hold the rules to.

Comes in: a node's frontends and what is local there, and the connection's two ends. Goes out: the backends it may come
to, or how it is refused.
"""

from collections.abc import Mapping

from msgspec import Struct

from fairlead.model import Backend, Frontend, FrontendKey, Masquerade, Refusal
from fairlead.net import Address, Prefix
from fairlead.sim.world import in_prefixes


class NodeModel(Struct, frozen=True):
    """A node's frontends, its own addresses, its pods' ranges and the Service range."""

    frontends: Mapping[FrontendKey, Frontend]
    addresses: frozenset[Address]
    pod_prefixes: tuple[Prefix, ...]
    service_prefix: Prefix | None


class Judgement(Struct, frozen=True):
    """Either `refusal`, or the backends with whether the connection is masqueraded; no backends means untouched."""

    refusal: Refusal | None = None
    backends: frozenset[tuple[Backend, bool]] = frozenset()


def judge_connection(model: NodeModel, source: Address, key: FrontendKey, held: Backend | None = None) -> Judgement:
    """Return what becomes of a new connection from `source` to `key` on a node.

    `held` is the backend that the source has at the Service port by session affinity.
    """
    frontend = model.frontends.get(key)
    if frontend is not None and frontend.sources is not None and not any(source in each for each in frontend.sources):
        return Judgement(refusal=Refusal.DROP)
    found = _judge_admitted(model, source, key, frontend)
    kept = frozenset(each for each in found.backends if each[0] == held)
    return Judgement(backends=kept) if kept and frontend is not None and frontend.affinity else found


def _judge_admitted(model: NodeModel, source: Address, key: FrontendKey, frontend: Frontend | None) -> Judgement:
    if frontend is not None and frontend.inside and in_prefixes(source, model.pod_prefixes):
        return _spread(model, frontend.inside, source, asked=False)
    if frontend is not None and frontend.inside and source in model.addresses:
        return _spread(model, frontend.inside, source, asked=True)
    if frontend is not None and frontend.backends:
        return _spread(model, frontend.backends, source, asked=_asks_masquerade(model, frontend.masquerade, source))
    if frontend is not None:
        return Judgement(refusal=frontend.when_empty)
    inside = model.service_prefix is not None and key.address in model.service_prefix
    if not inside or key.address in model.addresses:
        return Judgement()
    known = any(each.address == key.address for each in model.frontends)
    return Judgement(refusal=Refusal.REJECT if known else Refusal.DROP)


def _spread(model: NodeModel, backends: tuple[Backend, ...], source: Address, *, asked: bool) -> Judgement:
    return Judgement(backends=frozenset((each, asked or _is_hairpin(model, each, source)) for each in backends))


def _asks_masquerade(model: NodeModel, masquerade: Masquerade, source: Address) -> bool:
    if masquerade is Masquerade.UNLESS_LOCAL_POD:
        return bool(model.pod_prefixes) and not in_prefixes(source, model.pod_prefixes)
    return masquerade is Masquerade.ALWAYS


def _is_hairpin(model: NodeModel, backend: Backend, source: Address) -> bool:
    """A pod that comes to itself must not see its own address; without known ranges every backend may be local."""
    local = not model.pod_prefixes or in_prefixes(backend.address, model.pod_prefixes)
    return local and backend.address == source
