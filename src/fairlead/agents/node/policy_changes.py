"""Several rounds of a node's policies as one.

Comes in: changes, in the order in which the machine told them. Goes out: one change that leads to the same end, and may
name what is there already or never was. Refuses to know rows.
"""

from collections.abc import Iterable

from fairlead.model.policy_profiles import Moves, PolicyChanges


def join_changes(rounds: Iterable[PolicyChanges]) -> PolicyChanges:
    """Return what all rounds together change."""
    joined = PolicyChanges(subjects={}, collections={}, moves={})
    for each in rounds:
        joined = _join(joined, each) if joined else each
    return joined


def _join(first: PolicyChanges, second: PolicyChanges) -> PolicyChanges:
    collections, moves = dict(first.collections), dict(first.moves)
    for collection, members in second.collections.items():
        moves.pop(collection, None)
        collections[collection] = members
    for collection, later in second.moves.items():
        filled = collections.get(collection)
        if filled is None:
            moves[collection] = _follow(moves.get(collection), later)
        else:
            collections[collection] = (filled - later.left) | later.joined
    return PolicyChanges(subjects=first.subjects | second.subjects, collections=collections, moves=moves)


def _follow(earlier: Moves | None, later: Moves) -> Moves:
    if earlier is None:
        return later
    joined = (earlier.joined - later.left) | (later.joined - earlier.left)
    return Moves(joined, (earlier.left - later.joined) | (later.left - earlier.joined))
