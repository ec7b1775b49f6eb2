"""Do changes add up to the same as starting anew, whatever changed in whichever order?"""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from policy_worlds import change_something, draw_cluster

from fairlead.model.policy_profiles import Collection, Member, Subject
from fairlead.net import Address


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_any_changes_end_where_a_fresh_start_begins(seed: int):
    random = Random(seed)
    cluster = draw_cluster(random)
    machine = cluster.enforced_by("node-1")
    subjects: dict[Address, Subject] = {}
    members: dict[Collection, set[Member]] = {}
    for _ in range(random.randint(1, 6)):
        changes = machine.round()
        for address, subject in changes.subjects.items():
            if subject is None:
                del subjects[address]
            else:
                subjects[address] = subject
        for collection, found in changes.collections.items():
            if found is None:
                del members[collection]
            else:
                assert collection not in members
                members[collection] = set(found)
        for collection, moves in changes.moves.items():
            assert moves.left <= members[collection]
            assert not moves.joined & members[collection]
            members[collection] = members[collection] - moves.left | moves.joined
        fresh = cluster.enforced_by("node-1")
        fresh.round()
        assert subjects == machine.subjects() == fresh.subjects()
        assert members == machine.members() == fresh.members()
        assert not machine.pending
        assert not machine.round()
        for _ in range(random.randint(1, 5)):
            change_something(random, cluster, machine)
