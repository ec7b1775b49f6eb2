"""Does the benchmark of network policies run, and measure what it says?"""

import pytest

from fairlead.bench.policies import policies


@pytest.mark.kernel
def test_it_programs_a_small_world_and_changes_labels_in_it():
    found = {each.name: each for each in policies(pods=300, count=30)}
    assert len(found) == 10
    few, all_here = (
        found[f"policies 300 x 30, {where}: rows and elements programmed"] for where in ("1 in 100 here", "all here")
    )
    assert 0 < few.value < all_here.value
    assert all(each.value > 0 for each in found.values())
