"""Who is it that NGINX refuses: from a set of suspects to those that have to stay out, so that all others can be in."""

from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet

Key = tuple[str, str]
"""Namespace and name of an Ingress."""

Accepts = Callable[[frozenset[Key]], Awaitable[bool]]
"""Whether NGINX takes a configuration without these Ingresses."""


async def find_refused(suspects: Sequence[Key], accepts: Accepts) -> frozenset[Key] | None:
    """Return the smallest sets halving finds: without them the configuration is taken. None: not without all suspects.

    Few refused ones among many cost about two questions for each and each halving.
    """
    everyone = frozenset(suspects)
    if not await accepts(everyone):
        return None
    return await _among(tuple(suspects), frozenset(), everyone, accepts)


async def _among(
    suspects: tuple[Key, ...], out: AbstractSet[Key], everyone: frozenset[Key], accepts: Accepts
) -> frozenset[Key]:
    """Those of `suspects` that have to be out, where `everyone` still undecided is out and `out` is to stay out."""
    undecided = everyone - frozenset(suspects)
    if await accepts(undecided | frozenset(out)):
        return frozenset()
    if len(suspects) == 1:
        return frozenset(suspects)
    middle = len(suspects) // 2
    left = await _among(suspects[:middle], out, everyone, accepts)
    right = await _among(suspects[middle:], frozenset(out) | left, everyone - frozenset(suspects[:middle]), accepts)
    return left | right
