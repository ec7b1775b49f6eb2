"""The arithmetic of roll-outs, as tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cluster.controllers.rollouts import Goal, Part, rescale, resolve_share, roll, rolling_goal


@pytest.mark.parametrize(
    ("size", "surge", "unavailable", "expected"),
    [
        pytest.param(10, None, None, (3, 2), id="a quarter each by default, surge up and unavailable down"),
        pytest.param(10, 0, 0, (0, 1), id="never both zero"),
        pytest.param(1, "25%", "25%", (1, 0), id="one replica surges"),
        pytest.param(4, "50%", 1, (2, 1), id="a percentage and a number"),
        pytest.param(2, 0, 5, (0, 2), id="no more unavailable than there are"),
    ],
)
def test_goal_of_a_rolling_update(
    size: int, surge: int | str | None, unavailable: int | str | None, expected: tuple[int, int]
) -> None:
    goal = rolling_goal(size, surge, unavailable)
    assert (goal.surge, goal.unavailable) == expected


def test_a_share_without_a_number_is_nothing() -> None:
    assert resolve_share("many", 10, round_up=True) == 0


def part(name: str, size: int, available: int | None = None, room: int | None = None) -> Part:
    return Part(name=name, created=name, size=size, available=size if available is None else available, room=room)


@pytest.mark.parametrize(
    ("goal", "new", "olds", "expected"),
    [
        pytest.param(Goal(size=3, surge=1), part("n", 0), [part("a", 3)], {"n": 1}, id="the new part grows first"),
        pytest.param(Goal(size=3, surge=1), part("n", 1, 0), [part("a", 3)], {}, id="then waits to be available"),
        pytest.param(Goal(size=3, surge=1), part("n", 1), [part("a", 3)], {"a": 2}, id="then an old one goes"),
        pytest.param(
            Goal(size=3, unavailable=1), part("n", 0), [part("a", 3)], {"a": 2}, id="old goes first without surge"
        ),
        pytest.param(
            Goal(size=4, surge=1, unavailable=1),
            part("n", 1, 0),
            [part("a", 4, 3)],
            {"a": 3},
            id="old pods that serve nobody go first, even while the new one is not available",
        ),
        pytest.param(Goal(size=4), part("n", 4, 0), [part("a", 1)], {}, id="nothing goes while all new are missing"),
        pytest.param(Goal(size=2, surge=1), part("n", 5), [part("a", 1)], {"n": 2}, id="the new part shrinks too"),
    ],
)
def test_one_step_of_a_roll_out(goal: Goal, new: Part, olds: list[Part], expected: dict[str, int]) -> None:
    assert roll(goal, new, olds) == expected


@given(
    size=st.integers(1, 20),
    surge=st.integers(0, 20),
    unavailable=st.integers(0, 20),
    olds=st.lists(st.integers(0, 10), max_size=3),
)
def test_every_roll_out_ends_and_keeps_its_bounds(size: int, surge: int, unavailable: int, olds: list[int]) -> None:
    goal = rolling_goal(size, surge, unavailable)
    parts = {f"old-{number}": part(f"old-{number}", count) for number, count in enumerate(olds)}
    new = part("new", 0)
    started_with = sum(olds)
    for _ in range(200):
        sizes = roll(goal, new, list(parts.values()))
        if not sizes:
            break
        new = part("new", sizes.get("new", new.size))
        parts = {name: part(name, sizes.get(name, each.size)) for name, each in parts.items()}
        total = new.size + sum(each.size for each in parts.values())
        assert total <= max(goal.size + goal.surge, started_with)
        assert total >= min(goal.floor, started_with)
    assert new.size == size
    assert all(each.size == 0 for each in parts.values())


@pytest.mark.parametrize(
    ("size", "new", "olds", "expected"),
    [
        pytest.param(5, part("n", 3), [], {"n": 5}, id="the only active part takes it all"),
        pytest.param(0, part("n", 0), [part("a", 2)], {"a": 0}, id="an old part alone is active"),
        pytest.param(20, part("n", 5, room=13), [part("a", 8, room=13)], {"n": 10, "a": 15}, id="in proportion"),
        pytest.param(3, part("n", 3), [part("a", 1)], {"a": 0}, id="a new part that suffices ends the old"),
        pytest.param(4, None, [part("a", 0), part("b", 0)], {"b": 4}, id="the latest old part when none is active"),
    ],
)
def test_a_change_of_size(size: int, new: Part | None, olds: list[Part], expected: dict[str, int]) -> None:
    goal = rolling_goal(size, "25%", "25%")
    assert rescale(goal, new, olds, rolling=True, room_before=size) == expected


@given(sizes=st.lists(st.integers(1, 30), min_size=2, max_size=4), goal=st.integers(0, 60), surge=st.integers(0, 10))
def test_a_change_of_size_while_rolling_fills_the_room_exactly(sizes: list[int], goal: int, surge: int) -> None:
    parts = [part(f"p{number}", size, available=0, room=sum(sizes)) for number, size in enumerate(sizes)]
    wanted = rolling_goal(goal, surge, 1)
    changed = rescale(wanted, parts[-1], parts[:-1], rolling=True, room_before=sum(sizes))
    filled = sum(changed.get(each.name, each.size) for each in parts)
    if filled != wanted.room:  # the largest had to give the remainder and had no more: the next round finds the rest
        assert filled > wanted.room
        largest = max(each.size for each in parts)
        assert any(each.size == largest and changed.get(each.name) == 0 for each in parts)
    assert all(size >= 0 for size in changed.values())
